"""Features psi(s) of clean frames, for how far from them another frame's are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

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
