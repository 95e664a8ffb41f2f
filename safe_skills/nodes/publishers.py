"""A watch of who publishes on a topic that only one node may publish on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.who import (
    UNKNOWN,
    full_name,
    gid_of,
    name_behind,
    own_participant,
    participant_of,
)

FOREIGN = "foreign publisher"
"""How a line about one begins, in logs and in the bridge's status."""

PERIOD = 0.5
"""Seconds between two looks at the graph."""

FORGOTTEN = 2.0
"""Seconds after its last message that a publisher counts which has left the graph."""

_EVERYTHING = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    # Matches reliable publishers, too: a publisher of any quality of service is heard.
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)


@dataclass
class _Heard:
    line: str
    at: float


class PublisherWatch:
    """Notices publishers other than the node's own on topics that are the node's alone.

    Twice a second it asks the graph: an endpoint of a node of another name is foreign. A message
    tells at once: one whose publisher is not the node's own is foreign, whatever the name of its
    node. An endpoint of the node's own name that is silent is tolerated: a process that was killed
    stays in the graph for the lease of its participant, up to 20 s, and must not keep its successor
    from working.

    What was heard from counts until it has left the graph and has been silent for 2 s.

    Made in `configure`; like all that a node subscribes to, it works while the node is active.

    Args:
        node: whose topics these are.
        topics: the type of each topic.
        changed: called with `foreign` whenever that has changed.
    """

    def __init__(
        self,
        node: SkillNode,
        topics: Mapping[str, type],
        changed: Callable[[list[str]], None] | None = None,
    ) -> None:
        self._node, self._changed = node, changed
        self._own_name = node.get_fully_qualified_name()
        self._participant = own_participant(node)
        self._topics = [node.resolve_topic_name(topic) for topic in topics]
        self._own: dict[str, set[bytes]] = {topic: set() for topic in self._topics}
        self._named: dict[str, dict[bytes, str]] = {topic: {} for topic in self._topics}
        self._nameless: set[bytes] = set()
        self._heard: dict[str, dict[bytes, _Heard]] = {topic: {} for topic in self._topics}
        self._foreign: list[str] = []
        for topic, kind in zip(self._topics, topics.values(), strict=True):
            node.subscribe(kind, topic, self._listener(topic), _EVERYTHING, raw=True)
        node.every(PERIOD, self.look)

    @property
    def foreign(self) -> list[str]:
        """One line for each foreign publisher there is now; empty when there is none."""
        return list(self._foreign)

    def look(self) -> None:
        """Ask the graph who publishes."""
        now = time.monotonic()
        nameless: set[bytes] = set()
        for topic in self._topics:
            present = self._ask(topic, nameless)
            self._heard[topic] = {
                gid: one
                for gid, one in self._heard[topic].items()
                if gid in present or now - one.at <= FORGOTTEN
            }
        self._nameless = nameless
        self._tell()

    def _ask(self, topic: str, nameless: set[bytes]) -> set[bytes]:
        """Note the endpoints of a topic; returns their gids."""
        own: set[bytes] = set()
        named: dict[bytes, str] = {}
        present: set[bytes] = set()
        for endpoint in self._node.get_publishers_info_by_topic(topic):
            gid, name = gid_of(endpoint.endpoint_gid), full_name(endpoint)
            present.add(gid)
            if name == self._own_name:
                if participant_of(gid) == self._participant:
                    own.add(gid)
            elif endpoint.node_name != UNKNOWN:
                named[gid] = f"{topic}: {name} publishes, too"
            elif gid in self._nameless:
                # At two looks: it is not one whose name was only on the way.
                named[gid] = f"{topic}: an unknown node (gid {gid.hex()}) publishes, too"
            else:
                nameless.add(gid)
        nameless.update(gid for gid in self._nameless if gid in present)
        self._own[topic], self._named[topic] = own, named
        return present

    def _listener(self, topic: str) -> Callable[[bytes, dict], None]:
        def listen(_: bytes, info: dict) -> None:
            gid = gid_of(info["publisher_gid"]["data"])
            if gid in self._own[topic]:
                return
            heard = self._heard[topic].get(gid)
            if heard is not None:
                heard.at = time.monotonic()
                return
            self._ask(topic, set())
            if gid not in self._own[topic]:
                line = f"{topic}: a message from {name_behind(self._node, gid)}"
                self._heard[topic][gid] = _Heard(line, time.monotonic())
                self._tell()

        return listen

    def _tell(self) -> None:
        lines: dict[bytes, str] = {}
        for topic in self._topics:
            lines |= self._named[topic]
            lines |= {gid: one.line for gid, one in self._heard[topic].items()}
        foreign = sorted(set(lines.values()))
        if foreign != self._foreign:
            self._foreign = foreign
            if self._changed is not None:
                self._changed(list(foreign))
