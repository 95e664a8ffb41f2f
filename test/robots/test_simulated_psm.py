"""The simulated arm: states, refusals, and moves within the speed limits."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from safe_skills.robots import psm_kinematics as psm
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.pose import Pose
from safe_skills.robots.simulated_psm import JointTrajectory, NotReadyError, SimulatedPsm

ARM = DvrkArm(workspace=((-0.15, 0.18), (-0.14, 0.085)))


@pytest.fixture
def robot():
    made = SimulatedPsm(ARM)
    made.place(np.array([0.05, 0.02]))
    return made


def test_a_set_point_travels_through_the_arms_frame_unchanged(robot):
    for xy in np.round(np.random.default_rng(0).uniform(-0.13, 0.08, (200, 2)), 9):
        robot.servo_cp(ARM.target(xy))
        assert robot.plane_set_point.tolist() == xy.tolist()


def test_measured_pose_follows_the_physics_in_the_plane_and_the_set_point_otherwise(robot):
    pose = ARM.in_task(ARM.target(np.array([0.06, 0.02])))
    tilted = Rotation.from_rotvec([0.0, 0.0, 0.2]) * pose.rotation
    robot.servo_cp(ARM.in_arm(Pose(pose.position + [0.0, 0.0, 0.01], tilted)))
    robot.track(np.array([0.055, 0.021]))
    measured = ARM.in_task(robot.measured)
    np.testing.assert_allclose(measured.position, [0.055, 0.021, 0.025], atol=1e-12)
    assert (measured.rotation.inv() * tilted).magnitude() < 1e-9
    np.testing.assert_allclose(
        psm.forward(robot.measured_joints).position, robot.measured.position, atol=1e-9
    )


def test_an_unreachable_pose_is_an_error_and_no_motion(robot):
    before = robot.set_point
    pose = ARM.target(np.array([0.0, 0.0]))
    with pytest.raises(ValueError, match="out of reach"):
        robot.servo_cp(Pose(pose.position + [0.0, 0.0, -0.2], pose.rotation))
    assert robot.set_point is before


COMMANDS = {
    "servo_cp": lambda robot: robot.servo_cp(ARM.target(np.zeros(2))),
    "move_cp": lambda robot: robot.move_cp(ARM.target(np.zeros(2))),
    "servo_jp": lambda robot: robot.servo_jp(np.array([0, 0, 0.1, 0, 0, 0])),
    "move_jp": lambda robot: robot.move_jp(np.array([0, 0, 0.1, 0, 0, 0])),
    "jaw/servo_jp": lambda robot: robot.jaw_servo_jp(0.5),
    "jaw/move_jp": lambda robot: robot.jaw_move_jp(0.5),
    "hold": lambda robot: robot.hold(),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("leave", ["disable", "pause", "unhome"])
def test_commands_are_ignored_unless_enabled_and_homed(robot, name, leave):
    robot.state_command(leave)
    before = (robot.set_point, robot.jaw)
    with pytest.raises(NotReadyError, match=f"^{name} ignored: expected the arm to be ENABLED"):
        COMMANDS[name](robot)
    robot.advance(10.0)
    assert (robot.set_point, robot.jaw) == before


def test_states_follow_commands():
    robot = SimulatedPsm(ARM, "DISABLED")
    assert not robot.ready
    assert robot.state_command("enable") == "enable: the arm is ENABLED"
    assert not robot.ready
    assert robot.state_command("home") == "home: the arm is ENABLED, homed"
    assert robot.ready
    with pytest.raises(NotReadyError, match="resume ignored: expected state PAUSED"):
        robot.state_command("resume")
    robot.state_command("pause")
    with pytest.raises(NotReadyError, match="pause ignored: expected state ENABLED"):
        robot.state_command("pause")
    robot.state_command("resume")
    assert robot.ready
    with pytest.raises(ValueError, match="expected one of enable, disable, home"):
        robot.state_command("explode")
    with pytest.raises(ValueError, match="initial_state: expected ENABLED or DISABLED"):
        SimulatedPsm(ARM, "FAULT")


def test_leaving_the_ready_state_stops_a_move_where_it_is(robot):
    robot.move_cp(ARM.target(np.array([-0.1, -0.1])))
    robot.advance(0.1)
    robot.track(np.array([0.04, 0.01]))
    robot.state_command("disable")
    assert not robot.is_busy
    np.testing.assert_allclose(robot.plane_set_point, [0.04, 0.01], atol=1e-9)


def test_hold_takes_the_measured_pose_as_the_set_point(robot):
    robot.servo_cp(ARM.target(np.array([0.08, 0.02])))
    robot.track(np.array([0.06, 0.02]))
    robot.hold()
    np.testing.assert_allclose(robot.plane_set_point, [0.06, 0.02], atol=1e-9)


def test_a_joint_command_beyond_a_limit_is_clamped_with_a_warning(robot):
    warning = robot.servo_jp(np.array([0.0, 2.0, 0.1, 0.0, 0.0, -2.0]))
    assert warning == "servo_jp: clamped to the limits of pitch, wrist_yaw"
    np.testing.assert_allclose(
        robot.set_point_joints, [0.0, 0.925025, 0.1, 0.0, 0.0, -1.39626], atol=1e-9
    )
    assert robot.jaw_servo_jp(2.0) == "jaw/servo_jp: clamped to the limits of jaw"
    assert robot.jaw == math.radians(60.0)
    with pytest.raises(ValueError, match="expected a finite angle"):
        robot.jaw_servo_jp(math.nan)


def test_moves_arrive_in_joint_space_within_the_speed_limits(robot):
    goal = ARM.target(np.array([-0.1, -0.05]))
    robot.move_cp(goal)
    robot.jaw_move_jp(0.4)
    joints, jaws = [robot.set_point_joints], [robot.jaw]
    while robot.is_busy:
        robot.advance(0.01)
        joints.append(robot.set_point_joints)
        jaws.append(robot.jaw)
        assert len(joints) < 500
    np.testing.assert_allclose(robot.set_point.position, goal.position, atol=1e-9)
    assert robot.jaw == 0.4
    assert (np.abs(np.diff(joints, axis=0)) <= psm.JOINT_VELOCITY * 0.01 + 1e-9).all()
    assert (np.abs(np.diff(jaws)) <= psm.JAW_VELOCITY * 0.01 + 1e-9).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 3)), min_size=1),
    st.floats(-1.0, 10.0),
)
@example([(0.0, 5e-324, 2.0)], 0.0)
def test_a_trajectory_is_monotonous_and_within_its_speeds(joints, time):
    start, goal, velocity = np.array(joints).T
    path = JointTrajectory(start, goal, velocity)
    now, later = path.position(time), path.position(time + 1e-3)
    assert (np.abs(later - now) <= velocity * 1e-3 + 1e-9).all()
    assert ((later - now) * (goal - start) >= -1e-12).all()
    np.testing.assert_array_equal(path.position(path.duration), goal)
    np.testing.assert_allclose(path.position(0.0), start if path.duration else goal)


@pytest.mark.parametrize(
    "values",
    [[0] * 6, [0] * 7, [0, 0, 0, 0, 0, 0, math.nan], "abcdefg", None, [[0] * 7], [0] * 6 + [1.01]],
)
def test_a_pose_from_bad_values_is_refused_in_one_line(values):
    with pytest.raises(ValueError, match="^thing: expected") as caught:
        Pose.from_values(values, "thing")
    assert "\n" not in str(caught.value)


def test_a_pose_times_its_inverse_is_the_identity():
    pose = Pose.from_values((0.1, -0.2, 0.3, 0.5, -0.5, 0.5, 0.5))
    back = pose @ pose.inverse()
    np.testing.assert_allclose(back.position, np.zeros(3), atol=1e-15)
    np.testing.assert_allclose(back.quaternion, [0, 0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(pose.quaternion, [0.5, -0.5, 0.5, 0.5])
