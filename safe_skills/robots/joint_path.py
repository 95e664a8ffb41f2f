"""Motion through joint positions at given times, in straight lines of joint space."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


class JointPath:
    """From where the joints are through points at given times, and then at rest at the last one.

    Args:
        start: (n,) joint positions at time 0.
        points: (k, n) joint positions.
        times: (k,) when to be there, not negative and increasing, in any unit; a first time of 0
            is a jump.

    Raises:
        ValueError: sizes that do not fit, no point, values that are not finite, or times that do
            not increase.
    """

    def __init__(self, start: ArrayLike, points: ArrayLike, times: ArrayLike) -> None:
        self._start = np.asarray(start, dtype=np.float64)
        self._points = np.asarray(points, dtype=np.float64)
        self._times = np.asarray(times, dtype=np.float64)
        size, count = len(self._start), len(self._times)
        if count == 0 or self._points.shape != (count, size):
            raise ValueError(
                f"joint path: expected a point of {size} joints for each of 1 or more times, "
                f"got points of shape {self._points.shape} and {count} times"
            )
        numbers = (self._start, self._points.ravel(), self._times)
        if not np.isfinite(np.concatenate(numbers)).all():
            raise ValueError("joint path: expected finite positions and times, some are not")
        if self._times[0] < 0.0 or (np.diff(self._times) <= 0.0).any():
            raise ValueError(
                f"joint path: expected increasing times from 0, got {self._times.tolist()}"
            )

    @property
    def goal(self) -> np.ndarray:
        """(n,) the last point."""
        return self._points[-1]

    @property
    def duration(self) -> float:
        """Time of the last point."""
        return float(self._times[-1])

    def at(self, time: float) -> np.ndarray:
        """(n,) where the joints are to be at a time, 0 or later."""
        segment = min(int(np.searchsorted(self._times, time, side="right")), len(self._times) - 1)
        origin, begin = self._start, 0.0
        if segment > 0:
            origin, begin = self._points[segment - 1], self._times[segment - 1]
        end = self._times[segment]
        share = 1.0 if time >= end else (time - begin) / (end - begin)
        return origin + share * (self._points[segment] - origin)
