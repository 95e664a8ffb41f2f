"""Lockstep between a simulator and its controller: one image out, one command in. No ROS here."""

from __future__ import annotations


class Lockstep:
    """Remembers which image waits for its command, and when to show it again.

    Args:
        repeat_after: time without an answer after which the image is due again [s]: a controller
            that was started again, or missed it, takes up the run.
    """

    def __init__(self, repeat_after: float = 0.5) -> None:
        self._repeat_after = repeat_after
        self._stamp: int | None = None
        self._shown_at = 0.0

    @property
    def waiting(self) -> bool:
        """Whether an image waits for its command."""
        return self._stamp is not None

    def show(self, stamp: int, now: float) -> None:
        """An image of this stamp [ns] went out at `now` [s], for the first time or again."""
        self._stamp, self._shown_at = stamp, now

    def answers(self, stamp: int) -> bool:
        """Whether a command of this stamp [ns] answers the image that waits."""
        return stamp == self._stamp

    def answered(self) -> None:
        """The image has its command."""
        self._stamp = None

    def due(self, now: float) -> bool:
        """Whether the image that waits should be shown again."""
        return self.waiting and now - self._shown_at >= self._repeat_after
