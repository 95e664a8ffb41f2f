import sys
import types

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Empty, Header, String

from safe_skills.msg import Command, SafetyStatus
from safe_skills.nodes import hardware_bridge, qos
from safe_skills.nodes.conversions import pose_from_message, pose_message
from safe_skills.nodes.hardware_bridge import HardwareBridge
from safe_skills.robots.dvrk import DvrkArm

ARM = DvrkArm(workspace=((-0.15, 0.18), (-0.14, 0.085)))
SIMULATED = {"max_step": 0.03, "margin": 0.01}


@pytest.fixture
def bridge(graph):
    return start(graph, command_timeout=60.0)


def start(graph, **parameters):
    node = graph.start(HardwareBridge, state_timeout=60.0, **parameters, **SIMULATED)
    assert node.is_active, node.fault
    connect(graph, node)
    return node


def connect(graph, node):
    graph.servo = graph.collect(PoseStamped, "PSM1/servo_cp", qos.LOG)
    graph.holds = graph.collect(Empty, "PSM1/hold", qos.LOG)
    graph.matched(node)


def measure(graph, position=(0.0, 0.0), stamp=None, raw=None):
    header = Header(stamp=stamp or graph.stamp(), frame_id="PSM1_base")
    message = raw or pose_message(ARM.target(np.array(position)), header)
    graph.publish("PSM1/measured_cp", message, qos.CRTK_STATE)


def command(graph, action, stamp=None, frame="task"):
    message = Command(header=Header(stamp=stamp or graph.stamp(), frame_id=frame))
    message.action = [float(entry) for entry in action]
    graph.publish("command_safe", message, qos.COMMAND)
    return message.header.stamp


def set_points(graph):
    return [ARM.position(pose_from_message(message)) for message in graph.servo]


def safety(graph, state):
    graph.publish("safety_status", SafetyStatus(state=state), qos.STATUS)


def test_displacements_add_up_from_the_measured_pose(graph, bridge):
    measure(graph, (0.02, -0.01))
    first = command(graph, (0.01, 0.0))
    command(graph, (0.0, 0.02))
    np.testing.assert_allclose(set_points(graph), [(0.03, -0.01), (0.03, 0.01)], atol=1e-9)
    assert graph.servo[0].header == Header(stamp=first, frame_id="PSM1_base")
    assert graph.holds == []


def test_a_repeat_moves_nothing_further(graph, bridge):
    measure(graph)
    stamp = command(graph, (0.01, 0.0))
    command(graph, (0.01, 0.0), stamp)
    command(graph, (0.01, 0.0))
    np.testing.assert_allclose(set_points(graph), [(0.01, 0), (0.01, 0), (0.02, 0)], atol=1e-9)


def test_without_a_measured_pose_nothing_moves(graph, bridge, lines):
    command(graph, (0.01, 0.0))
    assert graph.servo == []
    assert [text for severity, text in lines if severity == "ERROR"] == [
        "command refused: expected a valid measured position first, there is none"
    ]


def test_measured_data_with_a_zero_stamp_is_invalid_and_stops_motion(graph, bridge, lines):
    measure(graph)
    command(graph, (0.01, 0.0))
    measure(graph, raw=PoseStamped())
    assert len(graph.holds) == 1
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1
    assert any("zero stamp" in text for _, text in lines)


def test_a_tool_off_the_task_plane_is_not_moved(graph, bridge, lines):
    pose = ARM.target(np.zeros(2))
    lifted = type(pose)(pose.position + (0.0, 0.0, 0.1), pose.rotation)
    measure(graph, raw=pose_message(lifted, Header(stamp=graph.stamp())))
    command(graph, (0.01, 0.0))
    assert graph.servo == [] and any("of height" in text for _, text in lines)


@pytest.mark.parametrize(
    ("action", "frame"),
    [((0.01,), "task"), ((float("nan"), 0.0), "task"), ((0.01, 0.0), "camera"), ((), "task")],
)
def test_a_bad_command_is_one_line_and_no_motion(graph, bridge, lines, action, frame):
    measure(graph)
    for _ in range(3):
        command(graph, action, frame=frame)
    errors = [text for severity, text in lines if severity == "ERROR"]
    assert graph.servo == [] and len(errors) == 1 and errors[0].startswith("command refused: ")


def test_when_commands_stop_it_holds_once_and_starts_again_where_the_robot_is(graph):
    start(graph, command_timeout=0.3)
    measure(graph)
    command(graph, (0.02, 0.0))
    assert graph.until(lambda: graph.holds)
    graph.spin(0.6)
    assert len(graph.holds) == 1
    measure(graph, (-0.05, 0.0))
    command(graph, (0.01, 0.0))
    np.testing.assert_allclose(set_points(graph)[-1], (-0.04, 0.0), atol=1e-9)


def test_when_measurements_stop_it_holds(graph):
    node = graph.start(HardwareBridge, command_timeout=60.0, state_timeout=1.0)
    connect(graph, node)
    measure(graph)
    command(graph, (0.02, 0.0))
    assert graph.until(lambda: graph.holds)
    command(graph, (0.02, 0.0))
    assert len(graph.holds) == len(graph.servo) == 1


def test_a_stop_holds_at_once_and_until_it_is_released(graph, bridge):
    measure(graph)
    command(graph, (0.01, 0.0))
    safety(graph, SafetyStatus.STOPPED)
    assert len(graph.holds) == 1
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1
    safety(graph, SafetyStatus.OK)
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 2


def test_a_monitor_that_was_restarted_does_not_release_the_stop(graph, bridge, lines):
    measure(graph)
    safety(graph, SafetyStatus.STOPPED)
    graph.peer.destroy_publisher(graph._publishers.pop("safety_status"))
    safety(graph, SafetyStatus.OK)
    command(graph, (0.01, 0.0))
    assert graph.servo == []
    assert any("still stopped until" in text for _, text in lines)
    safety(graph, SafetyStatus.STOPPED)
    safety(graph, SafetyStatus.OK)
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1


def test_a_new_episode_starts_from_the_measured_pose_and_drops_old_commands(graph, bridge):
    measure(graph)
    command(graph, (0.02, 0.0))
    old = graph.stamp()
    measure(graph, (0.1, 0.05))
    graph.publish("episode_start", Header(stamp=graph.stamp()), qos.EVENT)
    command(graph, (0.01, 0.0), old)
    assert len(graph.servo) == 1
    command(graph, (0.01, 0.0))
    np.testing.assert_allclose(set_points(graph)[-1], (0.11, 0.05), atol=1e-9)


def test_it_leaves_a_moving_robot_holding(graph, bridge):
    measure(graph)
    command(graph, (0.02, 0.0))
    bridge.trigger_deactivate()
    assert graph.until(lambda: graph.holds)
    command(graph, (0.02, 0.0))
    assert len(graph.servo) == 1


def test_an_arm_that_is_not_enabled_and_homed_is_not_moved(graph, monkeypatch, lines):
    module = types.ModuleType("crtk_msgs.msg")
    module.OperatingState = String
    monkeypatch.setitem(sys.modules, "crtk_msgs", types.ModuleType("crtk_msgs"))
    monkeypatch.setitem(sys.modules, "crtk_msgs.msg", module)
    monkeypatch.setattr(hardware_bridge, "find_spec", lambda name: object())
    node = graph.start(HardwareBridge)
    assert "/PSM1/operating_state" in {s.topic_name for s in node.subscriptions}
    connect(graph, node)
    measure(graph)
    command(graph, (0.01, 0.0))
    for state, homed in (("DISABLED", False), ("ENABLED", False), ("PAUSED", True)):
        node._operating_state(types.SimpleNamespace(state=state, is_homed=homed))
        measure(graph)
        command(graph, (0.01, 0.0))
    assert graph.servo == []
    node._operating_state(types.SimpleNamespace(state="ENABLED", is_homed=True))
    measure(graph)
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1
    node._operating_state(types.SimpleNamespace(state="FAULT", is_homed=True))
    assert graph.until(lambda: graph.holds)
    assert ("ERROR", "expected the arm ENABLED and homed, it is FAULT, homed") in lines


def test_steps_are_small_unless_a_simulator_is_known_to_take_large_ones(graph):
    node = graph.start(HardwareBridge, command_timeout=60.0, state_timeout=60.0)
    connect(graph, node)
    measure(graph)
    command(graph, (0.03, -0.03))
    np.testing.assert_allclose(set_points(graph), [(0.002, -0.002)], atol=1e-9)
