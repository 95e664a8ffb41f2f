"""SAFER's skills under LS3's eyes: an action is forecast before it is executed.

The two know nothing of each other; here they meet. The latent that both share is psi(s).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from safe_skills.ls3.watcher import Watcher
from safe_skills.safer.policy import truncated_normal
from safe_skills.safer.skill_env import SkillActions, StateFeatures

GATES = ("eta", "safe-set", "both")
"""Which opinions count: |z| within eta, the watcher's, or both."""
RESPONSES = ("hold", "redraw", "plan")
STATES = ("present", "next")
WIDE_BOUND = 3.0
"""Of z where eta does not count."""
DRAWS = 10
"""Abstract actions that are drawn besides the one proposed."""


@dataclass(frozen=True)
class Watching:
    """How a watcher takes part.

    Attributes:
        delta_c: largest f_C one step ahead.
        delta_s: smallest f_S.
        response: "hold": an action that does not pass is not executed, the robot stays where it is.
            "redraw": z is drawn from the truncated prior until one passes, `draws` times; then
            held. "plan": LS3's plan with a horizon of one: of the z proposed and `draws` more, the
            one at most delta_C whose next latent has the highest f_S; where there is none, held.
        state: the one that delta_S is asked of, for "hold" and "redraw": "present", or
            "next", after the action.
        draws: of z.
    """

    delta_c: float
    delta_s: float
    response: str = "plan"
    state: str = "next"
    draws: int = DRAWS

    def __post_init__(self) -> None:
        for name, known in (("response", RESPONSES), ("state", STATES)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name}: expected one of {known}, got {value!r}")


class WatchedSkills(SkillActions):
    """Takes abstract actions, and lets a watcher decide what becomes of them.

    ``info["held"]`` says that no action was let through, ``info["replaced"]`` that another z than
    the one proposed was taken.

    Args:
        env: the task.
        bound: eta; |z|_inf may be no larger, nor is it in draws.
        watcher: forecasts actions; its latents are the prior's features.
        watching: what it asks for.
    """

    def __init__(
        self, env: StateFeatures, bound: float, watcher: Watcher, watching: Watching
    ) -> None:
        super().__init__(env, bound)
        self.watcher, self.watching = watcher, watching
        self._rng = np.random.default_rng(0)
        self._gripper = 1.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; what is drawn in it depends on the seed alone. The gripper is open."""
        self._rng = np.random.default_rng(None if seed is None else [seed, 3])
        self._gripper = 1.0
        return super().reset(seed=seed, options=options)

    def step(self, z: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes the step with `z` (A,), with another, or with none.

        Raises:
            ValueError: z has another size, is not finite, or leaves the bound.
        """
        proposed = self.decoded(z)
        chosen = (
            self._planned(proposed) if self.watching.response == "plan" else self._first(proposed)
        )
        action = self._hold() if chosen is None else chosen
        self._gripper = float(action[-1])
        *result, info = self.env.step(action)
        notes = {
            "action": action,
            "held": chosen is None,
            "replaced": chosen is not None and chosen is not proposed,
        }
        return (*result, {**info, **notes})

    def _drawn(self) -> np.ndarray:
        """Actions (`draws`, A) of the truncated prior."""
        count, size = self.watching.draws, self.env.prior.action_dim
        z = truncated_normal(self._rng, self.bound, count * size).reshape(count, size)
        return self.env.decoded(z)

    def _planned(self, proposed: np.ndarray) -> np.ndarray | None:
        candidates = [proposed, *self._drawn()]
        forecast = self.watcher.forecast(self.env.features[None], np.stack(candidates))
        feasible = forecast.constraint <= self.watching.delta_c
        if not feasible.any():
            return None
        return candidates[int(np.where(feasible, forecast.safe_set, -1.0).argmax())]

    def _first(self, proposed: np.ndarray) -> np.ndarray | None:
        if self._passing(proposed[None])[0]:
            return proposed
        if self.watching.response == "redraw":
            candidates = self._drawn()
            passing = self._passing(candidates)
            if passing.any():
                return candidates[int(passing.argmax())]
        return None

    def _passing(self, actions: np.ndarray) -> np.ndarray:
        """Which of some actions (n, A) pass, (n,) bool."""
        features, asked = self.env.features, self.watching
        forecast = self.watcher.forecast(features[None], actions)
        safe_set = forecast.safe_set
        if asked.state == "present":
            safe_set = self.watcher.safe_set_probability(features)
        return (forecast.constraint <= asked.delta_c) & (safe_set >= asked.delta_s)

    def _hold(self) -> np.ndarray:
        """No motion, and the gripper as it was told last."""
        action = np.zeros(self.env.prior.action_dim, np.float32)
        action[-1] = self._gripper
        return action
