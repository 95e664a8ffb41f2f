"""The black box over real topics: what it writes, when, and what it does where it cannot."""

import numpy as np
import pytest
from mcap.reader import make_reader
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from safe_skills.msg import SafetyStatus, Violation
from safe_skills.nodes import qos
from safe_skills.nodes.black_box import BlackBox
from safe_skills.nodes.conversions import image_from_rgb, rgb_from_image
from safe_skills.nodes.diagnostics import ERROR, OK, WARN, Status

QUICK = {"look": 0.05, "after": 0.3, "min_interval": 1.0}
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def read(path):
    with path.open("rb") as stream:
        reader = make_reader(stream)
        assert reader.get_header().profile == "ros2"
        found = list(reader.iter_messages())
    return {
        topic: [(schema, message) for schema, channel, message in found if channel.topic == topic]
        for topic in {channel.topic for _, channel, _ in found}
    }


class Scene:
    """A black box, and a robot's topics that it has found."""

    def __init__(self, graph, folder, **parameters):
        self.graph, self.folder = graph, folder
        peer = graph.peer
        self.status = peer.create_publisher(SafetyStatus, "safety_status", qos.STATUS)
        self.violation = peer.create_publisher(Violation, "violation", qos.EVENT)
        self.camera = peer.create_publisher(Image, "camera/image_raw", qos.IMAGE)
        self.early = peer.create_publisher(String, "early", qos.EVENT)
        self.early.publish(String(data="before"))
        self.node = graph.start(BlackBox, folder=str(folder), **{**QUICK, **parameters})
        assert self.node.is_active, self.node.fault
        topics = (self.status, self.violation, self.camera, self.early)
        assert graph.until(lambda: all(graph.joined(topic) for topic in topics))
        # Twice: for its memory, and for what sets it off.
        assert graph.until(lambda: self.status.get_subscription_count() == 2)
        assert graph.until(lambda: self.violation.get_subscription_count() == 2)
        self.say(SafetyStatus.OK)
        assert graph.until(lambda: self.holds("/safety_status") and self.holds("/early"))

    def holds(self, topic):
        channels = {number for number, (name, _) in self.node._topics.items() if name == topic}
        return [entry for entry in self.node._ring if entry.channel in channels]

    def say(self, state, **fields):
        self.status.publish(SafetyStatus(state=state, **fields))

    def files(self):
        return sorted(self.folder.glob("*.mcap")) if self.folder.is_dir() else []

    def report(self):
        status = Status()
        self.node._report_memory(status)
        return status


@pytest.fixture
def scene(graph, tmp_path):
    return Scene(graph, tmp_path / "box")


def test_what_only_made_a_step_shorter_is_no_event(scene):
    scene.violation.publish(Violation(kind="workspace", value=0.2, limit=0.18))
    scene.graph.spin(1.0)
    assert scene.files() == [] and not scene.node._triggers.pending


def test_a_violation_is_written_with_what_came_before_and_after_it(scene):
    header = Header(frame_id="camera")
    while not scene.holds("/camera/image_raw"):
        scene.camera.publish(image_from_rgb(PICTURE, header))
        scene.graph.spin(0.05)
    scene.violation.publish(Violation(kind="constraint", value=0.9, limit=0.5))
    assert scene.graph.until(lambda: scene.node._triggers.pending)
    assert scene.files() == []
    before = len(scene.holds("/safety_status"))
    scene.say(SafetyStatus.HOLD, reasons=["workspace"])
    assert scene.graph.until(scene.files, 20.0)
    (path,) = scene.files()
    assert path.name.endswith("Z_violation_constraint.mcap")
    topics = read(path)
    assert {"/early", "/safety_status", "/violation", "/camera/image_raw"} <= set(topics)
    for found in topics.values():
        assert all(schema.encoding == "ros2msg" and schema.data for schema, _ in found)
    ((schema, image), *_) = topics["/camera/image_raw"]
    assert schema.name == "sensor_msgs/msg/Image" and b"MSG: std_msgs/Header" in schema.data
    np.testing.assert_array_equal(rgb_from_image(deserialize_message(image.data, Image)), PICTURE)
    states = [
        deserialize_message(message.data, SafetyStatus).state
        for _, message in topics["/safety_status"]
    ]
    assert len(states) > before and states[-1] == SafetyStatus.HOLD
    assert deserialize_message(topics["/violation"][-1][1].data, Violation).kind == "constraint"
    assert scene.graph.until(lambda: not scene.node._files.busy)
    status = scene.report()
    assert status.level == OK
    assert (status.values["files_written"], status.values["last_file"]) == ("1", str(path))


def test_a_stop_is_written_and_one_that_stands_already_is_not(scene):
    for state in (SafetyStatus.STOPPED, SafetyStatus.STOPPED):
        scene.say(state, reasons=["emergency_stop"], stop_cause="emergency_stop")
        scene.graph.spin(0.1)
    assert scene.graph.until(scene.files, 20.0)
    scene.say(SafetyStatus.STOPPED, stop_cause="emergency_stop")
    scene.graph.spin(0.5)
    assert [path.name.split("_", 1)[1] for path in scene.files()] == ["stop_emergency_stop.mcap"]


def test_who_comes_while_the_robot_is_stopped_takes_that_for_no_event(graph, tmp_path):
    stopped = graph.peer.create_publisher(SafetyStatus, "safety_status", qos.STATUS)
    old = graph.peer.create_publisher(Violation, "violation", qos.EVENT)
    old.publish(Violation(kind="step"))
    node = graph.start(BlackBox, folder=str(tmp_path / "box"), **QUICK)
    assert graph.until(lambda: stopped.get_subscription_count() == 2 and graph.joined(old))
    stopped.publish(SafetyStatus(state=SafetyStatus.STOPPED))
    assert graph.until(lambda: node._state == SafetyStatus.STOPPED)
    graph.spin(0.3)
    assert not node._triggers.pending and not (tmp_path / "box").exists()


def ask(scene):
    client = scene.graph.peer.create_client(Trigger, "black_box/snapshot")
    assert scene.graph.until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    assert scene.graph.until(future.done, 20.0)
    return future.result()


def test_whoever_asks_is_told_the_file(scene):
    answer = ask(scene)
    (path,) = scene.files()
    assert answer.success and f"wrote {path}:" in answer.message
    assert "/early" in read(path)
    # What is latched is there in every file, however old it is.
    scene.node._ring.forget(scene.holds("/early")[0].received + 10**12)
    again = ask(scene)
    assert again.success and len(scene.files()) == 2
    newest = read(scene.files()[-1])
    ((_, message),) = newest["/early"]
    assert deserialize_message(message.data, String).data == "before"
    assert message.publish_time < message.log_time


def test_where_nothing_can_be_written_it_says_so_once_and_goes_on(graph, tmp_path, lines):
    (tmp_path / "box").write_text("in the way")
    scene = Scene(graph, tmp_path / "box")
    for _ in range(2):
        answer = ask(scene)
        assert not answer.success and "not written:" in answer.message
    errors = [text for severity, text in lines if severity == "ERROR"]
    assert len(errors) == 1 and "\n" not in errors[0] and "box" in errors[0]
    status = scene.report()
    assert status.level == ERROR and status.values["failures"] == "2"
    assert scene.holds("/early") and scene.node.is_active
    (tmp_path / "box").unlink()
    assert ask(scene).success and scene.report().level == OK


def test_memory_that_is_too_little_is_told(graph, tmp_path):
    scene = Scene(graph, tmp_path / "box", memory_mib=1)
    large = image_from_rgb(np.zeros((240, 320, 3), np.uint8), Header())

    def full():
        scene.camera.publish(large)
        return scene.node._ring.squeezed

    assert scene.graph.until(full, 20.0)
    assert scene.node._ring.bytes <= 2**20
    status = scene.report()
    assert status.level == WARN and "memory_mib 1 is too little for 20 s" in status.message


def test_what_waits_for_its_tail_is_written_when_the_node_ends(graph, tmp_path):
    scene = Scene(graph, tmp_path / "box", after=10.0)
    scene.violation.publish(Violation(kind="step"))
    assert scene.graph.until(lambda: scene.node._triggers.pending)
    scene.node.shut_down()
    assert [path.name.split("_", 1)[1] for path in scene.files()] == ["violation_step.mcap"]


def test_settings_that_forget_what_they_should_keep_are_refused(graph, tmp_path):
    node = graph.start(BlackBox, folder=str(tmp_path), seconds=5.0)
    assert not node.is_active and "expected at least after + min_interval" in node.fault
