"""What came of a button: a call is believed when its effect is seen, not when it is answered."""

from __future__ import annotations

from dataclasses import dataclass

from safe_skills.rqt.view import Outcome

PATIENCE = 2.0
"""Time for a service to answer, and for its effect to be seen [s]."""

VERBS = {"e_stop": "Emergency stop", "reset": "Reset", "snapshot": "Snapshot"}

LAST_RESORT = "use the robot's own emergency stop"


@dataclass
class _Call:
    verb: str
    asked: float
    answered: float | None = None


class Buttons:
    """Follows the newest call from the click to its effect."""

    def __init__(self) -> None:
        self._call: _Call | None = None
        self._outcome = Outcome()

    def asked(self, now: float, verb: str) -> None:
        """Note that a service is called: one of `VERBS`."""
        self._call = _Call(verb, now)
        self._outcome = Outcome(f"{VERBS[verb]}: asked ...")

    def answered(self, now: float, verb: str, success: bool, message: str) -> None:
        """Take a service's answer; one to an older call than the newest is left out."""
        if self._call is None or self._call.verb != verb:
            return
        if not success:
            end = f" - {LAST_RESORT}" if verb == "e_stop" else ""
            self._end(f"{VERBS[verb]} REFUSED: {message}{end}", False)
        elif verb != "e_stop":
            self._end(f"{VERBS[verb]}: {message}", True)
        else:
            self._call.answered = now

    def say(self, now: float, text: str, good: bool | None) -> None:
        """Show the outcome of something else, unless a call is still open."""
        if self._call is None:
            self._outcome = Outcome(text, good)

    def outcome(self, now: float, stopped: bool) -> Outcome:
        """Return what to show.

        Args:
            now: Monotonic seconds.
            stopped: Whether a fresh status says STOPPED.
        """
        call = self._call
        if call is None:
            return self._outcome
        name, late = VERBS[call.verb], now - (call.answered or call.asked) > PATIENCE
        end = f" - {LAST_RESORT}" if call.verb == "e_stop" else ""
        if call.verb == "e_stop" and stopped and (call.answered is not None or late):
            self._end(f"{name}: the monitor says STOPPED", True)
        elif late and call.answered is not None:
            self._end(f"{name}: answered, but the monitor does not say STOPPED{end}", False)
        elif late:
            self._end(f"{name}: NO ANSWER in {PATIENCE:.0f} s{end}", False)
        return self._outcome

    def _end(self, text: str, good: bool) -> None:
        self._call, self._outcome = None, Outcome(text, good)
