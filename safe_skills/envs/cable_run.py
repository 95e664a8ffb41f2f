"""Episodes of the cable task on the simulated table, one after the other, without ROS."""

from __future__ import annotations

import numpy as np

from safe_skills.envs.cable import violation_kind
from safe_skills.envs.cable_layouts import CableLayout
from safe_skills.envs.cable_scene import PHYSICS_RATE, CableScene, Contacts
from safe_skills.envs.run import Judgement, TaskRun


class CableRun(TaskRun[Contacts]):
    """Runs `episodes` episodes; episode k starts as `CableEnv.reset(seed=seed + k)` does.

    The same set-points give the same physics, rewards and costs as `CableEnv`. The environment
    freezes after a violation until its horizon is over; here that tail, whose rewards (-1) and
    costs (1) are known, is skipped: the episode is done, and its return and cost are those of the
    whole horizon.

    Args:
        layout: the table.
        seed: of the first episode.
        episodes: number of episodes; 0: no end.

    Raises:
        ValueError: a negative seed or number of episodes.
    """

    def __init__(self, layout: CableLayout, seed: int, episodes: int) -> None:
        self.layout = layout
        self.scene = CableScene(layout)
        super().__init__(
            seed,
            episodes,
            rate=PHYSICS_RATE,
            substeps=layout.substeps,
            horizon=layout.horizon,
        )

    def close(self) -> None:
        """Ends the simulation."""
        self.scene.close()

    def _reset(self, rng: np.random.Generator) -> None:
        self.scene.reset(rng)

    def _simulate(self, substeps: int) -> Contacts:
        return self.scene.advance(substeps)

    def _judge(self, contacts: Contacts, step: int) -> Judgement:
        kind = violation_kind(contacts)
        success = not kind and self.scene.in_goal()
        # After a violation the environment stays frozen: every step left is like this one.
        repeats = self.horizon - step + 1 if kind else 1
        return Judgement(
            reward=0.0 if success else -1.0,
            violation_kind=kind,
            success=success,
            ends=success or bool(kind),
            repeats=repeats,
        )


def table_camera_matrix(layout: CableLayout, size: int) -> np.ndarray:
    """(3, 3) pinhole matrix that agrees with the orthographic camera in the table's plane.

    A pinhole one metre above the image centre sees the table's points at the same pixels.
    """
    focal = size / (2.0 * layout.camera_span)
    centre = (size - 1) / 2.0
    return np.array([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])
