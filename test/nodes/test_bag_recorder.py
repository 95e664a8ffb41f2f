import resource
from random import Random
from types import SimpleNamespace

import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader, make_reader
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_msgs.msg import Header, String

from safe_skills.nodes import qos
from safe_skills.nodes.bag_recorder import BagRecorder
from safe_skills.nodes.every_topic import matching_profile, message_class

OFFERS = {
    "best effort": qos.IMAGE,
    "reliable": qos.COMMAND,
    "latched": qos.EVENT,
}


@pytest.mark.parametrize(
    ("offered", "reliable", "latched"),
    [
        (["best effort"], False, False),
        (["reliable"], True, False),
        (["latched"], True, True),
        (["latched", "reliable"], True, False),
        (["reliable", "best effort"], False, False),
    ],
)
def test_a_subscription_asks_for_no_more_than_every_publisher_offers(offered, reliable, latched):
    offers = [SimpleNamespace(qos_profile=OFFERS[name]) for name in offered]
    profile = matching_profile(offers)
    assert (profile.reliability == ReliabilityPolicy.RELIABLE) is reliable
    assert (profile.durability == DurabilityPolicy.TRANSIENT_LOCAL) is latched


def test_a_type_is_found_by_its_name():
    assert message_class("std_msgs/msg/Header") is Header
    with pytest.raises(ImportError):
        message_class("no_such_package/msg/Header")


def test_it_records_what_was_said_before_and_after_it_came(graph, tmp_path):
    early = graph.peer.create_publisher(String, "early", qos.EVENT)
    early.publish(String(data="before"))
    path = tmp_path / "run.mcap"
    node = graph.start(BagRecorder, file=str(path), look=0.05)
    assert node.is_active, node.fault
    assert graph.until(lambda: early.get_subscription_count() > 0)
    late = graph.peer.create_publisher(String, "late", qos.COMMAND)
    hidden = graph.peer.create_publisher(String, "_hidden", qos.COMMAND)
    assert graph.until(lambda: graph.joined(late))
    late.publish(String(data="after"))
    hidden.publish(String(data="no"))
    graph.spin(0.3)
    assert not path.exists()
    node.trigger_deactivate()
    node.trigger_cleanup()
    with path.open("rb") as stream:
        said = [
            (channel.topic, deserialize_message(message.data, String).data, message)
            for _, channel, message in make_reader(stream).iter_messages()
            if channel.topic in ("/early", "/late", "/_hidden")
        ]
    assert sorted(entry[:2] for entry in said) == [("/early", "before"), ("/late", "after")]
    assert all(0 < message.publish_time <= message.log_time for *_, message in said)


def test_a_place_where_nothing_can_be_written_is_refused(graph):
    node = graph.start(BagRecorder, file="/proc/no/run.mcap")
    assert not node.is_active and "/proc/no" in node.fault


def test_a_full_disk_ends_the_recording_with_one_line_and_what_was_written_stays(
    graph, tmp_path, lines
):
    said = graph.peer.create_publisher(String, "said", qos.LOG)
    path = tmp_path / "run.mcap"
    node = graph.start(BagRecorder, file=str(path), look=0.05)
    assert graph.until(lambda: graph.joined(said))
    random = Random(0)

    def talk():
        said.publish(String(data=random.randbytes(4000).hex()))
        return node._trouble

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        assert graph.until(talk, 30.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said.publish(String(data="more"))
    graph.spin(0.3)
    assert node.is_active
    node.shut_down()
    errors = [text for severity, text in lines if severity == "ERROR"]
    assert len(errors) == 1 and "recording has ended: File too large" in errors[0]
    assert [p.name for p in tmp_path.iterdir()] == ["run.mcap.partial"]
    with (tmp_path / "run.mcap.partial").open("rb") as stream:
        messages, read = NonSeekingReader(stream).iter_messages(log_time_order=False), 0
        with pytest.raises(EndOfFile):
            for _ in messages:
                read += 1
    assert read >= 10
