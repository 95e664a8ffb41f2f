"""Parameters, threads and loading of the learned models, for every node that uses them."""

from pathlib import Path

import cv2
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
DEVICE_PARAMETERS = {
    "device": Param(
        "cpu", "Where PyTorch evaluates this node's networks.", choices=("cpu", "cuda")
    ),
}
OPENCV_PARAMETERS = {
    "opencv_threads": Param(1, "CPU threads of OpenCV in this node's process.", low=1, high=256),
}

_asked: dict[str, dict[str, int]] = {"threads": {}, "opencv_threads": {}}


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


def share_cores(node: SkillNode) -> None:
    """Set the threads that a node's parameters ask for; of several nodes in a process the most.

    PyTorch and OpenCV have one setting a process, and would take all cores each.
    """
    for name, asked in _asked.items():
        asked[node.get_fully_qualified_name()] = node.param(name) if node.has_parameter(name) else 1
    torch.set_num_threads(max(_asked["threads"].values()))
    cv2.setNumThreads(max(_asked["opencv_threads"].values()))


def model_folder(node: SkillNode) -> Path:
    """Folder of the checkpoint that a node's parameters name; sets the threads they ask for."""
    share_cores(node)
    return checkpoint_folder(node.param("checkpoint"))


def load_agent(node: SkillNode, folder: Path | None = None) -> LS3Agent:
    """Load an LS3 agent, and log which one it is.

    Args:
        node: whose parameters say on which device it computes.
        folder: of the checkpoint; None takes the one that the node's parameters name.

    Raises:
        CheckpointError, ValueError: In one line; see `LS3Agent.load`.
    """
    folder = folder or model_folder(node)
    device = node.param("device") if node.has_parameter("device") else "cpu"
    agent = LS3Agent.load(folder, task="cable", device=device)
    node.get_logger().info(f"model {agent.model_id} from {folder}")
    return agent
