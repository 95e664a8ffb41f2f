"""How a method is trained online: what its worker is told. One class a method, with one surface."""

from __future__ import annotations

from pathlib import Path

from safe_skills.data.background import Worker
from safe_skills.data.checkpoint import CheckpointError, load_checkpoint
from safe_skills.data.episodes import EpisodeStore
from safe_skills.data.updates import newest_update, update_folder
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.online import UpdateSettings
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.model import model_folder


class LS3Updater:
    """LS3's updates (Algorithm 1) of the agent that a trainer's parameters name.

    Attributes:
        start: folder of that agent.
        start_id: its model id.
        action_dim: A.
        size: least side of the task area in pixels.
        data: folder of offline episodes, None where there are none.

    Args:
        node: the trainer.
        out: folder of the training.

    Raises:
        CheckpointError: in one line: the agent cannot be used.
        EpisodeError: in one line: the offline episodes cannot be read.
    """

    def __init__(self, node: SkillNode, out: Path) -> None:
        self._node, self._out = node, out
        self.start = model_folder(node).resolve()
        agent = LS3Agent.load(self.start)
        self.start_id = agent.model_id
        self.action_dim, self.size = agent.action_dim, agent.mask_config.size
        self.data = self._offline_data()

    def newest(self) -> Path:
        """Folder of the newest agent that was accepted, the first one where there is none."""
        update = newest_update(self._out)
        return update_folder(self._out, update).resolve() if update else self.start

    def start_worker(self, gathered: Path) -> Worker:
        """Start the process that makes the updates from a store of gathered episodes."""
        node = self._node
        settings = UpdateSettings(
            checkpoint=str(self.start),
            gathered=str(gathered),
            out=str(self._out),
            data=str(self.data or ""),
            episodes_per_update=node.param("episodes_per_update"),
            seed=node.param("seed"),
            threads=node.param("threads"),
            tolerance=node.param("tolerance"),
        )
        return Worker("safe_skills.ls3.online", vars(settings), node.param("niceness"))

    def describe(self) -> str:
        """What the updates learn from, in one line."""
        if self.data is None:
            return (
                "learns from gathered episodes alone, there is no offline data: what only that "
                "had shown is forgotten in time; a classifier learns once both its labels were seen"
            )
        episodes = len(EpisodeStore(self.data))
        return f"learns from {episodes} offline episodes in {self.data} and from gathered ones"

    def _offline_data(self) -> Path | None:
        given = self._node.param("data")
        folder = Path(given).expanduser() if given else self.start.parent / "data"
        if folder.is_dir() and EpisodeStore(folder).shards():
            return folder.resolve()
        if given:
            raise ValueError(f"data: expected a folder of episodes, {folder} has none")
        return None


def updater_of(node: SkillNode, out: Path) -> LS3Updater:
    """Return the updater for the method of the checkpoint that a trainer's parameters name.

    Raises:
        CheckpointError: In one line: it cannot be used, or no updates are known for its method.
    """
    folder = model_folder(node)
    method = load_checkpoint(folder).config["method"]
    if method != "ls3":
        raise CheckpointError(f"checkpoint {folder}: expected method ls3, found {method!r}")
    return LS3Updater(node, out)
