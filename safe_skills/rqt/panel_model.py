"""What the safety panel shows, apart from how: messages in, a `View` out. No Qt and no rclpy.

Ages are counted from receipt, by this host's monotonic clock. A state whose monitor has fallen
silent is not shown any more, whatever it was.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from safe_skills.nodes.animation import GATE_COLOURS
from safe_skills.nodes.conversions import nanoseconds, rgb_from_image
from safe_skills.rqt.buttons import Buttons
from safe_skills.rqt.camera_view import CameraView
from safe_skills.rqt.health import Health
from safe_skills.rqt.inbox import Item
from safe_skills.rqt.reasons import sentence
from safe_skills.rqt.series import Series, Stream
from safe_skills.rqt.view import (
    Chart,
    Colour,
    Curve,
    Headline,
    NodeRow,
    Span,
    Threshold,
    View,
    ViolationRow,
)
from safe_skills.safety import GateState

SILENCE = 1.0
"""Age of a status beyond which there is no monitor [s]; it publishes 25 times a second."""

SECONDS = 30.0
"""What the curves show [s]."""

VIOLATIONS = 200
"""Violations kept in the list."""

CAUSES = 64
"""Codes shown at most: they come from messages."""

UNPROVEN = "NOT SEEN TO REACH THE ROBOT"
"""Of a stop, while the robot's own topic has carried no hold."""

NO_MONITOR: Colour = (58, 52, 74)

RED: Colour = (200, 30, 30)
AMBER: Colour = (160, 105, 0)
HEALTH_COLOURS = {"OK": None, "WARN": AMBER, "ERROR": RED, "STALE": RED}

COUNTERS = (
    ("asked", "commands_received"),
    ("passed", "commands_passed"),
    ("limited", "commands_limited"),
    ("held", "commands_held"),
    ("stopped", "commands_stopped"),
    ("violations", "violations"),
    ("contacts seen", "seen_contacts"),
)

STREAMS = (
    ("camera", "image"),
    ("camera_encoder", "latent"),
    ("cem_planner", "plan"),
    ("safety_posterior", "context"),
    ("skill_policy", "abstract_action"),
    ("skill_decoder", "skill"),
    ("safety_monitor", "status"),
    ("image to gated command", "command_safe"),
)
"""Rows of the table that have a stream: name, and kind of its messages."""

CURVES = {
    "now": (40, 110, 200),
    "predicted": (220, 110, 20),
    "plan": (150, 150, 150),
    "safe set": (30, 140, 70),
    "use": (120, 60, 190),
}


class PanelModel:
    """Takes what the graph says, bounded in memory; `view` says what to show.

    Args:
        namespace: Of the robot that is watched, as in its topics.
        local_time: Seconds since the epoch to a local `struct_time`, for the list of violations.
    """

    def __init__(
        self, namespace: str = "", local_time: Callable[[float], time.struct_time] = time.localtime
    ) -> None:
        self.buttons = Buttons()
        self.camera = CameraView()
        self.dropped = 0
        self._local_time = local_time
        self._health = Health(namespace.strip("/"))
        self._streams = {kind: Stream() for _, kind in STREAMS}
        self._series = {name: Series(SECONDS) for name in CURVES}
        self._states = Series(SECONDS)
        self._status: tuple[float, Any] | None = None
        self._gated: int | None = None
        self._violations: deque[ViolationRow] = deque(maxlen=VIOLATIONS)
        self._violations_version = 0
        self._limits: Mapping[str, Any] = {}
        self._services: Mapping[str, bool] = {}
        self._monitors = 1
        self._takers: dict[str, Callable[[float, Any], None]] = {
            "status": self._take_status,
            "violation": self._take_violation,
            "plan": self._take_plan,
            "skill": self._take_skill,
            "latent": lambda now, m: self._streams["latent"].note(now, _spent(m.encode_time)),
            "context": lambda now, m: self._streams["context"].note(now, _spent(m.infer_time)),
            "abstract_action": self._take_abstract_action,
            "image": self._take_image,
            "picture": self._take_picture,
            "position": self.camera.position,
            "diagnostics": self._take_diagnostics,
            "parameters": self._take_parameters,
            "services": self._take_services,
            "monitors": self._take_monitors,
            "answer": lambda now, answer: self.buttons.answered(now, *answer),
            "note": lambda now, note: self.buttons.say(now, *note),
        }

    def take(self, item: Item) -> None:
        """Take one entry of the inbox; kinds are those of `link`."""
        self._takers[item.kind](item.received, item.value)

    def view(self, now: float) -> View:
        """Return what to show at `now`, monotonic seconds."""
        fresh = self._fresh(now)
        outcome = self.buttons.outcome(now, fresh and self._status[1].state == GateState.STOPPED)
        status = self._status[1] if self._status else None
        picture = self.camera.picture(now)
        return View(
            headline=self._headline(now),
            charts=self._charts(now),
            timeline=self._timeline(now),
            counters=tuple(
                (name, getattr(status, field) if status else 0) for name, field in COUNTERS
            ),
            causes=_causes(status) if status else (),
            violations=tuple(self._violations),
            violations_version=self._violations_version,
            nodes=self._nodes(now),
            picture=picture,
            picture_note=self.camera.note(now),
            picture_version=self.camera.version,
            outcome=outcome,
            can_stop=self._services.get("e_stop", False),
            can_reset=self._services.get("reset", False),
            can_snapshot=self._services.get("snapshot", False),
            dropped=self.dropped,
        )

    # ---- messages

    def _take_status(self, now: float, message: Any) -> None:
        self._status = (now, message)
        self._streams["status"].note(now)
        stamp = nanoseconds(message.header.stamp)
        # Between two commands the status of the last is said again.
        if math.isfinite(message.latency) and stamp != self._gated:
            self._gated = stamp
            self._streams["command_safe"].note(now, message.latency)
        self._series["now"].add(now, message.constraint_probability)
        self._series["predicted"].add(now, message.predicted_constraint_probability)
        self._series["safe set"].add(now, message.safe_set_probability)
        self._states.add(now, float(message.state))

    def _take_violation(self, now: float, message: Any) -> None:
        stamp = 1e-9 * nanoseconds(message.header.stamp)
        clock = time.strftime("%H:%M:%S", self._local_time(stamp)) + f".{int(stamp % 1 * 10)}"
        row = ViolationRow(
            clock,
            message.kind,
            f"{message.value:.4g}",
            f"{message.limit:.4g}",
            message.command.source or "-",
        )
        self._violations.appendleft(row)
        self._violations_version += 1

    def _take_plan(self, now: float, message: Any) -> None:
        self._streams["plan"].note(now, _spent(message.solve_time))
        self._series["plan"].add(now, message.constraint_probability)
        planned = np.array(message.planned_actions, float)
        if message.horizon and planned.size >= 2 * message.horizon:
            if planned.size % message.horizon == 0:
                self.camera.plan(now, planned.reshape(message.horizon, -1)[:, :2])

    def _take_skill(self, now: float, message: Any) -> None:
        self._streams["skill"].note(now, _spent(message.decode_time))
        self._series["use"].add(now, _share(message.largest, message.eta))

    def _take_abstract_action(self, now: float, message: Any) -> None:
        self._streams["abstract_action"].note(now, _spent(message.choose_time))

    def _take_image(self, now: float, _: None) -> None:
        self._streams["image"].note(now)

    def _take_picture(self, now: float, message: Any) -> None:
        try:
            self.camera.image(now, rgb_from_image(message))
        except ValueError as error:
            self.camera.refused(f"image refused: {error}")

    def _take_diagnostics(self, now: float, message: Any) -> None:
        statuses = ((s.name, int.from_bytes(s.level, "little"), s.message) for s in message.status)
        self._health.note(now, statuses)

    def _take_parameters(self, now: float, parameters: Mapping[str, Any]) -> None:
        self._limits = {**self._limits, **parameters}
        self.camera.mask = self._limits.get("mask")
        self.camera.crop = self._limits.get("crop") or self.camera.crop
        self.camera.span = self._limits.get("camera_span")

    def _take_services(self, now: float, services: Mapping[str, bool]) -> None:
        self._services = services

    def _take_monitors(self, now: float, monitors: int) -> None:
        self._monitors = monitors

    # ---- what they come to

    def _fresh(self, now: float) -> bool:
        return self._status is not None and now - self._status[0] <= SILENCE

    def _headline(self, now: float) -> Headline:
        if self._status is None:
            return Headline("NO MONITOR", "no safety_status has come", "", NO_MONITOR)
        age = now - self._status[0]
        message = self._status[1]
        if not self._fresh(now):
            before = _state_name(message.state)
            return Headline(
                "NO MONITOR",
                f"safety_status is silent for {age:.0f} s",
                f"it was {before} before: do not rely on it",
                NO_MONITOR,
            )
        name = _state_name(message.state)
        reasons = list(message.reasons)
        detail = [f"status {1e3 * age:.0f} ms old"]
        if reasons:
            detail.insert(0, ", ".join(reasons))
        if self._monitors > 1:
            detail.insert(0, f"{self._monitors} NODES SPEAK AS THE MONITOR")
        if message.observed:
            detail.append("watched: " + ", ".join(message.observed))
        text = sentence(reasons[0]) if reasons else ""
        if message.state == GateState.STOPPED and message.stop_cause:
            text = f"stopped by {message.stop_cause.replace('_', ' ')}: mend that, then reset"
            proof = "the robot was told to hold" if message.stop_verified else UNPROVEN
            detail.insert(0, proof)
        return Headline(name, text, "   ·   ".join(detail), GATE_COLOURS.get(name, NO_MONITOR))

    def _charts(self, now: float) -> tuple[Chart, ...]:
        curves = {
            name: Curve(name, colour, self._series[name].points(now))
            for name, colour in CURVES.items()
        }
        known = {name for name, curve in curves.items() if np.isfinite(curve.points[:, 1]).any()}
        charts = []
        if known & {"now", "predicted", "plan"} or "use" not in known:
            shown = ("plan", "now", "predicted")
            limit = self._threshold("constraint_limit", "use_constraint", RED)
            charts.append(
                Chart(
                    "Constraint probability", tuple(curves[n] for n in shown if n in known), limit
                )
            )
            limit = self._threshold("safe_set_limit", "use_safe_set", AMBER)
            safe = (curves["safe set"],) if "safe set" in known else ()
            charts.append(Chart("Safe-set probability", safe, limit))
        if "use" in known:
            most = float(np.nanmax(curves["use"].points[:, 1]))
            bound = (Threshold("eta", 1.0, RED),)
            top = min(max(1.2, 1.1 * most), 3.0)
            charts.append(Chart("Use of eta: max |z| / eta", (curves["use"],), bound, top))
        return tuple(charts)

    def _threshold(self, limit: str, switch: str, colour: Colour) -> tuple[Threshold, ...]:
        value = self._limits.get(limit)
        if not isinstance(value, float):
            return ()
        name = "limit" if self._limits.get(switch, True) else "limit (off)"
        return (Threshold(name, value, colour),)

    def _timeline(self, now: float) -> tuple[Span, ...]:
        """The states of the last seconds; where the monitor was silent, there is a gap."""
        spans: list[Span] = []
        points = self._states.points(now)
        ends = np.append(points[1:, 0], 0.0)[: len(points)]
        for (begin, state), end in zip(points, ends, strict=True):
            end = min(end, begin + SILENCE)
            colour = GATE_COLOURS.get(_state_name(int(state)), NO_MONITOR)
            if spans and spans[-1].colour == colour and begin - spans[-1].end < 1e-6:
                spans[-1] = Span(spans[-1].begin, end, colour)
            else:
                spans.append(Span(begin, end, colour))
        return tuple(spans)

    def _nodes(self, now: float) -> tuple[NodeRow, ...]:
        rows = []
        for name, kind in STREAMS:
            stream = self._streams[kind]
            if math.isfinite(stream.age(now)) or self._health.of(name, now):
                rows.append(self._row(now, name, stream))
        streamed = {name for name, _ in STREAMS}
        rows += [self._row(now, n, None) for n in self._health.names() if n not in streamed]
        return tuple(rows)

    def _row(self, now: float, name: str, stream: Stream | None) -> NodeRow:
        level, message = self._health.of(name, now) or ("", "")
        rate = own = age = ""
        if stream is not None and math.isfinite(stream.age(now)):
            rate, age = f"{stream.rate(now):.1f}", _age(stream.age(now))
            times = stream.quantiles(now)
            if times is not None:
                own = " / ".join(f"{1e3 * seconds:.1f}" for seconds in times)
        health = f"{level}: {message}" if message else level
        return NodeRow(name, health, HEALTH_COLOURS.get(level), rate, own, age)


def _causes(status: Any) -> tuple[tuple[str, int], ...]:
    """Reasons and how often each began since the monitor's start, the most frequent first."""
    counts = zip(status.causes, status.cause_counts, strict=False)
    return tuple(sorted(counts, key=lambda pair: -pair[1]))[:CAUSES]


def _state_name(state: int) -> str:
    return GateState(state).name if state in tuple(GateState) else f"STATE {state}"


def _spent(seconds: float) -> float:
    """A node's own time; 0 stands for "not measured"."""
    return seconds if seconds > 0 else math.nan


def _share(largest: float, eta: float) -> float:
    return largest / eta if eta > 0 else math.nan


def _age(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.0f} s"
