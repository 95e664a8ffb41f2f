"""Scripted policies of the navigation task (LS3 section 7.3.1); they see the point's position."""

from __future__ import annotations

import numpy as np

from safe_skills.envs.navigation import GOAL, NavigationState
from safe_skills.envs.scripted import TEACHER_NOISE, RandomWalk, ScriptedPolicy
from safe_skills.envs.tasks import TASKS

TASK = TASKS["navigation"]
NORTH, EAST = np.array([30.0, 15.0]), np.array([150.0, 15.0])
NORTH_UNTIL, EAST_UNTIL = 20, 60  # steps
DRIFT_UNTIL = 15  # steps
OBSTACLE_TARGET = np.array([88.0, 75.0])


class NavigationDemonstrator(ScriptedPolicy):
    """The slow, safe teacher: north for 20 steps, east for 40, then straight to the goal.

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    def __init__(self, rng: np.random.Generator, noise: float = TEACHER_NOISE) -> None:
        super().__init__(TASK, rng, noise)

    def _control(self, state: NavigationState) -> np.ndarray:
        target = GOAL
        if state.step < EAST_UNTIL:
            target = NORTH if state.step < NORTH_UNTIL else EAST
        return np.clip(target - state.position, -self._limit, self._limit)


class NavigationConstraintSeeker(ScriptedPolicy):
    """Drifts in one random direction for 15 steps, then goes into the obstacle at half speed.

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    def __init__(self, rng: np.random.Generator, noise: float = TEACHER_NOISE) -> None:
        super().__init__(TASK, rng, noise)
        self._drift = rng.uniform(-self._limit, self._limit)

    def _control(self, state: NavigationState) -> np.ndarray:
        if state.step < DRIFT_UNTIL:
            return self._drift
        offset = OBSTACLE_TARGET - state.position
        return 0.5 * self._limit * offset / max(np.linalg.norm(offset), 1e-9)


class NavigationRandomWalk(RandomWalk):
    """Random actions that keep their direction for some steps; LS3 trains without them here.

    Args:
        rng: source of all chance.
        noise: what comes on top; see `ScriptedPolicy`.
    """

    def __init__(self, rng: np.random.Generator, noise: float = TEACHER_NOISE) -> None:
        super().__init__(TASK, rng, noise)
