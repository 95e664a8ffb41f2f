"""The emergency stop: a latch that only an operator releases, once its causes are gone."""

from __future__ import annotations


class EmergencyStop:
    """Latches at the first cause; `reset` is refused while any cause stands.

    A cause has a name ("operator", "robot_fault", ...). It stands from `set_cause(name, True)`
    until `set_cause(name, False)`; that alone releases nothing.
    """

    def __init__(self) -> None:
        self._standing: dict[str, None] = {}
        self._latched_by = ""

    @property
    def stopped(self) -> bool:
        """Whether the stop is latched."""
        return bool(self._latched_by)

    @property
    def cause(self) -> str:
        """The cause that latched the stop, empty when it is not latched."""
        return self._latched_by

    @property
    def standing(self) -> tuple[str, ...]:
        """Causes that stand now, the oldest first."""
        return tuple(self._standing)

    def set_cause(self, name: str, stands: bool) -> None:
        """Says whether a cause stands; a standing one latches the stop.

        Raises:
            ValueError: an empty name.
        """
        if not name:
            raise ValueError("cause of an emergency stop: expected a name, got an empty string")
        if stands:
            self._standing.setdefault(name)
            self._latched_by = self._latched_by or name
        else:
            self._standing.pop(name, None)

    def trigger(self, name: str) -> None:
        """Latches the stop for a cause that is over at once, such as a press of a button."""
        self.set_cause(name, True)
        self.set_cause(name, False)

    def reset(self) -> tuple[bool, str]:
        """Releases the latch unless a cause stands.

        Returns:
            Whether the stop is released now, and one line that says so or why not.
        """
        if not self.stopped:
            return True, "the emergency stop is not set"
        if self._standing:
            return False, f"reset refused: {', '.join(self._standing)} still stands"
        cause, self._latched_by = self._latched_by, ""
        return True, f"emergency stop by {cause} released"
