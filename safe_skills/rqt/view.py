"""What the panel shows at one moment, as plain values: the model makes it, the widget draws it."""

from dataclasses import dataclass, field

import numpy as np

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Headline:
    """The state in large letters.

    Attributes:
        state: "OK", "LIMITED", "HOLD", "STOPPED" or "NO MONITOR".
        reason: What is the matter, in a sentence; empty where nothing is.
        detail: Further reasons by their codes, and the status' age.
        colour: RGB.
    """

    state: str
    reason: str
    detail: str
    colour: Colour


@dataclass(frozen=True)
class Curve:
    """A line of a chart: (n, 2) points, seconds before now (negative) and values."""

    name: str
    colour: Colour
    points: np.ndarray


@dataclass(frozen=True)
class Threshold:
    """A dashed line of a chart."""

    name: str
    value: float
    colour: Colour


@dataclass(frozen=True)
class Chart:
    """Curves that share an axis from 0 to `top`."""

    title: str
    curves: tuple[Curve, ...]
    thresholds: tuple[Threshold, ...] = ()
    top: float = 1.0


@dataclass(frozen=True)
class Span:
    """A time in which the monitor said the same: seconds before now, from and to."""

    begin: float
    end: float
    colour: Colour


@dataclass(frozen=True)
class ViolationRow:
    """A rule that was broken: time of day, code, what was seen, what is allowed, who asked."""

    time: str
    kind: str
    value: str
    limit: str
    source: str


@dataclass(frozen=True)
class NodeRow:
    """A node: its diagnostics, its output's rate and age, and how long its own work takes."""

    name: str
    health: str
    colour: Colour | None
    rate: str
    own_time: str
    age: str


@dataclass(frozen=True)
class Outcome:
    """What came of the last button: text, and whether it is good (None: not known yet)."""

    text: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class View:
    """Everything that is shown.

    Attributes:
        headline: The state.
        charts: Probabilities, or the use of eta.
        timeline: States over the charts' time.
        counters: Names and numbers of the monitor's counters.
        causes: Reasons by code, and how often each began since the monitor's start; most first.
        violations: The newest first.
        violations_version: Grows with every violation: the list is the same where it is.
        nodes: Rows of the table.
        picture: (h, w, 3) uint8 RGB; None: no camera.
        picture_note: What is and is not drawn in.
        picture_version: Grows with every new picture.
        outcome: Of the last button.
        can_stop: Whether the monitor's e_stop service is there.
        can_reset: The same of its reset.
        can_snapshot: The same of the black box's snapshot.
        dropped: Messages that came too fast to be shown.
    """

    headline: Headline
    charts: tuple[Chart, ...] = ()
    timeline: tuple[Span, ...] = ()
    counters: tuple[tuple[str, int], ...] = ()
    causes: tuple[tuple[str, int], ...] = ()
    violations: tuple[ViolationRow, ...] = ()
    violations_version: int = 0
    nodes: tuple[NodeRow, ...] = ()
    picture: np.ndarray | None = None
    picture_note: str = ""
    picture_version: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    can_stop: bool = False
    can_reset: bool = False
    can_snapshot: bool = False
    dropped: int = 0
