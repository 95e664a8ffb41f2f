"""Node: remembers the last seconds of every topic and writes them down when something happens."""

import sys
import time
from pathlib import Path

from std_srvs.srv import Trigger

from safe_skills.data.ring import Ring
from safe_skills.msg import SafetyStatus, Violation
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.diagnostics import ERROR, OK, WARN, Status
from safe_skills.nodes.event_files import EventFiles, Written
from safe_skills.nodes.every_topic import EveryTopic
from safe_skills.nodes.mcap_log import full_definition
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.triggers import Triggers

MIB = 2**20

PATIENCE = 1.5
"""Time for which the answer to `snapshot` waits for the file [s]."""

ENDING = 60.0
"""Time for which the node's end waits for a file [s]."""


class BlackBox(SkillNode):
    """Keeps the last seconds of all topics in memory, and writes them as one MCAP file.

    It does so on a violation, when the gate goes to STOPPED, and for the service `snapshot`. What
    it cannot write it says once; it goes on remembering.
    """

    NAME = "black_box"
    PARAMETERS = {
        "seconds": Param(20.0, "Time that is remembered [s].", low=1.0, high=600.0),
        "memory_mib": Param(
            256, "Memory for it [MiB]; where that is too little, time is lost.", low=1, high=65536
        ),
        "after": Param(2.0, "Time after an event that its file has, too [s].", low=0.0, high=60.0),
        "min_interval": Param(
            10.0,
            "Least time between the files of two violations [s]; a stop is written in any case.",
            low=0.0,
            high=600.0,
        ),
        "passed_over": Param(
            [
                *("workspace", "keep_out", "step_limit", "velocity_limit", "acceleration_limit"),
                *("change_limit", "slow_down", "safe_set", "safe_set_unknown", "plan_infeasible"),
            ],
            "Kinds of violations that no file is written for: what only made a step shorter, or "
            "was only watched.",
        ),
        "folder": Param("outputs/black_box", "Folder of the files."),
        "max_files": Param(
            200, "Files in the folder; none is deleted, no more are written.", low=1, high=10**5
        ),
        "max_total_mib": Param(2048, "The same for their size [MiB].", low=1, high=10**7),
        "look": Param(0.5, "Period of looking for new topics [s].", low=0.01, high=10.0),
    }

    def configure(self) -> None:
        """Open the topics."""
        seconds = self.param("seconds")
        self._ring = Ring(seconds, self.param("memory_mib") * MIB)
        self._triggers = Triggers(seconds, self.param("after"), self.param("min_interval"))
        self._files = EventFiles(
            Path(self.param("folder")).expanduser().resolve(),
            self.param("max_files"),
            self.param("max_total_mib") * MIB,
        )
        self._passed_over = frozenset(self.param("passed_over"))
        self._topics: dict[int, tuple[str, str]] = {}
        self._written = self._failures = 0
        self._last = self._trouble = ""
        self._state: int | None = None
        self._every = EveryTopic(self, self._add_topic, self._ring.add)
        # Volatile: what was said before this node came is no news to it.
        self.subscribe(SafetyStatus, "safety_status", self._note_status, qos.LOG)
        self.subscribe(Violation, "violation", self._note_violation, qos.LOG)
        self.serve(Trigger, "~/snapshot", self._snapshot)
        self.every(self.param("look"), self._every.look)
        self.every(0.1, self._poll)
        self.diagnostics.add("memory", self._report_memory)

    def activate(self) -> None:
        """Subscribe to what is there already."""
        self._every.look()

    def deactivate(self) -> None:
        """Write what waits for its tail, and wait for what is being written."""
        self._conclude(self._files.take(ENDING))
        event = self._triggers.take(time.monotonic())
        if event is not None:
            self._begin(event.reason, time.monotonic() - event.first, event.urgent)
            self._conclude(self._files.take(ENDING))

    def _add_topic(self, topic: str, type_name: str, latched: bool) -> int:
        full_definition(type_name)  # without its definition a message cannot be read later
        channel = len(self._topics) + 1
        self._topics[channel] = (topic, type_name)
        if latched:
            self._ring.latch(channel)
        return channel

    def _note_violation(self, message: Violation) -> None:
        if message.kind in self._passed_over:
            return
        self._triggers.note(time.monotonic(), f"violation_{message.kind or 'unknown'}")

    def _note_status(self, message: SafetyStatus) -> None:
        before, self._state = self._state, message.state
        # How it stands when this node comes is no event.
        if before not in (None, SafetyStatus.STOPPED) and message.state == SafetyStatus.STOPPED:
            cause = message.stop_cause or next(iter(message.reasons), "unknown")
            self._triggers.note(time.monotonic(), f"stop_{cause}", urgent=True)

    def _snapshot(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        # What is being written was asked for before: it comes first.
        self._conclude(self._files.take(PATIENCE))
        if self._files.busy:
            response.success = False
            response.message = "another file is being written: ask again"
            return response
        path = self._begin("snapshot", 0.0, True)
        written = self._files.take(PATIENCE)
        self._conclude(written)
        response.success = written is None or not written.error
        if written is None:
            response.message = f"writing {path}"
        else:
            response.message = _words(written)
        return response

    def _poll(self) -> None:
        self._ring.forget(time.time_ns())
        self._conclude(self._files.take())
        if self._files.busy:
            return
        now = time.monotonic()
        if (event := self._triggers.due(now)) is not None:
            self._begin(event.reason, now - event.first, event.urgent)

    def _begin(self, reason: str, age: float, urgent: bool) -> Path:
        """Have a file written of what is remembered now, for what happened `age` seconds ago."""
        now = time.time_ns()
        self._ring.forget(now)
        # What is latched may be hours old: it is logged as the state at the file's beginning.
        begin = now - self._ring.span
        entries = [
            entry if entry.received >= begin else entry._replace(received=begin)
            for entry in self._ring
        ]
        at = 1e-9 * now - age
        return self._files.write(reason, at, entries, self._topics, urgent=urgent)

    def _conclude(self, written: Written | None) -> None:
        if written is None:
            return
        if not written.error:
            self._written += 1
            self._last, self._trouble = str(written.path), ""
            self.get_logger().info(_words(written))
            return
        self._failures += 1
        line = _words(written)
        if written.error not in self._trouble:
            self.get_logger().error(line)
        self._trouble = line

    def _report_memory(self, status: Status) -> None:
        ring, seconds = self._ring, self.param("seconds")
        status.summary(OK, f"remembers {ring.seconds:.1f} s of {len(self._topics)} topics")
        if ring.squeezed and ring.seconds < 0.9 * seconds:
            status.merge(
                WARN,
                f"memory_mib {self.param('memory_mib')} is too little for {seconds:g} s: "
                f"remembers {ring.seconds:.1f} s",
            )
        if self._trouble:
            status.merge(ERROR, self._trouble)
        status.add("bytes", ring.bytes)
        status.add("messages", len(ring))
        status.add("seconds", ring.seconds)
        status.add("squeezed", ring.squeezed)
        status.add("files_written", self._written)
        status.add("failures", self._failures)
        status.add("last_file", self._last)


def _words(written: Written) -> str:
    if written.error:
        return f"not written: {written.path}: {written.error}"
    return (
        f"wrote {written.path}: {written.messages} messages of {written.seconds:.1f} s, "
        f"{written.bytes / 1e6:.1f} MB"
    )


def main() -> int:
    """Run the node."""
    return main_for(BlackBox)


if __name__ == "__main__":
    sys.exit(main())
