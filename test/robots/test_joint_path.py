"""Straight lines of joint space through points at given times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.robots.joint_path import JointPath, PacedJoints

numbers = st.floats(-3.0, 3.0)


def test_it_passes_through_its_points_in_straight_lines_and_rests_at_the_last():
    path = JointPath([0.0, 0.0], [[1.0, 0.0], [1.0, 4.0]], [2.0, 4.0])
    for time, expected in ((0, (0, 0)), (1, (0.5, 0)), (2, (1, 0)), (3, (1, 2)), (9, (1, 4))):
        np.testing.assert_allclose(path.at(time), expected)
    assert path.duration == 4.0
    np.testing.assert_array_equal(path.goal, [1.0, 4.0])


def test_a_point_at_once_is_a_jump():
    path = JointPath([0.0], [[1.0], [2.0]], [0.0, 1.0])
    assert path.at(0.0) == [1.0] and path.at(0.5) == [1.5]
    assert JointPath([0.0], [[1.0]], [0.0]).at(0.0) == [1.0]


@given(
    st.lists(st.tuples(st.floats(0.01, 5.0), numbers), min_size=1, max_size=5),
    numbers,
    st.floats(0.0, 30.0),
    st.floats(0.0, 0.1),
)
def test_it_is_never_faster_than_its_fastest_segment(segments, start, time, passed):
    gaps, points = zip(*segments, strict=True)
    path = JointPath([start], [[point] for point in points], np.cumsum(gaps))
    fastest = np.abs(np.diff([start, *points]) / np.diff([0.0, *np.cumsum(gaps)])).max()
    assert abs(path.at(time + passed) - path.at(time))[0] <= fastest * passed + 1e-9


@pytest.mark.parametrize(
    ("points", "times", "line"),
    [
        ([], [], "1 or more times"),
        ([[0.0]], [1.0], "a point of 2 joints"),
        ([[0.0, 0.0]], [1.0, 2.0], "2 times"),
        ([[0.0, np.nan]], [1.0], "finite"),
        ([[0.0, 0.0]], [-0.1], "increasing times from 0"),
        ([[0.0, 0.0]] * 2, [1.0, 1.0], "increasing times from 0"),
    ],
)
def test_what_is_no_path_is_refused_in_one_line(points, times, line):
    with pytest.raises(ValueError, match=line):
        JointPath([0.0, 0.0], points, times)


LIMITS = np.array([1.0, 2.0])


def test_the_slowest_joint_and_the_farther_start_decide_on_the_time():
    joints = PacedJoints(LIMITS, 0.05)
    assert joints.commanded(0.0) is None
    assert joints.go(np.array([0.01, 0.0]), np.zeros(2), 0.0) == 0.05
    assert joints.go(np.array([0.5, 2.0]), np.zeros(2), 1.0) == 1.0
    np.testing.assert_allclose(joints.commanded(1.5), [0.255, 1.0])
    # It lags: from where it is measured the way is longer than from where it should be.
    assert joints.go(np.array([0.5, 2.0]), np.array([-1.0, 0.0]), 1.5) == 1.5
    joints.forget()
    assert joints.commanded(2.0) is None


@given(
    st.lists(
        st.tuples(st.floats(0.0, 0.3), st.tuples(numbers, numbers), st.floats(0.0, 1.0)),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_goals_come_when_no_joint_is_told_to_go_faster_than_it_may(goals):
    """Both kinds of controllers: on from where the joints should be, and from where they are."""
    joints, now = PacedJoints(LIMITS, 0.05), 0.0
    measured = np.zeros(2)
    for passed, goal, lag in goals:
        now += passed
        commanded = joints.commanded(now)
        if commanded is not None:
            measured = measured + lag * (commanded - measured)
        seconds = joints.go(np.array(goal), measured, now)
        assert seconds >= 0.05
        for start in (measured, measured if commanded is None else commanded):
            assert (np.abs(np.array(goal) - start) <= LIMITS * seconds + 1e-9).all()
        np.testing.assert_allclose(joints.commanded(now + seconds), goal, atol=1e-9)


def test_speeds_and_times_that_are_none_are_refused():
    for speeds, seconds in (([0.0, 1.0], 1.0), ([np.nan, 1.0], 1.0), ([1.0, 1.0], 0.0)):
        with pytest.raises(ValueError, match="expected"):
            PacedJoints(speeds, seconds)
