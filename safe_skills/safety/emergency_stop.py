"""The emergency stop: a latch that only an operator releases, and the proof that it arrived."""

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


class HoldProof:
    """Whether a stop has reached the robot: its own topic has carried a hold since.

    Args:
        patience: time from the stop in which the hold has to be seen [s].
    """

    def __init__(self, patience: float = 0.5) -> None:
        self.patience = patience
        self._stopped_at: float | None = None
        self._told = False
        self.verified = False

    def note(self, stopped: bool, now: float) -> None:
        """Says whether the stop is latched."""
        if not stopped:
            self._stopped_at, self.verified = None, False
        elif self._stopped_at is None:
            self._stopped_at, self._told = now, False

    def hold_seen(self) -> None:
        """Says that the robot was told to hold."""
        self.verified = self._stopped_at is not None

    def fails(self, now: float) -> bool:
        """Whether the patience has run out without a hold; True once a stop."""
        if self._stopped_at is None or self.verified or self._told:
            return False
        self._told = now - self._stopped_at > self.patience
        return self._told
