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


class PacedJoints:
    """Sends joints to one goal after the other, and never faster than they may go.

    A goal that comes while the joints are on their way replaces the one before. A controller goes
    on from where it has told the joints to be, or from where they are measured, which lags behind:
    the time for the way is that from the farther of the two. All times are arguments, in seconds.

    Args:
        max_velocity: (n,) greatest speeds [rad/s].
        least_time: which every way takes [s].

    Raises:
        ValueError: speeds or a time that are not above 0, in one line.
    """

    def __init__(self, max_velocity: ArrayLike, least_time: float) -> None:
        self._max_velocity = np.asarray(max_velocity, dtype=np.float64)
        if not (np.isfinite(self._max_velocity) & (self._max_velocity > 0.0)).all():
            raise ValueError(
                f"max_velocity: expected speeds above 0, got {self._max_velocity.tolist()}"
            )
        if not 0.0 < least_time < np.inf:
            raise ValueError(f"time of a way: expected more than 0 s, got {least_time!r}")
        self.least_time = least_time
        self.forget()

    def forget(self) -> None:
        """Forgets where the joints have been told to go."""
        self._path: JointPath | None = None
        self._begun = 0.0

    def commanded(self, now: float) -> np.ndarray | None:
        """(n,) where the joints have been told to be by now; None where nothing told them."""
        return None if self._path is None else self._path.at(max(now - self._begun, 0.0))

    def go(self, goal: np.ndarray, measured: np.ndarray, now: float) -> float:
        """Takes a goal (n,) and where the joints are measured, (n,); returns the time for it."""
        start = self.commanded(now)
        if start is None:
            start = measured
        way = np.maximum(np.abs(goal - start), np.abs(goal - measured))
        seconds = max(self.least_time, float((way / self._max_velocity).max()))
        self._path, self._begun = JointPath(start, [goal], [seconds]), now
        return seconds
