"""The last hop: it moves only with a valid measurement and commands in time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_skills.robots.servo import ServoLimits, ServoState, SetPointServo

BOX = ((-0.15, 0.18), (-0.14, 0.085))
LIMITS = ServoLimits(workspace=BOX, command_timeout=0.5, state_timeout=0.25)


def connected(position=(0.0, 0.0), now=0.0):
    servo = SetPointServo(LIMITS)
    servo.observe(position, now)
    return servo


def test_it_refuses_to_move_without_a_measured_position():
    servo = SetPointServo(LIMITS)
    out = servo.command((0.01, 0.0), 0.0)
    assert out.set_point is None
    assert out.reason.startswith("command refused: expected a valid measured position")
    assert servo.state is ServoState.UNCONNECTED


def test_set_points_add_up_whatever_the_robot_lags():
    servo = connected()
    servo.command((0.02, 0.01), 0.0)
    servo.observe((0.005, 0.002), 0.1)
    out = servo.command((0.02, 0.0), 0.1)
    np.testing.assert_allclose(out.set_point, [0.04, 0.01])
    assert servo.state is ServoState.MOVING


def test_coordinates_can_be_more_than_two_with_limits_of_their_own():
    limits = ServoLimits(
        ((0.1, 0.3), (-0.1, 0.1), (0.0, 0.2), (-2.0, 2.0)),
        max_step=(0.025, 0.025, 0.01, 0.35),
        margin=(0.01, 0.0, 0.01, 0.1),
    )
    servo = SetPointServo(limits)
    assert servo.observe((0.2, 0.0), 0.0) == servo.observe(None, 0.0)
    servo.observe((0.2, 0.0, 0.1, 0.0), 0.0)
    for _ in range(3):
        out = servo.command((1.0, -1.0, 1.0, -1.0), 0.0)
    np.testing.assert_allclose(out.set_point, (0.235, -0.025, 0.12, -0.45))
    assert servo.command((0.01, 0.0), 0.0).reason.startswith("command refused: action: expected 4")


def test_a_blocked_robot_does_not_wind_up():
    servo = connected()
    for step in range(10):
        servo.observe((0.0, 0.0), 0.1 * step)
        out = servo.command((0.02, 0.0), 0.1 * step)
    np.testing.assert_allclose(out.set_point, [0.04, 0.0])


def test_a_step_beyond_the_limit_is_clipped():
    np.testing.assert_allclose(connected().command((0.5, -0.5), 0.0).set_point, [0.03, -0.03])


def test_silence_holds_the_robot_once_and_motion_starts_from_the_measurement():
    servo = connected()
    servo.command((0.03, 0.0), 0.0)
    for now in (0.2, 0.4, 0.5):
        servo.observe((0.01, 0.0), now)
        assert not servo.tick(now).hold
    servo.observe((0.01, 0.0), 0.51)
    assert servo.tick(0.51).hold
    assert servo.state is ServoState.HOLDING
    assert not servo.tick(0.52).hold
    out = servo.command((0.02, 0.0), 0.52)
    np.testing.assert_allclose(out.set_point, [0.03, 0.0])


def test_an_idle_robot_is_resynchronised_even_when_nobody_ticked():
    servo = connected()
    servo.command((0.03, 0.0), 0.0)
    servo.observe((-0.02, 0.0), 0.9)
    np.testing.assert_allclose(servo.command((0.01, 0.0), 1.0).set_point, [-0.01, 0.0])


def test_an_episode_start_forgets_the_set_point():
    servo = connected()
    servo.command((0.03, 0.0), 0.0)
    servo.restart()
    assert servo.state is ServoState.WAITING
    servo.observe((-0.1, 0.0), 0.1)
    np.testing.assert_allclose(servo.command((0.01, 0.0), 0.1).set_point, [-0.09, 0.0])


def test_a_hold_tells_the_robot_and_forgets_the_set_point():
    servo = connected()
    servo.command((0.03, 0.0), 0.0)
    assert servo.hold().hold
    assert servo.state is ServoState.HOLDING
    np.testing.assert_allclose(servo.command((0.0, 0.01), 0.1).set_point, [0.0, 0.01])


@pytest.mark.parametrize("position", [None, (np.nan, 0.0), (0.0,), (0.0, 0.0, 0.0)])
def test_an_invalid_measurement_stops_motion_once(position):
    servo = connected()
    servo.command((0.03, 0.0), 0.0)
    assert servo.observe(position, 0.1).hold
    assert servo.state is ServoState.UNCONNECTED
    assert not servo.observe(position, 0.2).hold
    assert servo.command((0.01, 0.0), 0.2).set_point is None
    servo.observe((0.0, 0.0), 0.3)
    assert servo.state is ServoState.WAITING


def test_a_measurement_that_grew_old_stops_motion_once():
    servo = connected()
    servo.command((0.03, 0.0), 0.0)
    assert not servo.tick(0.25).hold
    out = servo.command((0.01, 0.0), 0.26)
    assert out.hold
    assert out.set_point is None
    assert not servo.tick(0.3).hold


@pytest.mark.parametrize("action", [(np.nan, 0.0), (0.0,), None, ("a", "b"), (0.0, np.inf)])
def test_a_command_that_is_no_displacement_is_refused_in_one_line(action):
    servo = connected()
    servo.command((0.01, 0.0), 0.0)
    out = servo.command(action, 0.1)
    assert out.set_point is None
    assert out.reason.startswith("command refused: ")
    assert "\n" not in out.reason
    np.testing.assert_allclose(servo.set_point, [0.01, 0.0])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"workspace": ((1, 0), (0, 1))}, "workspace: expected"),
        ({"workspace": (0.0, 1.0)}, "workspace: expected"),
        ({"max_step": 0.0}, "max_step: expected 1e-06 to 1"),
        ({"max_step": (0.01, 0.0)}, "max_step: expected 1e-06 to 1"),
        ({"max_step": (0.01,) * 3}, "max_step: expected one number or 2"),
        ({"margin": float("nan")}, "margin: expected 0 to 1"),
        ({"command_timeout": None}, "command_timeout: expected 0.001 to 3600"),
    ],
)
def test_bad_limits_are_named(changes, line):
    with pytest.raises(ValueError, match=line):
        ServoLimits(**{"workspace": BOX, **changes})


events = st.lists(
    st.tuples(
        st.sampled_from(["observe", "lose", "command", "tick", "hold", "restart"]),
        st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
        st.floats(0.0, 0.4),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(events)
def test_whatever_happens_set_points_stay_near_a_fresh_measurement(sequence):
    servo, now = SetPointServo(LIMITS), 0.0
    measured = None
    for event, vector, passed in sequence:
        now += passed
        if event == "observe":
            servo.observe(vector, now)
            measured = (np.array(vector), now)
        elif event == "lose":
            servo.observe(None, now)
            measured = None
        elif event == "command":
            out = servo.command(vector, now)
            if out.set_point is not None:
                position, at = measured
                assert now - at <= LIMITS.state_timeout
                low, high = np.array(BOX).T
                assert (low <= out.set_point).all() and (out.set_point <= high).all()
                near = np.clip(position, low, high)
                assert np.abs(out.set_point - near).max() <= 0.04 + 1e-8
            else:
                assert out.reason
        else:
            getattr(servo, event)(*([now] if event == "tick" else []))
