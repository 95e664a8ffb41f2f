"""Diagnostics by the conventions of `diagnostic_updater`, which is not on PyPI.

Statuses are named `node: task`, carry a hardware id and go out on `/diagnostics` once a second; a
task that sets no status counts as an error (REP 107 and the behaviour of diagnostic_updater).
"""

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from safe_skills.nodes import qos

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE


class Status:
    """What one task reports: a level, a summary and key-value pairs."""

    def __init__(self) -> None:
        self.level = ERROR
        self.message = "No message was set"
        self.values: dict[str, str] = {}
        self._set = False

    def summary(self, level: bytes, message: str) -> None:
        """Set the level and its message."""
        self.level, self.message, self._set = level, message, True

    def merge(self, level: bytes, message: str) -> None:
        """Raise the level: of two messages of like severity both are kept."""
        if not self._set or (level > OK and self.level == OK):
            self.summary(level, message)
        elif (level > OK) == (self.level > OK):
            self.summary(max(level, self.level), f"{self.message}; {message}")

    def add(self, key: str, value: object) -> None:
        """Attach a key-value pair."""
        self.values[key] = f"{value:.6g}" if isinstance(value, float) else str(value)


Task = Callable[[Status], None]


class Updater:
    """Runs a node's diagnostic tasks once a second and publishes what they report."""

    def __init__(self, node: Node, hardware_id: str = "none", period: float = 1.0) -> None:
        self.hardware_id = hardware_id
        self._node = node
        self._tasks: dict[str, Task] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self._timer = node.create_timer(period, self.update)

    def add(self, name: str, task: Task) -> None:
        """Add or replace a task; `task(status)` fills in the status."""
        self._tasks[name] = task

    def update(self) -> None:
        """Run every task and publish."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        prefix = self._node.get_fully_qualified_name().lstrip("/")
        for name, task in self._tasks.items():
            status = Status()
            task(status)
            message.status.append(
                DiagnosticStatus(
                    level=status.level,
                    name=f"{prefix}: {name}",
                    message=status.message,
                    hardware_id=self.hardware_id,
                    values=[KeyValue(key=k, value=v) for k, v in status.values.items()],
                )
            )
        self._publisher.publish(message)


class FrequencyStatus:
    """Rate of an event over a sliding window: none is an error, out of band a warning.

    Args:
        low: Least rate in Hz that is fine.
        high: Greatest rate in Hz that is fine.
        tolerance: Share by which both may be missed.
        window: Number of updates over which the rate is taken.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        low: float = 0.0,
        high: float = float("inf"),
        tolerance: float = 0.1,
        window: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.low, self.high, self.tolerance = low, high, tolerance
        self._clock = clock
        self._count = 0
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)], maxlen=window)

    def tick(self) -> None:
        """Count one event."""
        self._count += 1

    def reset(self) -> None:
        """Forget the window, as after an activation."""
        mark = (self._clock(), self._count)
        self._marks = deque([mark], maxlen=self._marks.maxlen)

    def __call__(self, status: Status) -> None:
        """Report the rate; usable as a task."""
        now = self._clock()
        then, seen = self._marks[0]
        events = self._count - seen
        rate = events / (now - then) if now > then else 0.0
        self._marks.append((now, self._count))
        if events == 0:
            status.summary(ERROR, "No events recorded.")
        elif rate < self.low * (1 - self.tolerance):
            status.summary(WARN, "Frequency too low.")
        elif rate > self.high * (1 + self.tolerance):
            status.summary(WARN, "Frequency too high.")
        else:
            status.summary(OK, "Desired frequency met")
        status.add("Events in window", events)
        status.add("Events since startup", self._count)
        status.add("Actual frequency (Hz)", rate)
        status.add("Minimum acceptable frequency (Hz)", self.low * (1 - self.tolerance))
        status.add("Maximum acceptable frequency (Hz)", self.high * (1 + self.tolerance))


class Refusals:
    """Counts refused inputs by kind and says when a line about them may be written again.

    Args:
        period: Least seconds between two lines of one kind.
        memory: Seconds for which a refusal keeps the diagnostics at WARN.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        period: float = 2.0,
        memory: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period, self._memory, self._clock = period, memory, clock
        self.counts: dict[str, int] = {}
        self._logged: dict[str, float] = {}
        self._last: tuple[float, str] | None = None

    def note(self, kind: str, line: str) -> bool:
        """Count a refusal; True when its line should be logged now."""
        now = self._clock()
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._last = (now, line)
        if now - self._logged.get(kind, -float("inf")) < self._period:
            return False
        self._logged[kind] = now
        return True

    def __call__(self, status: Status) -> None:
        """Report; usable as a task."""
        if self._last is not None and self._clock() - self._last[0] < self._memory:
            status.summary(WARN, self._last[1])
        else:
            status.summary(OK, "no input refused lately")
        for kind, count in sorted(self.counts.items()):
            status.add(kind, count)


def peak_rss_mb() -> float:
    """Peak resident memory of this process in MB (1e6 bytes).

    Read from `/proc` (VmHWM): `getrusage` would also count what the parent held before `exec`.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status has no VmHWM")


def process_values(status: Status) -> None:
    """Attach the process id and its peak memory."""
    status.add("pid", os.getpid())
    status.add("peak_rss_mb", peak_rss_mb())
