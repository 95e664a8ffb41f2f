"""Kinematics of the PSM: forward against inverse, numeric differentiation and known poses."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from safe_skills.robots import psm_kinematics as psm
from safe_skills.robots.pose import Pose

SHAFT = psm.TOOL_LENGTH - psm.REMOTE_CENTRE_TO_CARRIAGE
joint_vectors = st.tuples(
    *(st.floats(low, high) for low, high in zip(psm.JOINT_LOW, psm.JOINT_HIGH, strict=True))
).map(np.array)


def test_at_zero_joints_the_tool_points_down_from_the_remote_centre():
    pose = psm.forward([0.0, 0.0, 0.1, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(pose.position, [0.0, 0.0, -(0.1 + SHAFT + 0.0091)], atol=1e-12)
    np.testing.assert_allclose(
        pose.rotation.as_matrix(), [[0, 1, 0], [1, 0, 0], [0, 0, -1]], atol=1e-12
    )


@settings(max_examples=300, deadline=None)
@given(joint_vectors)
def test_inverse_undoes_forward(joints):
    # In the remote centre itself yaw and pitch are not determined.
    assume(abs(joints[2] + SHAFT) > 1e-3)
    found = psm.inverse(psm.forward(joints), near=joints)
    np.testing.assert_allclose(found, joints, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(joint_vectors)
def test_without_a_hint_the_roll_is_the_one_nearest_to_zero(joints):
    assume(abs(joints[2] + SHAFT) > 1e-3)
    found = psm.inverse(psm.forward(joints))
    assert abs(found[3]) <= math.pi + 1e-9
    pose, again = psm.forward(joints), psm.forward(found)
    np.testing.assert_allclose(again.position, pose.position, atol=1e-9)
    assert (again.rotation.inv() * pose.rotation).magnitude() < 1e-8


@settings(max_examples=50, deadline=None)
@given(joint_vectors)
def test_each_joint_moves_the_tool_about_its_axis(joints):
    """Velocities by numeric differentiation against the axes of an arm with a remote centre."""
    yaw, pitch, insertion, roll, wrist_pitch, _ = joints
    shaft = np.array(
        [math.cos(pitch) * math.sin(yaw), -math.sin(pitch), -math.cos(pitch) * math.cos(yaw)]
    )
    sideways = np.array([-math.cos(yaw), 0.0, -math.sin(yaw)])
    wrist = shaft * (insertion + SHAFT)
    pitch_axis = Rotation.from_rotvec(roll * shaft).apply(sideways)
    turned = Rotation.from_rotvec(wrist_pitch * pitch_axis)
    palm = turned.apply(shaft)
    knuckle = wrist + psm.PITCH_TO_YAW * palm
    yaw_axis = np.cross(pitch_axis, palm)
    tool = psm.forward(joints).position
    np.testing.assert_allclose(tool, knuckle, atol=1e-12)
    expected = [
        ((0.0, -1.0, 0.0), np.zeros(3)),
        (sideways, np.zeros(3)),
        None,
        (shaft, wrist),
        (pitch_axis, wrist),
        (yaw_axis, knuckle),
    ]
    step = 1e-6
    for index, about in enumerate(expected):
        offset = np.eye(6)[index] * step
        before, after = psm.forward(joints - offset), psm.forward(joints + offset)
        linear = (after.position - before.position) / (2 * step)
        angular = (after.rotation * before.rotation.inv()).as_rotvec() / (2 * step)
        if about is None:
            axis, velocity = np.zeros(3), shaft
        else:
            axis, point = about
            velocity = np.cross(axis, tool - point)
        np.testing.assert_allclose(linear, velocity, atol=1e-7)
        np.testing.assert_allclose(angular, axis, atol=1e-7)


@pytest.mark.parametrize(
    ("position", "joint"),
    [((0.0, 0.0, -0.3), "insertion"), ((0.0, 0.2, -0.05), "pitch"), ((0.0, 0.0, 0.1), "")],
)
def test_out_of_reach_is_one_line(position, joint):
    pose = Pose(np.array(position), psm.forward([0.0, 0.0, 0.1, 0.0, 0.0, 0.0]).rotation)
    with pytest.raises(psm.UnreachableError, match=f"out of reach: {joint}") as caught:
        psm.inverse(pose)
    assert "\n" not in str(caught.value)


def test_a_pose_in_the_remote_centre_or_not_finite_is_out_of_reach():
    for position in ((0.0, 0.0, 0.0), (math.nan, 0.0, 0.0)):
        with pytest.raises(psm.UnreachableError):
            psm.inverse(Pose(np.array(position), Rotation.identity()))


def test_solutions_stay_within_the_limits_up_to_the_last_digit():
    for joints in (psm.JOINT_LOW, psm.JOINT_HIGH):
        found = psm.inverse(psm.forward(joints), near=joints)
        assert (psm.JOINT_LOW <= found).all() and (found <= psm.JOINT_HIGH).all()


@pytest.mark.parametrize("joints", [[0.0] * 5, [0.0] * 7, [math.nan] + [0.0] * 5])
def test_bad_joints_are_refused(joints):
    with pytest.raises(ValueError, match="expected 6 finite numbers"):
        psm.forward(joints)
