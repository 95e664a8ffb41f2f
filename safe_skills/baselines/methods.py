"""LS3's baselines by name, and how their checkpoints are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from safe_skills.baselines.agent import PixelAgent
from safe_skills.baselines.awac import AdvantageWeighted
from safe_skills.baselines.config import BaselineConfig
from safe_skills.baselines.pixels import PixelSpaces
from safe_skills.baselines.recovery import SacWithRecovery
from safe_skills.baselines.sacfd import SacFromDemonstrations
from safe_skills.data.checkpoint import CheckpointError, load_checkpoint, load_weights
from safe_skills.data.settings import from_mapping

METHODS: dict[str, type[PixelAgent]] = {
    agent.method: agent for agent in (SacFromDemonstrations, SacWithRecovery, AdvantageWeighted)
}


def load_agent(folder: Path | str, *, task: str | None = None) -> tuple[PixelAgent, np.ndarray]:
    """Reads a checkpoint of any of these methods.

    Args:
        folder: of the checkpoint.
        task: that it must have been trained on; None: any.

    Returns:
        An agent that acts, and the action (A,) of the environment that is 1 to it.

    Raises:
        CheckpointError: it is damaged, or of another method or task.
        ConfigError: it has settings that this release does not know.
    """
    checkpoint = load_checkpoint(folder, task=task)
    config = checkpoint.config
    if config["method"] not in METHODS:
        raise CheckpointError(
            f"checkpoint {folder}: expected method {', '.join(METHODS)}, found {config['method']!r}"
        )
    settings = from_mapping(BaselineConfig, config["settings"])
    limit = np.asarray(config["action_limit"], np.float32)
    spaces = PixelSpaces(settings.vision, int(config["colours"]), len(limit))
    agent = METHODS[config["method"]](spaces, settings, None, seed=0)
    load_weights(nn.ModuleDict(dict(agent.acting())), checkpoint)
    return agent, limit
