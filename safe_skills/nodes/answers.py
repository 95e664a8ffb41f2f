"""The command that answers a frame: once, and once more where the frame is shown again."""

import time
from collections.abc import Callable

from safe_skills.msg import Command
from safe_skills.nodes.conversions import nanoseconds

GATE_FIRST = 0.001
"""Seconds for which a thread sleeps after a command. Where nodes share a process they share its
interpreter, and the gate, which has just been woken, would wait for the status that follows."""

REPEAT_AFTER = 0.25
"""Seconds after which a frame that was answered already is answered again."""


class LastCommand:
    """Remembers the newest command, for a frame that comes again under the same stamp.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[Command, float] | None = None

    def note(self, command: Command) -> None:
        """Remember a command that was just published."""
        self._last = (command, self._clock())

    def forget(self) -> None:
        """Answer no frame again until the next command."""
        self._last = None

    def answers(self, stamp: int) -> bool:
        """Whether the newest command answers the frame of this stamp [ns]."""
        return self._last is not None and nanoseconds(self._last[0].header.stamp) == stamp

    def again(self) -> Command | None:
        """Return the command if it is time to publish it again, and count that as done.

        A repeat that waited while its first copy was being answered needs no second answer.
        """
        command, when = self._last
        if self._clock() - when < REPEAT_AFTER:
            return None
        self.note(command)
        return command
