"""SAFER's nodes in processes of their own: what the decoder does while another one is dead."""

import time

import numpy as np
import pytest
import rclpy
from processes import Processes
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from safe_skills.msg import Command, SkillStatus
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import image_from_rgb, nanoseconds
from safe_skills.systems import NodeSpec

PERIOD = 0.1


class Watched(Processes):
    """A camera that shows noise, and what the decoder makes of it."""

    def __init__(self, folder, checkpoint, policy):
        model = {"checkpoint": str(checkpoint)}
        specs = [
            NodeSpec("skill_decoder", {**model, "patience": 0.3}),
            NodeSpec("safety_posterior", {**model, "gap": 60.0}),
            NodeSpec("skill_policy", {**model, "policy": str(policy)}),
            NodeSpec("camera_encoder", model),
        ]
        super().__init__(folder, specs)
        self.statuses, self.commands = [], []
        self.node.create_subscription(SkillStatus, "skill_status", self.statuses.append, qos.LOG)
        self.node.create_subscription(Command, "command", self.commands.append, qos.LOG)
        self._images = self.node.create_publisher(Image, "camera/image_raw", qos.IMAGE)
        self._rng = np.random.default_rng(0)
        self._next = time.monotonic()

    def shows_until(self, condition):
        """Shows frames until a condition holds of the last status."""

        def holds():
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + PERIOD
                frame = self._rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
                header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id="camera")
                self._images.publish(image_from_rgb(frame, header))
            return bool(self.statuses) and condition(self.statuses[-1])

        return self.until(holds, 180.0)


@pytest.fixture
def watched(tmp_path, prior_checkpoint, policy_checkpoint):
    rclpy.init()
    made = Watched(tmp_path, prior_checkpoint, policy_checkpoint)
    yield made
    made.close()
    rclpy.shutdown()


@pytest.mark.slow
def test_while_the_posterior_is_dead_nothing_moves_and_then_it_goes_on(watched):
    watched.start()
    assert watched.shows_until(lambda status: status.fill == 1.0), watched.log("skill_decoder")
    assert any(any(command.action) for command in watched.commands)
    watched.kill("safety_posterior")
    killed = watched.node.get_clock().now().nanoseconds
    seen = len(watched.statuses)
    for _ in range(5):
        count = len(watched.statuses)
        assert watched.shows_until(lambda status, count=count: len(watched.statuses) > count)
    held = [s for s in watched.statuses[seen:] if nanoseconds(s.header.stamp) > killed]
    assert held and {status.reason for status in held} == {"no_context"}
    after = [c for c in watched.commands if nanoseconds(c.header.stamp) > killed]
    assert after and not any(any(command.action) for command in after)
    assert {command.source for command in after} == {"skill_decoder: hold"}
    watched.start("safety_posterior")
    assert watched.shows_until(lambda status: status.outcome == SkillStatus.DECODED)
    # What the posterior knew of the episode has died with it.
    assert watched.statuses[-1].fill < 1.0
    assert watched.shows_until(lambda status: status.fill == 1.0)
    watched.close()
    for name, child in watched.children.items():
        assert child.returncode == 0, (name, watched.log(name))
        assert "Traceback" not in watched.log(name)
