"""Node: records every topic of the graph into one MCAP file."""

import importlib
import sys
import time

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.diagnostics import OK, Status
from safe_skills.nodes.mcap_log import McapLog
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.roll_call import SOURCES, sources_of


class BagRecorder(SkillNode):
    """Subscribes to every topic as it appears and appends what comes, unparsed."""

    NAME = "bag_recorder"
    PARAMETERS = {
        "file": Param("run.mcap", "File to write; beside it until the recorder ends."),
        "look": Param(0.2, "Period of looking for new topics [s].", low=0.01, high=10.0),
        "sources": SOURCES,
    }

    def configure(self) -> None:
        """Open the file."""
        self._log = McapLog(self.param("file"))
        self._topics: set[str] = set()
        self._sources = sources_of(self, self.param("sources"))
        self._episode = self.resolve_topic_name("episode")
        self.every(self.param("look"), self._discover)
        self.every(1.0, self._log.flush)
        self.diagnostics.add("bag", self._report_bag)

    def activate(self) -> None:
        """Subscribe to what is there already."""
        self._discover()

    def cleanup(self) -> None:
        """Close and rename the file."""
        self._log.close()
        self.get_logger().info(f"wrote {self._log.path} ({self._log.messages} messages)")

    def _discover(self) -> None:
        # Who waits for this node waits until it listens to `episode`: that comes last.
        complete = self._sources.complete()
        for topic, types in self.get_topic_names_and_types():
            hidden = any(part.startswith("_") for part in topic.split("/"))
            if topic in self._topics or hidden or len(types) != 1:
                continue
            if topic == self._episode and not complete:
                continue
            offers = self.get_publishers_info_by_topic(topic)
            if offers:
                self._topics.add(topic)
                self._record(topic, types[0], offers)

    def _record(self, topic: str, type_name: str, offers: list[TopicEndpointInfo]) -> None:
        try:
            kind = message_class(type_name)
            channel = self._log.add_topic(topic, type_name)
        except (ValueError, ImportError, AttributeError) as error:
            self.get_logger().warning(f"{topic} is not recorded: {error}")
            return

        def append(data: bytes, info: dict) -> None:
            self._log.add_message(
                channel,
                data,
                received=info["received_timestamp"] or time.time_ns(),
                published=info["source_timestamp"] or time.time_ns(),
                sequence=info["publication_sequence_number"] or 0,
            )

        self.subscribe(kind, topic, append, matching_profile(offers), raw=True)

    def _report_bag(self, status: Status) -> None:
        status.summary(OK, f"recording {len(self._topics)} topics")
        status.add("messages", self._log.messages)


def message_class(type_name: str) -> type:
    """Return the class of a type such as `std_msgs/msg/Header`.

    Raises:
        ImportError: Its package is not installed.
        AttributeError: The package has no such message.
    """
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


def matching_profile(offers: list[TopicEndpointInfo]) -> QoSProfile:
    """Return the strictest profile that every publisher of a topic can serve."""
    reliable = all(o.qos_profile.reliability == ReliabilityPolicy.RELIABLE for o in offers)
    latched = all(o.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1000,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def main() -> int:
    """Run the node."""
    return main_for(BagRecorder)


if __name__ == "__main__":
    sys.exit(main())
