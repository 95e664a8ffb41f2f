"""Features psi(s) of clean frames, for how far from them another frame's are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from safe_skills.data.segments import Steps
from safe_skills.data.surprise import EncodedFrames
from safe_skills.safer.prior import SkillPrior

BATCH = 256


def encoded_frames(prior: SkillPrior, episodes: Iterable[np.ndarray]) -> EncodedFrames:
    """Features of the frames of whole episodes; psi has no decoder, so there is no error.

    Args:
        prior: encodes them.
        episodes: frames (n, H, H, 3) uint8 RGB of each, of the prior's size.

    Raises:
        ValueError: for frames of another size or type.
    """
    numbers, parts = [], []
    for number, images in enumerate(episodes):
        for first in range(0, len(images), BATCH):
            parts.append(prior.features(images[first : first + BATCH]))
        numbers.append(np.full(len(images), number))
    mean = np.concatenate(parts)
    return EncodedFrames(mean, np.zeros_like(mean), None, np.concatenate(numbers))


@torch.inference_mode()
def encoded_steps(prior: SkillPrior, parts: Iterable[Steps]) -> EncodedFrames:
    """Features of the frames in which steps were decided, which are of the encoder's size already.

    Args:
        prior: encodes them.
        parts: of one data set; no episode is in two of them.
    """
    features, numbers = [], []
    for steps in parts:
        for images in torch.from_numpy(steps.images).split(BATCH):
            features.append(prior.models.encoder(images.to(prior.device)).cpu().numpy())
        numbers.append(steps.episode)
    mean = np.concatenate(features)
    return EncodedFrames(mean, np.zeros_like(mean), None, np.concatenate(numbers))
