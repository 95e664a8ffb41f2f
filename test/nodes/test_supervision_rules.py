"""The supervisor over time: whatever the sequence, limits are kept; stops latch; causes count."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_skills.nodes.supervision import SILENCE, Supervisor
from safe_skills.safety import (
    FORMS,
    EmergencyStop,
    GateCommand,
    GateLimits,
    GateState,
    parse_rules,
)

BOX = ((-0.2, 0.2), (-0.2, 0.2))
ZONE = ((0.05, 0.10), (-0.05, 0.05))
REQUIRED = ["emergency_stop", "form", "step", "workspace", "change"]


def make(*rules, stop=None, **limits):
    values = {"constraint_limit": None, "latent_timeout": None, **limits}
    if rules:
        values["rules"] = parse_rules([*REQUIRED, *rules], FORMS)
    return Supervisor(GateLimits(BOX, **values), None, stop or EmergencyStop())


def feed(supervisor, now, position=(0.0, 0.0)):
    supervisor.seen.image(now, 0, 0)
    supervisor.seen.robot(now, position)


def ask(supervisor, now, stamp, action=(0.01, 0.0)):
    feed(supervisor, now)
    return supervisor.judge(now, stamp, GateCommand(action, "task"))


# ---- any sequence

numbers = st.one_of(st.floats(-0.07, 0.07), st.floats(allow_nan=True, allow_infinity=True))
events = st.lists(
    st.tuples(
        st.floats(0.0, 0.3),  # time since the event before
        st.sampled_from([0, 1, 1, 1, 2, -1]),  # stamp since the one before
        st.one_of(st.tuples(numbers, numbers), st.lists(numbers, max_size=3)),
        st.tuples(st.floats(-0.25, 0.25), st.floats(-0.25, 0.25)),
        st.sampled_from(["command", "command", "command", "look", "episode"]),
    ),
    max_size=30,
)


@settings(max_examples=300)
@given(events)
def test_no_sequence_of_commands_gets_past_a_limit(events):
    limits = {
        "velocity_limit": 0.2,
        "velocity_window": 0.5,
        "acceleration_limit": 4.0,
        "keep_out": (ZONE,),
        "robot_timeout": 60.0,
        "image_timeout": 60.0,
    }
    supervisor = make(**limits)
    now, stamp = 100.0, 10
    passed: dict[int, tuple[float, np.ndarray]] = {}  # by stamp: of a repeat the last counts
    previous, before = None, None
    for dt, later, action, position, kind in events:
        now, stamp = now + dt, max(stamp + later, 1)
        feed(supervisor, now, position)
        if kind == "episode":
            supervisor.start_episode(stamp)
            passed.clear()
            previous = before = None
            continue
        if kind == "look":
            assert not supervisor.look(now).decision.action.any()
            continue
        judgement = supervisor.judge(now, stamp, GateCommand(action, "task"))
        if judgement is None:
            continue
        out = judgement.decision.action
        assert out.shape == (2,) and np.isfinite(out).all()
        assert np.abs(out).max() <= 0.03 and np.linalg.norm(out) <= 0.0425
        if stamp not in passed:
            before = previous
        previous = (now, out)
        passed[stamp] = previous
        assert_slow_enough(passed, now, 0.2 * 0.5, 0.5)
        assert_no_jump(before, now, out, 4.0 * 0.1)
        there = np.asarray(position) + out
        if not inside(position):
            assert not inside(there)


def inside(point):
    return all(low + 1e-9 < x < high - 1e-9 for x, (low, high) in zip(point, ZONE, strict=True))


def assert_slow_enough(passed, now, path, window):
    recent = [np.linalg.norm(out) for at, out in passed.values() if now - at < window]
    assert sum(recent) <= path + 1e-9


def assert_no_jump(before, now, out, rate):
    since = 0.1 if before is None else min(now - before[0], 0.1)
    old = np.zeros(2) if before is None else before[1]
    change, length = np.linalg.norm(out - old), np.linalg.norm(out)
    assert change <= rate * since + 1e-9 or length <= np.linalg.norm(old) + 1e-12


# ---- stops


def test_a_rule_that_stops_latches_and_its_reset_waits_until_it_is_kept():
    stop = EmergencyStop()
    supervisor = make("rate stop", stop=stop, rate_limit=2.0)
    states = [ask(supervisor, 100.0 + 0.01 * k, k + 1).decision.state for k in range(4)]
    assert states == [GateState.OK, GateState.OK, GateState.STOPPED, GateState.STOPPED]
    assert stop.cause == "rate" and stop.standing == ("rate",)
    assert not stop.reset()[0]
    # In silence the rate falls; the latch stays.
    assert supervisor.look(100.5).decision.state == GateState.STOPPED
    assert not stop.reset()[0]
    assert supervisor.look(101.5).decision.reasons == ("emergency_stop",)
    assert stop.standing == () and stop.reset()[0]
    assert ask(supervisor, 101.6, 9).decision.state == GateState.OK


def test_the_cause_of_a_bad_command_is_over_when_its_sender_falls_silent():
    stop = EmergencyStop()
    rules = parse_rules(["emergency_stop", "form stop", *REQUIRED[2:]], FORMS)
    supervisor = make(stop=stop, rules=rules)
    assert ask(supervisor, 100.0, 1, (math.nan, 0.0)).decision.state == GateState.STOPPED
    supervisor.look(100.1)
    assert stop.standing == ("not_finite",)
    supervisor.look(100.1 + SILENCE)
    assert stop.standing == () and stop.cause == "not_finite"


# ---- counts


def test_causes_are_counted_when_they_begin_and_anew_in_an_episode():
    supervisor = make(rate_limit=None, violation_budget=None)
    for stamp, action in enumerate([(0.04, 0.0), (0.04, 0.0), (0.01, 0.0), (0.04, 0.0)], start=1):
        ask(supervisor, 100.0 + stamp, stamp, action)
    assert supervisor.counters.causes["step_limit"] == 2
    supervisor.start_episode(10)
    ask(supervisor, 110.0, 10, (0.01, 0.0))
    ask(supervisor, 111.0, 11, (0.04, 0.0))
    counters = supervisor.counters
    assert counters.causes["step_limit"] == 3 and counters.causes_episode["step_limit"] == 1
    copy = counters.copy()
    ask(supervisor, 112.0, 12, (0.01, 0.0))
    ask(supervisor, 113.0, 13, (0.04, 0.0))
    assert (copy.causes["step_limit"], counters.causes["step_limit"]) == (3, 4)


def test_a_budget_of_violations_holds_the_rest_of_the_episode():
    supervisor = make(violation_budget=2.0)
    states = []
    for stamp in range(1, 9):
        action = (math.nan, 0.0) if stamp % 2 else (0.01, 0.0)
        states.append(ask(supervisor, 100.0 + stamp, stamp, action).decision.state)
    assert supervisor.counters.violations_episode == 4
    assert states[1] == states[3] == GateState.OK and states[5] == states[7] == GateState.HOLD
    supervisor.start_episode(20)
    assert ask(supervisor, 120.0, 20).decision.state == GateState.OK


# ---- the robot's way


@pytest.mark.parametrize(
    ("position", "error"),
    [
        ((0.01, 0.0), 0.0),  # at the set-point
        ((0.02, 0.0), 0.0),  # between set-point and goal
        ((0.02, 0.03), 0.03),  # beside the way
        ((-0.02, 0.0), 0.03),  # behind
        ((0.07, 0.0), 0.04),  # beyond
    ],
)
def test_the_robot_is_measured_by_its_way(position, error):
    supervisor = make()
    feed(supervisor, 100.0)
    supervisor.seen.bridge(100.0, "moving", (0.01, 0.0), (0.03, 0.0))
    feed(supervisor, 100.0, position)
    assert supervisor.look(100.0).tracking_error == pytest.approx(error, abs=1e-12)


def test_a_robot_still_on_the_way_before_is_on_its_way():
    supervisor = make()
    feed(supervisor, 100.0)
    supervisor.seen.bridge(100.0, "moving", (0.01, 0.0), (0.03, 0.0))
    supervisor.seen.bridge(100.1, "moving", (0.05, 0.0), (0.05, 0.02))
    feed(supervisor, 100.1, (0.03, 0.0))
    assert supervisor.look(100.1).tracking_error == pytest.approx(0.0, abs=1e-12)
    for state in ("holding", "ready"):
        supervisor.seen.bridge(100.2, state, (0.05, 0.0), (0.05, 0.02))
        assert math.isnan(supervisor.look(100.2).tracking_error)


def test_the_way_is_measured_in_units():
    seen = make(units=(0.025, 1.0)).seen
    seen.robot(100.0, (0.0, 0.0))
    seen.bridge(100.0, "moving", (0.05, 0.0), (0.05, 0.0))
    assert seen.tracking_error() == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [(), (0.1,), (math.nan, 0.0), (0.0, 0.0, 0.0)])
def test_a_way_that_cannot_be_read_is_none(bad):
    seen = make().seen
    seen.robot(100.0, (0.0, 0.0))
    seen.bridge(100.0, "moving", bad, (0.05, 0.0))
    assert math.isnan(seen.tracking_error())


# ---- the picture


def test_a_picture_that_does_not_change_while_the_robot_moves_holds():
    supervisor = make(frozen_limit=0.03, frozen_frames=2)
    states = []
    for k, x in enumerate((0.0, 0.02, 0.04, 0.06, 0.06)):
        supervisor.seen.robot(100.0 + k, (x, 0.0))
        supervisor.seen.image(100.0 + k, k, digest=7)
        states.append(supervisor.look(100.0 + k).decision.reasons)
    assert states == [(), (), (), ("frozen_view",), ("frozen_view",)]
    supervisor.seen.image(106.0, 6, digest=8)
    supervisor.seen.robot(106.0, (0.06, 0.0))
    assert supervisor.look(106.0).decision.state == GateState.OK


def test_other_limits_reach_the_picture_too():
    supervisor = make(frozen_limit=None)
    for k in range(5):
        supervisor.seen.robot(100.0 + k, (0.02 * k, 0.0))
        supervisor.seen.image(100.0 + k, k, digest=7)
    assert supervisor.look(104.0).decision.state == GateState.OK
    supervisor.limits = GateLimits(
        BOX, constraint_limit=None, latent_timeout=None, frozen_limit=0.03
    )
    assert supervisor.look(104.0).decision.reasons == ("frozen_view",)
