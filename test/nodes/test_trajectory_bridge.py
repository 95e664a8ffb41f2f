"""The last hop to the arm over real DDS: it moves only as far and as fast as it may."""

import math

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory

from safe_skills.msg import Command, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.trajectory_bridge import TrajectoryBridge
from safe_skills.robots import arm5_kinematics as kinematics
from safe_skills.robots.arm5 import Arm5

ARM = Arm5(workspace_tolerance=[1.0] * 4)
NAMES = ARM.joint_names + ARM.finger_names
CENTRE = np.array([0.21, 0.0, 0.15, 0.0])
OPEN, CLOSED = 0.035, 0.0
UP = (0.0, 0.0, 0.01, 0.0, 0.0)
CALM = dict.fromkeys(
    ("command_timeout", "state_timeout", "link_timeout", "goal_time", "gripper_timeout"), 60.0
)


def start(graph, **parameters):
    node = graph.start(TrajectoryBridge, **{**CALM, **parameters})
    assert node.is_active, node.fault
    graph.moves = graph.collect(JointTrajectory, "arm_controller/joint_trajectory", qos.LOG)
    graph.grips = graph.collect(JointTrajectory, "gripper_controller/joint_trajectory", qos.LOG)
    graph.matched(node)
    return node


@pytest.fixture
def bridge(graph):
    return start(graph)


def measure(graph, point=CENTRE, fingers=(OPEN, OPEN), **changes):
    """Publishes joint states with the tool at (x, y, z, yaw); returns the joints."""
    joints = ARM.target(np.asarray(point))
    message = JointState(name=list(NAMES), position=[*joints, *fingers])
    message.header.stamp = graph.stamp()
    for name, value in changes.items():
        if name == "stamp":
            message.header.stamp = value
        else:
            setattr(message, name, value)
    graph.publish("joint_states", message, qos.CRTK_STATE)
    return joints


def command(graph, action, stamp=None, frame="task"):
    message = Command(header=Header(stamp=stamp or graph.stamp(), frame_id=frame))
    message.action = [float(entry) for entry in action]
    graph.publish("command_safe", message, qos.COMMAND)
    return message.header.stamp


def new_episode(graph):
    graph.publish("episode_start", Header(stamp=graph.stamp()), qos.EVENT)


def safety(graph, state):
    graph.publish("safety_status", SafetyStatus(state=state), qos.STATUS)


def joints_of(message):
    (point,) = message.points
    return np.array(point.positions)


def tool_of(message):
    return ARM.position(ARM.reading(message.joint_names, list(message.points[0].positions)))


def seconds_of(message):
    passed = message.points[0].time_from_start
    return passed.sec + passed.nanosec / 1e9


def errors(lines):
    return [text for severity, text in lines if severity == "ERROR"]


def test_displacements_add_up_from_the_measured_tool(graph, bridge):
    measure(graph)
    command(graph, (0.01, -0.02, 0.005, 0.1, 0.0))
    command(graph, (0.0, 0.0, -0.01, 0.1, 0.0))
    np.testing.assert_allclose(
        [tool_of(message) for message in graph.moves],
        [(0.22, -0.02, 0.155, 0.1), (0.22, -0.02, 0.145, 0.2)],
        atol=1e-8,
    )
    first = graph.moves[0]
    assert list(first.joint_names) == list(kinematics.JOINT_NAMES)
    assert nanoseconds(first.header.stamp) == 0
    assert seconds_of(first) >= 0.05
    assert graph.grips == []


def test_steps_and_lead_are_limited_an_axis_each(graph, bridge):
    measure(graph)
    for _ in range(3):
        command(graph, (1.0, -1.0, 1.0, 1.0, 0.0))
    np.testing.assert_allclose(
        tool_of(graph.moves[0]), CENTRE + [0.025, -0.025, 0.025, 0.35], atol=1e-8
    )
    np.testing.assert_allclose(
        tool_of(graph.moves[-1]), CENTRE + [0.035, -0.035, 0.035, 0.45], atol=1e-8
    )


def test_no_joint_is_told_to_go_faster_than_it_may_whatever_it_lags(graph):
    limits = np.array([0.5, 1.0, 1.0, 2.0, 0.5])
    start(graph, max_velocity=limits.tolist())
    rng = np.random.default_rng(0)
    measured = measure(graph)
    commanded = measured
    for _ in range(12):
        action = rng.uniform(-1.0, 1.0, 4) * (0.025, 0.025, 0.025, 0.35)
        command(graph, (*action, 0.0))
        goal, seconds = joints_of(graph.moves[-1]), seconds_of(graph.moves[-1])
        assert (np.abs(goal - measured) <= limits * seconds + 1e-9).all()
        assert seconds > 0.05
        # The arm lags: it is measured half way between where it was and where it was to go.
        tool = (tool_of(graph.moves[-1]) + ARM.position(ARM.reading(NAMES[:5], measured))) / 2
        measured = measure(graph, tool)
        commanded = goal
    assert (np.abs(commanded) <= kinematics.JOINT_HIGH).all()


def test_a_set_point_out_of_reach_is_refused_and_holds_the_arm(graph, lines):
    start(
        graph, workspace=[0.1, 0.9, -0.2, 0.2, 0.0, 0.3, -2.0, 2.0], workspace_tolerance=[0.0] * 4
    )
    measured = measure(graph, CENTRE)

    def too_far():
        command(graph, (0.025, 0.0, 0.0, 0.0, 0.0))
        if errors(lines):
            return True
        nonlocal measured
        measured = measure(graph, tool_of(graph.moves[-1]))
        return False

    assert graph.until(too_far, 10.0)
    assert "is out of reach" in errors(lines)[0]
    np.testing.assert_array_equal(joints_of(graph.moves[-1]), measured)
    moves = len(graph.moves)
    command(graph, (-0.02, 0.0, 0.0, 0.0, 0.0))
    assert len(graph.moves) == moves + 1


def test_joints_come_by_name_in_any_order_among_others(graph, bridge):
    joints = ARM.target(CENTRE)
    values = {**dict(zip(NAMES, [*joints, OPEN, OPEN], strict=True)), "gantry": math.nan}
    names = sorted(values)
    measure(graph, name=names, position=[values[name] for name in names])
    command(graph, UP)
    np.testing.assert_allclose(tool_of(graph.moves[0]), CENTRE + [0, 0, 0.01, 0], atol=1e-8)


def test_without_joint_states_nothing_moves(graph, bridge, lines):
    command(graph, (*UP[:4], 1.0))
    assert graph.moves == graph.grips == []
    assert errors(lines) == ["command refused: no measured position yet"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"name": [f"joint{k}" for k in range(7)]}, "expected joints waist"),
        ({"name": ["waist"], "position": [0.0]}, "missing shoulder, elbow"),
        ({"position": [0.0] * 3}, "a position for each of 7 names"),
        ({"position": [math.nan] * 7}, "finite positions"),
        ({"stamp": JointState().header.stamp}, "zero stamp"),
        ({"position": [0.0] * 7}, "of straight down"),
        ({"position": [0.0] * 4 + [1e7, 0.0, 0.0]}, "expected wrist_rotate within"),
    ],
)
def test_joint_states_that_cannot_be_used_hold_the_arm_and_good_ones_release_it(
    graph, bridge, lines, changes, line
):
    good = measure(graph)
    command(graph, UP)
    measure(graph, **changes)
    assert len(graph.moves) == 2
    np.testing.assert_array_equal(joints_of(graph.moves[-1]), good)
    command(graph, UP)
    assert len(graph.moves) == 2
    assert any(text.startswith("joint_states refused: ") and line in text for text in errors(lines))
    measure(graph)
    command(graph, UP)
    assert len(graph.moves) == 3


@pytest.mark.parametrize(
    ("action", "frame"),
    [
        (UP[:4], "task"),
        ((math.nan, 0.0, 0.0, 0.0, 0.0), "task"),
        ((0.0, 0.0, 0.0, 0.0, math.inf), "task"),
        (UP, "camera"),
    ],
)
def test_a_bad_command_is_one_line_and_no_motion(graph, bridge, lines, action, frame):
    measure(graph)
    for _ in range(3):
        command(graph, action, frame=frame)
    assert graph.moves == graph.grips == []
    assert len(errors(lines)) == 1 and errors(lines)[0].startswith("command refused: expected")


def test_when_commands_stop_it_holds_once_where_the_arm_is_measured(graph):
    start(graph, command_timeout=0.3)
    measure(graph)
    command(graph, UP)
    measured = measure(graph, CENTRE + [0, 0, 0.004, 0])
    assert graph.until(lambda: len(graph.moves) == 2)
    graph.spin(0.6)
    assert len(graph.moves) == 2
    np.testing.assert_array_equal(joints_of(graph.moves[-1]), measured)
    command(graph, UP)
    np.testing.assert_allclose(tool_of(graph.moves[-1]), CENTRE + [0, 0, 0.014, 0], atol=1e-8)


def test_when_joint_states_stop_it_holds_where_the_arm_has_been_told_to_be(graph):
    start(graph, state_timeout=1.0)
    measure(graph)
    command(graph, UP)
    assert graph.until(lambda: len(graph.moves) == 2)
    np.testing.assert_array_equal(joints_of(graph.moves[1]), joints_of(graph.moves[0]))
    command(graph, UP)
    assert len(graph.moves) == 2


def test_a_stop_holds_at_once_until_the_same_monitor_releases_it(graph, bridge):
    measured = measure(graph)
    command(graph, UP)
    safety(graph, SafetyStatus.STOPPED)
    np.testing.assert_array_equal(joints_of(graph.moves[-1]), measured)
    command(graph, (*UP[:4], -1.0))
    assert len(graph.moves) == 2 and graph.grips == []
    safety(graph, SafetyStatus.OK)
    command(graph, UP)
    assert len(graph.moves) == 3


def test_a_repeat_moves_nothing_further(graph, bridge):
    measure(graph)
    stamp = command(graph, (*UP[:4], -1.0))
    command(graph, (*UP[:4], -1.0), stamp)
    assert graph.moves[0] == graph.moves[1] and graph.grips[0] == graph.grips[1]
    command(graph, UP)
    np.testing.assert_allclose(tool_of(graph.moves[-1]), CENTRE + [0, 0, 0.02, 0], atol=1e-8)


def test_a_new_episode_starts_from_the_measured_tool_and_drops_old_commands(graph, bridge):
    measure(graph)
    command(graph, UP)
    old = graph.stamp()
    there = CENTRE + [0.03, 0.02, 0.0, 0.5]
    measure(graph, there)
    new_episode(graph)
    command(graph, UP, old)
    assert len(graph.moves) == 1
    command(graph, UP)
    np.testing.assert_allclose(tool_of(graph.moves[-1]), there + [0, 0, 0.01, 0], atol=1e-8)


def test_it_leaves_a_moving_arm_holding(graph, bridge):
    measured = measure(graph)
    command(graph, UP)
    bridge.trigger_deactivate()
    assert graph.until(lambda: len(graph.moves) == 2)
    np.testing.assert_array_equal(joints_of(graph.moves[-1]), measured)


def test_the_gripper_is_told_what_is_new_and_again_after_a_hold_or_a_new_episode(graph, bridge):
    def positions():
        return [list(message.points[0].positions) for message in graph.grips]

    measure(graph)
    for grip in (0.0, -0.2, -1.0, 0.0):
        command(graph, (*UP[:4], grip))
    assert positions() == [[CLOSED] * 2]
    assert list(graph.grips[0].joint_names) == list(kinematics.FINGER_NAMES)
    assert seconds_of(graph.grips[0]) == 0.5
    command(graph, (*UP[:4], 1.0))
    assert positions()[1:] == [[OPEN] * 2]
    safety(graph, SafetyStatus.STOPPED)
    safety(graph, SafetyStatus.OK)
    command(graph, UP)
    assert positions()[2:] == [[OPEN] * 2]
    new_episode(graph)
    command(graph, UP)
    command(graph, (*UP[:4], 1.0))
    assert positions()[3:] == [[OPEN] * 2]


def test_an_arm_that_does_not_follow_is_held_until_it_arrives_or_a_new_episode(graph, lines):
    start(graph, goal_time=0.3, path_tolerance=0.05)
    measure(graph)

    def push():
        command(graph, (0.025, 0.0, 0.0, 0.0, 0.0))
        measure(graph)

    def stuck():
        push()
        return any(text.startswith("trajectory not reached: ") for text in errors(lines))

    assert graph.until(stuck)
    wanted = tool_of(graph.moves[-2])
    np.testing.assert_allclose(tool_of(graph.moves[-1]), CENTRE, atol=1e-8)
    held = len(graph.moves)
    push()
    push()
    assert len(graph.moves) == held
    measure(graph, wanted)
    command(graph, UP)
    assert len(graph.moves) == held + 1
    lines.clear()
    assert graph.until(stuck)
    held = len(graph.moves)
    new_episode(graph)
    push()
    assert len(graph.moves) == held + 1


def test_a_gripper_that_does_not_open_holds_the_arm_until_it_does_or_is_to_close(graph, lines):
    start(graph, gripper_timeout=0.2)
    half = (0.015, 0.015)
    measure(graph, fingers=half)
    command(graph, (*UP[:4], 1.0))

    def stuck():
        measure(graph, fingers=half)
        return any(text.startswith("gripper stuck: told to open") for text in errors(lines))

    assert graph.until(stuck)
    held = len(graph.moves)
    np.testing.assert_allclose(tool_of(graph.moves[-1]), CENTRE, atol=1e-8)
    command(graph, UP)
    assert len(graph.moves) == held
    command(graph, (*UP[:4], -1.0))
    assert len(graph.moves) == held + 1
    lines.clear()
    command(graph, (*UP[:4], 1.0))
    assert graph.until(stuck)
    measure(graph, fingers=(OPEN, OPEN))
    held = len(graph.moves)
    command(graph, UP)
    assert len(graph.moves) == held + 1


def test_a_gripper_that_does_not_close_is_reported_and_one_that_holds_something_is_not(graph):
    node = start(graph, gripper_timeout=0.2)
    measure(graph)
    command(graph, (*UP[:4], -1.0))

    def report():
        measure(graph)
        return node._gripper.reason

    assert graph.until(lambda: report().startswith("gripper stuck: told to close"))
    command(graph, UP)
    assert len(graph.moves) == 2
    command(graph, (*UP[:4], 1.0))
    measure(graph)
    assert node._gripper.reason == ""
    command(graph, (*UP[:4], -1.0))
    measure(graph, fingers=(0.02, 0.021))
    graph.spin(0.4)
    measure(graph, fingers=(0.02, 0.021))
    assert node._gripper.reason == ""


def test_in_lockstep_it_waits_for_the_joints_of_the_image_and_tells_both_controllers(graph):
    start(graph, stamped=True, max_velocity=[40.0] * 5)
    measure(graph)
    stamp = command(graph, UP)
    assert graph.moves == graph.grips == []
    joints = measure(graph, CENTRE + [0.01, 0, 0, 0], fingers=(0.03, 0.031))
    (move,), (grip,) = graph.moves, graph.grips
    assert move.header.stamp == grip.header.stamp == stamp
    assert seconds_of(move) == 0.05
    np.testing.assert_allclose(tool_of(move), CENTRE + [0.01, 0, 0.01, 0], atol=1e-8)
    # Nobody has told the gripper anything yet: it is to stay where it is.
    assert list(grip.points[0].positions) == [0.03, 0.031]
    command(graph, (*UP[:4], -1.0))
    safety(graph, SafetyStatus.STOPPED)
    measure(graph)
    assert len(graph.grips) == 1
    np.testing.assert_array_equal(joints_of(graph.moves[-1]), joints)
    assert nanoseconds(graph.moves[-1].header.stamp) == 0


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"workspace": [0.1, 0.3]}, "workspace: expected 8 numbers"),
        ({"max_step": [0.01, 0.01]}, "max_step: expected one number or 4"),
        ({"max_velocity": [1.0]}, "max_velocity: expected 5 speeds"),
        ({"joint_names": ["a"]}, "joint_names: expected 5 different names"),
        ({"workspace_tolerance": [0.1]}, "workspace_tolerance: expected 4 finite numbers"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused_in_one_line(graph, parameters, line):
    node = graph.start(TrajectoryBridge, **parameters)
    assert not node.is_active
    assert line in node.fault and "\n" not in node.fault


def test_patience_can_be_changed_while_it_runs(graph, bridge):
    from rclpy.parameter import Parameter

    (result,) = bridge.set_parameters([Parameter("goal_time", value=0.5)])
    assert result.successful and bridge._following.patience == 0.5
    (result,) = bridge.set_parameters([Parameter("max_velocity", value=[1.0] * 5)])
    assert not result.successful
