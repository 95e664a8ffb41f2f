"""An independent judge of what passed the gate and the bridge: arithmetic on a tape of messages.

It knows nothing of the gate's code. It asks of every command that left the gate, and of every
set-point that left the bridge, whether it was within the limits that the nodes' parameters name.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

WINDOW = 0.5
"""Motion within so many seconds before a fault is motion that it meets [s]."""

KNOWN = 1.0
"""What was measured, or begun, within so many seconds before a message may be what its sender knew
of: a busy machine delivers late [s]."""

GRACE = 0.25
"""Seconds after a stop was told in which a message may still be on its way [s]; a set-point that
stands still for as long, two commands and more, is no motion."""

STANDS = 1.0
"""Seconds after a stop was told within which the robot itself has come to rest [s]."""

STIRS = 0.005
"""Motion of a stopped robot that is no motion: it settles on its set-point [m, rad]."""

TICK = 0.02
"""How unevenly set-points may arrive [s]."""

ROUNDING = 1e-6
"""Differences below this are rounding: of frames there and back, of float32 [m, rad]."""


class Gated(NamedTuple):
    """A command that left the gate: when it was sent [s], its stamp [ns], frame, action, number."""

    at: float
    stamp: int
    frame: str
    action: tuple[float, ...]
    sequence: int | None = None


class Point(NamedTuple):
    """A position in the task's coordinates [m, rad], and when it was sent [s].

    `flaw` is the reason why a message has no position.
    """

    at: float
    position: tuple[float, ...]
    flaw: str = ""


class Status(NamedTuple):
    """A state of the gate, 0 (OK) to 3 (STOPPED), and when it was sent [s]."""

    at: float
    state: int


@dataclass
class Tape:
    """What was seen of the graph; times are of publication, in monotonic seconds of this host.

    Attributes:
        commands: that left the gate.
        set_points: that left the bridge.
        fed: measured positions, as gate and bridge were told them, true or not.
        true: measured positions, as the robot told them.
        statuses: of the gate.
        holds: when the bridge told the robot, or the world, to hold.
        starts: when episodes began.
    """

    commands: list[Gated] = field(default_factory=list)
    set_points: list[Point] = field(default_factory=list)
    fed: list[Point] = field(default_factory=list)
    true: list[Point] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    holds: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Bounds:
    """Limits in force, as the nodes' parameters name them.

    Attributes:
        frame: of commands.
        workspace: (n, 2) of positions [m, rad].
        units: (n,) of step, norm and change [m, rad].
        entries: of a command, the gripper's included.
        step, norm, change: limits of a command [units].
        lead: (n,) how far a set-point may be from where the robot is measured [m, rad].
        speed: of set-points [m/s]; None: not bounded by a parameter.
    """

    frame: str
    workspace: np.ndarray
    units: np.ndarray
    entries: int
    step: float
    norm: float
    change: float
    lead: np.ndarray
    speed: float | None = None


class Breach(NamedTuple):
    """A limit that was broken: when [s], which, the value and what is allowed."""

    at: float
    rule: str
    value: float
    limit: float


def breaches(tape: Tape, bounds: Bounds) -> list[Breach]:
    """Every limit that was broken on a tape, in order of time."""
    found = [
        *_commands(tape, bounds),
        *_set_points(tape, bounds),
        *_while_stopped(tape),
    ]
    return sorted(found, key=lambda breach: breach.at)


# ---- commands


def _commands(tape: Tape, bounds: Bounds) -> list[Breach]:
    found: list[Breach] = []
    size = len(bounds.units)
    fed = _Positions(tape.fed)
    last: Gated | None = None
    before: np.ndarray | None = None
    passed: np.ndarray | None = None
    for command in tape.commands:
        at = command.at
        if command.frame != bounds.frame:
            found.append(Breach(at, "command frame", 1.0, 0.0))
        if len(command.action) != bounds.entries:
            found.append(Breach(at, "command size", len(command.action), bounds.entries))
            continue
        if not np.isfinite(command.action).all():
            found.append(Breach(at, "command not finite", np.nan, np.nan))
            continue
        displacement = np.array(command.action[:size])
        action = displacement / bounds.units
        for rule, value, limit in (
            ("step limit", np.abs(action).max(), bounds.step),
            ("norm limit", np.linalg.norm(action), bounds.norm),
            ("gripper", np.abs(command.action[size:]).max(initial=0.0), 1.0),
        ):
            if value > limit + ROUNDING:
                found.append(Breach(at, rule, float(value), limit))
        further = _further_out(displacement, fed.within(at - KNOWN, at), bounds.workspace)
        if further > ROUNDING:
            found.append(Breach(at, "workspace", further, 0.0))
        # A command that follows one which was not heard, or begins an episode, has no other.
        if last is None or _begins(tape.starts, last.at, at) or _gap(last, command):
            passed = before = None
        elif command.stamp != last.stamp:
            before = passed
        if passed is not None:
            # Commands that answer the same image replace each other.
            others = [passed] if before is None else [passed, before]
            changes = [float(np.linalg.norm(action - other)) for other in others]
            # A robot may always brake, however fast it was.
            allowed = [max(bounds.change, float(np.linalg.norm(other))) for other in others]
            if all(c > a + ROUNDING for c, a in zip(changes, allowed, strict=True)):
                found.append(Breach(at, "change limit", min(changes), bounds.change))
        passed, last = action, command
    return found


def _further_out(step: np.ndarray, positions: np.ndarray, workspace: np.ndarray) -> float:
    """How far a step leads out of the workspace [m, rad], by the kindest of some positions.

    A step that leads further out only by what it was out before leads out by nothing.
    """
    if not step.any():
        return 0.0
    if len(positions) == 0:
        return float(np.abs(step).max())
    low, high = workspace.T
    room_up = np.maximum(high - positions, 0.0)
    room_down = np.maximum(positions - low, 0.0)
    out = np.maximum(step - room_up, -step - room_down).max(axis=1)
    return float(max(out.min(), 0.0))


def _begins(starts: Sequence[float], after: float, until: float) -> bool:
    return bisect.bisect_right(starts, until + GRACE) > bisect.bisect_left(starts, after - KNOWN)


def _gap(last: Gated, command: Gated) -> bool:
    if last.sequence is None or command.sequence is None:
        return False
    return command.sequence != last.sequence + 1


# ---- set-points


def _set_points(tape: Tape, bounds: Bounds) -> list[Breach]:
    found: list[Breach] = []
    fed = _Positions(tape.fed)
    low, high = bounds.workspace.T
    before: Point | None = None
    for point in tape.set_points:
        if point.flaw:
            found.append(Breach(point.at, f"set-point: {point.flaw}", np.nan, np.nan))
            continue
        position = np.array(point.position)
        measured = fed.within(point.at - KNOWN, point.at)
        # A robot that is a little outside may be told to stay there, or to come back from there.
        there = np.maximum(measured - high, low - measured).max(axis=0, initial=0.0)
        there = np.minimum(there, bounds.lead)
        outside = float((np.maximum(position - high, low - position) - there).max())
        if outside > ROUNDING:
            found.append(Breach(point.at, "set-point workspace", outside, 0.0))
        if len(measured) == 0:
            found.append(Breach(point.at, "set-point unmeasured", np.nan, np.nan))
        else:
            ahead = (np.abs(measured - position) - bounds.lead).max(axis=1).min()
            if ahead > ROUNDING:
                found.append(Breach(point.at, "set-point lead", float(ahead), 0.0))
        if before is not None and bounds.speed is not None:
            found += _too_fast(before, point, fed, tape.starts, bounds)
        before = point
    return found


def _too_fast(
    before: Point, point: Point, fed: _Positions, starts: Sequence[float], bounds: Bounds
) -> list[Breach]:
    """A jump from one set-point to the next, unless motion begins anew where the robot is."""
    moved = float(np.linalg.norm(np.subtract(point.position, before.position)))
    allowed = bounds.speed * (point.at - before.at + TICK)
    if moved <= allowed + ROUNDING or _begins(starts, before.at, point.at):
        return []
    measured = fed.within(point.at - KNOWN, point.at)
    afresh = np.linalg.norm(measured - np.array(point.position), axis=1).min(initial=np.inf)
    if afresh <= bounds.speed * TICK + ROUNDING:
        return []
    return [
        Breach(point.at, "set-point speed", moved / (point.at - before.at + TICK), bounds.speed)
    ]


# ---- while stopped


def stops(statuses: Sequence[Status]) -> list[tuple[float, float]]:
    """When the gate was STOPPED: (since, until), both as told; until infinity where it still is."""
    found: list[tuple[float, float]] = []
    since: float | None = None
    for status in statuses:
        stopped = status.state == 3
        if stopped and since is None:
            since = status.at
        elif not stopped and since is not None:
            found.append((since, status.at))
            since = None
    if since is not None:
        found.append((since, np.inf))
    return found


def _while_stopped(tape: Tape) -> list[Breach]:
    found: list[Breach] = []
    points, true = _Positions(tape.set_points), _Positions(tape.true)
    for since, until in stops(tape.statuses):
        for command in tape.commands:
            if since + GRACE < command.at < until and any(command.action):
                largest = float(np.abs(command.action).max())
                found.append(Breach(command.at, "command while stopped", largest, 0.0))
        # A new episode puts a simulated arm elsewhere: what counts is motion between two starts.
        edges = [since, *(start for start in tape.starts if since < start < until), until]
        for begin, end in zip(edges, edges[1:], strict=False):
            told = points.within(begin + GRACE, end - GRACE)
            if len(told) and (moved := float(np.ptp(told, axis=0).max())) > ROUNDING:
                found.append(Breach(begin + GRACE, "set-point while stopped", moved, 0.0))
            seen = true.within(begin + STANDS, end - GRACE)
            if len(seen) and (moved := float(np.ptp(seen, axis=0).max())) > STIRS:
                found.append(Breach(begin + STANDS, "motion while stopped", moved, STIRS))
    return found


# ---- when the robot was held


def held_at(tape: Tape, onset: float, until: float) -> float:
    """When the robot was first told no motion after a fault began [s]; infinity when it was not.

    It was when the gate answered by no motion or said HOLD or STOPPED, when the bridge told the
    robot to hold, or when the set-point began to stand still for `GRACE`.

    Args:
        tape: all that was seen.
        onset: when the fault began [s].
        until: until when to look [s].
    """
    told = [at for at in tape.holds if onset <= at <= until][:1]
    told += [c.at for c in _between(tape.commands, onset, until) if not any(c.action)][:1]
    told += [s.at for s in _between(tape.statuses, onset, until) if s.state >= 2][:1]
    points = _between(tape.set_points, onset - WINDOW, until)
    changes = [
        point.at
        for before, point in zip(points, points[1:], strict=False)
        if point.position != before.position and point.at >= onset
    ]
    rests = zip((onset, *changes), (*changes, until), strict=True)
    told += [begin for begin, end in rests if end - begin >= GRACE][:1]
    return min(told, default=np.inf)


def in_motion(tape: Tape, at: float) -> bool:
    """Whether motion was commanded within `WINDOW` before some time [s]."""
    return any(any(command.action) for command in _between(tape.commands, at - WINDOW, at))


def worst_state(tape: Tape, begin: float, end: float) -> int:
    """The most severe state of the gate that was told in some time; 0 (OK) where none was."""
    return max((status.state for status in _between(tape.statuses, begin, end)), default=0)


def _between(rows: Sequence, begin: float, end: float) -> Sequence:
    first = bisect.bisect_left(rows, begin, key=lambda row: row.at)
    return rows[first : bisect.bisect_right(rows, end, key=lambda row: row.at)]


class _Positions:
    """Points that have a position, to be looked up by time."""

    def __init__(self, points: Sequence[Point]) -> None:
        kept = [point for point in points if not point.flaw]
        self._times = np.array([point.at for point in kept])
        size = len(kept[0].position) if kept else 0
        self._positions = np.array([point.position for point in kept]).reshape(len(kept), size)

    def within(self, begin: float, end: float) -> np.ndarray:
        """(k, n) positions between two times."""
        first, last = np.searchsorted(self._times, (begin, end))
        return self._positions[first:last]
