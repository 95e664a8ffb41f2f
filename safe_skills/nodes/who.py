"""Who is behind an endpoint, and who set a parameter: what DDS knows and ROS messages do not say.

A GUID begins with the 12 bytes of its participant (RTPS 2.5, section 8.2.4), that is, of a process
or of one context in it. Every node publishes `/parameter_events`; so the graph tells which nodes a
participant holds. Nodes that share a process cannot be told apart in this way.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile
from rclpy.service_introspection import ServiceIntrospectionState
from rclpy.topic_endpoint_info import TopicEndpointInfo

from safe_skills.nodes.base import STEADY

EVERY_NODES_TOPIC = "/parameter_events"

UNKNOWN = "_NODE_NAME_UNKNOWN_"
"""Node name of an endpoint of which only DDS has heard yet."""

REMEMBERED = 64
"""Requests whose answer is waited for."""

NAMED_WITHIN = 2.0
"""Seconds for which a caller's name is waited for: it comes after its endpoints, as a message."""

LOOKS = 0.05
"""Seconds between two looks for it."""


def gid_of(data: Any) -> bytes:
    """16 bytes of a GUID; before ROS 2 Kilted a gid has zeros behind them."""
    return bytes(bytearray(data))[:16]


def participant_of(gid: bytes) -> bytes:
    """The participant's 12 bytes of a GUID."""
    return gid[:12]


def full_name(endpoint: TopicEndpointInfo) -> str:
    """Fully qualified name of the node that an endpoint belongs to."""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def own_participant(node: Node) -> bytes:
    """The participant that a node lives in.

    A node killed a moment ago, of the same name, may still be in the graph: so it is the
    participant of a publisher that was not there before it was made here.
    """
    while True:
        before = _gids(node)
        made = node.create_publisher(ParameterEvent, EVERY_NODES_TOPIC, 1)
        new = _gids(node) - before
        node.destroy_publisher(made)
        if len(new) == 1:
            return participant_of(new.pop())


def _gids(node: Node) -> set[bytes]:
    found = node.get_publishers_info_by_topic(EVERY_NODES_TOPIC)
    return {gid_of(endpoint.endpoint_gid) for endpoint in found}


def nodes_behind(node: Node, gid: bytes) -> list[str]:
    """Fully qualified names of the nodes in the participant of a GUID.

    Empty when it is gone, and while nothing but DDS has heard of it yet.
    """
    wanted = participant_of(gid)
    return sorted(
        {
            full_name(one)
            for one in node.get_publishers_info_by_topic(EVERY_NODES_TOPIC)
            if one.node_name != UNKNOWN and participant_of(gid_of(one.endpoint_gid)) == wanted
        }
    )


def name_behind(node: Node, gid: bytes) -> str:
    """One line for the nodes behind a GUID: their names, or that they are unknown."""
    return _line(nodes_behind(node, gid), gid)


def _line(names: list[str], gid: bytes) -> str:
    return " or ".join(names) or f"an unknown node (gid {gid.hex()})"


@dataclass(frozen=True)
class ParameterCall:
    """A parameter that somebody asked to change, over a service.

    Attributes:
        name: of the parameter.
        value: that was asked for.
        caller: nodes that it came from, in one line.
        refused: why it was refused; empty when it was taken.
    """

    name: str
    value: Any
    caller: str
    refused: str


@dataclass(frozen=True)
class _Call:
    gid: bytes
    callers: list[str]
    given: list[tuple[str, Any]]
    refused: tuple[str, ...] = ()
    until: float = 0.0


class ParameterCallers:
    """Tells who set a node's parameters, right after they were set, one call after the other.

    A caller that has only just come may have no name yet: it is waited for up to 2 s.

    rclpy hands a service's callback no more than the request. Service introspection (REP 2012) does
    say who asked: the node listens to the events of its own parameter services.

    Made once in a node's life, in its constructor: it tells in every state of the node.

    Args:
        node: whose parameters are watched.
        report: called once for every parameter of every call, taken or refused.
    """

    def __init__(self, node: Node, report: Callable[[ParameterCall], None]) -> None:
        self._node, self._report = node, report
        self._asked: dict[tuple[bytes, int], _Call] = {}
        self._answered: deque[_Call] = deque()
        self._look = node.create_timer(LOOKS, self._tell, clock=STEADY)
        self._look.cancel()
        profile = QoSProfile(depth=REMEMBERED)
        for kind in (SetParameters, SetParametersAtomically):
            name = "set_parameters" + ("_atomically" if kind is SetParametersAtomically else "")
            full = f"{node.get_fully_qualified_name()}/{name}"
            service = next(one for one in node.services if one.service_name == full)
            service.configure_introspection(
                node.get_clock(), profile, ServiceIntrospectionState.CONTENTS
            )
            node.create_subscription(kind.Event, f"{full}/_service_event", self._event, profile)

    def _event(self, event: Any) -> None:
        gid = gid_of(event.info.client_gid)
        key = (gid, event.info.sequence_number)
        if event.info.event_type == event.info.REQUEST_RECEIVED and event.request:
            given = [
                (one.name, parameter_value_to_python(one.value))
                for one in event.request[0].parameters
            ]
            # A command line tool is gone when it has its answer.
            self._asked[key] = _Call(gid, nodes_behind(self._node, gid), given)
            while len(self._asked) > REMEMBERED:
                del self._asked[next(iter(self._asked))]
        elif event.info.event_type == event.info.RESPONSE_SENT and event.response:
            call = self._asked.pop(key, None)
            if call is None:
                return
            response = event.response[0]
            results = getattr(response, "results", None) or [response.result] * len(call.given)
            refused = tuple("" if one.successful else one.reason or "refused" for one in results)
            until = time.monotonic() + NAMED_WITHIN
            self._answered.append(replace(call, refused=refused, until=until))
            self._tell()

    def _tell(self) -> None:
        while self._answered:
            call = self._answered[0]
            callers = call.callers or nodes_behind(self._node, call.gid)
            if not callers and time.monotonic() < call.until:
                self._look.reset()
                return
            self._answered.popleft()
            caller = _line(callers, call.gid)
            for (name, value), refused in zip(call.given, call.refused, strict=False):
                self._report(ParameterCall(name, value, caller, refused))
        self._look.cancel()
