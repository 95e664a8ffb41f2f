"""The way of a tool to a goal: from where it is measured, in position and orientation bounded."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.interpolation import LONGEST_TICK, MotionLimits
from safe_skills.robots.pose_stream import PoseStream

ARM = DvrkArm((0.05, -0.02, -0.1, 0.0, 0.6, 0.0, 0.8), workspace=((-0.15, 0.18), (-0.14, 0.085)))
PATH, TURN, PERIOD = MotionLimits(0.05, 0.5), MotionLimits(0.3, 3.0), 0.01

within = st.floats(-1.0, 1.0)
places = st.tuples(within, within).map(lambda at: np.array(at) * (0.14, 0.08))
measured = st.builds(
    lambda xy, lift, turn: ARM.target(xy, 0.019 * lift, 0.25 * np.array(turn)),
    places,
    within,
    st.tuples(within, within, within),
)


def made(pose):
    stream = PoseStream(ARM, PATH, TURN, PERIOD)
    stream.start(pose)
    return stream


def apart(first, second):
    """Distance [m] and angle [rad] between two poses."""
    turn = (first.rotation.inv() * second.rotation).magnitude()
    return np.linalg.norm(second.position - first.position), turn


@settings(max_examples=15, deadline=None)
@given(measured, places, st.lists(st.floats(0.0, 0.05), max_size=20))
def test_no_pose_is_out_of_reach_of_the_one_before_and_the_last_is_the_goal(pose, goal, ticks):
    stream, now, before = made(pose), 0.0, pose
    stream.aim(goal)
    for tick in [*ticks, *[PERIOD] * 1000]:
        now += tick
        after = stream.pose(now)
        way, turn = apart(before, after)
        assert way <= PATH.max_speed * LONGEST_TICK * PERIOD + 1e-9
        assert turn <= TURN.max_speed * LONGEST_TICK * PERIOD + 1e-6
        before = after
    way, turn = apart(before, ARM.target(goal))
    assert way < 1e-6 and turn < 1e-5
    np.testing.assert_allclose(stream.position, goal, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(measured, places, st.integers(0, 80))
def test_brought_to_rest_it_says_so_and_stays(pose, goal, count):
    stream = made(pose)
    stream.aim(goal)
    now = 0.0
    for _ in range(count):
        now += PERIOD
        stream.pose(now)
    stream.brake()
    for _ in range(30):
        now += PERIOD
        last = stream.pose(now)
    assert stream.at_rest and stream.active
    # One that is told to stay, or where to go, is not at the end of its way.
    np.testing.assert_allclose(stream.stay(), stream.position)
    assert not stream.at_rest
    for _ in range(5):
        now += PERIOD
        assert max(apart(last, stream.pose(now))) < 1e-6
    stream.forget()
    assert not stream.active and stream.pose(now) is None and stream.position is None


@settings(max_examples=20, deadline=None)
@given(measured)
def test_without_a_goal_it_is_told_to_be_where_it_is_measured(pose):
    stream = made(pose)
    assert max(apart(pose, stream.pose(0.0))) < 1e-6
    assert max(apart(pose, stream.pose(1.0))) < 1e-6
