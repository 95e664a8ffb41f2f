"""Who is behind a GUID, and who set a parameter, over real DDS."""

import pytest
import rclpy
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from std_msgs.msg import Empty

from safe_skills.nodes import who
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.who import (
    ParameterCall,
    ParameterCallers,
    gid_of,
    name_behind,
    nodes_behind,
    own_participant,
    participant_of,
)


class Tuned(SkillNode):
    NAME = "tuned"
    PARAMETERS = {"speed": Param(1.0, "Speed [m/s].", low=0.0, high=2.0, runtime=True)}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = []
        self.callers = ParameterCallers(self, self.calls.append)


@pytest.fixture
def stranger():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("stranger", context=context, namespace="/far")
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_node_knows_its_participant_although_a_double_is_there(graph, stranger):
    context = rclpy.Context()
    rclpy.init(context=context)
    double = rclpy.create_node("peer", context=context)
    own = own_participant(graph.peer)
    endpoint = graph.peer.create_publisher(Empty, "mine", 1)
    (found,) = graph.peer.get_publishers_info_by_topic("mine")
    assert participant_of(gid_of(found.endpoint_gid)) == own
    assert own_participant(double) != own != own_participant(stranger)
    graph.peer.destroy_publisher(endpoint)
    double.destroy_node()
    rclpy.shutdown(context=context)


def test_the_node_behind_a_gid_is_named_and_one_that_is_not_there_is_not(graph, stranger):
    gid = own_participant(stranger) + bytes(4)
    assert graph.until(lambda: nodes_behind(graph.peer, gid) == ["/far/stranger"])
    assert name_behind(graph.peer, gid) == "/far/stranger"
    assert name_behind(graph.peer, bytes(16)) == f"an unknown node (gid {'00' * 16})"


@pytest.mark.parametrize("kind", [SetParameters, SetParametersAtomically])
def test_who_sets_a_parameter_is_told_with_what_came_of_it(graph, stranger, kind):
    tuned = graph.start(Tuned)
    name = "set_parameters" if kind is SetParameters else "set_parameters_atomically"
    client = stranger.create_client(kind, f"/tuned/{name}")
    assert graph.until(client.service_is_ready)

    def ask(value):
        wanted = Parameter("speed", value=value).to_parameter_msg()
        client.call_async(kind.Request(parameters=[wanted]))

    ask(1.5)
    assert graph.until(lambda: len(tuned.calls) == 1)
    assert tuned.calls == [ParameterCall("speed", 1.5, "/far/stranger", "")]
    ask(7.0)
    assert graph.until(lambda: len(tuned.calls) == 2)
    refused = tuned.calls[1]
    assert refused.caller == "/far/stranger" and "range" in refused.refused
    assert tuned.param("speed") == 1.5


def test_a_caller_without_a_name_is_waited_for_and_calls_keep_their_order(
    graph, stranger, monkeypatch
):
    tuned = graph.start(Tuned)
    client = stranger.create_client(SetParameters, "/tuned/set_parameters")
    assert graph.until(client.service_is_ready)

    def ask(value):
        wanted = Parameter("speed", value=value).to_parameter_msg()
        client.call_async(SetParameters.Request(parameters=[wanted]))
        assert graph.until(lambda: tuned.param("speed") == value)

    # As while only DDS has heard of a participant: its endpoints are there, without a name.
    graph_of = graph.peer.get_publishers_info_by_topic
    monkeypatch.setattr(
        tuned,
        "get_publishers_info_by_topic",
        lambda topic: [_nameless(endpoint) for endpoint in graph_of(topic)],
    )
    ask(0.5)
    ask(0.7)
    graph.until(lambda: bool(tuned.calls), patience=0.3)
    assert tuned.calls == []
    monkeypatch.undo()
    assert graph.until(lambda: len(tuned.calls) == 2, patience=1.0)
    assert [(call.value, call.caller) for call in tuned.calls] == [
        (0.5, "/far/stranger"),
        (0.7, "/far/stranger"),
    ]


def test_a_caller_that_never_has_a_name_is_told_after_a_while(graph, stranger, monkeypatch):
    monkeypatch.setattr(who, "NAMED_WITHIN", 0.2)
    monkeypatch.setattr(who, "nodes_behind", lambda node, gid: [])
    tuned = graph.start(Tuned)
    client = stranger.create_client(SetParameters, "/tuned/set_parameters")
    assert graph.until(client.service_is_ready)
    wanted = Parameter("speed", value=0.5).to_parameter_msg()
    client.call_async(SetParameters.Request(parameters=[wanted]))
    assert graph.until(lambda: len(tuned.calls) == 1)
    assert tuned.calls[0].caller.startswith("an unknown node (gid ")


def _nameless(endpoint):
    endpoint.node_name = who.UNKNOWN
    return endpoint
