"""Foreign publishers are noticed, over real DDS: other nodes, doubles of the owner."""

import pytest
import rclpy
from std_msgs.msg import String

from safe_skills.msg import Command
from safe_skills.nodes import publishers, qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.publishers import PublisherWatch

TOPIC = "command_safe"


class Owner(SkillNode):
    NAME = "owner"

    def configure(self):
        self.changes = []
        self.out = self.advertise(Command, TOPIC, qos.COMMAND)
        self.watch = PublisherWatch(self, {TOPIC: Command}, self.changes.append)


@pytest.fixture
def elsewhere():
    """Makes nodes in participants of their own, as other processes have."""
    made = []

    def make(name, namespace=""):
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node(name, context=context, namespace=namespace)
        made.append((context, node))
        return node

    yield make
    for context, node in made:
        node.destroy_node()
        rclpy.shutdown(context=context)


def heard_by(graph, publisher):
    """Until the watch's reader has found a publisher."""
    assert graph.until(lambda: publisher.get_subscription_count() >= 1)


def noticed(graph, owner, publisher):
    """Whether what a publisher says is noticed; its reader may have found it a moment later."""

    def said_again():
        publisher.publish(Command())
        return owner.watch.foreign

    return graph.until(said_again)


def test_the_owner_itself_is_not_foreign_however_often_it_publishes(graph):
    owner = graph.start(Owner)
    heard = graph.collect(Command, TOPIC, qos.LOG)
    assert graph.until(lambda: owner.out.get_subscription_count() == 2)
    for _ in range(5):
        owner.out.publish(Command())
    assert graph.until(lambda: len(heard) >= 1)
    graph.spin(1.2)
    assert owner.watch.foreign == [] and owner.changes == []


def test_another_node_is_found_in_the_graph_before_it_says_anything(graph, elsewhere):
    owner = graph.start(Owner)
    intruder = elsewhere("intruder", "/far")
    publisher = intruder.create_publisher(Command, TOPIC, 1)
    intruder.create_publisher(Command, f"/{TOPIC}", 1)
    assert graph.until(lambda: owner.watch.foreign)
    assert owner.watch.foreign == ["/command_safe: /far/intruder publishes, too"]
    intruder.destroy_publisher(publisher)
    graph.spin(0.6)
    assert owner.watch.foreign
    for other in list(intruder.publishers):
        if other.topic_name == f"/{TOPIC}":
            intruder.destroy_publisher(other)
    assert graph.until(lambda: not owner.watch.foreign)
    assert owner.changes == [["/command_safe: /far/intruder publishes, too"], []]


def test_a_publisher_of_another_type_is_foreign_too(graph, elsewhere):
    owner = graph.start(Owner)
    elsewhere("intruder").create_publisher(String, TOPIC, 1)
    assert graph.until(lambda: owner.watch.foreign)


def test_a_node_of_the_same_process_is_foreign(graph):
    owner = graph.start(Owner)
    graph.peer.create_publisher(Command, TOPIC, qos.COMMAND)
    assert graph.until(lambda: owner.watch.foreign == ["/command_safe: /peer publishes, too"])


def test_a_double_is_tolerated_until_it_speaks(graph, elsewhere):
    # What a process that was killed leaves in the graph looks the same.
    owner = graph.start(Owner)
    publisher = elsewhere("owner").create_publisher(Command, TOPIC, qos.COMMAND)
    heard_by(graph, publisher)
    graph.spin(1.2)
    assert owner.watch.foreign == []
    assert noticed(graph, owner, publisher)
    (line,) = owner.watch.foreign
    assert line.startswith("/command_safe: a message from ") and "/owner" in line


def test_a_message_tells_before_the_graph_is_asked_again(graph, elsewhere, monkeypatch):
    monkeypatch.setattr(publishers, "PERIOD", 3600.0)
    owner = graph.start(Owner)
    intruder = elsewhere("intruder")
    publisher = intruder.create_publisher(Command, TOPIC, 1)
    heard_by(graph, publisher)
    # Endpoints and names of nodes travel apart.
    assert graph.until(lambda: "intruder" in owner.get_node_names())
    assert noticed(graph, owner, publisher)
    assert any("a message from /intruder" in line for line in owner.watch.foreign)


def test_who_has_spoken_counts_until_it_is_gone_and_silent(graph, elsewhere, monkeypatch):
    monkeypatch.setattr(publishers, "FORGOTTEN", 0.0)
    owner = graph.start(Owner)
    double = elsewhere("owner")
    publisher = double.create_publisher(Command, TOPIC, 1)
    heard_by(graph, publisher)
    assert noticed(graph, owner, publisher)
    graph.spin(1.2)
    assert owner.watch.foreign
    double.destroy_publisher(publisher)
    assert graph.until(lambda: not owner.watch.foreign)


def test_an_owner_that_was_configured_again_knows_itself(graph):
    owner = graph.start(Owner)
    owner.trigger_deactivate()
    owner.trigger_cleanup()
    assert owner.bring_up()
    heard = graph.collect(Command, TOPIC, qos.LOG)
    assert graph.until(lambda: owner.out.get_subscription_count() == 2)
    owner.out.publish(Command())
    assert graph.until(lambda: heard)
    graph.spin(1.0)
    assert owner.watch.foreign == []
