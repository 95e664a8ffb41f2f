"""Subscriptions to every topic of the graph as it appears, unparsed: what recorders share."""

import importlib
import time
from collections.abc import Callable

from rclpy.node import Node
from rclpy.parameter import Parameter
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
        polled: whether messages wait in the middleware until `poll`. A thread that wakes for every
            message wakes together with whoever the message is for, and is in its way; with its own
            time of reception a message may as well be fetched later, many at a time.
        last: name of a topic that is left for later.
        ready: whether it is time for that topic, too.
    """

    def __init__(
        self,
        node: SkillNode,
        add_topic: Callable[[str, str, bool], int],
        take: Callable[[Entry], None],
        *,
        polled: bool = False,
        last: str = "",
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self.topics: set[str] = set()
        self._node, self._add_topic, self._take = node, add_topic, take
        self._last, self._ready = last, ready
        # What belongs to the node itself would be spun with it.
        self._ear = _unspun(node) if polled else None

    def poll(self) -> None:
        """Take what has come since the last time; where `polled`."""
        for subscription in self._ear.subscriptions:
            with subscription.handle:
                for _ in range(subscription.qos_profile.depth):
                    got = subscription.handle.take_message(subscription.msg_type, True)
                    if got is None:
                        break
                    subscription.callback(*got)
            # Others may have the interpreter in between.
            time.sleep(0)

    def close(self) -> None:
        """Leave the topics that are polled; the node's own go with it."""
        if self._ear is not None:
            self._ear.destroy_node()

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

        if self._ear is not None:
            self._ear.create_subscription(kind, topic, take, profile, raw=True)
        else:
            self._node.subscribe(kind, topic, take, profile, raw=True)


def _unspun(node: SkillNode) -> Node:
    """A node beside another one, for subscriptions that no executor looks after."""
    return Node(
        f"{node.get_name()}_ear",
        context=node.context,
        namespace=node.get_namespace(),
        # A name that was given on the command line is the other's.
        use_global_arguments=False,
        # It offers nothing: a policy that knows the other need not know of it.
        enable_rosout=False,
        start_parameter_services=False,
        parameter_overrides=[Parameter("start_type_description_service", value=False)],
    )


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
