"""What LS3's encoder cannot explain: the reconstruction error of its beta-VAE (LS3 eq. 7).

The training loss is a mean over all pixels, of which a cable covers one in a hundred: an empty mask
has next to no error, however little it looks like a cable. As a share of what there is to
reproduce, its error is infinite.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from safe_skills.data.surprise import EncodedFrames
from safe_skills.ls3.agent import LS3Agent

BATCH = 256


def unexplained(images: Tensor, reconstruction: Tensor) -> Tensor:
    """|x - x'|^2 / |x|^2 (B,): the squared error of eq. 7 a pixel of what is seen.

    Args:
        images: (B, 1, size, size) in [0, 1].
        reconstruction: same shape.

    Returns:
        0 for a perfect reconstruction, infinity for an image without anything in it.
    """
    error = (images - reconstruction).square().flatten(1).sum(1)
    seen = images.square().flatten(1).sum(1)
    return torch.where(seen > 0, error / seen, torch.inf)


@torch.inference_mode()
def reconstruction_error(agent: LS3Agent, image: np.ndarray, mean: np.ndarray) -> float:
    """The error of one camera frame, decoded from the mean of its latent.

    Args:
        agent: that encoded it.
        image: (H, W, 3) uint8 RGB.
        mean: (d,) of the latent.

    Raises:
        ValueError: as `LS3Agent.encode` does.
    """
    mask = agent.inputs(agent.view(image)[None])
    latents = torch.from_numpy(np.asarray(mean, np.float32)[None]).to(agent.device)
    return float(unexplained(torch.from_numpy(mask).to(agent.device), agent.models.decode(latents)))


@torch.inference_mode()
def encoded_frames(agent: LS3Agent, episodes: Iterable[np.ndarray]) -> EncodedFrames:
    """Latents and errors of the frames of whole episodes.

    Args:
        agent: encodes them.
        episodes: frames (n, H, W, 3) uint8 RGB of each.

    Raises:
        ValueError: as `LS3Agent.encode` does.
    """
    numbers, parts = [], []
    for number, frames in enumerate(episodes):
        views = np.stack([agent.view(frame) for frame in frames])
        images = torch.from_numpy(agent.inputs(views)).to(agent.device)
        for batch in images.split(BATCH):
            mean, stddev = agent.models.encode(batch)
            error = unexplained(batch, agent.models.decode(mean))
            parts.append((mean, stddev, error))
            numbers.append(np.full(len(batch), number))
    mean, stddev, error = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return EncodedFrames(mean, stddev, error.astype(np.float64), np.concatenate(numbers))
