"""Scripted policies of the reacher task (LS3 section 7.3.2); they see the angles of the joints."""

from __future__ import annotations

import numpy as np

from safe_skills.envs.reacher import ReacherState
from safe_skills.envs.scripted import TEACHER_NOISE, RandomWalk, ScriptedPolicy
from safe_skills.envs.tasks import TASKS

TASK = TASKS["reacher"]
AWAY, TO_GOAL = np.pi * np.array([1.0, 0.0]), np.pi * np.array([0.75, 0.0])
AWAY_UNTIL = 40  # steps
INTO_ZONE = np.pi * np.array([[0.53, 0.7], [1.0, -0.7]])
RANDOM_STEPS = 20
"""Length of a random episode."""


class ReacherDemonstrator(ScriptedPolicy):
    """The slow, safe teacher: stretches the arm to the left, then swings it to the goal.

    A proportional controller of the joints' angles.

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    def __init__(self, rng: np.random.Generator, noise: float = TEACHER_NOISE) -> None:
        super().__init__(TASK, rng, noise)

    def _control(self, state: ReacherState) -> np.ndarray:
        target = AWAY if state.step < AWAY_UNTIL else TO_GOAL
        return np.clip(target - state.angles, -self._limit, self._limit)


class ReacherConstraintSeeker(ScriptedPolicy):
    """Brings the fingertip into the stay-out zone, the elbow to the nearer side.

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    def __init__(self, rng: np.random.Generator, noise: float = TEACHER_NOISE) -> None:
        super().__init__(TASK, rng, noise)

    def _control(self, state: ReacherState) -> np.ndarray:
        offsets = INTO_ZONE - state.angles
        nearest = offsets[np.linalg.norm(offsets, axis=1).argmin()]
        return np.clip(nearest, -self._limit, self._limit)


class ReacherRandomWalk(RandomWalk):
    """Random torques that keep their direction for some steps.

    Args:
        rng: source of all chance.
        noise: what comes on top; see `ScriptedPolicy`.
    """

    def __init__(self, rng: np.random.Generator, noise: float = TEACHER_NOISE) -> None:
        super().__init__(TASK, rng, noise)
