"""From a camera frame to the segmentation mask that LS3 sees.

The cable-routing policies of LS3 receive a segmentation mask of the cable, found by colour (LS3
sec. 7.3.4). Training and the camera node call the same functions with the same `MaskConfig`, which
travels inside the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

# Lower and upper bound of (hue, saturation, value), OpenCV's ranges: hue 0..179, the others 0..255.
HsvRange = tuple[tuple[int, int, int], tuple[int, int, int]]

RED: tuple[HsvRange, ...] = (((0, 90, 60), (12, 255, 255)), ((168, 90, 60), (179, 255, 255)))
BLUE: tuple[HsvRange, ...] = (((100, 90, 50), (130, 255, 255)),)


def _checked_ranges(ranges: Sequence[Sequence[Sequence[int]]]) -> tuple[HsvRange, ...]:
    bounds = np.asarray(ranges, dtype=np.int64)
    if bounds.ndim != 3 or bounds.shape[1:] != (2, 3):
        raise ValueError(
            f"HSV ranges must have shape (n, 2, 3) = n x (low, high) x (hue, saturation, value), "
            f"got shape {bounds.shape}"
        )
    if (
        (bounds < 0).any()
        or (bounds > (179, 255, 255)).any()
        or (bounds[:, 0] > bounds[:, 1]).any()
    ):
        raise ValueError(
            f"HSV ranges must satisfy 0 <= low <= high <= (179, 255, 255), got {bounds.tolist()}"
        )
    return tuple((tuple(low), tuple(high)) for low, high in bounds.tolist())


@dataclass(frozen=True)
class MaskConfig:
    """How a camera frame becomes a mask.

    Attributes:
        ranges: HSV ranges that count as the cable; a pixel in any of them does.
        crop: (top, left, height, width) of the task area as shares of the frame, 0 to 1.
        size: side of the square mask in pixels.
    """

    ranges: tuple[HsvRange, ...] = RED
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    size: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", _checked_ranges(self.ranges))
        object.__setattr__(self, "crop", tuple(float(share) for share in self.crop))
        top, left, height, width = self.crop
        inside = min(top, left) >= 0 and max(top + height, left + width) <= 1.0 + 1e-9
        if not (inside and height > 0 and width > 0):
            raise ValueError(
                f"crop must be (top, left, height, width) within the unit square, got {self.crop}"
            )
        if self.size < 8:
            raise ValueError(f"mask size must be at least 8 pixels, got {self.size}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MaskConfig:
        """Builds the configuration from a mapping, as `to_dict` wrote it."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain lists and numbers, ready for YAML."""
        values = asdict(self)
        values["ranges"] = [[list(low), list(high)] for low, high in self.ranges]
        values["crop"] = list(self.crop)
        return values


def check_image(image: np.ndarray) -> None:
    """Raises ValueError unless `image` is a (height, width, 3) uint8 RGB array."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            f"expected an RGB image of shape (height, width, 3) and type uint8, "
            f"got shape {image.shape} and type {image.dtype}"
        )


def hsv_mask(image: np.ndarray, ranges: Sequence[HsvRange]) -> np.ndarray:
    """Marks the pixels whose colour lies in any of `ranges`.

    Args:
        image: (height, width, 3) uint8, RGB.
        ranges: HSV ranges, OpenCV's convention.

    Returns:
        (height, width) uint8, 255 where the colour matches and 0 elsewhere.
    """
    check_image(image)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    mask = np.zeros(image.shape[:2], dtype=np.uint8)
    for low, high in ranges:
        mask |= cv2.inRange(hsv, np.array(low, np.uint8), np.array(high, np.uint8))
    return mask


def crop_image(image: np.ndarray, config: MaskConfig) -> np.ndarray:
    """Cuts the task area out of a frame; raises ValueError where it is smaller than the mask."""
    check_image(image)
    rows, columns = image.shape[:2]
    top, left, height, width = config.crop
    y, x = round(top * rows), round(left * columns)
    cropped = image[y : y + round(height * rows), x : x + round(width * columns)]
    if min(cropped.shape[:2]) < config.size:
        raise ValueError(
            f"expected a frame whose task area is at least {config.size}x{config.size} pixels, "
            f"got {columns}x{rows} with a task area of {cropped.shape[1]}x{cropped.shape[0]}"
        )
    return cropped


def cable_mask(image: np.ndarray, config: MaskConfig) -> np.ndarray:
    """Finds the cable in a camera frame.

    Larger frames are shrunk by area after thresholding, so that a thin cable keeps its weight.

    Args:
        image: (height, width, 3) uint8, RGB, at least as large as the mask.
        config: what to look for and where.

    Returns:
        (size, size) uint8, 0..255: the share of each cell that the cable covers.
    """
    mask = hsv_mask(crop_image(image, config), config.ranges)
    if mask.shape == (config.size, config.size):
        return mask
    return cv2.resize(mask, (config.size, config.size), interpolation=cv2.INTER_AREA)


def pixels_inside(
    mask: np.ndarray, box: tuple[tuple[float, float], tuple[float, float]], span: float
) -> int:
    """Number of marked pixels whose centres lie in a box on the table.

    Args:
        mask: (size, size) not zero where something is seen, from straight above.
        box: ((xmin, xmax), (ymin, ymax)) [m], x to the right and y up in the image, from its
            centre.
        span: half of what the image shows [m].
    """
    rows, columns = np.nonzero(mask)
    pitch = 2.0 * span / mask.shape[0]
    x = (columns + 0.5) * pitch - span
    y = span - (rows + 0.5) * pitch
    (xmin, xmax), (ymin, ymax) = box
    return int(np.count_nonzero((xmin <= x) & (x <= xmax) & (ymin <= y) & (y <= ymax)))
