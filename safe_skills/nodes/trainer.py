"""Node: gathers the episodes of a running graph and improves LS3's agent with them."""

import sys
from pathlib import Path

from geometry_msgs.msg import PoseStamped

from safe_skills.msg import PlanStatus
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of
from safe_skills.nodes.base import main_for
from safe_skills.nodes.episode_topics import CableTopics
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

    def new_topics(self) -> CableTopics:
        """Return what takes actions from set-points."""
        size, dim = self._updater.size, self._updater.action_dim
        return CableTopics(arm_of(self), self.param("crop"), size, self.refuse, dim)

    def open_robot(self) -> None:
        """Subscribe to set-points, measured positions and plans."""
        arm, topics = self.param("arm"), self._topics
        self.subscribe(PoseStamped, f"{arm}/servo_cp", topics.set_point, qos.LOG)
        self.subscribe(PoseStamped, f"{arm}/measured_cp", topics.measured, qos.CRTK_STATE_LATEST)
        self.subscribe(PlanStatus, "plan_status", topics.plan, qos.LOG)


def main() -> int:
    """Run the node."""
    return main_for(Trainer)


if __name__ == "__main__":
    sys.exit(main())
