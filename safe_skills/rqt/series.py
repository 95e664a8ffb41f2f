"""Bounded memories of streams: curves over the last seconds, rates, own times."""

import math
from collections import deque

import numpy as np


class Series:
    """Values over time: those of the last `seconds`, and `size` at most.

    Args:
        seconds: How far back the memory reaches.
        size: Values kept at most.
    """

    def __init__(self, seconds: float, size: int = 6000) -> None:
        self._seconds = seconds
        self._points: deque[tuple[float, float]] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._points)

    def add(self, now: float, value: float) -> None:
        """Add a value (NaN: unknown) received at `now` [s]."""
        self._points.append((now, value))
        self._forget(now)

    def points(self, now: float) -> np.ndarray:
        """Return (n, 2): seconds before `now` (negative), and values."""
        self._forget(now)
        points = np.array(self._points, float).reshape(-1, 2)
        points[:, 0] -= now
        return points

    def _forget(self, now: float) -> None:
        while self._points and self._points[0][0] < now - self._seconds:
            self._points.popleft()


class Stream:
    """Rate, age and own times of one stream of messages, over a sliding window.

    Args:
        window: Seconds over which rate and times are taken.
    """

    def __init__(self, window: float = 5.0) -> None:
        self._window = window
        self._times = Series(window)
        self._first: float | None = None
        self._last: float | None = None

    def note(self, now: float, seconds: float = math.nan) -> None:
        """Note a message received at `now` that took `seconds` to make (NaN: not measured)."""
        if self._first is None:
            self._first = now
        self._last = now
        self._times.add(now, seconds)

    def age(self, now: float) -> float:
        """Return the seconds since the last message; infinite where none came."""
        return math.inf if self._last is None else max(0.0, now - self._last)

    def rate(self, now: float) -> float:
        """Return messages a second, over what has been seen of the window, 1 s at least."""
        if self._first is None:
            return 0.0
        seen = min(max(now - self._first, 1.0), self._window)
        return len(self._times.points(now)) / seen

    def quantiles(self, now: float) -> tuple[float, float] | None:
        """Return median and 95th percentile of the own times [s]; None where none is known."""
        times = self._times.points(now)[:, 1]
        times = times[np.isfinite(times)]
        if not len(times):
            return None
        return float(np.quantile(times, 0.5)), float(np.quantile(times, 0.95))
