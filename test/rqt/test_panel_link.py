"""The link of the panel to real topics and services."""

import time

import pytest
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from panel_messages import frame, header, status, violation
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from safe_skills.data.vision import RED
from safe_skills.msg import SafetyStatus, Violation
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS
from safe_skills.nodes.conversions import pose_message
from safe_skills.nodes.spinning import make_executor
from safe_skills.paths import checkpoint_dir
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.rqt import link as link_module
from safe_skills.rqt.inbox import Inbox
from safe_skills.rqt.link import PanelLink, mask_of

READY = {"e_stop": True, "reset": True, "snapshot": True}


class Robot:
    """A graph with the monitor's name, topics, services and parameters, in a namespace."""

    def __init__(self, namespace):
        self.node = rclpy.create_node("safety_monitor", namespace=namespace)
        self.recorder = rclpy.create_node("run_recorder", namespace=namespace)
        self.recorder.declare_parameter("camera_span", 0.25)
        arm = {name: param.default for name, param in ARM_PARAMETERS.items()}
        parameters = {"checkpoint": "cable_open", "constraint_limit": 0.4, "use_constraint": True}
        for name, value in {**arm, **parameters, "another": 1}.items():
            self.node.declare_parameter(name, value)
        self.called = []
        for verb, answer in (("e_stop", True), ("reset", False)):
            self.node.create_service(Trigger, f"~/{verb}", self._answer(verb, answer))
        self.box = rclpy.create_node("black_box", namespace=namespace)
        self.box.create_service(Trigger, "~/snapshot", self._answer("snapshot", True))
        self.executor = make_executor()
        for node in (self.node, self.recorder, self.box):
            self.executor.add_node(node)
        self.publishers = {
            topic: self.node.create_publisher(kind, topic, profile)
            for kind, topic, profile in (
                (SafetyStatus, "safety_status", qos.STATUS),
                (Violation, "violation", qos.EVENT),
                (Image, "camera/image_raw", qos.IMAGE),
                (PoseStamped, "PSM1/measured_cp", qos.CRTK_STATE),
            )
        }

    def _answer(self, verb, success):
        def answer(_, response):
            self.called.append(verb)
            response.success, response.message = success, f"{verb} answered"
            return response

        return answer

    def until(self, condition, patience=20.0):
        deadline = time.monotonic() + patience
        while not condition() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
        return condition()

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.recorder.destroy_node()
        self.box.destroy_node()


@pytest.fixture
def ros(monkeypatch):
    monkeypatch.setattr(link_module, "ASK", 0.2)
    monkeypatch.setattr(link_module, "INSIST", 60.0)
    rclpy.init()
    yield
    rclpy.shutdown()


class Taken:
    """Everything that has come into an inbox, by kind."""

    def __init__(self, inbox):
        self._inbox, self._kinds = inbox, {}

    def of(self, kind):
        for item in self._inbox.drain():
            self._kinds.setdefault(item.kind, []).append(item.value)
        return self._kinds.get(kind, [])


def test_what_a_robot_says_arrives_and_what_is_asked_of_it_is_answered(ros):
    robot, inbox = Robot("/left"), Inbox()
    link, taken = PanelLink("/left", inbox), Taken(inbox)
    try:
        assert robot.until(lambda: taken.of("services")[-1:] == [READY])
        assert taken.of("monitors")[-1] == 1
        # Thresholds and frames are the robot's own; the mask is its checkpoint's.
        assert robot.until(
            lambda: (
                {"constraint_limit", "camera_span"}
                <= {name for values in taken.of("parameters") for name in values}
            )
        )
        learned = {}
        for values in taken.of("parameters"):
            learned.update(values)
        assert (learned["constraint_limit"], learned["camera_span"]) == (0.4, 0.25)
        assert learned["mask"].ranges == RED and "another" not in learned
        robot.node.set_parameters([rclpy.Parameter("constraint_limit", value=0.3)])
        assert robot.until(
            lambda: any(v.get("constraint_limit") == 0.3 for v in taken.of("parameters"))
        )

        pose = DvrkArm(
            [-0.015, 0.0275, -0.12, 0.0, 0.0, 0.0, 1.0], workspace=((-1, 1), (-1, 1))
        ).target([0.02, -0.03])
        measured = pose_message(pose, header())
        measured.header.stamp = Time(sec=7)

        def talk():
            robot.publishers["safety_status"].publish(status(2, ["constraint"]))
            robot.publishers["camera/image_raw"].publish(frame())
            robot.publishers["PSM1/measured_cp"].publish(measured)
            return taken.of("status") and taken.of("picture") and taken.of("position")

        robot.publishers["violation"].publish(violation())
        assert robot.until(talk) and robot.until(lambda: taken.of("violation"))
        assert taken.of("status")[-1].reasons == ["constraint"]
        assert taken.of("position")[-1] == pytest.approx([0.02, -0.03])
        assert len(taken.of("image")) >= len(taken.of("picture"))

        assert link.call("e_stop") and link.call("reset") and link.call("snapshot")
        assert robot.until(lambda: len({verb for verb, *_ in taken.of("answer")}) == 3)
        assert set(robot.called) == set(READY)
        assert sorted(set(taken.of("answer"))) == [
            ("e_stop", True, "e_stop answered"),
            ("reset", False, "reset answered"),
            ("snapshot", True, "snapshot answered"),
        ]
    finally:
        link.close()
        robot.close()


def test_another_robot_is_not_heard_and_not_stopped(ros):
    robot, inbox = Robot("/left"), Inbox()
    watched, own = PanelLink("/left", Inbox()), Taken(inbox)
    link = PanelLink("/right", inbox)
    try:
        # The one that watches the robot finds it: by then the other could have.
        assert robot.until(lambda: watched.call("e_stop"))
        robot.publishers["safety_status"].publish(status())
        assert robot.until(lambda: set(robot.called) == {"e_stop"})
        assert not link.call("e_stop")
        assert robot.until(lambda: own.of("services"))
        assert own.of("services")[-1] == dict.fromkeys(READY, False)
        assert own.of("status") == []
    finally:
        watched.close()
        link.close()
        robot.close()


def test_a_stop_is_asked_for_until_it_is_answered(ros, monkeypatch):
    robot, inbox = Robot(""), Inbox()
    link, taken = PanelLink("", inbox), Taken(inbox)
    asked = []
    try:
        assert robot.until(lambda: taken.of("services")[-1:] == [READY])
        monkeypatch.setattr(link, "_send", asked.append)  # as if every request were lost
        assert link.call("e_stop") and robot.until(lambda: len(asked) >= 3)
        monkeypatch.undo()
        assert robot.until(lambda: taken.of("answer"))
        assert taken.of("answer")[0] == ("e_stop", True, "e_stop answered")
        before = len(robot.called)
        looks = len(taken.of("services"))
        assert robot.until(lambda: len(taken.of("services")) >= looks + 4)
        assert len(robot.called) <= before + 1
    finally:
        link.close()
        robot.close()


def test_a_link_leaves_the_graph_without_a_trace(ros):
    link = PanelLink("", Inbox())
    name, watcher = link.node.get_name(), rclpy.create_node("watcher")
    link.close()
    link.close()
    assert not link._thread.is_alive()
    deadline = time.monotonic() + 20
    while name in watcher.get_node_names() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert name not in watcher.get_node_names()
    watcher.destroy_node()


def test_a_namespace_that_is_none_is_refused_in_one_line(ros):
    with pytest.raises(ValueError, match="namespace 'a b' cannot be used") as caught:
        PanelLink("a b", Inbox())
    assert "\n" not in str(caught.value)


def test_masks_are_those_of_ls3s_checkpoints(tmp_path):
    assert mask_of("cable_open").size == 64 and mask_of(str(checkpoint_dir("cable_open")))
    assert mask_of("operation") is None and mask_of("nothing_like_it") is None
    (tmp_path / "config.yaml").write_text("mask: {size: -3}")
    assert mask_of(str(tmp_path)) is None
