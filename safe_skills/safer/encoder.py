"""The state encoder psi(s): a CNN over one frame, shared by the flow and the posterior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safe_skills.safer.config import EncoderConfig


class StateEncoder(nn.Module):
    """Convolutions of 4x4 with stride 2, one linear layer, and a normalization.

    Without the last, features start so small that the flow hears little of the image.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        channels = (3, *config.channels)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(channels[:-1], channels[1:], strict=True):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
        side = config.image_size // 2 ** len(config.channels)
        self.net = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(channels[-1] * side * side, config.features),
            nn.LayerNorm(config.features),
        )
        # oneDNN's convolutions are quicker on channels-last tensors, which images already are.
        self.net.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Features (F, d) for images (F, size, size, 3) uint8 RGB."""
        return self.net(images.permute(0, 3, 1, 2).float() / 255.0 - 0.5)


def shifted(images: Tensor, shifts: Tensor, largest: int) -> Tensor:
    """Images (F, size, size, 3) moved by `shifts` (F, 2) pixels, edges repeated.

    Args:
        images: uint8.
        shifts: whole numbers from 0 to 2 `largest`; `largest` leaves an image where it is.
        largest: of the moves.
    """
    size = images.shape[1]
    pixels = torch.arange(size)
    rows = (pixels + shifts[:, :1] - largest).clamp(0, size - 1)
    columns = (pixels + shifts[:, 1:] - largest).clamp(0, size - 1)
    numbers = torch.arange(len(images))[:, None, None]
    return images[numbers, rows[:, :, None], columns[:, None, :]]
