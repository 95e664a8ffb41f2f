"""Parameters and loading of the learned models, for every node that uses them."""

from pathlib import Path

import torch

from safe_skills import paths
from safe_skills.data.checkpoint import CheckpointError
from safe_skills.ls3.agent import LS3Agent
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.parameters import Param

MODEL_PARAMETERS = {
    "checkpoint": Param(
        "cable_open",
        "Checkpoint folder, or the name of a pretrained checkpoint that ships with the package.",
    ),
    "threads": Param(1, "CPU threads of PyTorch in this node's process.", low=1, high=256),
}


def checkpoint_folder(checkpoint: str) -> Path:
    """Resolve a checkpoint parameter: a folder, else the name of a shipped checkpoint.

    Raises:
        CheckpointError: In one line, for an empty name or one that is neither.
    """
    if not checkpoint:
        raise CheckpointError("checkpoint: expected a folder or a name, got nothing")
    folder = Path(checkpoint).expanduser()
    if folder.is_dir() or folder.name != checkpoint:
        return folder
    try:
        return paths.checkpoint_dir(checkpoint)
    except FileNotFoundError as error:
        raise CheckpointError(f"{error}; no folder of that name here either") from None


def load_agent(node: SkillNode) -> LS3Agent:
    """Load the agent that a node's parameters name, and log which one it is.

    Raises:
        CheckpointError: In one line; see `LS3Agent.load`.
    """
    torch.set_num_threads(node.param("threads"))
    folder = checkpoint_folder(node.param("checkpoint"))
    agent = LS3Agent.load(folder, task="cable")
    node.get_logger().info(f"model {agent.model_id} from {folder}")
    return agent
