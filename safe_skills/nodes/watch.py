"""Small observers of a stream of messages: silence and loss, by this host's clock."""

import time
from collections.abc import Callable


class Silence:
    """Tells when a stream falls silent and when it comes back.

    Args:
        timeout: Seconds without a message that count as silence.
        clock: Monotonic seconds.
    """

    def __init__(self, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout = timeout
        self._clock = clock
        self._last = clock()
        self.silent = False

    @property
    def age(self) -> float:
        """Seconds since the last message, or since the start."""
        return self._clock() - self._last

    def feed(self) -> bool:
        """Note a message; True when it ends a silence."""
        self._last = self._clock()
        ended, self.silent = self.silent, False
        return ended

    def begins(self) -> bool:
        """Whether a silence begins now; True once a silence."""
        if self.silent or self.age < self.timeout:
            return False
        self.silent = True
        return True


class DropCounter:
    """Counts messages that never arrived, by gaps in the publisher's sequence numbers."""

    def __init__(self) -> None:
        self.dropped = 0
        self._last: tuple[bytes, int] | None = None

    def count(self, publisher: bytes, sequence: int | None) -> None:
        """Note a message's publisher and sequence number (None where the middleware has none)."""
        if sequence is None:
            return
        if self._last is not None and self._last[0] == publisher:
            self.dropped += max(0, sequence - self._last[1] - 1)
        self._last = (publisher, sequence)


class StopLatch:
    """Remembers a stop; only the publisher that stopped may release it.

    A safety monitor that died while it stopped the robot, and was started again, knows nothing of
    that stop and says "OK": that must not set the robot free.
    """

    def __init__(self) -> None:
        self._stopped_by: bytes | None = None

    @property
    def stopped(self) -> bool:
        """Whether the stop is latched."""
        return self._stopped_by is not None

    def note(self, stopped: bool, publisher: bytes) -> bool:
        """Take a status and who published it; True when it stops or releases."""
        if stopped:
            changed = self._stopped_by != publisher
            self._stopped_by = publisher
            return changed
        if self._stopped_by != publisher:
            return False
        self._stopped_by = None
        return True
