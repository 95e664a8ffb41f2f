"""Node: gathers the episodes of a running graph and improves a policy over a prior with them."""

import sys
from pathlib import Path

from safe_skills.msg import AbstractAction
from safe_skills.nodes import qos
from safe_skills.nodes.base import main_for
from safe_skills.nodes.episode_topics import SkillTopics
from safe_skills.nodes.online_trainer import TRAINER_PARAMETERS, OnlineTrainer
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.skill_model import BOUND_PARAMETERS
from safe_skills.nodes.updaters import SacUpdater


class SkillTrainer(OnlineTrainer):
    """Improves a policy over a skill prior while it acts (SAFER Algorithm 1).

    Subscribes `camera/image_raw`, `outcome/image_raw`, `abstract_action`, `episode_start` and
    `episode`. Until the first update, draws of the prior act. Rewards are the task's; contacts are
    counted and not learned from.
    """

    NAME = "skill_trainer"
    USED = "policy"
    FREEZES = False
    PARAMETERS = {
        **TRAINER_PARAMETERS,
        **BOUND_PARAMETERS,
        "task": Param(0, "Number of the task, for the policies' checkpoints.", low=0, high=10**6),
        "users": Param(
            "skill_policy", "Nodes, separated by commas, that are told to use a new policy."
        ),
    }

    def new_updater(self, out: Path) -> SacUpdater:
        """Return soft actor-critic's updates."""
        return SacUpdater(self, out)

    def new_topics(self) -> SkillTopics:
        """Return what takes actions as they were chosen."""
        updater = self._updater
        return SkillTopics(
            self.param("task"),
            self.param("crop"),
            updater.size,
            self.refuse,
            model_id=updater.model_id,
            action_dim=updater.action_dim,
            eta=updater.eta,
        )

    def open_robot(self) -> None:
        """Subscribe to what was chosen."""
        self.subscribe(AbstractAction, "abstract_action", self._topics.chosen, qos.LOG)


def main() -> int:
    """Run the node."""
    return main_for(SkillTrainer)


if __name__ == "__main__":
    sys.exit(main())
