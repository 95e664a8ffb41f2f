"""How a method is trained online: what its worker is told. One class a method, with one surface."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from safe_skills.data.background import Worker
from safe_skills.data.episodes import EpisodeStore
from safe_skills.data.updates import newest_update, update_folder
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.online import UpdateSettings
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.model import model_folder
from safe_skills.nodes.skill_model import bound_of, load_prior


class Updater(Protocol):
    """What a trainer needs to know of a method."""

    start_id: str
    """Names what the training started from: two of one name are the same training."""
    action_dim: int
    size: int
    """Least side of the task area in pixels."""

    def newest(self) -> str:
        """Value of the users' parameter for the newest agent that was accepted."""

    def start_worker(self, gathered: Path) -> Worker:
        """Start the process that makes the updates from a store of gathered episodes."""

    def describe(self) -> str:
        """What the updates learn from, in one line."""


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

    def newest(self) -> str:
        """Folder of the newest agent that was accepted, the first one where there is none."""
        update = newest_update(self._out)
        return str(update_folder(self._out, update).resolve() if update else self.start)

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


class SacUpdater:
    """Soft actor-critic's updates (SAFER Algorithm 1) of a policy over the prior that is named.

    They begin with a policy that knows nothing: until the first update, draws of the prior act.

    Attributes:
        start_id: names the prior, the task and the bound.
        model_id: of the prior.
        action_dim: A.
        size: side of the prior's frames in pixels.
        eta: bound on z.

    Args:
        node: the trainer.
        out: folder of the training.

    Raises:
        ValueError: in one line: the prior cannot be used, or has no such bound.
    """

    def __init__(self, node: SkillNode, out: Path) -> None:
        self._node, self._out = node, out
        self._start = model_folder(node).resolve()
        prior = load_prior(node, self._start)
        self.eta, self.model_id = bound_of(node, prior), prior.model_id
        self.action_dim, self.size = prior.action_dim, prior.frame_size
        self.start_id = f"{self.model_id}, task {node.param('task')}, eta {self.eta:.6g}"

    def newest(self) -> str:
        """Folder of the newest policy; "", draws of the prior, where there is none."""
        update = newest_update(self._out)
        return str(update_folder(self._out, update).resolve()) if update else ""

    def start_worker(self, gathered: Path) -> Worker:
        """Start the process that makes the updates from a store of gathered episodes."""
        node = self._node
        settings = {
            "prior": str(self._start),
            "gathered": str(gathered),
            "out": str(self._out),
            "task": node.param("task"),
            "bound": self.eta,
            "episodes_per_update": node.param("episodes_per_update"),
            "seed": node.param("seed"),
        }
        return Worker("safe_skills.baselines.online_sac", settings, node.param("niceness"))

    def describe(self) -> str:
        """What the updates learn, in one line."""
        return (
            f"learns task {self._node.param('task')} over the prior {self.model_id}, "
            f"|z| <= {self.eta:.4g}, from gathered episodes"
        )
