"""Node: records every topic of the graph into one MCAP file."""

import sys
from collections.abc import Callable

from safe_skills.data.ring import Entry
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.diagnostics import ERROR, OK, Status
from safe_skills.nodes.every_topic import EveryTopic
from safe_skills.nodes.mcap_log import McapLog
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.roll_call import SOURCES, sources_of

FLUSH = 0.25
"""Period of handing whole chunks to the operating system [s]."""


class BagRecorder(SkillNode):
    """Subscribes to every topic as it appears and appends what comes, unparsed.

    Where the disk is full it says so and ends the recording; the graph goes on, and what was
    written can be read.
    """

    NAME = "bag_recorder"
    PARAMETERS = {
        "file": Param("run.mcap", "File to write; beside it until the recorder ends."),
        "look": Param(0.2, "Period of looking for new topics [s].", low=0.01, high=10.0),
        "sources": SOURCES,
    }

    def configure(self) -> None:
        """Open the file."""
        self._trouble = ""
        self._log = McapLog(self.param("file"))
        # Who waits for this node waits until it listens to `episode`: that comes last.
        self._every = EveryTopic(
            self,
            lambda topic, type_name, latched: self._log.add_topic(topic, type_name),
            self._take,
            last=self.resolve_topic_name("episode"),
            ready=sources_of(self, self.param("sources")).complete,
        )
        self.every(self.param("look"), self._every.look)
        self.every(FLUSH, lambda: self._write(self._log.flush))
        self.diagnostics.add("bag", self._report_bag)

    def activate(self) -> None:
        """Subscribe to what is there already."""
        self._every.look()

    def cleanup(self) -> None:
        """Close and rename the file."""
        self._write(self._log.close)
        if not self._trouble:
            self.get_logger().info(f"wrote {self._log.path} ({self._log.messages} messages)")

    def _take(self, entry: Entry) -> None:
        self._write(lambda: self._log.add(entry))

    def _write(self, act: Callable[[], None]) -> None:
        if self._trouble:
            return
        try:
            act()
        except OSError as error:
            self._log.abandon()
            self._trouble = (
                f"recording has ended: {error.strerror}; what was written is in {self._log.partial}"
            )
            self.get_logger().error(self._trouble)

    def _report_bag(self, status: Status) -> None:
        status.summary(OK, f"recording {len(self._every.topics)} topics")
        if self._trouble:
            status.summary(ERROR, self._trouble)
        status.add("messages", self._log.messages)


def main() -> int:
    """Run the node."""
    return main_for(BagRecorder)


if __name__ == "__main__":
    sys.exit(main())
