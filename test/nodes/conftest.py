"""A graph under test: real nodes, real DDS, one executor."""

from pathlib import Path

import numpy as np
import pytest

SIZE = 64


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint with small random weights: enough for everything but performance."""
    from safe_skills.ls3.agent import LS3Agent
    from safe_skills.ls3.config import LS3Config

    folder = tmp_path_factory.mktemp("checkpoint")
    agent = LS3Agent(LS3Config(), task="cable", layout="open", action_limit=np.full(2, 0.03))
    agent.save(folder, {"note": "random weights"})
    return folder
