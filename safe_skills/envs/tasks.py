"""The image-based tasks of LS3 (section 5.3) side by side: what learners have to know of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

IMAGE_SIZE = 64


@dataclass(frozen=True)
class Task:
    """One task; its environment gives a Dict observation with "image" (64, 64, 3) uint8 RGB.

    All of them reward -1 a step and 0 in the goal, tell the cost apart in ``info["cost"]`` (1 while
    the constraint is violated), and stay frozen from a violation on until the horizon.

    Attributes:
        name: key in `TASKS`.
        env_id: registered with Gymnasium.
        action_limit: largest action of one step, of each component; the action space is symmetric.
        action_unit: what an action is, and in which unit.
        horizon: T, steps of an episode.
        terminates: whether the goal ends an episode. False: it goes on to the horizon, as in the
            paper, and ``info["success"]`` says whether the goal was reached so far.
        frame_stack: frames that a learner needs to see velocities.
        masked: whether learners see the mask of the cable in place of the image.
        goal: when the reward is 0.
        constraint: when the cost is 1.
        episodes: by kind of episode, how many the paper trains on (section 7.3).
        options: of the environment.
    """

    name: str
    env_id: str
    action_limit: tuple[float, ...]
    action_unit: str
    horizon: int
    terminates: bool
    frame_stack: int
    masked: bool
    goal: str
    constraint: str
    episodes: Mapping[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, **options: Any) -> gymnasium.Env:
        """Makes the environment, without wrappers, so that policies can read its `state`."""
        return gymnasium.make(self.env_id, **{**self.options, **options}).unwrapped


TASKS = {
    task.name: task
    for task in (
        Task(
            name="navigation",
            env_id="safe_skills/Navigation-v0",
            action_limit=(3.0, 3.0),
            action_unit="displacement [pixels of the 180 x 150 window]",
            horizon=100,
            terminates=False,
            frame_stack=1,
            masked=False,
            goal="the point is within 3 of (150, 75)",
            constraint="the point is in the obstacle",
            episodes={"demo": 50, "constraint": 50, "random": 0},
        ),
        Task(
            name="reacher",
            env_id="safe_skills/Reacher-v0",
            action_limit=(1.0, 1.0),
            action_unit="torque of shoulder and wrist [0.025 Nm]",
            horizon=100,
            terminates=False,
            frame_stack=3,
            masked=False,
            goal="the fingertip touches the goal, 1.5 cm in radius",
            constraint="the fingertip touches the stay-out zone, 5 cm in radius",
            episodes={"demo": 50, "constraint": 50, "random": 100},
        ),
        Task(
            name="pushing",
            env_id="safe_skills/Pushing-v0",
            action_limit=(0.05, 0.05),
            action_unit="displacement of the gripper [m]",
            horizon=150,
            terminates=False,
            frame_stack=1,
            masked=False,
            goal="all three blocks are pushed by 7.5 cm from the table's middle line",
            constraint="a block has fallen off the table",
            episodes={"demo": 500, "random": 300},
        ),
        Task(
            name="cable",
            env_id="safe_skills/Cable-v0",
            action_limit=(0.03, 0.03),
            action_unit="displacement [m]",
            horizon=50,
            terminates=True,
            frame_stack=1,
            masked=True,
            goal="the cable reaches the goal area",
            constraint="cable or gripper touch the obstacle",
            episodes={"demo": 420, "constraint": 100, "random": 150},
        ),
    )
}


def find_task(name: str) -> Task:
    """Returns the task of this name; ValueError names the ones that exist."""
    try:
        return TASKS[name]
    except KeyError:
        raise ValueError(f"task: expected one of {sorted(TASKS)}, got {name!r}") from None
