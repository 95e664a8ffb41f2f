"""A camera that shows one picture while the robot moves: fresh by its messages, blind all the same.

A picture that repeats says nothing alone: without noise it does so whenever nothing moves. That the
robot has been measured elsewhere meanwhile contradicts it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np


def picture_digest(data: bytes | bytearray | memoryview) -> int:
    """A number that differs between pictures (CRC-32: one pair in four thousand million agrees)."""
    return zlib.crc32(data)


class FrozenView:
    """How far the robot has moved under a picture that does not change.

    A picture shows the world of a moment ago, so the robot may be ahead of it: what was measured
    counts only after the same picture has come some times more, under new stamps.

    Args:
        limit_m: a robot nearer than this [m] to where it was when the picture came has not moved;
            not negative.
        frames: so many times, at least once, the picture has to come again after the robot moved.

    Raises:
        ValueError: for a limit or a number that cannot be.
    """

    def __init__(self, limit_m: float, frames: int) -> None:
        if not (math.isfinite(limit_m) and limit_m >= 0.0):
            raise ValueError(f"limit_m: expected a length of 0 or more, got {limit_m}")
        if frames < 1:
            raise ValueError(f"frames: expected 1 or more, got {frames}")
        self.limit_m, self.frames = limit_m, frames
        self.reset()

    def reset(self) -> None:
        """Forget all: another camera, another scene, a robot that was set somewhere by hand."""
        self._digest: int | None = None
        self._stamp: int | None = None
        self._position: np.ndarray | None = None
        self._start: np.ndarray | None = None
        self._moved = 0.0
        self._again = 0

    @property
    def distance(self) -> float:
        """How far the robot has been from where the picture first came [m]; 0 while that is right.

        It is above `limit_m` exactly where the view is frozen.
        """
        return self._moved if self._again >= self.frames else 0.0

    def note_image(self, stamp: int, digest: int) -> None:
        """Note a picture.

        Args:
            stamp: of the image [ns]; the same image may come again and counts once.
            digest: by `picture_digest`.
        """
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if digest != self._digest:
            self._digest, self._start = digest, self._position
            self._moved, self._again = 0.0, 0
        elif self._moved > self.limit_m:
            self._again += 1

    def note_position(self, position: Sequence[float] | np.ndarray) -> None:
        """Note where the robot was measured (A,) [m]; what is not finite is passed over."""
        position = np.array(position, np.float64)
        if not np.isfinite(position).all():
            return
        self._position = position
        if self._start is None or self._start.shape != position.shape:
            self._start = position
        self._moved = max(self._moved, float(np.linalg.norm(position - self._start)))
