"""Scripted policies of LS3's simulated tasks: what they share (LS3 section 7.3).

A policy acts for one episode. Called with the privileged state of a step, which has the number of
steps taken as `step`, it returns an action (A,) float64 within the task's limits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np

from safe_skills.envs.tasks import Task

TEACHER_NOISE = 0.4
"""Of the reference code's teachers: a fifth of the range of the action; see `ScriptedPolicy`."""


class State(Protocol):
    """A privileged state."""

    step: int


class ScriptedPolicy(ABC):
    """Acts by a rule, with Gaussian noise; the first action of an episode is uniform at random.

    That first action and the noise are the reference code's; the paper does not mention them.

    Args:
        task: whose action limits hold.
        rng: source of all chance.
        noise: standard deviation of the noise, in shares of the largest action.
    """

    def __init__(self, task: Task, rng: np.random.Generator, noise: float) -> None:
        self._limit = np.array(task.action_limit)
        self._rng = rng
        self._noise = noise * self._limit

    def __call__(self, state: Any) -> np.ndarray:
        """Returns the action of this step."""
        action = self._control(state) if state.step else self._rng.uniform(-1, 1, 2) * self._limit
        noisy = action + self._noise * self._rng.standard_normal(len(self._limit))
        return np.clip(noisy, -self._limit, self._limit)

    @abstractmethod
    def _control(self, state: Any) -> np.ndarray:
        """The action without noise, clipped or not."""


class RandomWalk(ScriptedPolicy):
    """Actions that wander: a' ~ N(a, s^2 I), which keeps a direction for some steps.

    Reference code: s is a tenth of the action's range (0.2 of the reacher's, where the paper has a
    variance of 0.2), and the teachers' noise comes on top of each action.

    Args:
        task: whose action limits hold.
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    STRIDE = 0.2  # of the largest action

    def __init__(self, task: Task, rng: np.random.Generator, noise: float = TEACHER_NOISE) -> None:
        super().__init__(task, rng, noise)
        self._action = rng.uniform(-self._limit, self._limit)

    def _control(self, state: State) -> np.ndarray:
        wandered = self._rng.normal(self._action, self.STRIDE * self._limit)
        self._action = np.clip(wandered, -self._limit, self._limit)
        return self._action
