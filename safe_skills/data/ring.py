"""The newest messages of many channels in memory, bounded by age and by bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

OVERHEAD = 250
"""Bytes that an entry takes beside its data: the tuple, its numbers and the header of its bytes."""


class Entry(NamedTuple):
    """A serialized message.

    Attributes:
        channel: number of its channel.
        data: as it came.
        received: when it came [ns].
        published: when it was sent [ns].
        sequence: counted by its publisher; 0 where it is not known.
    """

    channel: int
    data: bytes
    received: int
    published: int
    sequence: int = 0

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self.data) + OVERHEAD


class Ring:
    """Keeps what came within the last seconds, in the order in which it came.

    Whatever channel it belongs to, the oldest goes first where there are more bytes than allowed.
    Of a latched channel the last message is kept beyond its age: without the present state, what
    follows cannot be understood. Together these take half of the bytes at most.

    Args:
        seconds: what is kept.
        max_bytes: of all entries together, their overhead included.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        if seconds <= 0 or max_bytes <= 0:
            raise ValueError(f"expected bounds above 0, got {seconds:g} s and {max_bytes} bytes")
        self.span = round(seconds * 1e9)
        self.max_bytes = max_bytes
        self.bytes = 0
        self.squeezed = 0
        """Entries that left before their time, because of the bytes."""
        self._entries: deque[Entry] = deque()
        self._newest: dict[int, Entry] = {}
        self._kept: dict[int, Entry] = {}
        self._latched: set[int] = set()
        self._now = 0

    def latch(self, channel: int) -> None:
        """Keep the last message of a channel from now on, however old it is."""
        self._latched.add(channel)

    def add(self, entry: Entry) -> None:
        """Take a message; one that is larger than the ring is left out."""
        if entry.size > self.max_bytes:
            self.squeezed += 1
        else:
            self._keep(entry)
        self.forget(entry.received)

    def forget(self, now: int) -> None:
        """Let go of what is too old at `now` [ns], or too much."""
        # A clock that is set back must not make everything seem new for hours.
        self._now = now
        # Where the clock was set back, entries are from the future: they are as good as too old.
        while self._entries and abs(now - self._entries[0].received) > self.span:
            self._drop()
        while self.bytes > self.max_bytes:
            self.squeezed += 1
            if len(self._entries) > 1 and 2 * self._kept_bytes() <= self.max_bytes:
                self._drop()
            elif self._kept:
                self.bytes -= self._kept.pop(next(iter(self._kept))).size
            else:
                self.bytes -= self._entries.popleft().size

    def __len__(self) -> int:
        return len(self._entries) + len(self._kept)

    def __iter__(self) -> Iterator[Entry]:
        """What is kept beyond its age, then the rest in order."""
        yield from self._kept.values()
        yield from self._entries

    @property
    def seconds(self) -> float:
        """Time that it covers at present."""
        return 1e-9 * max(self._now - self._entries[0].received, 0) if self._entries else 0.0

    def _keep(self, entry: Entry) -> None:
        if entry.channel in self._latched:
            self._newest[entry.channel] = entry
            if (old := self._kept.pop(entry.channel, None)) is not None:
                self.bytes -= old.size
        self._entries.append(entry)
        self.bytes += entry.size

    def _kept_bytes(self) -> int:
        return sum(entry.size for entry in self._kept.values())

    def _drop(self) -> None:
        entry = self._entries.popleft()
        if self._newest.get(entry.channel) is entry:
            self._kept[entry.channel] = entry
        else:
            self.bytes -= entry.size
