"""Frames for networks: how they are shrunk and stacked, and the convolutions that see them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from safe_skills.baselines.config import VisionConfig


@dataclass(frozen=True)
class PixelSpaces:
    """What an agent sees and does.

    Attributes:
        vision: how it sees.
        colours: channels of one frame: 3, or 1 of a mask.
        action_dim: A; actions are scaled to [-1, 1].
    """

    vision: VisionConfig
    colours: int
    action_dim: int

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape (C, S, S) of one frame."""
        return (self.colours, self.vision.image_size, self.vision.image_size)

    @property
    def observation(self) -> spaces.Box:
        """Stacked frames (kC, S, S) uint8, which Stable-Baselines3 divides by 255."""
        colours, *sides = self.frame_shape
        return spaces.Box(0, 255, (self.vision.frames * colours, *sides), np.uint8)

    @property
    def action(self) -> spaces.Box:
        """[-1, 1] in every dimension."""
        return spaces.Box(-1.0, 1.0, (self.action_dim,), np.float32)

    def frame(self, picture: np.ndarray) -> np.ndarray:
        """Shrinks a picture (H, W) or (H, W, C) uint8 to (C, S, S).

        Raises:
            ValueError: a picture of another type or number of channels.
        """
        colours = 1 if picture.ndim == 2 else picture.shape[-1]
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or colours != self.colours:
            raise ValueError(
                f"expected a picture with {self.colours} channels, uint8, "
                f"got shape {picture.shape}, {picture.dtype}"
            )
        size = (self.vision.image_size, self.vision.image_size)
        if picture.shape[:2] != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(picture.reshape(*size, colours).transpose(2, 0, 1))


class FrameStack:
    """The last frames of an episode, as one array.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._frames: deque[np.ndarray] = deque(maxlen=count)

    def start(self, frame: np.ndarray) -> np.ndarray:
        """Fills the stack with an episode's first frame (C, S, S); returns (kC, S, S)."""
        self._frames.extend([frame] * self._frames.maxlen)
        return np.concatenate(self._frames)

    def push(self, frame: np.ndarray) -> np.ndarray:
        """Adds the next frame and drops the oldest."""
        self._frames.append(frame)
        return np.concatenate(self._frames)


class PixelEncoder(BaseFeaturesExtractor):
    """Convolutions and one dense layer; every network that learns trains one of its own.

    Args:
        observation_space: of stacked frames (kC, S, S).
        vision: sizes.
    """

    def __init__(self, observation_space: spaces.Box, vision: VisionConfig) -> None:
        super().__init__(observation_space, vision.features)
        layers: list[nn.Module] = []
        inputs, side = observation_space.shape[0], observation_space.shape[1]
        for outputs in vision.channels:
            layers += [
                nn.Conv2d(inputs, outputs, vision.kernel, vision.stride, vision.padding),
                nn.ReLU(),
            ]
            inputs = outputs
            side = (side + 2 * vision.padding - vision.kernel) // vision.stride + 1
        layers += [nn.Flatten(), nn.Linear(inputs * side**2, vision.features), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, observations: Tensor) -> Tensor:
        """Features (B, d) of frames (B, kC, S, S) from 0 to 1."""
        return self.layers(observations)
