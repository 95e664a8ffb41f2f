"""The emergency stop latches and is released only by a reset without causes."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from safe_skills.safety import EmergencyStop


def test_it_latches_until_reset():
    stop = EmergencyStop()
    assert not stop.stopped
    stop.trigger("operator")
    assert stop.stopped
    assert stop.cause == "operator"
    assert stop.reset() == (True, "emergency stop by operator released")
    assert not stop.stopped


def test_reset_is_refused_while_a_cause_stands():
    stop = EmergencyStop()
    stop.set_cause("robot_fault", True)
    stop.set_cause("operator", True)
    released, line = stop.reset()
    assert not released
    assert line == "reset refused: robot_fault, operator still stands"
    stop.set_cause("robot_fault", False)
    assert not stop.reset()[0]
    stop.set_cause("operator", False)
    assert stop.stopped
    assert stop.reset()[0]
    assert stop.reset() == (True, "the emergency stop is not set")


def test_a_cause_needs_a_name():
    with pytest.raises(ValueError, match="expected a name"):
        EmergencyStop().set_cause("", True)


class AnySequence(RuleBasedStateMachine):
    """Whatever happens in whatever order, only an unhindered reset releases."""

    def __init__(self):
        super().__init__()
        self.stop = EmergencyStop()
        self.standing = set()
        self.latched = False

    @rule(name=st.sampled_from("abc"), stands=st.booleans())
    def cause(self, name, stands):
        self.stop.set_cause(name, stands)
        self.latched |= stands
        (self.standing.add if stands else self.standing.discard)(name)

    @rule()
    def reset(self):
        released, line = self.stop.reset()
        assert "\n" not in line
        assert released == (not self.latched or not self.standing)
        self.latched &= not released

    @invariant()
    def agrees(self):
        assert self.stop.stopped == self.latched
        assert set(self.stop.standing) == self.standing
        assert not self.standing or self.stop.stopped


AnySequence.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestAnySequence = AnySequence.TestCase
