"""What a campaign of faults came to, by kind: figures, a table, a picture."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safe_skills.data.files import replacing, write_text
from safe_skills.experiments.faults_campaign import Outcome
from safe_skills.experiments.faults_judge import (
    Bounds,
    Breach,
    Tape,
    breaches,
    held_at,
    in_motion,
    worst_state,
)

EFFECTS = ("no effect", "limited", "held", "stopped")
"""What the gate did at most, by its state."""

SHOWN = 20
"""Breaches, crashes and the like that are written out; all are counted."""


def summarize(
    outcomes: Sequence[Outcome], tape: Tape, bounds: Bounds, period: float
) -> dict[str, Any]:
    """Figures of a campaign.

    Args:
        outcomes: of its bursts, in their order; only those that have ended count.
        tape: of all that was seen meanwhile.
        bounds: that commands and set-points must keep.
        period: control period, the unit of times to hold [s].

    Returns:
        `injected`, `unsafe_passed`, `crashes`, `hold_p99_periods` (None where nothing had to be
        held), `recovered_share`, `by_kind`, and lists that say more.
    """
    done = [outcome for outcome in outcomes if outcome.complete]
    broken = breaches(tape, bounds)
    by_burst = _by_burst(broken, done)
    by_kind = _rows(done, by_burst, tape, period, kind_label)
    every = [hold for outcome in done for hold in holds_of(outcome, tape, period)]
    injected = sum(outcome.burst.count for outcome in done)
    accepted = [line for outcome in done for line in outcome.accepted]
    crashed = [line for outcome in done for line in outcome.crashes]
    back = sum(o.burst.count for o in done if not math.isinf(o.recovered))
    return {
        "injected": injected,
        "unsafe_passed": len(broken) + len(accepted),
        "crashes": len(crashed),
        **{
            f"hold_{key.removeprefix('hold_')}": value for key, value in _percentiles(every).items()
        },
        "hold_samples": len(every),
        "recovered_share": back / injected if injected else None,
        "judged": {
            "commands": len(tape.commands),
            "set_points": len(tape.set_points),
            "statuses": len(tape.statuses),
        },
        "broken_rules": dict(Counter(breach.rule for breach in broken)),
        "breaches": _grouped(broken, done)[:SHOWN],
        "accepted": accepted[:SHOWN],
        "crash_lines": crashed[:SHOWN],
        "not_recovered": [label(o) for o in done if math.isinf(o.recovered)][:SHOWN],
        "by_kind": by_kind,
        "by_kind_and_target": _rows(done, by_burst, tape, period, label),
    }


def kind_label(outcome: Outcome) -> str:
    """What a burst's kind is called in the report; messages come besides or instead of others."""
    kind = outcome.burst.kind
    how = {"extra": " (extra)", "replaced": " (instead)"}.get(kind.mode, "")
    return kind.name + how


def label(outcome: Outcome) -> str:
    """What a burst is called in the report: its kind, and where."""
    return f"{kind_label(outcome)}: {outcome.burst.target}"


def holds_of(outcome: Outcome, tape: Tape, period: float) -> list[float]:
    """Times from the beginning of each fault that must hold the robot until it did [periods].

    A fault that begins while nothing moves has nothing to hold. One that held nothing counts with
    all the time that it had.
    """
    if not outcome.burst.kind.must_hold:
        return []
    found = []
    for onset in outcome.onsets:
        if not in_motion(tape, onset):
            continue
        until = max(outcome.end, onset + 10 * period)
        at = min(held_at(tape, onset, until), until)
        found.append((at - onset) / period)
    return found


def _rows(
    done: Sequence[Outcome],
    by_burst: Sequence[int],
    tape: Tape,
    period: float,
    name: Callable[[Outcome], str],
) -> dict[str, dict[str, Any]]:
    """Figures of bursts that have the same name, by name."""
    kinds: dict[str, dict[str, Any]] = {}
    for outcome, found in zip(done, by_burst, strict=True):
        _add(kinds.setdefault(name(outcome), _nothing()), outcome, found, tape, period)
    for row in kinds.values():
        row["effects"] = {effect: row["effects"][effect] for effect in EFFECTS}
        holds = row.pop("holds")
        row |= {"hold_samples": len(holds), **_percentiles(holds)}
        row["recovered_share"] = row.pop("recovered") / row["injected"]
    return dict(sorted(kinds.items()))


def _nothing() -> dict[str, Any]:
    return {
        "injected": 0,
        "effects": Counter(),
        "unsafe_passed": 0,
        "crashes": 0,
        "holds": [],
        "recovered": 0,
        "recovery_s": 0.0,
    }


def _add(row: dict[str, Any], outcome: Outcome, found: int, tape: Tape, period: float) -> None:
    count = outcome.burst.count
    ended = min(outcome.recovered, outcome.end + 1.0)
    row["injected"] += count
    row["effects"][EFFECTS[worst_state(tape, outcome.begin, ended)]] += count
    row["unsafe_passed"] += found + len(outcome.accepted)
    row["crashes"] += len(outcome.crashes)
    row["holds"] += holds_of(outcome, tape, period)
    if not math.isinf(outcome.recovered):
        row["recovered"] += count
        row["recovery_s"] = max(row["recovery_s"], outcome.recovered - outcome.end)


def _by_burst(broken: Sequence[Breach], done: Sequence[Outcome]) -> list[int]:
    counts = [0] * len(done)
    for breach in broken:
        index = _index(breach, done)
        if index >= 0:
            counts[index] += 1
    return counts


def _index(breach: Breach, done: Sequence[Outcome]) -> int:
    return bisect.bisect_right([outcome.begin for outcome in done], breach.at) - 1


def _grouped(broken: Sequence[Breach], done: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Breaches by rule and by what was injected, each with the greatest value."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for breach in broken:
        index = _index(breach, done)
        during = label(done[index]) if index >= 0 else "before"
        row = found.setdefault(
            (breach.rule, during),
            {"rule": breach.rule, "during": during, "count": 0, "value": None, "limit": None},
        )
        row["count"] += 1
        if row["value"] is None or breach.value > row["value"]:
            row |= {"value": _number(breach.value), "limit": _number(breach.limit)}
    return list(found.values())


def _percentiles(holds: Sequence[float]) -> dict[str, float | None]:
    if not holds:
        return {"hold_p50_periods": None, "hold_p99_periods": None}
    p50, p99 = np.percentile(holds, (50, 99))
    return {"hold_p50_periods": float(p50), "hold_p99_periods": float(p99)}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


# ---- for people


EXPLAINED = (
    "`count` faults of each kind, and what the gate did at most meanwhile: nothing (what a node "
    "refuses before it gets there counts here, too), limit, hold or stop. `unsafe`: commands and "
    "set-points that broke a limit, and parameters that should have been refused. `p50` and `p99`: "
    "time from the beginning of a fault that must hold the robot until it did, in control periods. "
    "`back`: share after which motion came back, `in s`: the longest time until it did."
)

HEADINGS = (
    "fault",
    "count",
    *EFFECTS,
    "unsafe",
    "crashes",
    "p50",
    "p99",
    "back",
    "in s",
)


def rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Cells of a table: one row a kind and target, then all together."""
    made = []
    for name, row in summary["by_kind"].items():
        made.append(
            (
                name,
                str(row["injected"]),
                *(str(row["effects"][effect]) for effect in EFFECTS),
                str(row["unsafe_passed"]),
                str(row["crashes"]),
                _periods(row["hold_p50_periods"]),
                _periods(row["hold_p99_periods"]),
                f"{row['recovered_share']:.2f}",
                f"{row['recovery_s']:.1f}",
            )
        )
    kinds = summary["by_kind"].values()
    totals = [str(sum(row["effects"][effect] for row in kinds)) for effect in EFFECTS]
    share = summary["recovered_share"]
    made.append(
        (
            "all",
            str(summary["injected"]),
            *totals,
            str(summary["unsafe_passed"]),
            str(summary["crashes"]),
            _periods(summary["hold_p50_periods"]),
            _periods(summary["hold_p99_periods"]),
            "" if share is None else f"{share:.4f}",
            f"{max((row['recovery_s'] for row in kinds), default=0.0):.1f}",
        )
    )
    return made


def _periods(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def write_markdown(path: Path, title: str, summary: dict[str, Any]) -> None:
    """Writes the table as Markdown."""
    lines = [f"# {title}", "", EXPLAINED, ""]
    lines += ["| " + " | ".join(HEADINGS) + " |"]
    lines += ["|---" + "|---:" * (len(HEADINGS) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows(summary)]
    write_text(path, "\n".join(lines) + "\n")


def draw(path: Path, summary: dict[str, Any]) -> None:
    """Draws what the gate did, kind by kind."""
    from matplotlib.figure import Figure

    merged: dict[str, Counter] = {}
    for name, row in summary["by_kind"].items():
        merged.setdefault(name.split(" (")[0], Counter()).update(row["effects"])
    names = sorted(merged)
    figure = Figure(figsize=(7.0, 1.0 + 0.2 * len(names)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(names))
    colours = ("tab:green", "tab:olive", "tab:orange", "tab:red")
    for effect, colour in zip(EFFECTS, colours, strict=True):
        shares = np.array([merged[name][effect] / sum(merged[name].values()) for name in names])
        axes.barh(names, shares, left=left, label=effect, color=colour)
        left += shares
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of faults")
    figure.legend(loc="outside upper center", ncols=4)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
