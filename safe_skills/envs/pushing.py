"""The sequential pushing task as a Gymnasium environment (LS3 section 7.3.3), in MuJoCo."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from safe_skills.envs.image_task import ImageTaskEnv
from safe_skills.envs.pushing_scene import BLOCK_HALF, BLOCKS, TABLE_TOP, PushingScene
from safe_skills.envs.tasks import IMAGE_SIZE, TASKS

PUSHED = 0.075
"""How far from the table's middle line a block has to be [m]."""
PUSHED_WITHIN = 0.2
"""From the middle to a side [m]: beyond it a block does not count."""
FALLEN = 0.2
"""How far below or above z = 0 a block has fallen off the table [m]."""
# Spacing of the blocks and the height of their centres [m].
STARTS = {"apart": (0.16, TABLE_TOP + BLOCK_HALF[2]), "overlapping": (0.05, 0.0)}
OVERVIEW_SIZE = 480


class PushingState(NamedTuple):
    """What only a simulator knows; scripted policies act on it.

    Attributes:
        gripper: (2,) position of the gripper from its home [m].
        blocks: (3, 3) centres of the blocks, in a frame whose origin is in the table's middle and
            5 cm above it [m].
        step: steps taken in this episode.
    """

    gripper: np.ndarray
    blocks: np.ndarray
    step: int


class PushingEnv(ImageTaskEnv):
    """`safe_skills/Pushing-v0`: push three blocks forward, one after the other, none off the table.

    Observation: Dict of "image" (64, 64, 3) uint8 from above the front edge. With
    ``observation="state"``: "gripper" (2,) and "blocks" (3, 3) float32 [m].
    Action: (dx, dy) [m], each within 0.05, added to the gripper's target for one step of 2.5 s.
    Reward: 0 where every block is at least 7.5 cm from the table's middle line, else -1. Cost: 1
    from the step on in which a block falls off the table.
    An episode takes T = 150 steps; all start alike. See `ImageTaskEnv` for the freeze, `info` and
    other arguments.

    Args:
        blocks: where they start; "apart" as far as they can be pushed one by one, "overlapping" as
            in the reference code, where contact forces throw them apart in the first step.
    """

    task = TASKS["pushing"]
    violation_name = "block"
    metadata = ImageTaskEnv.metadata | {"render_fps": 4}
    reset_options = ()

    def __init__(
        self,
        render_mode: str | None = None,
        observation: str = "rgb",
        end_at_goal: bool = False,
        blocks: str = "apart",
    ) -> None:
        super().__init__(render_mode, observation, end_at_goal)
        if blocks not in STARTS:
            raise ValueError(f"blocks: expected one of {sorted(STARTS)}, got {blocks!r}")
        self.scene = PushingScene(*STARTS[blocks])

    @property
    def state(self) -> PushingState:
        """The privileged state."""
        return PushingState(self.scene.gripper, self.scene.blocks, self._step)

    def close(self) -> None:
        """Ends the simulation."""
        self.scene.close()

    def _state_space(self) -> spaces.Dict:
        # Blocks that have fallen keep falling for at most one step.
        return spaces.Dict(
            gripper=spaces.Box(-1.0, 1.0, (2,)), blocks=spaces.Box(-50.0, 50.0, (BLOCKS, 3))
        )

    def _start(self, random_start: bool) -> None:
        self.scene.reset()

    def _simulate(self, action: np.ndarray) -> None:
        self.scene.move(action)

    def _violates(self) -> bool:
        return bool((np.abs(self.scene.blocks[:, 2]) > FALLEN).any())

    def _in_goal(self) -> bool:
        return bool(is_pushed(self.scene.blocks).all())

    def _state_observation(self) -> dict[str, np.ndarray]:
        return {
            "gripper": self.scene.gripper.astype(np.float32),
            "blocks": self.scene.blocks.astype(np.float32),
        }

    def _draw(self) -> np.ndarray:
        return self.scene.picture(IMAGE_SIZE)

    def _draw_overview(self) -> np.ndarray:
        return self.scene.picture(OVERVIEW_SIZE, shadow=True)


def is_pushed(blocks: np.ndarray) -> np.ndarray:
    """(3,) whether each block is where it has to be, for positions (3, 3) [m]."""
    x, y = np.abs(blocks[:, :2]).T
    return (y > PUSHED) & (x < PUSHED_WITHIN)
