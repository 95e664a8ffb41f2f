"""Node: watches a run of the cable task and writes what it came to, as JSON, table and GIF."""

import sys

import numpy as np
from geometry_msgs.msg import PoseStamped

from safe_skills.data.vision import MaskConfig
from safe_skills.msg import PlanStatus
from safe_skills.nodes import qos
from safe_skills.nodes.animation import Animation
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position
from safe_skills.nodes.base import main_for
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.recorder import RECORDER_PARAMETERS, Recorder


class RunRecorder(Recorder):
    """Records a run of LS3 on a CRTK arm, with the plans."""

    NAME = "run_recorder"
    PARAMETERS = {
        **RECORDER_PARAMETERS,
        **ARM_PARAMETERS,
        "camera_span": Param(
            0.25,
            "Half width of what the camera sees, for the plan in the GIF [m].",
            low=0.01,
            high=5.0,
        ),
        "layout": Param("open", "Scene in use, for the summary."),
        "profile": Param("realtime", "Planner profile in use, for the summary."),
    }
    SETTINGS = ("checkpoint", "robot", "layout", "profile", "clock", "seed")

    def open_topics(self) -> None:
        """Subscribe to the plans and to the arm."""
        arm = self.param("arm")
        self._position: np.ndarray | None = None
        self.subscribe(PlanStatus, "plan_status", self._note_plan, qos.LOG)
        self.subscribe(PoseStamped, f"{arm}/servo_cp", self._note_servo, qos.LOG)
        if self.animation is not None:
            self._arm = arm_of(self)
            self.subscribe(
                PoseStamped, f"{arm}/measured_cp", self._note_position, qos.CRTK_STATE_LATEST
            )

    def new_animation(self) -> Animation:
        """Return an empty animation that shows the encoder's mask."""
        mask = MaskConfig()
        if self.param("checkpoint"):
            # PyTorch takes seconds to import: a recorder without a GIF is there from the start.
            from safe_skills.data.checkpoint import load_checkpoint
            from safe_skills.nodes.model import checkpoint_folder

            folder = checkpoint_folder(self.param("checkpoint"))
            mask = MaskConfig.from_dict(load_checkpoint(folder).config["mask"])
        return Animation(self.param("gif_episodes"), mask, self.param("camera_span"))

    def _note_plan(self, message: PlanStatus) -> None:
        stamp = nanoseconds(message.header.stamp)
        self.log.note_plan(
            stamp, message.model_id, message.outcome, message.solve_time, message.feasible_share
        )
        if self.animation is not None and message.horizon:
            actions = np.reshape(message.planned_actions, (message.horizon, -1))[:, :2]
            self.animation.plan(stamp, self._position, actions)

    def _note_servo(self, message: PoseStamped, info: dict) -> None:
        self.log.note_servo(nanoseconds(message.header.stamp), info["source_timestamp"])

    def _note_position(self, message: PoseStamped) -> None:
        try:
            self._position = task_position(self._arm, message)
        except ValueError as error:
            self.refuse("measured_cp refused", f"no position for the GIF: {error}")


def main() -> int:
    """Run the node."""
    return main_for(RunRecorder)


if __name__ == "__main__":
    sys.exit(main())
