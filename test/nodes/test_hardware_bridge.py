import sys
import types

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Empty, Header, String
from std_srvs.srv import Trigger

from safe_skills.msg import BridgeStatus, Command, SafetyStatus
from safe_skills.nodes import hardware_bridge, qos
from safe_skills.nodes.conversions import pose_from_message, pose_message
from safe_skills.nodes.hardware_bridge import HardwareBridge
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.servo import ServoState

ARM = DvrkArm(workspace=((-0.15, 0.18), (-0.14, 0.085)))
# One set-point a command, as for a simulator in lockstep; the way between two is tested below.
SIMULATED = {"max_step": 0.03, "margin": 0.01, "servo_rate": 0.0}
CALM = {"command_timeout": 60.0, "state_timeout": 60.0, "link_timeout": 60.0}


@pytest.fixture
def bridge(graph):
    return start(graph)


def start(graph, **parameters):
    node = graph.start(HardwareBridge, **{**CALM, **SIMULATED, **parameters})
    assert node.is_active, node.fault
    connect(graph, node)
    return node


def connect(graph, node):
    graph.servo = graph.collect(PoseStamped, "PSM1/servo_cp", qos.LOG)
    graph.holds = graph.collect(Empty, "PSM1/hold", qos.LOG)
    graph.statuses = []
    graph.peer.create_subscription(
        BridgeStatus, "bridge_status", lambda message: note_status(graph, message), qos.STATUS
    )
    graph.matched(node)


def note_status(graph, message):
    graph.statuses.append(message)
    graph.status = message


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
        "command refused: no measured position yet"
    ]


def test_measured_data_with_a_zero_stamp_is_invalid_and_stops_motion(graph, bridge, lines):
    measure(graph)
    command(graph, (0.01, 0.0))
    measure(graph, raw=PoseStamped())
    assert len(graph.holds) == 1
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1
    assert any("zero stamp" in text for _, text in lines)


def test_a_measured_pose_in_another_frame_than_before_stops_motion(graph, bridge, lines):
    measure(graph)
    command(graph, (0.01, 0.0))
    header = Header(stamp=graph.stamp(), frame_id="camera")
    measure(graph, raw=pose_message(ARM.target(np.zeros(2)), header))
    assert len(graph.holds) == 1
    assert any("frame 'PSM1_base', got frame 'camera'" in text for _, text in lines)
    measure(graph)
    command(graph, (0.01, 0.0))
    assert [message.header.frame_id for message in graph.servo] == ["PSM1_base"] * 2


@pytest.mark.parametrize("x", [0.25, -0.3, 1e7])
def test_a_tool_far_out_of_the_workspace_is_not_moved(graph, bridge, lines, x):
    measure(graph)
    command(graph, (0.01, 0.0))
    measure(graph, (x, 0.0))
    assert len(graph.holds) == 1
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1
    assert any("expected the tool in the workspace or within 0.04 m" in text for _, text in lines)


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
    start(graph, state_timeout=1.0)
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


class Crtk:
    """Stands in for crtk_msgs, which is not on PyPI: what the arm says comes by calls, and what it
    is told is noted."""

    def __init__(self, graph, monkeypatch, **parameters):
        module = types.ModuleType("crtk_msgs.msg")
        module.OperatingState = module.StringStamped = String
        monkeypatch.setitem(sys.modules, "crtk_msgs", types.ModuleType("crtk_msgs"))
        monkeypatch.setitem(sys.modules, "crtk_msgs.msg", module)
        monkeypatch.setattr(hardware_bridge, "find_spec", lambda name: object())
        self.node = start(graph, **parameters)
        self.node._crtk = types.SimpleNamespace(StringStamped=types.SimpleNamespace)
        self.orders = []
        monkeypatch.setattr(
            self.node._orders, "publish", lambda message: self.orders.append(message.string)
        )
        self.says("ENABLED")

    def says(self, state, homed=True, busy=False):
        self.node._operating_state(types.SimpleNamespace(state=state, is_homed=homed, is_busy=busy))


def call(graph, service):
    client = graph.peer.create_client(Trigger, service)
    assert graph.until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    assert graph.until(future.done)
    return future.result()


def test_an_arm_that_is_not_enabled_and_homed_is_not_moved(graph, monkeypatch, lines):
    arm = Crtk(graph, monkeypatch)
    assert "/PSM1/operating_state" in {s.topic_name for s in arm.node.subscriptions}
    for state, homed in (("DISABLED", False), ("ENABLED", False), ("PAUSED", True)):
        arm.says(state, homed)
        measure(graph)
        command(graph, (0.01, 0.0))
    assert graph.servo == []
    arm.says("ENABLED")
    measure(graph)
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1
    arm.says("FAULT")
    assert graph.until(lambda: graph.holds)
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1 and arm.orders == []
    assert graph.until(lambda: graph.status.state == BridgeStatus.FAULT)
    assert graph.status.reason == "the robot reports FAULT"


def test_a_stop_pauses_the_arm_and_a_resume_is_called_for(graph, monkeypatch):
    arm = Crtk(graph, monkeypatch)
    measure(graph)
    command(graph, (0.01, 0.0))
    safety(graph, SafetyStatus.STOPPED)
    assert len(graph.holds) == 1 and arm.orders == ["pause"]
    arm.says("PAUSED")
    answer = call(graph, "hardware_bridge/resume")
    assert not answer.success and "has stopped the robot" in answer.message
    safety(graph, SafetyStatus.OK)
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1
    assert graph.until(lambda: graph.status.reason.endswith("call resume"))
    assert graph.status.state == BridgeStatus.HOLDING
    assert call(graph, "hardware_bridge/resume").success
    assert graph.until(lambda: arm.orders == ["pause", "resume"])
    arm.says("ENABLED")
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 2


def test_it_enables_and_homes_an_arm_where_it_is_told_to(graph, monkeypatch):
    arm = Crtk(graph, monkeypatch, enable=True, home=True)
    arm.says("DISABLED", homed=False)
    safety(graph, SafetyStatus.OK)
    assert graph.until(lambda: arm.orders == ["enable"])
    arm.says("ENABLED", homed=False)
    assert graph.until(lambda: arm.orders == ["enable", "home"])
    arm.says("ENABLED")


def test_without_crtk_msgs_it_cannot_be_told_to_enable(graph):
    node = graph.start(HardwareBridge, enable=True)
    assert not node.is_active and node.fault.startswith("enable: expected false")


def test_steps_are_small_unless_a_simulator_is_known_to_take_large_ones(graph):
    node = graph.start(HardwareBridge, **CALM, servo_rate=0.0)
    connect(graph, node)
    measure(graph)
    command(graph, (0.03, -0.03))
    np.testing.assert_allclose(set_points(graph), [(0.005, -0.005)], atol=1e-9)


# ---- the way from one set-point to the next

STREAM = {"servo_rate": 100.0, "max_speed": 0.05, "max_acceleration": 0.5}
LONGEST = 0.05 * 2 / 100.0
"""What lies between two set-points at most, however late the second one is [m]."""


def poses(graph):
    return [pose_from_message(message) for message in graph.servo]


def steps(graph):
    return np.linalg.norm(np.diff([pose.position for pose in poses(graph)], axis=0), axis=1)


def arrives(graph, goal):
    return graph.until(
        lambda: graph.servo and np.abs(set_points(graph)[-1] - goal).max() < 1e-5, 20.0
    )


def test_between_two_commands_the_arm_is_led_within_its_speed(graph):
    start(graph, **STREAM)
    measure(graph, (0.02, -0.01))
    stamp = command(graph, (0.01, 0.0))
    assert arrives(graph, (0.03, -0.01))
    assert len(graph.servo) > 20 and steps(graph).max() <= LONGEST + 1e-9
    assert {message.header.frame_id for message in graph.servo} == {"PSM1_base"}
    assert graph.servo[-1].header.stamp == stamp
    command(graph, (0.0, 0.01))
    assert arrives(graph, (0.03, 0.0))
    assert steps(graph).max() <= LONGEST + 1e-9 and graph.holds == []


def test_a_tool_off_its_height_and_orientation_is_led_there_from_where_it_is(graph):
    start(graph, **STREAM)
    pose = ARM.target(np.array([0.02, 0.0]), 0.015, np.array([0.1, -0.2, 0.1]))
    measure(graph, raw=pose_message(pose, Header(stamp=graph.stamp(), frame_id="PSM1_base")))
    command(graph, (0.005, 0.0))
    first = poses(graph)[0]
    assert np.linalg.norm(first.position - pose.position) <= LONGEST
    assert (pose.rotation.inv() * first.rotation).magnitude() <= 0.3 * 2 / 100
    goal = ARM.target(np.array([0.025, 0.0]))

    def there():
        last = poses(graph)[-1]
        turn = (goal.rotation.inv() * last.rotation).magnitude()
        return np.linalg.norm(last.position - goal.position) < 1e-4 and turn < 1e-3

    assert graph.until(there, 20.0)
    assert steps(graph).max() <= LONGEST + 1e-9


def test_no_motion_stops_the_arm_where_it_can_stop(graph):
    node = start(graph, **STREAM)
    measure(graph)
    command(graph, (0.03, 0.0))
    assert graph.until(lambda: set_points(graph)[-1][0] > 0.003, 20.0)
    command(graph, (0.0, 0.0))
    assert graph.until(lambda: node._stream._path.still, 20.0)
    assert set_points(graph)[-1][0] < 0.025
    assert graph.status.state == BridgeStatus.MOVING and graph.holds == []
    assert graph.until(lambda: graph.status.goal == graph.status.set_point)


def test_no_motion_moves_nothing_not_even_to_the_working_height(graph):
    start(graph, **STREAM)
    pose = ARM.target(np.zeros(2), 0.01)
    measure(graph, raw=pose_message(pose, Header(stamp=graph.stamp())))
    command(graph, (0.0, 0.0))
    assert graph.until(lambda: len(graph.servo) > 5)
    for sent in poses(graph):
        np.testing.assert_allclose(sent.position, pose.position, atol=1e-12)


def test_when_commands_stop_the_arm_comes_to_rest_before_it_holds(graph):
    start(graph, **STREAM, command_timeout=0.2)
    measure(graph)
    command(graph, (0.03, 0.0))
    assert graph.until(lambda: graph.holds, 20.0)
    count = len(graph.servo)
    way = steps(graph)
    assert way[-1] <= 0.5 * (2 / 100) ** 2 + 1e-9 and way.max() <= LONGEST + 1e-9
    assert set_points(graph)[-1][0] < 0.029
    graph.spin(0.3)
    assert len(graph.servo) == count and len(graph.holds) == 1
    assert graph.until(lambda: graph.status.reason == "no command for 0.2 s")
    assert graph.status.state == BridgeStatus.HOLDING


def test_a_stop_on_the_way_holds_at_once(graph):
    node = start(graph, **STREAM)
    measure(graph)
    command(graph, (0.03, 0.0))
    assert graph.until(lambda: set_points(graph)[-1][0] > 0.003, 20.0)
    safety(graph, SafetyStatus.STOPPED)
    assert len(graph.holds) == 1 and not node._stream.active
    count = len(graph.servo)
    graph.spin(0.2)
    assert len(graph.servo) == count
    safety(graph, SafetyStatus.OK)
    measure(graph, (0.01, 0.02))
    command(graph, (0.01, 0.0))
    # Whatever was sent before the stop, the way goes on where the arm is.
    np.testing.assert_allclose(set_points(graph)[count], (0.01, 0.02), atol=LONGEST)


def test_an_arm_that_is_lost_while_it_comes_to_rest_holds_at_once(graph):
    node = start(graph, **{**STREAM, "max_acceleration": 0.01}, command_timeout=0.3)
    measure(graph)
    command(graph, (0.03, 0.0))
    assert graph.until(lambda: node._servo.state is ServoState.HOLDING, 20.0)
    assert node._stream.active and graph.holds == []
    measure(graph, raw=PoseStamped())
    assert len(graph.holds) == 1 and not node._stream.active


def test_a_rate_too_low_to_lead_an_arm_is_refused(graph):
    node = graph.start(HardwareBridge, servo_rate=50.0)
    assert node.fault == "servo_rate: expected 0, or 100 to 1000, got 50"


# ---- who is not heard


def test_a_silent_monitor_holds_the_arm_until_it_speaks_again(graph):
    start(graph, **STREAM, link_timeout=0.3)
    measure(graph)
    command(graph, (0.01, 0.0))
    assert graph.until(lambda: graph.holds, 20.0)
    assert graph.until(lambda: graph.status.reason == "no word of the safety monitor for 0.3 s")
    assert graph.status.state == BridgeStatus.HOLDING
    measure(graph)
    safety(graph, SafetyStatus.OK)
    command(graph, (0.01, 0.0))
    assert graph.until(lambda: graph.status.state == BridgeStatus.MOVING)


def test_another_publisher_on_the_arms_topic_holds_it_until_it_is_gone(graph, bridge):
    measure(graph)
    command(graph, (0.01, 0.0))
    intruder = graph.peer.create_publisher(PoseStamped, "PSM1/servo_cp", qos.COMMAND)
    why = "foreign publisher: /PSM1/servo_cp: /peer publishes, too"
    assert graph.until(lambda: any(status.reason == why for status in graph.statuses))
    assert graph.status.state == BridgeStatus.HOLDING
    assert graph.until(lambda: graph.holds)
    graph.peer.destroy_publisher(intruder)
    assert graph.until(lambda: not any(ask() for ask in bridge.vetoes))
    measure(graph)
    command(graph, (0.01, 0.0))
    assert graph.until(lambda: graph.status.state == BridgeStatus.MOVING)


def test_a_veto_holds_the_arm_and_refuses_commands(graph, bridge, lines):
    why = []
    bridge.vetoes.append(lambda: "".join(why))
    measure(graph)
    command(graph, (0.01, 0.0))
    why.append("somebody else publishes on PSM1/servo_cp")
    assert graph.until(lambda: graph.holds)
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 1 and len(graph.holds) == 1
    assert graph.until(lambda: graph.status.reason == why[0])
    assert any(text == f"command refused: {why[0]}" for _, text in lines)
    why.clear()
    command(graph, (0.01, 0.0))
    assert len(graph.servo) == 2


def test_the_status_is_told_on_a_change_and_all_the_time(graph, bridge):
    measure(graph, (0.02, 0.01))
    assert graph.until(lambda: graph.statuses)
    first = graph.status
    assert (first.state, first.header.frame_id) == (BridgeStatus.HOLDING, "task")
    assert first.reason == "no word of the safety monitor yet"
    safety(graph, SafetyStatus.OK)
    assert graph.until(lambda: graph.status.state == BridgeStatus.READY)
    assert list(graph.status.measured) == pytest.approx([0.02, 0.01])
    assert len(graph.status.goal) == len(graph.status.set_point) == 0
    command(graph, (0.01, 0.0))
    assert graph.until(lambda: graph.status.state == BridgeStatus.MOVING)
    assert graph.status.reason == "" and graph.status.set_points == 1
    assert list(graph.status.goal) == list(graph.status.set_point) == pytest.approx([0.03, 0.01])
    told = len(graph.statuses)
    assert graph.until(lambda: len(graph.statuses) > told + 3)
    measure(graph, raw=PoseStamped())
    assert graph.until(lambda: graph.status.state == BridgeStatus.UNCONNECTED)
    assert "zero stamp" in graph.status.reason and graph.status.holds == 1
    assert len(graph.status.measured) == 0
