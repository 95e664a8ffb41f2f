"""Kinematics of the arm of five joints: forward against inverse, the URDF and known poses."""

import math
from xml.etree import ElementTree

import numpy as np
import pybullet
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from safe_skills.paths import urdf_file
from safe_skills.robots import arm5_kinematics as arm5
from safe_skills.robots.pose import Pose

joint_vectors = st.tuples(
    *(st.floats(low, high) for low, high in zip(arm5.JOINT_LOW, arm5.JOINT_HIGH, strict=True))
).map(np.array)
angles = st.floats(-math.pi, math.pi)


def assert_same_pose(one, other):
    np.testing.assert_allclose(one.position, other.position, atol=1e-9)
    assert (one.rotation.inv() * other.rotation).magnitude() < 1e-7


def test_at_zero_joints_upper_arm_up_and_gripper_ahead():
    pose = arm5.forward(np.zeros(5))
    np.testing.assert_allclose(pose.position, [0.05 + 0.2 + 0.165, 0.0, 0.11 + 0.2], atol=1e-12)
    np.testing.assert_allclose(pose.rotation.as_matrix(), np.eye(3), atol=1e-12)


@given(joint_vectors)
def test_inverse_undoes_forward(joints):
    pose = arm5.forward(joints)
    wrist = pose.position - arm5.WRIST_TO_TOOL * pose.rotation.as_matrix()[:, 0]
    # Over the waist's axis its angle is not determined.
    assume(np.hypot(*wrist[:2]) > 1e-3)
    found = arm5.inverse(pose, near=joints)
    assert_same_pose(arm5.forward(found), pose)
    assert np.abs(found - joints).sum() < 1e-6


@given(joint_vectors)
def test_without_a_hint_a_pose_is_reached_all_the_same(joints):
    found = arm5.inverse(arm5.forward(joints))
    assert_same_pose(arm5.forward(found), arm5.forward(joints))
    assert (arm5.JOINT_LOW <= found).all() and (found <= arm5.JOINT_HIGH).all()


@given(st.floats(0.12, 0.28), st.floats(-0.1, 0.1), st.floats(0.0, 0.18), st.floats(-2.0, 2.0))
def test_a_tool_that_points_down_closes_its_fingers_along_the_yaw(x, y, z, yaw):
    pose = arm5.downward(np.array([x, y, z]), yaw)
    assert_same_pose(arm5.forward(arm5.inverse(pose)), pose)
    approach, side, _ = pose.rotation.as_matrix().T
    np.testing.assert_allclose(approach, [0.0, 0.0, -1.0], atol=1e-12)
    np.testing.assert_allclose(side, [-math.sin(yaw), math.cos(yaw), 0.0], atol=1e-12)


def test_neighbouring_poses_have_neighbouring_joints():
    """On a way through the workspace with a turn of the gripper, no joint jumps."""
    joints = None
    for share in np.linspace(0.0, 1.0, 200):
        position = np.array([0.12 + 0.16 * share, 0.1 - 0.2 * share, 0.18 - 0.17 * share])
        found = arm5.inverse(arm5.downward(position, 2.0 - 4.0 * share), near=joints)
        assert joints is None or np.abs(found - joints).max() < 0.05
        joints = found


def test_the_urdf_has_the_same_joints():
    root = ElementTree.parse(urdf_file("arm5.urdf")).getroot()
    limits = {joint.get("name"): joint.find("limit") for joint in root.iter("joint")}
    own = (arm5.JOINT_NAMES, arm5.JOINT_LOW, arm5.JOINT_HIGH, arm5.JOINT_VELOCITY)
    for name, *expected in zip(*own, strict=True):
        found = limits.pop(name).attrib
        assert [float(found[key]) for key in ("lower", "upper", "velocity")] == expected
    for name in arm5.FINGER_NAMES:
        found = limits.pop(name).attrib
        assert float(found["lower"]) == arm5.FINGER_LOW
        assert float(found["upper"]) == arm5.FINGER_HIGH
    assert limits == {"tool": None}


def test_the_urdf_puts_the_tool_where_the_closed_form_does():
    server = pybullet.connect(pybullet.DIRECT)
    try:
        arm = pybullet.loadURDF(str(urdf_file("arm5.urdf")), useFixedBase=True)
        count = pybullet.getNumJoints(arm)
        names = [pybullet.getJointInfo(arm, index)[1].decode() for index in range(count)]
        rng = np.random.default_rng(0)
        for _ in range(50):
            joints = rng.uniform(arm5.JOINT_LOW, arm5.JOINT_HIGH)
            for name, value in zip(arm5.JOINT_NAMES, joints, strict=True):
                pybullet.resetJointState(arm, names.index(name), value)
            state = pybullet.getLinkState(arm, names.index("tool"), computeForwardKinematics=1)
            pose = arm5.forward(joints)
            np.testing.assert_allclose(state[4], pose.position, atol=1e-6)
            assert (pose.rotation.inv() * Rotation.from_quat(state[5])).magnitude() < 1e-5
    finally:
        pybullet.disconnect(server)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ((0.5, 0.0, 0.1), r"the wrist would be 0\.5\d+ m from the shoulder, expected 0\.0062 to"),
        ((0.1, 0.0, 0.3), r"wrist_angle would be 2\.4278 rad, expected -1\.7500 to 2\.1500"),
        ((-0.05, 0.0, 0.05), r"waist would be 3\.1416 rad, expected -3\.1400 to 3\.1400"),
    ],
)
def test_out_of_reach_is_one_line(position, message):
    with pytest.raises(arm5.UnreachableError, match=f"is out of reach: {message}") as caught:
        arm5.inverse(arm5.downward(np.array(position), 0.0))
    assert "\n" not in str(caught.value)


@given(angles, st.floats(0.02, 0.3))
def test_an_approach_out_of_the_arms_plane_is_out_of_reach(bearing, tilt):
    radial = np.array([math.cos(bearing), math.sin(bearing), 0.0])
    turned = Rotation.from_rotvec(tilt * radial) * arm5.downward(np.zeros(3), 0.0).rotation
    with pytest.raises(arm5.UnreachableError, match="out of the arm's plane, expected 0"):
        arm5.inverse(Pose(0.2 * radial + [0.0, 0.0, 0.1], turned))


def test_a_pose_that_is_not_finite_is_out_of_reach():
    with pytest.raises(arm5.UnreachableError, match="expected a finite position"):
        arm5.inverse(Pose(np.array([math.nan, 0.0, 0.0]), Rotation.identity()))


@pytest.mark.parametrize("joints", [[0.0] * 4, [0.0] * 6, [math.nan] + [0.0] * 4])
def test_bad_joints_are_refused(joints):
    with pytest.raises(ValueError, match="expected 5 finite numbers"):
        arm5.forward(joints)
