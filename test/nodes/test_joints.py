"""Trajectories are refused where a joint_trajectory_controller refuses them, and in one line."""

import math

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safe_skills.nodes.joints import (
    duration,
    points_from_trajectory,
    reading_from_message,
    trajectory_message,
)
from safe_skills.robots.arm5 import Arm5

NAMES = ("a", "b")
NOW = 10_000_000_000


def trajectory(*points, names=NAMES, stamp=0):
    """Points of (positions, seconds), stamped in nanoseconds."""
    sec, nanosec = divmod(stamp, 1_000_000_000)
    return JointTrajectory(
        header=Header(stamp=Time(sec=sec, nanosec=nanosec)),
        joint_names=list(names),
        points=[
            JointTrajectoryPoint(positions=list(positions), time_from_start=duration(seconds))
            for positions, seconds in points
        ],
    )


def unpack(message):
    return points_from_trajectory(message, NAMES, NOW)


def test_what_is_packed_is_unpacked_bit_for_bit():
    goal = np.array([0.1 + 0.2, -1.0 / 3.0])
    points, times = unpack(trajectory_message(NAMES, goal, 0.05, Time()))
    np.testing.assert_array_equal(points, [goal])
    assert times.tolist() == [0.05]


@pytest.mark.parametrize("seconds", [0.0, 1e-10, 0.05, 1.0 / 3.0, 2.9999999999, 7.0])
def test_a_time_is_never_shortened(seconds):
    packed = duration(seconds)
    assert 0.0 <= packed.sec + packed.nanosec / 1e9 - seconds < 1.1e-9
    assert 0 <= packed.nanosec < 10**9


def test_joints_come_in_any_order():
    points, _ = unpack(trajectory(([1.0, 2.0], 1.0), ([3.0, 4.0], 2.0), names=("b", "a")))
    np.testing.assert_array_equal(points, [[2.0, 1.0], [4.0, 3.0]])


@pytest.mark.parametrize(
    ("stamp", "times"),
    [
        (0, [0.0, 1.0, 2.0]),
        (NOW, [0.0, 1.0, 2.0]),
        (NOW + 500_000_000, [0.5, 1.5, 2.5]),
        (NOW - 500_000_000, [0.5, 1.5]),
        (NOW - 2_000_000_000, [0.0]),
    ],
)
def test_a_stamp_says_when_it_starts_and_points_in_the_past_are_left_out(stamp, times):
    message = trajectory(([0.0, 0.0], 0.0), ([1.0, 1.0], 1.0), ([2.0, 2.0], 2.0), stamp=stamp)
    points, found = unpack(message)
    assert found.tolist() == times
    assert points[-1].tolist() == [2.0, 2.0] and len(points) == len(times)


def with_velocities(last, first=(0.0, 0.0)):
    message = trajectory(([0.0, 0.0], 1.0), ([1.0, 1.0], 2.0))
    message.points[0].velocities = list(first)
    message.points[1].velocities = list(last)
    return message


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (trajectory(([0.0], 1.0), names=("a",)), "all joints a, b, got a"),
        (trajectory(([0.0] * 3, 1.0), names=("a", "b", "c")), "all joints a, b, got a, b, c"),
        (trajectory(([0.0] * 2, 1.0), names=("a", "a")), "all joints a, b, got a, a"),
        (trajectory(([0.0] * 2, 1.0), names=("a", "x")), "all joints a, b, got a, x"),
        (trajectory(([0.0] * 2, 1.0), names=()), r"got \(none\)"),
        (trajectory(), "1 or more points"),
        (trajectory(([0.0], 1.0)), "2 positions a point, got 1"),
        (trajectory(([], 1.0)), "2 positions a point, got 0"),
        (trajectory(([0.0, math.nan], 1.0)), "finite positions"),
        (trajectory(([0.0, math.inf], 1.0)), "finite positions"),
        (trajectory(([0.0] * 2, 1.0), ([0.0] * 2, 1.0)), "times from the start that increase"),
        (trajectory(([0.0] * 2, 2.0), ([0.0] * 2, 1.0)), "times from the start that increase"),
        (trajectory(([0.0] * 2, 1.0), stamp=NOW - 1_500_000_000), "ended 0.500 s ago"),
        (with_velocities((0.0, 0.1)), "ends at rest"),
        (with_velocities((0.0,)), "2 velocities a point or none, got 1"),
        (with_velocities((0.0, 0.0), (0.0, math.nan)), "finite velocities"),
    ],
)
def test_what_a_controller_refuses_is_one_line(message, line):
    with pytest.raises(ValueError, match=line) as caught:
        unpack(message)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("expected ")


def test_a_negative_time_is_refused():
    message = trajectory(([0.0, 0.0], 1.0))
    message.points[0].time_from_start = Duration(sec=-1)
    with pytest.raises(ValueError, match="times from the start"):
        unpack(message)


def test_velocities_on_the_way_are_allowed():
    assert len(unpack(with_velocities((0.0, 0.0), (1.0, 1.0)))[0]) == 2


def test_joint_states_with_a_zero_stamp_are_invalid():
    arm = Arm5()
    message = JointState(name=list(arm.joint_names), position=[0.0] * 5)
    with pytest.raises(ValueError, match="zero stamp"):
        reading_from_message(arm, message)
    message.header.stamp.sec = 1
    assert reading_from_message(arm, message).joints.tolist() == [0.0] * 5
