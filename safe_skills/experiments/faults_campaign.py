"""Injects scheduled faults into a running graph, one burst after the other."""

from __future__ import annotations

import math
import resource
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safe_skills.experiments.faults_messages import HOUR, plausible, shift_stamp, spoiled
from safe_skills.experiments.faults_rig import Rig
from safe_skills.experiments.faults_schedule import Burst
from safe_skills.experiments.graph_processes import (
    ENDING,
    end_processes,
    node_command,
    start_process,
)
from safe_skills.nodes.composed import node_class
from safe_skills.systems import NodeSpec

EXTRA_PERIOD = 0.01
"""Time between two messages that are sent besides the graph's own [s]."""

SILENCE = 0.6
"""How long a stream is silent, and how long stamps are shifted [s]."""

PAUSE = 1.5
"""How long a process is stopped, and how long a killed one is missed [s]."""

INTRUSION = 0.7
"""How long a second publisher publishes [s]."""

LATE = 0.3
"""By how much a late message is late [s]."""

RECOVERY = 15.0
"""Time in which motion has to be back after faults in messages [s]."""

RESTART = 60.0
"""Time in which motion has to be back after a process was started again [s]."""

DISK_BYTES = 200_000
"""Size of the disk that fills up."""


@dataclass
class Outcome:
    """What became of a burst.

    Attributes:
        burst: that was injected.
        begin, end: of the faults [s], monotonic.
        onsets: when each single fault began [s].
        recovered: when motion passed again [s]; infinity when it did not in time.
        accepted: what should have been refused and was not, one line each.
        crashes: nodes that ended by themselves, one line each.
        complete: whether it was waited for what became of it.
    """

    burst: Burst
    begin: float
    end: float = math.nan
    onsets: list[float] = field(default_factory=list)
    recovered: float = math.inf
    accepted: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    complete: bool = False


class Campaign:
    """Runs bursts of faults.

    Args:
        rig: a graph that has been started.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.outcomes: list[Outcome] = []
        self._down: set[str] = set()
        self._traces: dict[str, int] = {}

    def run(self, bursts: Iterable[Burst], told: Callable[[Outcome], None]) -> None:
        """Inject bursts; `told` is called after each."""
        inject = {
            "extra": self._extra,
            "replaced": self._replaced,
            "silence": self._silence,
            "shifted": self._shifted,
            "publisher": self._publisher,
            "process": self._process,
            "parameter": self._parameter,
            "clock": self._clock,
            "disk": self._disk,
        }
        for burst in bursts:
            outcome = Outcome(burst, time.monotonic())
            self.outcomes.append(outcome)
            rng = np.random.default_rng(burst.seed)
            inject[burst.kind.mode](burst, outcome, rng)
            outcome.end = time.monotonic()
            self._recover(outcome)
            outcome.complete = True
            told(outcome)

    # ---- messages

    def _extra(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        if burst.target == "episode_start":
            self._extra_starts(burst, outcome, rng)
            return
        stream = self.rig.streams[burst.target]
        for _ in range(burst.count):
            past = list(stream.past)
            made = spoiled(burst.kind.name, past[-1], past[:-1], rng)
            outcome.onsets.append(time.monotonic())
            stream.send(made)
            self.rig.spin(EXTRA_PERIOD)

    def _extra_starts(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        for _ in range(burst.count):
            start = spoiled(burst.kind.name, self.rig.last["episode_start"], [], rng)
            outcome.onsets.append(time.monotonic())
            self.rig.starts.publish(start)
            self.rig.spin(EXTRA_PERIOD)

    def _replaced(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        stream, kind = self.rig.streams[burst.target], burst.kind.name
        frozen = list(stream.past)[-1:]
        waiting: list[tuple[float, Any]] = []

        def tamper(message: Any) -> list[Any]:
            now = time.monotonic()
            if len(outcome.onsets) >= burst.count:
                return [message]
            outcome.onsets.append(now)
            if kind == "dropped":
                return []
            if kind in ("late", "reordered"):
                waiting.append((now, message))
                if kind == "late" or len(waiting) < 2:
                    return []
                made = [message for _, message in reversed(waiting)]
                waiting.clear()
                return made
            return [spoiled(kind, message, frozen, rng)]

        stream.tamper = tamper
        deadline = time.monotonic() + RECOVERY
        while len(outcome.onsets) < burst.count or waiting:
            self.rig.spin(0.01)
            now = time.monotonic()
            due = [row for row in waiting if now - row[0] >= LATE]
            for row in due:
                waiting.remove(row)
                stream.send(row[1])
            if now > deadline:
                # Nobody publishes there any more: the rest of the burst has nothing to spoil.
                outcome.onsets += [now] * (burst.count - len(outcome.onsets))
                break
        stream.tamper = None

    def _silence(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        stream = self.rig.streams[burst.target]
        # A fault counts from when the message was due that did not come.
        before = stream.messages

        def drop(message: Any) -> list[Any]:
            if not outcome.onsets:
                outcome.onsets.append(time.monotonic())
            return []

        stream.tamper = drop
        self.rig.until(lambda: stream.messages > before, 2.0)
        self.rig.spin(SILENCE)
        stream.tamper = None

    def _shifted(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        stream = self.rig.streams[burst.target]
        shift = HOUR if burst.kind.name.endswith("forward") else -HOUR
        outcome.onsets.append(time.monotonic())

        def shifted(message: Any) -> list[Any]:
            shift_stamp(message, shift)
            return [message]

        stream.tamper = shifted
        self.rig.spin(SILENCE)
        stream.tamper = None

    # ---- second publishers

    def _publisher(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        template = self._template(burst.target)
        kind, foreign = type(template), burst.kind.name == "foreign type"
        if foreign:
            from std_msgs.msg import String

            kind = String
        publisher = self.rig.intruder.create_publisher(kind, burst.target, 10)
        outcome.onsets.append(time.monotonic())
        end = time.monotonic() + INTRUSION
        while time.monotonic() < end:
            publisher.publish(kind() if foreign else plausible(self._template(burst.target), rng))
            self.rig.spin(0.02)
        self.rig.intruder.destroy_publisher(publisher)

    def _template(self, topic: str) -> Any:
        if topic in self.rig.streams:
            return self.rig.streams[topic].past[-1]
        return self.rig.last[topic]

    # ---- processes

    def _process(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        name, processes = burst.target, self.rig.processes
        outcome.onsets.append(time.monotonic())
        if burst.kind.name == "stopped":
            processes.pause(name)
            self.rig.spin(PAUSE)
            processes.resume(name)
            return
        if burst.kind.name == "restarted":
            processes.ask_to_end(name)
            self.rig.until(lambda: processes.children[name].poll() is not None, ENDING)
        processes.kill(name)
        if processes.children[name].returncode not in (0, -9):
            outcome.crashes.append(f"{name} ended with {processes.children[name].returncode}")
        self.rig.spin(PAUSE)
        processes.start(name)

    def _disk(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        folder = self.rig.folder
        spec = NodeSpec(
            "bag_recorder",
            {"file": str(folder / f"full_{burst.seed}.mcap")},
            node="bag_recorder",
        )
        log = folder / "bag_recorder.log"
        said = len(_read(log))
        outcome.onsets.append(time.monotonic())
        child = start_process(node_command(spec, self.rig.config, {}), log, _small_disk)
        complaint = "File too large"
        self.rig.until(lambda: complaint in _read(log)[said:] or child.poll() is not None, RESTART)
        self.rig.spin(PAUSE)
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            self.rig.until(lambda: child.poll() is not None, ENDING)
        end_processes([child])
        told = _read(log)[said:]
        if complaint not in told:
            outcome.accepted.append("the recorder did not say that its disk is full")
        if child.returncode < 0 or "Traceback" in told:
            outcome.crashes.append(f"bag_recorder ended with {child.returncode}")

    # ---- parameters

    def _parameter(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        table = node_class(self.rig.specs[burst.target].executable).PARAMETERS
        made = [
            (name, value)
            for name, row in table.items()
            for value in wrong_values(burst.kind.name, name, row)
        ] or [(f"no_such_parameter_{k}", k) for k in range(burst.count)]
        for _ in range(burst.count):
            name, value = made[int(rng.integers(len(made)))]
            outcome.onsets.append(time.monotonic())
            answer = self.rig.set_parameter(burst.target, name, value)
            if answer is not None and answer[0]:
                outcome.accepted.append(f"{burst.target}: {name} := {value!r} was taken")

    def _clock(self, burst: Burst, outcome: Outcome, rng: np.random.Generator) -> None:
        """Without `/clock` the time of a node that uses it stands still; timeouts must not."""
        answer = self.rig.set_parameter(burst.target, "use_sim_time", True)
        self.rig.spin(0.2)
        self._silence(burst_on(burst, "command"), outcome, rng)
        if answer is not None and answer[0]:
            self.rig.set_parameter(burst.target, "use_sim_time", False)

    # ---- afterwards

    def _recover(self, outcome: Outcome) -> None:
        slow = outcome.burst.kind.mode in ("process", "disk")
        deadline = outcome.end + (RESTART if slow else RECOVERY)
        moving = self.rig.moving_since(outcome.end)
        while time.monotonic() < deadline:
            if self.rig.stopped:
                self.rig.reset()
            if self.rig.until(moving, 0.5):
                outcome.recovered = time.monotonic()
                break
            self._note_crashes(outcome)
        self._note_crashes(outcome)
        if math.isinf(outcome.recovered):
            self._begin_anew()

    def _note_crashes(self, outcome: Outcome) -> None:
        processes = self.rig.processes
        for name in processes.ended():
            status = processes.children[name].returncode
            last = (processes.log(name).splitlines() or [""])[-1]
            outcome.crashes.append(f"{name} ended with {status}: {last}")
            processes.start(name)
        for name in processes.children:
            traces = processes.log(name).count("Traceback (most recent call last)")
            if traces > self._traces.get(name, 0):
                outcome.crashes.append(f"{name} wrote a traceback")
            self._traces[name] = traces

    def _begin_anew(self) -> None:
        """Ends and starts every node, so that what one fault left does not spoil the next."""
        for name in list(self.rig.processes.children):
            self.rig.processes.kill(name)
        begin = time.monotonic()
        self.rig.processes.start()
        moving = self.rig.moving_since(begin)
        deadline = begin + 2 * RESTART
        while not self.rig.until(moving, 0.5):
            if self.rig.stopped:
                self.rig.reset()
            if time.monotonic() > deadline:
                raise TimeoutError("the graph does not move after all its nodes were started anew")


def burst_on(burst: Burst, target: str) -> Burst:
    """The same burst at another target."""
    return Burst(burst.kind, target, burst.count, burst.seed)


def wrong_values(kind: str, name: str, row: Any) -> list[Any]:
    """Values of a kind of fault that a parameter must refuse.

    Args:
        kind: of the fault.
        name: of the parameter.
        row: its `Param`.
    """
    listed = isinstance(row.default, list)
    like = row.default[0] if listed else row.default
    found: list[Any] = []
    if kind in ("parameter NaN", "parameter infinite") and type(like) is float:
        found = [math.nan] if kind == "parameter NaN" else [math.inf, -math.inf]
    elif kind == "parameter out of range":
        if type(like) in (int, float):
            if row.high is not None:
                found.append(type(like)(10 * abs(row.high) + 1))
            if row.low is not None:
                found.append(type(like)(-10 * abs(row.low) - 1))
        elif row.choices:
            found = ["no such choice"]
    elif kind == "parameter of another type":
        found = [7 if isinstance(like, (str, bool)) else "a word"]
    elif kind == "parameter fixed" and not row.runtime:
        return [_another(row)]
    return [[value] * len(row.default) for value in found] if listed else found


def _another(row: Any) -> Any:
    """Another value of the right type and, where that is known, in its range."""
    if isinstance(row.default, list):
        return row.default
    if isinstance(row.default, bool):
        return not row.default
    if isinstance(row.default, str):
        return next((c for c in row.choices if c != row.default), "another")
    return row.default


def _read(log: Any) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _small_disk() -> None:
    """In a process before its program begins: no file grows beyond a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, DISK_BYTES))
