"""A task seen through a skill prior: states are psi(s), actions may be abstract (SAFER Alg. 1)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from safe_skills.data.segments import shrink
from safe_skills.safer.prior import SkillPrior

OBSERVATIONS = ("features", "pixels")


class StateFeatures(gymnasium.Wrapper):
    """Replaces frames by the prior's features, and keeps the window of states.

    Observation: psi(s), (d,) float32, of the prior's frozen encoder; or, for a policy with an
    encoder of its own, "pixels": the frame as the prior's encoder takes it, (S, S, 3) uint8.
    Actions are the task's own.

    Args:
        env: its observations are the prior's camera frames.
        prior: encodes them.
        observation: one of `OBSERVATIONS`.
    """

    def __init__(
        self, env: gymnasium.Env, prior: SkillPrior, observation: str = "features"
    ) -> None:
        super().__init__(env)
        if observation not in OBSERVATIONS:
            raise ValueError(f"observation: expected one of {OBSERVATIONS}, got {observation!r}")
        self._pixels = observation == "pixels"
        self.prior = prior
        self._history = prior.history()
        self._features = np.zeros(prior.config.encoder.features, np.float32)
        self._size = prior.config.encoder.image_size
        self.observation_space = (
            spaces.Box(0, 255, (self._size, self._size, 3), np.uint8)
            if self._pixels
            else spaces.Box(-np.inf, np.inf, self._features.shape, np.float32)
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode with an empty window."""
        image, info = self.env.reset(seed=seed, options=options)
        self._history.reset()
        return self._seen(image), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes a step of the task; its frame joins the window."""
        image, reward, terminated, truncated, info = self.env.step(action)
        return self._seen(image), float(reward), terminated, truncated, info

    def _seen(self, image: np.ndarray) -> np.ndarray:
        self._features = self._history.push(image)
        return shrink(image, self._size) if self._pixels else self._features

    @property
    def features(self) -> np.ndarray:
        """psi(s) (d,) of the present frame."""
        return self._features

    def decoded(self, z: np.ndarray) -> np.ndarray:
        """The action f(z; s, E[c]) (A,) at the present state, or many (B, A) for z (B, A)."""
        state, context = self._features, self._history.context().mean
        if np.ndim(z) == 2:
            state, context = (np.tile(value, (len(z), 1)) for value in (state, context))
        return self.prior.decode(z, state, context)

    def proposed(self, rng: np.random.Generator) -> np.ndarray:
        """An action (A,) as the prior would take it: z ~ N(0, I)."""
        return self.decoded(rng.standard_normal(self.prior.action_dim).astype(np.float32))


class SkillActions(gymnasium.Wrapper):
    """Takes abstract actions z in place of the task's own.

    The posterior's mean stands for c, and prior and posterior stay as they are: Algorithm 1. What
    the contact labels omega say is in ``info["cost"]`` and nobody learns from it.
    ``info["action"]`` is the action that z became.

    Args:
        env: the task.
        bound: eta; |z|_inf may be no larger.
    """

    def __init__(self, env: StateFeatures, bound: float) -> None:
        super().__init__(env)
        if not 0.0 < bound < np.inf:
            raise ValueError(f"eta: expected a bound above 0, got {bound}")
        self.bound = float(bound)
        size = env.prior.action_dim
        self.action_space = spaces.Box(-self.bound, self.bound, (size,), np.float32)

    def step(self, z: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Decodes `z` (A,) and takes the step.

        Raises:
            ValueError: z has another size, is not finite, or leaves the bound.
        """
        action = self.decoded(z)
        *result, info = self.env.step(action)
        return (*result, {**info, "action": action})

    def decoded(self, z: np.ndarray) -> np.ndarray:
        """The action (A,) that `z` (A,) stands for at the present state; raises as `step` does."""
        z = np.asarray(z, np.float32)
        if not self.action_space.contains(z):
            raise ValueError(
                f"z: expected {self.action_space.shape[0]} numbers within {self.bound:g}, got {z}"
            )
        return self.env.decoded(z)
