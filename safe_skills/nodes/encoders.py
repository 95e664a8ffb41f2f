"""What camera frames are encoded with: the checkpoint's method decides. LS3 and SAFER meet here."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from safe_skills.data.checkpoint import CheckpointError, load_checkpoint
from safe_skills.data.segments import shrink
from safe_skills.data.surprise import SurpriseModel, load_surprise
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.observation import MaskObservation
from safe_skills.ls3.surprise import reconstruction_error
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.mask_decoder import MaskDecoder
from safe_skills.nodes.model import load_agent, model_folder
from safe_skills.safer.config import METHODS


@dataclass(frozen=True)
class Encoder:
    """Turns the task area of a camera frame into a belief.

    Attributes:
        model_id: of the weights.
        size: least side of the area in pixels.
        dim: d, length of a latent.
        encode: from an area (H, H, 3) uint8 RGB to mean and standard deviation, each (d,) float32;
            `ValueError` for one that does not fit.
        surprise: when a frame surprises it; None for a checkpoint that was not calibrated.
        reconstruction_error: of an area, from the mean that it was encoded to; NaN for an encoder
            without a decoder.
    """

    model_id: str
    size: int
    dim: int
    encode: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    surprise: SurpriseModel | None
    reconstruction_error: Callable[[np.ndarray, np.ndarray], float]


def load_encoder(node: SkillNode, folder: Path | None = None) -> Encoder:
    """Load the encoder of a checkpoint of either method.

    Args:
        node: that asks for it.
        folder: of the checkpoint; None takes the one that the node's parameters name.

    Raises:
        CheckpointError: In one line: it cannot be used, is of a method without an encoder, or has a
            calibration of surprise that is damaged or for other weights.
    """
    folder = folder or model_folder(node)
    method = load_checkpoint(folder).config["method"]
    if method == "ls3":
        agent = load_agent(node, folder)
        return Encoder(
            agent.model_id,
            agent.mask_config.size,
            agent.latent_dim,
            agent.encode,
            load_surprise(folder, agent.model_id),
            _error_of(agent),
        )
    if method not in METHODS:
        raise CheckpointError(
            f"checkpoint {folder}: expected method ls3, {', '.join(METHODS)}, found {method!r}"
        )
    return _features(node, folder)


def _error_of(agent: LS3Agent) -> Callable[[np.ndarray, np.ndarray], float]:
    masks = isinstance(agent.observation, MaskObservation)
    encoder = agent.config.encoder
    if masks and (encoder.architecture, encoder.pixels) == ("compact", "plain"):
        return MaskDecoder(agent).error
    return partial(reconstruction_error, agent)


def _features(node: SkillNode, folder: Path) -> Encoder:
    """psi(s) of a skill prior: a point, not a distribution."""
    # SciPy, which comes with it, takes a second to import; the cable's encoder does without.
    from safe_skills.nodes.skill_model import load_prior

    prior = load_prior(node, folder)
    exactly = np.zeros(prior.config.encoder.features, np.float32)

    def encode(area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return prior.features(shrink(area, prior.frame_size)), exactly

    return Encoder(
        prior.model_id,
        prior.frame_size,
        len(exactly),
        encode,
        load_surprise(folder, prior.model_id),
        lambda area, mean: math.nan,
    )
