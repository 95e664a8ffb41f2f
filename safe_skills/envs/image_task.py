"""What the simulated tasks of LS3 share: horizon, goal, constraint and the freeze after it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from safe_skills.envs.tasks import IMAGE_SIZE, Task

OBSERVATIONS = ("rgb", "state")


class ImageTaskEnv(gymnasium.Env):
    """An episode of T steps: reward 0 in the goal and -1 elsewhere, cost 1 from a violation on.

    "The state is frozen in place until the horizon elapses" once the constraint is violated (LS3
    section 5.2): the observation stays, each step costs 1 and rewards -1. The goal does not end an
    episode (the horizon does), unless `end_at_goal` asks for it.

    `info` has "cost", "success" (the goal was reached so far) and "violation" (what violates the
    constraint since some step, or "").

    Args:
        render_mode: None or "rgb_array", a larger view for people.
        observation: "rgb" for a Dict of "image" (64, 64, 3) uint8; "state" for a Dict of the
            simulator's state, and nothing is drawn.
        end_at_goal: terminate at the goal.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    task: ClassVar[Task]
    violation_name: ClassVar[str]
    reset_options: ClassVar[tuple[str, ...]] = ("random_start",)

    def __init__(
        self,
        render_mode: str | None = None,
        observation: str = "rgb",
        end_at_goal: bool = False,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode: expected None or 'rgb_array', got {render_mode!r}")
        if observation not in OBSERVATIONS:
            raise ValueError(f"observation: expected one of {OBSERVATIONS}, got {observation!r}")
        self.render_mode = render_mode
        self._observation = observation
        self._end_at_goal = end_at_goal
        self._limit = np.array(self.task.action_limit)
        limit = self._limit.astype(np.float32)
        self.action_space = spaces.Box(-limit, limit, dtype=np.float32)
        self.observation_space = (
            spaces.Dict(image=spaces.Box(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))
            if observation == "rgb"
            else self._state_space()
        )
        self._step = 0
        self._reached = False
        self._violated = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Draws a new start, which depends on the seed and the options alone.

        Args:
            seed: of all chance of the episode.
            options: {"random_start": True} starts anywhere that violates nothing, where the task
                has such starts.

        Raises:
            ValueError: an option that does not exist.
        """
        super().reset(seed=seed)
        unknown = sorted(set(options or {}) - set(self.reset_options))
        if unknown:
            raise ValueError(f"options: expected some of {self.reset_options}, got {unknown}")
        self._start(bool(options and options.get("random_start", False)))
        self._step = 0
        self._reached = self._violated = False
        return self._observe(), self._info(cost=False)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Simulates one step under `action`, each component clipped to its limit.

        Raises:
            ValueError: an action of another size or with a value that is not finite.
        """
        given = np.asarray(action, dtype=np.float64)
        if given.shape != self._limit.shape or not np.isfinite(given).all():
            raise ValueError(
                f"action: expected {len(self._limit)} finite numbers, got {np.array2string(given)}"
            )
        if self._violated:
            violates = self._step_frozen()
        else:
            self._simulate(np.clip(given, -self._limit, self._limit))
            violates = self._violated = self._violates()
        in_goal = not violates and self._in_goal()
        self._reached |= in_goal
        self._step += 1
        terminated = self._end_at_goal and in_goal
        truncated = not terminated and self._step >= self.task.horizon
        reward = 0.0 if in_goal else -1.0
        return self._observe(), reward, terminated, truncated, self._info(violates)

    def render(self) -> np.ndarray | None:
        """(H, W, 3) uint8 view for people in mode "rgb_array", else None."""
        return None if self.render_mode is None else self._draw_overview()

    @abstractmethod
    def _state_space(self) -> spaces.Dict:
        """Space of `_state_observation`."""

    @abstractmethod
    def _start(self, random_start: bool) -> None:
        """Puts the scene down, with the chance of `self.np_random`."""

    @abstractmethod
    def _simulate(self, action: np.ndarray) -> None:
        """Moves the scene on by one step."""

    @abstractmethod
    def _violates(self) -> bool:
        """Whether the scene violates the constraint."""

    @abstractmethod
    def _in_goal(self) -> bool:
        """Whether the scene is in the goal set."""

    @abstractmethod
    def _state_observation(self) -> dict[str, np.ndarray]:
        """The simulator's state as float32 arrays."""

    @abstractmethod
    def _draw(self) -> np.ndarray:
        """(64, 64, 3) uint8, what learners see; a new array each time."""

    @abstractmethod
    def _draw_overview(self) -> np.ndarray:
        """(H, W, 3) uint8, what people see."""

    def _step_frozen(self) -> bool:
        """A step after the violation; returns whether the constraint is violated in it."""
        return True

    def _observe(self) -> dict[str, np.ndarray]:
        if self._observation == "rgb":
            return {"image": self._draw()}
        return self._state_observation()

    def _info(self, cost: bool) -> dict[str, Any]:
        return {
            "cost": float(cost),
            "success": self._reached,
            "violation": self.violation_name if self._violated else "",
        }
