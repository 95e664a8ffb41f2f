"""The arm behind ROS 2 controllers: joints by name, task coordinates, limits of speed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_skills.robots import arm5_kinematics as kinematics
from safe_skills.robots.arm5 import (
    SIMULATED_VELOCITY,
    STEP_LIMIT,
    STEP_TIME,
    WINDUP_MARGIN,
    WORKSPACE,
    Arm5,
)

ARM = Arm5()
OWN = ARM.joint_names + ARM.finger_names
LOW, HIGH = np.array(WORKSPACE).T
HOME = kinematics.inverse(kinematics.downward(np.array([0.21, 0.0, 0.15]), 0.0))

points = st.tuples(*(st.floats(low, high) for low, high in WORKSPACE)).map(np.array)
steps = st.tuples(*(st.floats(-1.0, 1.0) for _ in range(4))).map(np.array)


def reading(joints, fingers=(0.01, 0.02)):
    return ARM.reading(OWN, [*joints, *fingers])


@settings(max_examples=50, deadline=None)
@given(points)
def test_every_set_point_of_the_workspace_is_reached_within_the_joints_limits(point):
    joints = ARM.target(point, near=HOME)
    assert (kinematics.JOINT_LOW <= joints).all() and (joints <= kinematics.JOINT_HIGH).all()
    np.testing.assert_allclose(ARM.position(reading(joints)), point, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(points, steps)
def test_a_step_is_a_small_motion_that_the_simulated_arm_is_allowed_to_make(point, step):
    lead = step * (STEP_LIMIT + WINDUP_MARGIN)
    joints = ARM.target(point, near=HOME)
    goal = ARM.target(np.clip(point + lead, LOW, HIGH), near=joints)
    speed = np.abs(goal - joints) / STEP_TIME
    assert speed.max() < SIMULATED_VELOCITY / 2


@settings(max_examples=50, deadline=None)
@given(st.permutations([*OWN, "gantry", "wheel"]), points)
def test_joints_are_picked_by_name_whatever_the_order(names, point):
    joints = ARM.target(point)
    values = dict(zip(OWN, [*joints, 0.01, 0.02], strict=True))
    found = ARM.reading(names, [values.get(name, math.nan) for name in names])
    np.testing.assert_array_equal(found.joints, joints)
    np.testing.assert_array_equal(found.fingers, [0.01, 0.02])


def test_fingers_may_be_missing_but_not_one_of_them():
    assert ARM.reading(ARM.joint_names, HOME).fingers is None
    with pytest.raises(ValueError, match="both of left_finger and right_finger or neither"):
        ARM.reading([*ARM.joint_names, "left_finger"], [*HOME, 0.0])


@pytest.mark.parametrize(
    ("names", "positions", "line"),
    [
        (OWN[1:], [0.0] * 6, "missing waist among shoulder, elbow"),
        ((), (), r"missing waist, .* among \(none\)"),
        (OWN, [0.0] * 6, "a position for each of 7 names, got 6"),
        ([*OWN, "elbow"], [0.0] * 8, "each joint once, got twice elbow"),
        (OWN, [0.0] * 6 + [math.nan], "expected finite positions"),
        (OWN, [math.inf] + [0.0] * 6, "expected finite positions"),
        ([f"joint{k}" for k in range(7)], [0.0] * 7, "expected joints waist"),
    ],
)
def test_joints_that_cannot_be_used_are_one_line(names, positions, line):
    with pytest.raises(ValueError, match=line) as caught:
        ARM.reading(names, positions)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("joints", "line"),
    [
        (HOME + [0, 0, 0, -0.6, 0], "within 0.524 rad of straight down, got 0.6 rad"),
        (HOME + [1.5, 0, 0, 0, 0], "expected the tool's x within 0.065 to 0.325"),
        (HOME + [2 * math.pi, 0, 0, 0, 0], "expected waist within -3.14 to 3.14 rad, got 6.283"),
        (HOME + [0, 0, 0, 0, 2.6], "expected the tool's yaw within -2.45 to 2.45"),
    ],
)
def test_a_tool_from_where_a_set_point_would_be_a_jump_is_refused(joints, line):
    with pytest.raises(ValueError, match=line) as caught:
        ARM.position(reading(joints))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("point", [(0.2, 0.0, 0.1), (0.2, 0.0, 0.1, math.nan), (0.9, 0, 0.1, 0)])
def test_a_set_point_that_cannot_be_reached_is_refused(point):
    with pytest.raises(ValueError, match="expected"):
        ARM.target(np.array(point))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"joint_names": ["a", "b"]}, "joint_names: expected 5 different names"),
        ({"finger_names": ["waist", "other"]}, "expected . different names"),
        ({"workspace": ((0, 1), (0, 1))}, "workspace: expected 4 x 2 finite numbers"),
        ({"workspace_tolerance": [math.inf] * 4}, "workspace_tolerance: expected 4 finite"),
    ],
)
def test_settings_that_cannot_be_used_are_named(changes, line):
    with pytest.raises(ValueError, match=line):
        Arm5(**changes)
