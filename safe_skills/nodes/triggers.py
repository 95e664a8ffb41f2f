"""When a black box writes a file: with a tail, and not too often. No ROS in here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Event:
    """What a file is written for.

    Attributes:
        reason: of the first trigger, or of the first stop among them.
        first: when the first trigger came, monotonic [s].
        urgent: whether there is a stop among them.
        count: triggers.
    """

    reason: str
    first: float
    urgent: bool
    count: int = 1


class Triggers:
    """Collects triggers to events, each for one file.

    A file is due some time after its first trigger, so that the reaction is in it. Further triggers
    until then belong to it and put it off, but never so long that what led to the first is gone.
    After a file the next waits for `min_interval`, unless the robot was stopped.

    Args:
        seconds: that are remembered.
        after: of the tail [s].
        min_interval: least time between two files [s].

    Raises:
        ValueError: an event would be forgotten before its file is due.
    """

    def __init__(self, seconds: float, after: float, min_interval: float) -> None:
        if after + min_interval > seconds:
            raise ValueError(
                f"seconds: expected at least after + min_interval = {after + min_interval:g}, "
                f"got {seconds:g}: what led to an event would be forgotten before it is written"
            )
        self._after, self._min_interval = after, min_interval
        self._longest = max(after, seconds / 2)
        self._pending: Event | None = None
        self._latest = 0.0
        self._last_file = -float("inf")

    @property
    def pending(self) -> bool:
        """Whether an event waits for its file."""
        return self._pending is not None

    def note(self, now: float, reason: str, *, urgent: bool = False) -> None:
        """Take a trigger at a time `now`, monotonic [s]; `urgent` where the robot was stopped."""
        self._latest = now
        event = self._pending
        if event is None:
            self._pending = Event(reason, now, urgent)
            return
        event.count += 1
        if urgent and not event.urgent:
            event.reason, event.urgent = reason, True

    def due(self, now: float) -> Event | None:
        """Return the event whose file is to be written at `now`, and forget it."""
        event = self._pending
        if event is None:
            return None
        at = min(self._latest + self._after, event.first + self._longest)
        if not event.urgent:
            at = max(at, self._last_file + self._min_interval)
        return self.take(now) if now >= at else None

    def take(self, now: float) -> Event | None:
        """Return the event that waits, due or not, and forget it."""
        event, self._pending = self._pending, None
        if event is not None:
            self._last_file = now
        return event
