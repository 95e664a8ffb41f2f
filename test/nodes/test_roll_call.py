import pytest
import rclpy
from std_msgs.msg import Header

from safe_skills.msg import EpisodeStatus
from safe_skills.nodes import qos, roll_call
from safe_skills.nodes.bag_recorder import BagRecorder
from safe_skills.nodes.roll_call import RollCall, names_in
from safe_skills.nodes.run_recorder import RunRecorder


def test_names_are_separated_by_commas():
    assert names_in("") == names_in(" , ") == frozenset()
    assert names_in("planner, encoder") == {"planner", "encoder"}


def test_it_is_complete_once_everyone_was_seen_at_some_time():
    present, given_up = {"someone"}, []
    call = RollCall({"a", "b"}, lambda: present, 1e6, given_up.append)
    assert not call.complete()
    present = {"a"}
    assert not call.complete()
    present = {"b"}
    assert call.complete()
    present = set()
    assert call.complete() and given_up == []


def test_patience_ends_and_says_once_who_is_missing():
    given_up = []
    call = RollCall({"b", "a", "c"}, lambda: {"c"}, 0.0, given_up.append)
    assert call.complete() and call.complete()
    assert given_up == [["a", "b"]]


def test_nobody_to_wait_for_is_no_wait():
    assert RollCall([], list, 1e6, lambda missing: None).complete()


def listens(node):
    return "/episode" in [made.topic_name for made in node.subscriptions]


def start(graph, node_class, tmp_path, sources):
    parameters = {"file": str(tmp_path / "run.mcap")} if node_class is BagRecorder else {}
    graph.peer.create_publisher(EpisodeStatus, "episode", qos.EVENT)
    graph.peer.create_publisher(Header, "episode_start", qos.EVENT)
    node = graph.start(node_class, sources=sources, **parameters)
    assert node.is_active, node.fault
    return node


@pytest.mark.parametrize("node_class", [RunRecorder, BagRecorder])
def test_a_recorder_listens_to_episodes_once_its_sources_are_found(graph, node_class, tmp_path):
    node = start(graph, node_class, tmp_path, "planner,monitor")
    graph.add(rclpy.create_node("planner"))
    assert graph.until(lambda: "planner" in node.get_node_names())
    graph.spin(0.5)
    assert not listens(node)
    graph.add(rclpy.create_node("monitor"))
    assert graph.until(lambda: listens(node))


@pytest.mark.parametrize("node_class", [RunRecorder, BagRecorder])
def test_a_recorder_does_not_wait_for_ever(graph, node_class, tmp_path, monkeypatch, lines):
    monkeypatch.setattr(roll_call, "SOURCES_PATIENCE", 0.2)
    node = start(graph, node_class, tmp_path, "planner")
    assert graph.until(lambda: listens(node))
    assert ("WARN", "not found yet: planner; recorded once it is") in lines
