"""How LS3's encoder sees the pixels of an image, and what its reconstruction error is measured in.

The squared error of LS3 eq. 7 is a mean over all pixels, most of which show a background that never
changes. A thin arm hardly counts then, and its velocity, which shows in the difference between the
frames of a stack, counts even less. Standardized, whatever moves has the same weight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safe_skills.ls3.config import EncoderConfig

LEAST_DEVIATION = 0.3
"""Of a pixel that hardly changes, as a share of the root mean square over the pixels."""
FRAME_CHANNELS = 3
BATCH = 512  # frames whose statistics are taken at once


class PlainPixels(nn.Module):
    """Leaves images as they are (the paper's way)."""

    def forward(self, images: Tensor) -> Tensor:
        """The same images."""
        return images

    def images(self, pixels: Tensor) -> Tensor:
        """The same images."""
        return pixels

    def fit(self, frames: Tensor) -> None:
        """Needs nothing of the training frames."""


class StandardizedPixels(nn.Module):
    """Images less the mean of the training frames, by the deviation of each pixel.

    Pixels that change by less than a share of what pixels change by on the whole count as if they
    changed by that much.

    Args:
        channels: C of an image.
        size: its side.
        differences: whether all frames of a stack but the present one, which is last, become what
            has changed from them to the next frame.
    """

    def __init__(self, channels: int, size: int, differences: bool = False) -> None:
        super().__init__()
        self.differences = differences and channels > FRAME_CHANNELS
        self.register_buffer("mean", torch.zeros(channels, size, size))
        self.register_buffer("deviation", torch.ones(channels, size, size))

    def forward(self, images: Tensor) -> Tensor:
        """Standardized pixels (B, C, size, size) of images in [0, 1]."""
        return (self._differences(images) - self.mean) / self.deviation

    def images(self, pixels: Tensor) -> Tensor:
        """The images that standardized pixels stand for."""
        pixels = pixels * self.deviation + self.mean
        if not self.differences:
            return pixels
        # A frame is the present one less all that has changed since.
        stack = pixels.unflatten(1, (-1, FRAME_CHANNELS))
        changes = stack[:, :-1].flip(1).cumsum(1).flip(1)
        return torch.cat((stack[:, -1:] - changes, stack[:, -1:]), 1).flatten(1, 2)

    def fit(self, frames: Tensor) -> None:
        """Takes mean and deviations from training frames (n, C, size, size), bytes."""
        total, square = torch.zeros(2, *self.mean.shape, dtype=torch.float64)
        for part in frames.split(BATCH):
            values = self._differences(part.to(self.mean.device).float() / 255.0)
            total += values.sum(0, dtype=torch.float64).cpu()
            square += values.square().sum(0, dtype=torch.float64).cpu()
        mean = total / len(frames)
        variance = (square / len(frames) - mean.square()).clamp(min=0.0)
        # Each frame of a stack by itself: differences are smaller than what they are of.
        frame = min(FRAME_CHANNELS, len(mean))
        overall = variance.unflatten(0, (-1, frame)).mean((1, 2, 3)).sqrt()
        least = (LEAST_DEVIATION * overall).clamp(min=1.0 / 255.0).repeat_interleave(frame)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.maximum(variance.sqrt(), least[:, None, None]))

    def _differences(self, images: Tensor) -> Tensor:
        if not self.differences:
            return images
        stack = images.unflatten(1, (-1, FRAME_CHANNELS))
        return torch.cat((stack[:, 1:] - stack[:, :-1], stack[:, -1:]), 1).flatten(1, 2)


def standardization(config: EncoderConfig, channels: int) -> PlainPixels | StandardizedPixels:
    """What `EncoderConfig.pixels` asks for, for images of C channels."""
    if config.pixels == "plain":
        return PlainPixels()
    return StandardizedPixels(channels, config.image_size, config.pixels == "differences")
