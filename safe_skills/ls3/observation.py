"""What an agent sees of a camera frame: the mask of a cable, or the frame, also with those before.

A *view* is what is kept of one frame, bytes; the encoder's *inputs* are made of the views of
consecutive frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from safe_skills.data.vision import MaskConfig, cable_mask, check_image


class Observation(ABC):
    """How frames become views, and views inputs of an encoder.

    Attributes:
        stack: frames that an input is made of.
    """

    stack: int = 1

    @property
    @abstractmethod
    def channels(self) -> int:
        """C, channels of an input."""

    @abstractmethod
    def view(self, image: np.ndarray) -> np.ndarray:
        """What is kept of one camera frame (H, W, 3) uint8 RGB: uint8.

        Raises:
            ValueError: for another shape or type, or a frame that is too small.
        """

    @abstractmethod
    def inputs(self, views: np.ndarray, side: int) -> np.ndarray:
        """Encoder inputs (n, C, side, side) float32 in [0, 1] for n frames in a row."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML, that `observation_from` reads."""


@dataclass(frozen=True)
class MaskObservation(Observation):
    """The mask of the cable (LS3 sec. 7.3.4); views are (size, size).

    Attributes:
        mask: how a frame becomes a mask.
    """

    mask: MaskConfig = MaskConfig()

    @property
    def channels(self) -> int:
        """One."""
        return 1

    def view(self, image: np.ndarray) -> np.ndarray:
        """See `data.vision.cable_mask`."""
        return cable_mask(image, self.mask)

    def inputs(self, views: np.ndarray, side: int) -> np.ndarray:
        """See `Observation.inputs`."""
        shrunk = [_resized(view, side) for view in views]
        return np.stack(shrunk)[:, None].astype(np.float32) / 255.0

    def to_dict(self) -> dict[str, Any]:
        """See `Observation.to_dict`."""
        return {"mask": self.mask.to_dict()}


@dataclass(frozen=True)
class FrameObservation(Observation):
    """The frame itself, shrunk by area (LS3 sec. 5.3); views are (size, size, 3).

    Attributes:
        size: side of a view in pixels.
        stack: frames that the encoder sees at once, the present one last; at the start of an
            episode the first stands for those that are not there (LS3 sec. 7.3.2).
    """

    size: int = 64
    stack: int = 1

    def __post_init__(self) -> None:
        if self.size < 8 or self.stack < 1:
            raise ValueError(
                f"frames: expected a size of at least 8 pixels and a stack of at least 1, got "
                f"{self.size} and {self.stack}"
            )

    @property
    def channels(self) -> int:
        """Three a frame."""
        return 3 * self.stack

    def view(self, image: np.ndarray) -> np.ndarray:
        """See `Observation.view`."""
        check_image(image)
        if min(image.shape[:2]) < self.size:
            raise ValueError(
                f"expected a frame of at least {self.size}x{self.size} pixels, got "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        return _resized(image, self.size)

    def inputs(self, views: np.ndarray, side: int) -> np.ndarray:
        """See `Observation.inputs`; channels are RGB of the oldest frame first."""
        frames = np.stack([_resized(view, side) for view in views]).transpose(0, 3, 1, 2)
        number = np.arange(len(frames))
        before = [frames[np.maximum(number - k, 0)] for k in reversed(range(self.stack))]
        return np.concatenate(before, axis=1).astype(np.float32) / 255.0

    def to_dict(self) -> dict[str, Any]:
        """See `Observation.to_dict`."""
        return {"frames": asdict(self)}


def observation_from(settings: Mapping[str, Any]) -> Observation:
    """Reads what `to_dict` of an observation wrote among other settings.

    Raises:
        KeyError: there is neither "mask" nor "frames".
        TypeError, ValueError: for unknown or wrong values.
    """
    if "frames" in settings:
        return FrameObservation(**settings["frames"])
    return MaskObservation(MaskConfig.from_dict(settings["mask"]))


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[:2] == (side, side):
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
