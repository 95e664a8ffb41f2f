"""Node: watches a run of a skill prior on an arm and writes what it came to."""

import sys

from trajectory_msgs.msg import JointTrajectory

from safe_skills.msg import AbstractAction, SafetyContext, SkillStatus
from safe_skills.nodes import qos
from safe_skills.nodes.animation import Animation
from safe_skills.nodes.base import main_for
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.recorder import RECORDER_PARAMETERS, Recorder
from safe_skills.nodes.summary import SKILL_OUTCOMES, RunLog

PENDING = 64
"""Frames whose posterior and policy were heard and whose decoder was not."""


class SkillRecorder(Recorder):
    """Records a run of SAFER, with its decoder's status.

    What planning is to LS3, posterior, policy and decoder are together: their times add up to the
    summary's `plan_ms`. Trajectories belong to a frame where the bridge stamps them with it.
    """

    NAME = "skill_recorder"
    PARAMETERS = {
        **RECORDER_PARAMETERS,
        "robot": Param("sim", "Robot in use, for the summary."),
        "task": Param(0, "Task in use, for the summary.", low=0, high=10**6),
        "policy": Param("", "Policy in use, for the summary."),
    }
    SETTINGS = ("checkpoint", "policy", "robot", "task", "clock", "seed")

    def new_log(self) -> RunLog:
        """Return an empty log of decoded actions."""
        return RunLog(outcomes=SKILL_OUTCOMES)

    def new_animation(self) -> Animation:
        """Return an empty animation."""
        return Animation(self.param("gif_episodes"), mask=None)

    def open_topics(self) -> None:
        """Subscribe to what makes an action, and to the arm's trajectories."""
        self._times: dict[int, dict[str, float]] = {}
        self.subscribe(SafetyContext, "safety_context", self._note_context, qos.LOG)
        self.subscribe(AbstractAction, "abstract_action", self._note_abstract_action, qos.LOG)
        self.subscribe(SkillStatus, "skill_status", self._note_skill, qos.LOG)
        self.subscribe(
            JointTrajectory, "arm_controller/joint_trajectory", self._note_trajectory, qos.LOG
        )

    def _note_context(self, message: SafetyContext) -> None:
        self._note_time(message, "posterior", message.infer_time)

    def _note_abstract_action(self, message: AbstractAction) -> None:
        self._note_time(message, "policy", message.choose_time)

    def _note_time(self, message: SafetyContext | AbstractAction, part: str, spent: float) -> None:
        # The first answer to a frame counts, as in the log.
        stamp = nanoseconds(message.header.stamp)
        self._times.setdefault(stamp, {}).setdefault(part, spent)
        while len(self._times) > PENDING:
            del self._times[next(iter(self._times))]

    def _note_skill(self, message: SkillStatus) -> None:
        stamp = nanoseconds(message.header.stamp)
        spent = message.decode_time + sum(self._times.pop(stamp, {}).values())
        self.log.note_plan(stamp, message.model_id, message.outcome, spent)

    def _note_trajectory(self, message: JointTrajectory, info: dict) -> None:
        stamp = nanoseconds(message.header.stamp)
        # Zero means "now": such a trajectory names no frame.
        if stamp > 0:
            self.log.note_servo(stamp, info["source_timestamp"])


def main() -> int:
    """Run the node."""
    return main_for(SkillRecorder)


if __name__ == "__main__":
    sys.exit(main())
