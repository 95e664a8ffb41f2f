"""The task frame from points that the simulated arm has touched, over DDS."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Header

from safe_skills.nodes import pose_reader, qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import pose_from_message, pose_message
from safe_skills.nodes.crtk import CrtkServer
from safe_skills.robots.dvrk import SIMULATED_TASK_IN_ARM, DvrkArm
from safe_skills.robots.pose import Pose
from safe_skills.robots.simulated_psm import SimulatedPsm


class Psm(SkillNode):
    """The simulated PSM alone, over no table: nothing ends an episode and puts it elsewhere."""

    NAME = "psm"

    def configure(self):
        robot = SimulatedPsm(DvrkArm(workspace=((-0.2, 0.2), (-0.2, 0.2))))

        def admit(name, stamp):
            """Takes every command."""

        def moved(name):
            robot.track(robot.plane_set_point)

        server = CrtkServer(self, "PSM1", robot, admit=admit, moved=moved)
        self.every(0.01, lambda: server.publish_state(self.get_clock().now().to_msg()))


class Person:
    """Works with the command: reads what it asks and presses Enter."""

    def __init__(self, *arguments):
        self.child = subprocess.Popen(
            [sys.executable, "-m", "safe_skills.cli", "calibrate", "frame", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=0,
        )
        self.said = ""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while letter := self.child.stdout.read(1):
            self.said += letter

    def waits(self):
        return self.said.endswith("press Enter: ")

    def accepted(self):
        return self.said.count(" poses\n")

    def press(self):
        """Press Enter, again where the arm was said to have moved, until the point is taken."""
        taken, told = self.accepted(), ""

        def done():
            nonlocal told
            if self.accepted() == taken and self.waits() and self.said != told:
                told = self.said
                self.child.stdin.write("\n")
                self.child.stdin.flush()
            return self.accepted() > taken

        return done

    def end(self):
        self.child.kill()
        self.child.communicate()


def test_a_person_touches_points_with_the_simulated_arm(graph, tmp_path):
    arm = DvrkArm(workspace=((-0.2, 0.2), (-0.2, 0.2)))
    psm = graph.start(Psm)
    assert psm.is_active, psm.fault
    measured = graph.collect(PoseStamped, "PSM1/measured_cp", qos.CRTK_STATE_LATEST)
    person = Person("--points", "0,0 0.08,0 0,0.06 -0.08,-0.05", "--out", str(tmp_path / "f.yaml"))
    places = [(0.0, 0.0), (0.08, 0.0), (0.0, 0.06), (-0.08, -0.05), (0.02, 0.01)]
    try:
        for number, place in enumerate(places, start=1):
            assert graph.until(person.waits, 60.0), person.said
            lift = -arm.height if number < len(places) else 0.0
            goal = arm.target(np.array(place), lift)
            message = pose_message(goal, Header(frame_id="PSM1_base"))
            graph.publish("PSM1/servo_cp", message, qos.COMMAND)

            def there(goal=goal):
                off = pose_from_message(measured[-1]).position - goal.position
                return np.linalg.norm(off) < 2e-4

            assert graph.until(there, 20.0)
            assert graph.until(person.press(), 60.0), person.said
        assert graph.until(lambda: person.child.poll() is not None, 60.0), person.said
        assert person.child.returncode == 0, person.child.stderr.read()
    finally:
        person.end()
    assert "measured in frame 'PSM1_base'" in person.said
    values = yaml.safe_load((tmp_path / "f.yaml").read_text())["/**/hardware_bridge"]
    found = Pose.from_values(values["ros__parameters"]["task_in_arm"])
    true = Pose.from_values(SIMULATED_TASK_IN_ARM)
    np.testing.assert_allclose(found.position, true.position, atol=1e-3)
    assert (found.rotation.inv() * true.rotation).magnitude() < 0.01
    assert values["ros__parameters"]["height"] == pytest.approx(0.015, abs=1e-3)


def test_a_zero_stamp_and_silence_are_refused_in_one_line(graph, monkeypatch):
    monkeypatch.setattr(pose_reader, "PATIENCE", 1.0)
    with pose_reader.PoseReader("PSM9") as reader:
        with pytest.raises(ValueError, match="/PSM9/measured_cp: expected measured poses, none"):
            reader.poses(0.1)
        publisher = graph.peer.create_publisher(PoseStamped, "PSM9/measured_cp", qos.CRTK_STATE)
        timer = graph.peer.create_timer(0.02, lambda: publisher.publish(PoseStamped()))
        stopped = threading.Event()
        spinning = threading.Thread(target=lambda: graph.until(stopped.is_set, 60.0), daemon=True)
        spinning.start()
        try:
            monkeypatch.setattr(pose_reader, "PATIENCE", 30.0)
            with pytest.raises(ValueError, match="zero stamp, which means invalid"):
                reader.poses(0.1)
        finally:
            stopped.set()
            spinning.join()
            graph.peer.destroy_timer(timer)
