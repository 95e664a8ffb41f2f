"""Node: gathers the episodes of a running graph and improves a policy over a prior with them."""

import sys
from pathlib import Path

import numpy as np
from sensor_msgs.msg import Image

from safe_skills.data.segments import shrink
from safe_skills.msg import AbstractAction
from safe_skills.nodes import qos
from safe_skills.nodes.base import main_for
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.decoding import largest_entry, within
from safe_skills.nodes.gathering import EpisodeAssembler
from safe_skills.nodes.online_trainer import TRAINER_PARAMETERS, OnlineTrainer
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.skill_conversions import abstract_action_from_message
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

    def new_assembler(self) -> EpisodeAssembler:
        """Return what takes actions as they were chosen."""
        return EpisodeAssembler(self._updater.action_dim, given=True, task=self.param("task"))

    def open_robot(self) -> None:
        """Subscribe to what was chosen."""
        self.subscribe(AbstractAction, "abstract_action", self._note_action, qos.LOG)

    def area_of(self, message: Image) -> np.ndarray:
        """Return the task area as the prior's frames are: the same that is encoded."""
        return shrink(super().area_of(message), self._updater.size)

    def _note_action(self, message: AbstractAction) -> None:
        updater = self._updater
        try:
            z = abstract_action_from_message(message, updater.model_id, updater.action_dim)
            if not within(largest_entry(z), updater.eta):
                raise ValueError(
                    f"expected |z| <= {updater.eta:g}, got {largest_entry(z):g} from "
                    f"{message.source or '(no source)'}"
                )
        except ValueError as error:
            self.refuse("abstract action refused", f"abstract action refused: {error}")
            return
        stamp = nanoseconds(message.header.stamp)
        self._assembler.action(stamp, z)
        self._assembler.acted(stamp, f"safer {message.source}")


def main() -> int:
    """Run the node."""
    return main_for(SkillTrainer)


if __name__ == "__main__":
    sys.exit(main())
