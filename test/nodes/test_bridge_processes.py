"""A bridge in a process of its own, whose safety monitor falls silent without an end."""

import os
import signal
from dataclasses import replace

import pytest
import rclpy
from processes import Processes
from sensor_msgs.msg import Image
from std_msgs.msg import Empty

from safe_skills.msg import BridgeStatus, Command
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import command_message
from safe_skills.systems import SYSTEMS

SYSTEM = SYSTEMS["ls3_cable"]
NAMES = ("hardware_bridge", "safety_monitor", "simulator")
# Only the monitor's silence is to hold the robot; a busy machine is silent for a while, too.
ONLY_THE_LINK = {"command_timeout": 600.0, "state_timeout": 600.0, "link_timeout": 1.0}


class RobotHalf(Processes):
    """Simulator, monitor and bridge; this node answers each image as a planner does."""

    def __init__(self, folder, checkpoint):
        given = {"clock": "realtime", "checkpoint": str(checkpoint), "episodes": "0"}
        specs = [spec for spec in SYSTEM.nodes(given) if spec.name in NAMES]
        specs = [self._changed(spec) for spec in specs]
        super().__init__(folder, specs, SYSTEM.config)
        self.statuses, self.holds = [], []
        node = self.node
        node.create_subscription(BridgeStatus, "bridge_status", self.statuses.append, qos.STATUS)
        node.create_subscription(Empty, "PSM1/hold", self.holds.append, qos.LOG)
        node.create_subscription(Image, "camera/image_raw", self._answer, qos.IMAGE)
        self._commands = node.create_publisher(Command, "command", qos.COMMAND)

    def _changed(self, spec):
        if spec.name == "hardware_bridge":
            return replace(spec, parameters={**spec.parameters, **ONLY_THE_LINK})
        if spec.name == "simulator":
            return replace(spec, parameters={**spec.parameters, "audience": ""})
        return spec

    def _answer(self, image):
        self._commands.publish(command_message((0.0, 0.0), "test", image.header.stamp, "task"))

    def tell(self, name, what):
        os.kill(self.children[name].pid, what)

    def is_so(self, state, reason=""):
        def so():
            return self.statuses and (
                self.statuses[-1].state == state and reason in self.statuses[-1].reason
            )

        return self.until(so)


@pytest.fixture
def half(tmp_path, checkpoint):
    rclpy.init()
    made = RobotHalf(tmp_path, checkpoint)
    yield made
    for name in made.children:
        made.tell(name, signal.SIGCONT)
    made.close()
    rclpy.shutdown()


def test_a_monitor_that_was_frozen_holds_the_robot_until_it_goes_on(half):
    half.start()
    assert half.is_so(BridgeStatus.MOVING), half.log("hardware_bridge")
    half.holds.clear()
    half.tell("safety_monitor", signal.SIGSTOP)
    assert half.is_so(BridgeStatus.HOLDING, "no word of the safety monitor for 1 s")
    assert half.until(lambda: half.holds)
    assert half.children["safety_monitor"].poll() is None
    half.tell("safety_monitor", signal.SIGCONT)
    assert half.is_so(BridgeStatus.MOVING), half.statuses[-1]
    assert "Traceback" not in half.log("hardware_bridge")
