"""What ROS callbacks hand over to the panel: a bounded queue, and the newest of what is large."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

SIZE = 8192
"""Entries that may wait; at four times a graph's usual rates that is ten seconds and more."""


class Item(NamedTuple):
    """Something received: when (monotonic seconds), of which kind, and what."""

    received: float
    kind: str
    value: Any


class Inbox:
    """Takes from any thread without waiting for the reader; the reader takes all at once.

    Args:
        size: Entries that may wait; of more the oldest are dropped and counted.
        clock: Monotonic seconds.

    Attributes:
        dropped: Entries lost because nobody took them in time.
    """

    def __init__(self, size: int = SIZE, clock: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self._clock = clock
        self._items: deque[Item] = deque(maxlen=size)
        self._newest: dict[str, Item] = {}
        self._lock = threading.Lock()

    def put(self, kind: str, value: Any) -> None:
        """Add an entry; all of its kind are kept in order."""
        item = Item(self._clock(), kind, value)
        with self._lock:
            self.dropped += len(self._items) == self._items.maxlen
            self._items.append(item)

    def put_newest(self, kind: str, value: Any) -> None:
        """Add an entry that replaces the one of its kind that still waits."""
        item = Item(self._clock(), kind, value)
        with self._lock:
            self._newest[kind] = item

    def drain(self) -> list[Item]:
        """Take everything that waits, in the order of its receipt."""
        with self._lock:
            items = [*self._items, *self._newest.values()]
            self._items.clear()
            self._newest.clear()
        return sorted(items, key=lambda item: item.received)
