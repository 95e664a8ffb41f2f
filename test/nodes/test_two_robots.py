"""Two robots in one graph, each in a namespace of its own: neither moves or stops the other."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from safe_skills.msg import BridgeStatus, Command, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.nodes.composed import node_class
from safe_skills.nodes.conversions import command_message, pose_from_message
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.systems import SYSTEMS

ROBOT_HALF = ("hardware_bridge", "safety_monitor", "camera_encoder", "simulator")
ARM = DvrkArm(workspace=((-0.2, 0.2), (-0.2, 0.2)))
PATIENT = {
    "hardware_bridge": ("command_timeout", "state_timeout", "link_timeout"),
    "safety_monitor": ("image_timeout", "latent_timeout", "robot_timeout"),
}
# The checkpoint's weights are random: what they say of a frame is nothing to hold a robot for.
UNLEARNED = {"use_constraint": False, "surprise_factor": 0.0}


class Robot:
    """All of a robot but its planner, in a namespace: the test answers its images."""

    def __init__(self, graph, namespace, checkpoint):
        self.graph, self.namespace = graph, namespace
        self.action = (0.0, 0.0)
        specs = SYSTEMS["ls3_cable"].nodes(
            {"namespace": namespace, "clock": "realtime", "checkpoint": str(checkpoint)}
        )
        self.nodes = {s.name: self._start(s) for s in specs if s.name in ROBOT_HALF}
        peer = graph.peer
        self.status, self.measured, self.bridge = None, None, None
        self.commands = peer.create_publisher(Command, f"{namespace}/command", qos.COMMAND)
        for kind, topic, note, profile in (
            (Image, "camera/image_raw", self._answer, qos.IMAGE),
            (PoseStamped, "PSM1/measured_cp", self._note_measured, qos.CRTK_STATE_LATEST),
            (SafetyStatus, "safety_status", self._note_status, qos.STATUS),
            (BridgeStatus, "bridge_status", self._note_bridge, qos.STATUS),
        ):
            peer.create_subscription(kind, f"{namespace}/{topic}", note, profile)
        self.stop = peer.create_client(Trigger, f"{namespace}/safety_monitor/e_stop")

    def _start(self, spec):
        values = {**spec.parameters, "autostart": False}
        values |= dict.fromkeys(PATIENT.get(spec.name, ()), 30.0)
        values |= UNLEARNED if spec.name == "safety_monitor" else {}
        if spec.name == "simulator":
            values |= {"audience": "", "episodes": 0}
        node = node_class(spec.executable)(
            spec.name,
            namespace=spec.namespace,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.graph.add(node)
        node.bring_up()
        assert node.is_active, node.fault
        return node

    def _answer(self, image):
        if self.action is not None:
            self.commands.publish(command_message(self.action, "test", image.header.stamp, "task"))

    def _note_measured(self, message):
        self.measured = ARM.position(pose_from_message(message))

    def _note_status(self, message):
        self.status = message

    def _note_bridge(self, message):
        self.bridge = message

    @property
    def moving(self):
        return self.bridge is not None and self.bridge.state == BridgeStatus.MOVING


@pytest.fixture
def robots(graph, checkpoint):
    return [Robot(graph, name, checkpoint) for name in ("left", "right")]


def test_two_robots_in_one_graph_do_not_hear_each_other(graph, robots):
    left, right = robots
    for topic in ("command_safe", "safety_status", "PSM1/servo_cp", "PSM1/measured_cp"):
        assert graph.peer.count_publishers(f"/{topic}") == 0, topic
    right.action = None
    left.action = (0.0, 0.01)
    assert graph.until(lambda: left.moving and right.measured is not None, 30.0), left.status
    assert right.bridge.commands == 0 and right.bridge.set_points == 0
    start = right.measured.copy()
    before = left.measured.copy()
    assert graph.until(lambda: np.linalg.norm(left.measured - before) > 0.02, 30.0), left.status
    np.testing.assert_allclose(right.measured, start, atol=2e-3)
    assert right.bridge.commands == 0

    right.action = (0.01, 0.0)
    assert graph.until(lambda: right.moving, 30.0), right.status
    left.action = (0.0, 0.0)
    assert graph.until(left.stop.service_is_ready)
    assert graph.until(left.stop.call_async(Trigger.Request()).done)
    assert graph.until(lambda: left.bridge.state == BridgeStatus.HOLDING)
    assert "has stopped the robot" in left.bridge.reason
    assert left.status.state == SafetyStatus.STOPPED
    taken = right.bridge.commands
    assert graph.until(lambda: right.bridge.commands > taken + 5, 30.0), right.status
    assert right.status.state != SafetyStatus.STOPPED and right.bridge.holds == 0
    assert left.bridge.state == BridgeStatus.HOLDING
