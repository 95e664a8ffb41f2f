"""Subscriptions to every topic of the graph as it appears, unparsed: what recorders share."""

import importlib
import time
from collections.abc import Callable

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from safe_skills.data.ring import Entry
from safe_skills.nodes.base import SkillNode

DEPTH = 1000
"""Messages of a topic that wait for a slow recorder: the oldest give way, no publisher waits."""

IMAGE_DEPTH = 30
"""The same for messages that may be large: they would fill the memory while a recorder stands."""

LARGE = frozenset(
    f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "PointCloud2", "PointCloud")
)


class EveryTopic:
    """Subscribes a node to every topic there is; hidden ones, with `_`, are left out.

    Of each it asks for the strictest quality of service that all its publishers can serve.

    Args:
        node: that subscribes.
        add_topic: is told of a topic, its type and whether it is latched, and returns its channel;
            `ValueError` where it cannot be recorded.
        take: is given every message.
        last: name of a topic that is left for later.
        ready: whether it is time for that topic, too.
    """

    def __init__(
        self,
        node: SkillNode,
        add_topic: Callable[[str, str, bool], int],
        take: Callable[[Entry], None],
        *,
        last: str = "",
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self.topics: set[str] = set()
        self._node, self._add_topic, self._take = node, add_topic, take
        self._last, self._ready = last, ready

    def look(self) -> None:
        """Subscribe to what has appeared."""
        ready = self._ready()
        for topic, types in self._node.get_topic_names_and_types():
            hidden = any(part.startswith("_") for part in topic.split("/"))
            if topic in self.topics or hidden or len(types) != 1:
                continue
            if topic == self._last and not ready:
                continue
            offers = self._node.get_publishers_info_by_topic(topic)
            if offers:
                self.topics.add(topic)
                self._record(topic, types[0], offers)

    def _record(self, topic: str, type_name: str, offers: list[TopicEndpointInfo]) -> None:
        profile = matching_profile(offers, IMAGE_DEPTH if type_name in LARGE else DEPTH)
        latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        try:
            kind = message_class(type_name)
            channel = self._add_topic(topic, type_name, latched)
        except (ValueError, ImportError, AttributeError) as error:
            self._node.get_logger().warning(f"{topic} is not recorded: {error}")
            return

        def take(data: bytes, info: dict) -> None:
            received = info["received_timestamp"] or time.time_ns()
            # A publisher's clock may say anything, and a file has room for 32 bits of the number.
            published = max(info["source_timestamp"] or received, 0)
            sequence = (info["publication_sequence_number"] or 0) & 0xFFFFFFFF
            self._take(Entry(channel, data, received, published, sequence))

        self._node.subscribe(kind, topic, take, profile, raw=True)


def message_class(type_name: str) -> type:
    """Return the class of a type such as `std_msgs/msg/Header`.

    Raises:
        ImportError: Its package is not installed.
        AttributeError: The package has no such message.
    """
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


def matching_profile(offers: list[TopicEndpointInfo], depth: int = DEPTH) -> QoSProfile:
    """Return the strictest profile that every publisher of a topic can serve."""
    reliable = all(o.qos_profile.reliability == ReliabilityPolicy.RELIABLE for o in offers)
    latched = all(o.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
