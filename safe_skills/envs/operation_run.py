"""Episodes of an Operation task on the simulated arm, one after the other, without ROS."""

from __future__ import annotations

import math

import numpy as np

from safe_skills.envs.operation import HORIZON, SUBSTEPS, violation_kind
from safe_skills.envs.operation_scene import FIELD_OF_VIEW, PHYSICS_RATE, Contacts, OperationScene
from safe_skills.envs.operation_tasks import OperationTask
from safe_skills.envs.run import Judgement, TaskRun


class OperationRun(TaskRun[Contacts]):
    """Runs `episodes` episodes; episode k starts as `OperationEnv.reset(seed=seed + k)` does.

    The same joint targets, in the same time, give the same physics, rewards and costs as
    `OperationEnv`. As there a violation costs, and the episode goes on.

    Args:
        task: what to take out of which container.
        seed: of the first episode.
        episodes: number of episodes; 0: no end.

    Raises:
        ValueError: a negative seed or number of episodes.
    """

    def __init__(self, task: OperationTask, seed: int, episodes: int) -> None:
        self.task = task
        self.scene = OperationScene()
        super().__init__(seed, episodes, rate=PHYSICS_RATE, substeps=SUBSTEPS, horizon=HORIZON)

    def close(self) -> None:
        """Ends the simulation."""
        self.scene.close()

    def _reset(self, rng: np.random.Generator) -> None:
        self.scene.reset(self.task, rng)

    def _simulate(self, substeps: int) -> Contacts:
        return self.scene.advance(substeps)

    def _judge(self, contacts: Contacts, step: int) -> Judgement:
        success = self.scene.extracted()
        return Judgement(
            reward=1.0 if success else -1.0,
            violation_kind=violation_kind(contacts),
            success=success,
            ends=success,
        )


def operation_camera_matrix(size: int) -> np.ndarray:
    """(3, 3) pinhole matrix of the scene's camera for a square image of `size` pixels."""
    focal = size / (2.0 * math.tan(math.radians(FIELD_OF_VIEW) / 2.0))
    centre = (size - 1) / 2.0
    return np.array([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])
