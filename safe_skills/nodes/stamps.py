"""Messages of several topics that answer the same camera frame, brought together by its stamp.

No ROS here; message_filters, which does the like, is not on PyPI.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class StampMatcher:
    """Collects one value of each source for a stamp; each stamp is matched once, in rising order.

    Values may come in any order, between sources and within one, as long as no newer stamp is
    complete before: what is older than the last match is dropped and counted.

    Args:
        names: of the sources.
        depth: stamps that may wait for their other values; of more the oldest is dropped.

    Attributes:
        late: values dropped because their stamp was closed, or a newer one closed or matched.
        unmatched: stamps dropped incomplete, because a newer one was closed or matched, or there
            were too many.
    """

    def __init__(self, names: Iterable[str], depth: int) -> None:
        self.names = tuple(names)
        self.late = 0
        self.unmatched = 0
        self._depth = depth
        self._waiting: dict[int, dict[str, Any]] = {}
        self._closed: int | None = None
        self._matched: int | None = None

    @property
    def waiting(self) -> Mapping[int, Mapping[str, Any]]:
        """Incomplete stamps, the oldest first, with the values that have come."""
        return dict(sorted(self._waiting.items()))

    def put(self, name: str, stamp: int, value: Any) -> dict[str, Any] | None:
        """Takes a value.

        Args:
            name: of its source.
            stamp: of the frame that it answers [ns].
            value: anything; where the source has sent one of this stamp before, it is ignored.

        Returns:
            The values by source, if this one completes its stamp.
        """
        if self._closed is not None and stamp <= self._closed:
            self.late += stamp != self._matched
            return None
        values = self._waiting.setdefault(stamp, {})
        values.setdefault(name, value)
        if len(values) == len(self.names):
            self.close(stamp)
            self._matched = stamp
            return values
        if len(self._waiting) > self._depth:
            del self._waiting[min(self._waiting)]
            self.unmatched += 1
        return None

    def missing(self, stamp: int) -> list[str]:
        """Sources of which a stamp has no value yet."""
        return [name for name in self.names if name not in self._waiting.get(stamp, {})]

    def begin(self, stamp: int) -> None:
        """Matches this stamp and newer ones only, whatever was matched before.

        So a stamp from the future that was matched by mistake bars what follows no longer.
        """
        self._closed = None
        self.close(stamp - 1)

    def close(self, stamp: int) -> None:
        """Matches nothing of this stamp or an older one from here on."""
        self._waiting.pop(stamp, None)
        self._closed = stamp if self._closed is None else max(self._closed, stamp)
        over = [waiting for waiting in self._waiting if waiting <= self._closed]
        for one in over:
            del self._waiting[one]
        self.unmatched += len(over)
