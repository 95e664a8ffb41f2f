"""The table of a training run's online episodes, the same for every method: RUN/episodes.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safe_skills.data.files import write_text
from safe_skills.data.statistics import rate_interval

EPISODES = "episodes.csv"
LAST = 20  # episodes at the end of a training, of which figures are given apart


class RunTableError(ValueError):
    """A table that is damaged or of another format; the message is one line."""


@dataclass(frozen=True)
class EpisodeRow:
    """One episode.

    Attributes:
        episode: its number in the run, from 0.
        steps: that it took; all of the horizon where the task does not end at its goal.
        episode_return: undiscounted sum of the task's rewards, without a method's penalties.
        success: whether the goal was reached.
        violation: whether the constraint was violated.
        seconds: that the episode and the learning in it took, on the clock.
    """

    episode: int
    steps: int
    episode_return: float
    success: bool
    violation: bool
    seconds: float


COLUMNS = ("episode", "steps", "return", "success", "violation", "seconds")


def write_episodes(path: Path | str, rows: Sequence[EpisodeRow]) -> None:
    """Writes the table atomically; success and violation as 0 or 1."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        values = asdict(row).values()
        table.writerow([int(v) if isinstance(v, bool) else _short(v) for v in values])
    write_text(path, text.getvalue())


def read_episodes(path: Path | str) -> list[EpisodeRow]:
    """Reads a table.

    Raises:
        RunTableError: in one line, where it is missing, damaged or has other columns.
    """
    path = Path(path)
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunTableError(f"{path}: cannot be read ({error})") from None
    if not lines or tuple(lines[0]) != COLUMNS:
        found = ",".join(lines[0]) if lines else "an empty file"
        raise RunTableError(f"{path}: expected the columns {','.join(COLUMNS)}, got {found}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            episode, steps, episode_return, success, violation, seconds = line
            rows.append(
                EpisodeRow(
                    int(episode),
                    int(steps),
                    float(episode_return),
                    bool(int(success)),
                    bool(int(violation)),
                    float(seconds),
                )
            )
        except ValueError:
            raise RunTableError(
                f"{path}: line {number}: expected {len(COLUMNS)} numbers, got {','.join(line)}"
            ) from None
    return rows


def figures(rows: Sequence[EpisodeRow]) -> dict[str, Any]:
    """Figures of at least one episode.

    Rates come with their 95 % Wilson intervals; "mean_steps" is that of the successful ones, None
    where there are none.
    """
    count = len(rows)
    lengths = [row.steps for row in rows if row.success]
    successes = len(lengths)
    violations = sum(row.violation for row in rows)
    return {
        "episodes": count,
        "success_rate": successes / count,
        "success_interval_95": rate_interval(successes, count),
        "violation_rate": violations / count,
        "violation_interval_95": rate_interval(violations, count),
        "mean_return": float(np.mean([row.episode_return for row in rows])),
        "mean_steps": float(np.mean(lengths)) if lengths else None,
    }


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
