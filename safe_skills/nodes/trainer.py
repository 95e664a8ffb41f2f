"""Node: gathers the episodes of a running graph and improves LS3's agent with them."""

import sys
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped

from safe_skills.msg import PlanStatus
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position
from safe_skills.nodes.base import main_for
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.gathering import EpisodeAssembler
from safe_skills.nodes.online_trainer import TRAINER_PARAMETERS, OnlineTrainer
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.updaters import LS3Updater


class Trainer(OnlineTrainer):
    """Improves an LS3 agent while it acts (Algorithm 1, its online phase).

    Subscribes `camera/image_raw`, `outcome/image_raw`, `ARM/servo_cp`, `ARM/measured_cp`,
    `plan_status`, `episode_start` and `episode`.
    """

    NAME = "trainer"
    PARAMETERS = {
        **TRAINER_PARAMETERS,
        **ARM_PARAMETERS,
        "data": Param(
            "",
            "Folder of the offline episodes; empty: the folder data beside the checkpoint, if any.",
        ),
        "tolerance": Param(
            0.1,
            "How much worse than the agent in use a new one may be on held-out episodes.",
            low=0.0,
            high=100.0,
        ),
        "users": Param(
            "safety_monitor,cem_planner,camera_encoder",
            "Nodes, separated by commas, that are told to load a new checkpoint.",
        ),
    }

    def new_updater(self, out: Path) -> LS3Updater:
        """Return Algorithm 1's updates."""
        return LS3Updater(self, out)

    def new_assembler(self) -> EpisodeAssembler:
        """Return what takes actions from set-points."""
        return EpisodeAssembler(self._updater.action_dim)

    def open_robot(self) -> None:
        """Subscribe to set-points, measured positions and plans."""
        self._arm = arm_of(self)
        self._position: np.ndarray | None = None
        arm = self.param("arm")
        self.subscribe(PoseStamped, f"{arm}/servo_cp", self._note_set_point, qos.LOG)
        measured = f"{arm}/measured_cp"
        self.subscribe(PoseStamped, measured, self._note_position, qos.CRTK_STATE_LATEST)
        self.subscribe(PlanStatus, "plan_status", self._note_plan, qos.LOG)

    def position(self) -> np.ndarray | None:
        """Where the tool was measured last (2,) [m]; None: unknown."""
        return self._position

    def _note_position(self, message: PoseStamped) -> None:
        try:
            self._position = task_position(self._arm, message)
        except ValueError:
            # The bridge says what is wrong with it.
            self._position = None

    def _note_set_point(self, message: PoseStamped) -> None:
        try:
            position = task_position(self._arm, message)
        except ValueError as error:
            self.refuse("servo_cp refused", f"servo_cp refused: {error}")
            return
        self._assembler.set_point(nanoseconds(message.header.stamp), position)

    def _note_plan(self, message: PlanStatus) -> None:
        stamp = nanoseconds(message.header.stamp)
        self._assembler.acted(stamp, f"ls3 {message.model_id}")


def main() -> int:
    """Run the node."""
    return main_for(Trainer)


if __name__ == "__main__":
    sys.exit(main())
