"""Whether a robot may be moved: every state with every event, and whatever comes in any order."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from safe_skills.robots.bridge_state import (
    DISABLED,
    ENABLED,
    FAULT,
    PAUSED,
    SETTLED,
    BridgeMachine,
    BridgeState,
    OperatingState,
)
from safe_skills.robots.servo import ServoState

LINK, STATE = 0.1, 0.25
S = BridgeState


def machine(**changes):
    return BridgeMachine(LINK, STATE, **{"supervised": True, **changes})


def ready(now=10.0, **changes):
    """A machine that has nothing against motion at `now`."""
    made = machine(**changes)
    made.operating(OperatingState(ENABLED, True), now - SETTLED)
    made.measured(now)
    made.monitor(now)
    assert made.against(now, moving=False).reason == ""
    return made


# What brings a machine that may move into each state, at time 10.
INTO = {
    "unconnected": (lambda m: m.measured(10.0, "zero stamp"), S.UNCONNECTED),
    "disabled": (lambda m: m.operating(OperatingState(DISABLED, True), 10.0), S.DISABLED),
    "unhomed": (lambda m: m.operating(OperatingState(ENABLED, False), 10.0), S.UNHOMED),
    "ready": (lambda m: None, S.READY),
    "stopped": (lambda m: m.stop(), S.HOLDING),
    "paused": (lambda m: m.operating(OperatingState(PAUSED, True), 10.0), S.HOLDING),
    "fault": (lambda m: m.operating(OperatingState(FAULT, True), 10.0), S.FAULT),
    "missed": (lambda m: setattr(m, "fault", "trajectory not reached"), S.FAULT),
}

# What each event does from each of them; "same": the state stays.
EVENTS = {
    "valid measurement": (lambda m: m.measured(10.0), {"unconnected": S.READY}),
    "invalid measurement": (
        lambda m: m.measured(10.0, "zero stamp"),
        dict.fromkeys(("ready", "stopped", "paused"), S.UNCONNECTED),
    ),
    "told enabled, homed": (
        lambda m: m.operating(OperatingState(ENABLED, True), 10.0),
        {"disabled": S.READY, "unhomed": S.READY, "paused": S.READY, "fault": S.READY},
    ),
    "told enabled, not homed": (
        lambda m: m.operating(OperatingState(ENABLED, False), 10.0),
        {**dict.fromkeys(INTO, S.UNHOMED), "missed": S.FAULT},
    ),
    "told disabled": (
        lambda m: m.operating(OperatingState(DISABLED, False), 10.0),
        {**dict.fromkeys(INTO, S.DISABLED), "missed": S.FAULT},
    ),
    "told something new": (
        lambda m: m.operating(OperatingState("ASLEEP", True), 10.0),
        {**dict.fromkeys(INTO, S.DISABLED), "missed": S.FAULT},
    ),
    "told paused": (
        lambda m: m.operating(OperatingState(PAUSED, True), 10.0),
        dict.fromkeys(("disabled", "unhomed", "ready", "fault"), S.HOLDING),
    ),
    "told fault": (
        lambda m: m.operating(OperatingState(FAULT, False), 10.0),
        dict.fromkeys(INTO, S.FAULT),
    ),
    "told busy": (
        lambda m: m.operating(OperatingState(ENABLED, True, is_busy=True), 10.0),
        dict.fromkeys(("disabled", "unhomed", "ready", "paused", "fault"), S.HOLDING),
    ),
    "monitor's word": (lambda m: m.monitor(10.0), {}),
    "monitor stops": (lambda m: m.stop(), {"ready": S.HOLDING}),
    # Paused by that stop, it waits for an explicit resume.
    "monitor releases": (lambda m: m.release(), {}),
    "resume": (lambda m: m.resume(), {}),
    "robot silent": (
        lambda m: m.measured(10.0 - 2 * STATE),
        {**dict.fromkeys(INTO, S.UNCONNECTED), "fault": S.FAULT, "missed": S.FAULT},
    ),
    "monitor silent": (lambda m: m.monitor(10.0 - 2 * LINK), {"ready": S.HOLDING}),
    "robot does as told": (lambda m: setattr(m, "fault", ""), {"missed": S.READY}),
}


@pytest.mark.parametrize(("start", "event"), [*itertools.product(INTO, EVENTS)])
def test_every_event_in_every_state(start, event):
    made = ready()
    into, state = INTO[start]
    into(made)
    assert made.standing(ServoState.WAITING, 10.0).state is state
    happens, after = EVENTS[event]
    happens(made)
    standing = made.standing(ServoState.WAITING, 10.0)
    assert standing.state is after.get(start, state), standing
    assert bool(standing.reason) == (standing.state is not S.READY)
    assert (made.against(10.0, moving=False).reason == "") == (standing.state is S.READY)


@pytest.mark.parametrize(
    ("motion", "state"),
    [
        (ServoState.WAITING, S.READY),
        (ServoState.MOVING, S.MOVING),
        (ServoState.HOLDING, S.HOLDING),
        (ServoState.UNCONNECTED, S.UNCONNECTED),
    ],
)
def test_where_nothing_is_against_it_the_servo_says_what_is_done(motion, state):
    assert ready().standing(motion, 10.0, hold="no command for 0.25 s").state is state
    vetoed = ready().standing(motion, 10.0, also="another node commands the robot")
    assert vetoed == (S.HOLDING, "another node commands the robot", False)


def test_before_anything_was_heard_nothing_may_move():
    made = machine()
    assert made.standing(ServoState.WAITING, 0.0).state is S.UNCONNECTED
    assert "operating_state" in made.against(0.0, False).reason
    made = machine(supervised=False)
    assert "no measured position" in made.against(0.0, False).reason
    made.measured(0.0)
    assert made.against(0.0, False).reason == "no word of the safety monitor yet"
    made.monitor(0.0)
    assert made.standing(ServoState.WAITING, 0.0).state is S.READY


def test_only_silence_of_the_monitor_may_end_gently():
    made = ready()
    made.monitor(9.0)
    assert made.against(10.0, True).gently
    for into, state in INTO.values():
        made = ready()
        into(made)
        made.monitor(9.0)
        assert made.against(10.0, True).gently == (state is S.READY)


def test_busy_forbids_to_begin_but_not_to_go_on():
    made = ready()
    made.operating(OperatingState(ENABLED, True, is_busy=True), 10.0)
    assert "busy" in made.against(10.0, moving=False).reason
    assert made.against(10.0, moving=True).reason == ""


def test_a_stop_pauses_once_and_only_an_explicit_resume_ends_it():
    made = ready()
    made.stop()
    made.stop()
    assert made.orders(10.0) == ("pause",) and made.orders(10.0) == ()
    made.operating(OperatingState(PAUSED, True), 10.0)
    assert made.resume() == (
        False,
        "not resumed: the safety monitor has stopped the robot, reset it first",
    )
    made.release()
    assert made.against(10.0, False).reason == "the robot was paused by a stop: call resume"
    assert made.resume() == (True, "resume was sent to the robot")
    assert made.orders(10.0) == ("resume",)
    assert made.against(10.0, False).reason == "the robot is PAUSED, resume was sent"
    made.operating(OperatingState(ENABLED, True), 10.0)
    assert made.against(10.0, False).reason == ""


def test_who_pauses_resumes():
    made = ready()
    made.operating(OperatingState(PAUSED, True), 10.0)
    made.stop()
    made.release()
    assert made.orders(10.0) == ()
    assert made.resume()[0] is False and made.orders(10.0) == ()
    assert made.against(10.0, False).reason == "somebody else paused the robot"
    made.operating(OperatingState(ENABLED, True), 10.0)
    assert made.against(10.0, False).reason == ""


def test_a_robot_that_somebody_else_resumed_after_a_stop_still_waits_for_this_bridges_resume():
    made = ready()
    made.stop()
    made.orders(10.0)
    for state in (PAUSED, ENABLED):
        made.operating(OperatingState(state, True), 10.0)
    made.release()
    assert "call resume" in made.against(10.0, False).reason
    assert made.resume() == (True, "the robot may move again") and made.orders(10.0) == ()


def test_a_pause_that_the_robot_has_not_read_yet_is_followed_by_the_resume():
    made = ready()
    made.stop()
    made.release()
    assert made.resume()[0]
    assert made.orders(10.0) == ("pause", "resume")


def test_a_stop_while_the_resume_is_under_way_pauses_again():
    made = ready()
    made.stop()
    made.operating(OperatingState(PAUSED, True), 10.0)
    made.release()
    made.resume()
    made.orders(10.0)
    made.stop()
    assert made.orders(10.0) == ("pause",)
    made.operating(OperatingState(ENABLED, True), 10.0)
    made.release()
    assert "call resume" in made.against(10.0, False).reason


def test_a_robot_that_tells_its_state_after_the_stop_is_paused_then():
    for state, orders in ((ENABLED, ("pause",)), (PAUSED, ()), (DISABLED, ())):
        made = machine()
        made.monitor(10.0)
        made.stop()
        for told in (DISABLED, ENABLED, state):
            made.operating(OperatingState(told, True), 10.0)
        assert made.orders(10.0) == ()
        assert made.orders(20.0) == orders and made.orders(30.0) == ()
    made = machine()
    made.stop()
    made.release()
    made.operating(OperatingState(ENABLED, True), 10.0)
    assert made.orders(20.0) == ()


def test_without_pauses_a_release_is_enough():
    for changes in ({"pauses": False}, {"supervised": False}):
        made = machine(**changes)
        if made.supervised:
            made.operating(OperatingState(ENABLED, True), 9.0)
        made.measured(10.0)
        made.monitor(10.0)
        made.stop()
        made.release()
        assert made.orders(10.0) == () and made.against(10.0, False).reason == ""


def test_after_a_fault_the_robot_waits_for_a_resume():
    made = ready()
    made.operating(OperatingState(FAULT, True), 10.0)
    assert made.resume()[0] is False
    made.operating(OperatingState(ENABLED, True), 11.0)
    made.measured(11.0)
    made.monitor(11.0)
    assert made.against(11.0, False).reason == "the robot was in FAULT: call resume"
    assert made.resume()[0] and made.against(11.0, False).reason == ""


def test_what_a_late_joiner_is_told_of_the_past_counts_for_nothing():
    made = machine(enable=True, home=True)
    made.monitor(10.0)
    for state in ((DISABLED, False), (FAULT, False), (ENABLED, False), (ENABLED, True)):
        made.operating(OperatingState(*state), 10.0)
        assert made.orders(10.0) == ()
    made.measured(20.0)
    made.monitor(20.0)
    assert made.orders(20.0) == () and made.against(20.0, False).reason == ""


@pytest.mark.parametrize(("enable", "home"), [*itertools.product((False, True), repeat=2)])
def test_it_enables_and_homes_only_where_it_is_told_to_and_once(enable, home):
    made = machine(enable=enable, home=home)
    made.operating(OperatingState(DISABLED, False), 0.0)
    assert made.orders(5.0) == ()  # whether the monitor has stopped the robot is not known yet
    made.stop()
    made.monitor(5.0)
    assert made.orders(5.0) == ()
    made.release()
    assert made.orders(5.0) == (("enable",) if enable else ())
    assert made.orders(6.0) == ()
    made.operating(OperatingState(ENABLED, False), 7.0)
    assert made.orders(7.0) == ()
    assert made.orders(9.0) == (("home",) if home else ())
    for state in (DISABLED, ENABLED):
        made.operating(OperatingState(state, False), 10.0)
        assert made.orders(20.0) == ()


class Whatever(RuleBasedStateMachine):
    """Events in any order, beside what a person would have to remember of them."""

    def __init__(self):
        super().__init__()
        self.machine = machine()
        self.now = 0.0
        self.stopped = self.monitor_at = self.robot_at = None
        self.told, self.invalid, self.waits = None, "", False
        self.sent = []

    @rule(passed=st.sampled_from([0.0, 0.05, 0.2, 1.5]))
    def time_passes(self, passed):
        self.now += passed
        self.sent += self.machine.orders(self.now)

    @rule(invalid=st.sampled_from(["", "", "zero stamp"]))
    def measured(self, invalid):
        self.machine.measured(self.now, invalid)
        self.robot_at, self.invalid = self.now, invalid

    @rule(state=st.sampled_from([ENABLED, ENABLED, DISABLED, PAUSED, FAULT]), homed=st.booleans())
    def operating(self, state, homed):
        self.told = OperatingState(state, homed)
        self.machine.operating(self.told, self.now)

    @rule(word=st.sampled_from(["ok", "stop"]))
    def monitor(self, word):
        self.machine.monitor(self.now)
        self.monitor_at = self.now
        began = word == "stop" and not self.stopped
        self.stopped = word == "stop"
        if began and self.told is not None and self.told.state == ENABLED:
            self.waits = True
        (self.machine.stop if self.stopped else self.machine.release)()

    @rule()
    def resume(self):
        taken, line = self.machine.resume()
        assert line and "\n" not in line
        if taken:
            assert not self.stopped
            assert self.told is not None and self.told.state in (ENABLED, PAUSED)
            self.waits = False

    @invariant()
    def it_moves_only_while_all_is_well(self):
        if self.machine.against(self.now, moving=True).reason:
            return
        assert self.told is not None and self.told[:2] == (ENABLED, True)
        assert not self.stopped and not self.waits and not self.invalid
        assert self.now - self.robot_at <= STATE
        assert self.now - self.monitor_at <= LINK

    @invariant()
    def it_never_enables_or_homes(self):
        assert not {"enable", "home"} & set(self.sent)


Whatever.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestWhatever = Whatever.TestCase
