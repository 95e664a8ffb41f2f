"""What every recorder of a run shares: episodes, times, the gate's status, and what it writes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image

from safe_skills.data.files import write_json
from safe_skills.msg import Command, EpisodeStatus, LatentState, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.nodes.animation import Animation
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import nanoseconds, rgb_from_image
from safe_skills.nodes.diagnostics import OK, Status
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.roll_call import SOURCES, sources_of
from safe_skills.nodes.summary import EpisodeRecord, RunLog, table_rows

LAST_WORDS = 1.2
"""Seconds after the last episode in which every node's diagnostics, one a second, still arrive."""

LOOK = 0.05
"""Period of looking for the nodes that are to be recorded [s]."""

GATE_STATES = ("OK", "LIMITED", "HOLD", "STOPPED")

RECORDER_PARAMETERS = {
    "episodes": Param(0, "Episodes after which the run is over; 0: never.", low=0, high=10**6),
    "json": Param("", "File for the summary; empty: none."),
    "gif": Param("", "File for the GIF; empty: none."),
    "gif_episodes": Param(3, "Episodes in the GIF.", low=1, high=20),
    "sources": SOURCES,
    "checkpoint": Param("", "Checkpoint in use, for the summary."),
    "clock": Param("lockstep", "Simulator's clock in use, for the summary."),
    "seed": Param(0, "Seed of the run, for the summary.", low=0, high=2**31 - 1),
}


class Recorder(SkillNode):
    """Collects episodes, the gate's status, times and memory; ends after `episodes`.

    A subclass opens the topics of its system in `open_topics`. Times are taken where messages were
    published, by the host's clock, so that this node's own delays do not count: all nodes must run
    on one host.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("checkpoint", "robot", "clock", "seed")
    """Parameters that the summary repeats."""

    unwritten: tuple[str, ...] = ()
    """Files that could not be written at the end."""

    on_episode: Callable[[RunLog], None] | None = None
    """Called after every episode."""

    def new_log(self) -> RunLog:
        """Return an empty log."""
        return RunLog()

    def new_animation(self) -> Animation:
        """Return an empty animation."""
        raise NotImplementedError

    def open_topics(self) -> None:
        """Subscribe to what only this system has."""
        raise NotImplementedError

    def configure(self) -> None:
        """Check that the files can be written and open the topics."""
        for name in ("json", "gif"):
            _check_writable(name, self.param(name))
        self.log = self.new_log()
        self.animation = self.new_animation() if self.param("gif") else None
        self._closing = False
        self.subscribe(LatentState, "latent", self._note_latent, qos.IMAGE)
        self.subscribe(SafetyStatus, "safety_status", self._note_gate, qos.LOG)
        self.subscribe(Command, "command", self._note_command, qos.LOG)
        self.subscribe(Command, "command_safe", self._note_safe_command, qos.LOG)
        self.subscribe(DiagnosticArray, "/diagnostics", self._note_diagnostics, qos.LOG)
        if self.animation is not None:
            self.subscribe(Image, "camera/image_raw", self._note_camera, qos.IMAGE)
            self.subscribe(Image, "overview/image_raw", self._note_overview, qos.IMAGE)
        self.open_topics()
        self.diagnostics.add("run", self._report_run)
        self._sources = sources_of(self, self.param("sources"))
        self._looking = self.every(LOOK, self._listen_once_all_are_found)
        self._listen_once_all_are_found()

    def deactivate(self) -> None:
        """Write what was seen, the whole run or a part of it."""
        if self.log.started:
            self._write()

    def _listen_once_all_are_found(self) -> None:
        """A simulator that waits for this node shows its first image when `episode` is heard."""
        if self._sources.complete():
            self._looking.cancel()
            self.subscribe(EpisodeStatus, "episode", self._note_episode, qos.EVENT)

    def _note_episode(self, message: EpisodeStatus) -> None:
        record = EpisodeRecord(
            episode=message.episode,
            seed=message.seed,
            steps=message.step,
            success=message.success,
            violation=message.violation,
            violation_kind=message.violation_kind,
            episode_return=message.episode_return,
            episode_cost=message.episode_cost,
            done=message.done,
        )
        if self.log.note_episode(record, message.finished):
            if self.animation is not None:
                self.animation.end_episode(_outcome(record))
            if self.on_episode is not None:
                self.on_episode(self.log)
        enough = 0 < self.param("episodes") <= len(self.log.done)
        if (enough or self.log.finished) and not self._closing:
            self._closing = True
            self.every(LAST_WORDS, self._end)

    def _end(self) -> None:
        self.finished = True

    def _note_latent(self, message: LatentState, info: dict) -> None:
        stamp = nanoseconds(message.header.stamp)
        self.log.note_latent(stamp, info["source_timestamp"], message.encode_time)

    def _note_gate(self, message: SafetyStatus) -> None:
        self.log.note_gate(
            {
                "received": message.commands_received,
                "passed": message.commands_passed,
                "limited": message.commands_limited,
                "held": message.commands_held,
                "stopped": message.commands_stopped,
                "violations": message.violations,
                "seen_contacts": message.seen_contacts,
            }
        )
        if self.animation is not None:
            state = GATE_STATES[message.state]
            self.animation.gate(nanoseconds(message.header.stamp), state, message.reasons)

    def _note_command(self, message: Command, info: dict) -> None:
        self.log.note_command(nanoseconds(message.header.stamp), info["source_timestamp"])

    def _note_safe_command(self, message: Command, info: dict) -> None:
        self.log.note_safe_command(nanoseconds(message.header.stamp), info["source_timestamp"])

    def _note_diagnostics(self, message: DiagnosticArray) -> None:
        # The diagnostics of all robots come on one topic.
        own = self.get_namespace().strip("/")
        for status in message.status:
            if status.name.partition(":")[0].rpartition("/")[0] != own:
                continue
            values = {pair.key: pair.value for pair in status.values}
            if "pid" in values and "peak_rss_mb" in values:
                self.log.note_process(int(values["pid"]), float(values["peak_rss_mb"]))

    def _note_camera(self, message: Image) -> None:
        try:
            image = rgb_from_image(message)
        except ValueError as error:
            self.refuse("image refused", f"image left out of the GIF: {error}")
            return
        self.animation.camera(nanoseconds(message.header.stamp), image)

    def _note_overview(self, message: Image) -> None:
        try:
            self.animation.scene(nanoseconds(message.header.stamp), rgb_from_image(message))
        except ValueError as error:
            self.refuse("image refused", f"overview left out of the GIF: {error}")

    def _write(self) -> None:
        settings = {name: self.param(name) for name in self.SETTINGS}
        asked = self.param("episodes")
        settings["complete"] = bool(self.log.finished or 0 < asked <= len(self.log.done))
        summary = self.log.summary(settings)
        _print_table(summary)
        self._write_file("json", lambda path: write_json(path, summary))
        if self.animation is not None:
            self._write_file("gif", self.animation.save)

    def _write_file(self, name: str, write: Callable[[str], None]) -> None:
        path = self.param(name)
        if not path:
            return
        try:
            write(path)
        except (OSError, ValueError) as error:
            self.get_logger().error(f"{name} not written: {error}")
            self.unwritten += (path,)
        else:
            self.get_logger().info(f"wrote {path}")

    def _report_run(self, status: Status) -> None:
        status.summary(OK, f"{len(self.log.done)} episodes")
        status.add("episodes", len(self.log.done))
        status.add("successes", sum(record.success for record in self.log.done))
        status.add("violations", sum(record.violation for record in self.log.done))


def _outcome(record: EpisodeRecord) -> str:
    words = [f"goal in {record.steps} steps"] if record.success else []
    if record.violation:
        words.append(f"violation: {record.violation_kind or 'unknown'}")
    return ", ".join(words) or "time is up"


def _check_writable(name: str, path: str) -> None:
    """Find out before the run, not after it, that its summary cannot be written."""
    if not path:
        return
    if Path(path).is_dir():
        raise ValueError(f"{name}: expected a file to write, got the folder {path}")
    folder = Path(path).resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{name}: cannot write {path}: {error.strerror}") from None


def _print_table(summary: dict[str, Any]) -> None:
    table = Table(title="Run", show_header=False)
    for name, value in table_rows(summary):
        table.add_row(name, value)
    Console().print(table)
