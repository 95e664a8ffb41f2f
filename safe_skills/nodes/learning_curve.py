"""What an online training came to, on disk: a line an episode, a line an update, and the curve."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from safe_skills.data.episodes import Episode
from safe_skills.data.files import replacing, write_text

WINDOW = 10  # episodes that the curve's means are over


@dataclass(frozen=True)
class EpisodeLine:
    """An episode: its number, the scene, what acted after how many updates, and how it went.

    `unsafe_steps` are those of its `steps` that violated the constraint; `violation` is the first.
    """

    episode: int
    seed: int
    policy: str
    update: int
    steps: int
    success: bool
    violation: str
    unsafe_steps: int
    episode_return: float


def episode_line(
    number: int, episode: Episode, update: int, *, freezes: bool = True
) -> EpisodeLine:
    """The line of a gathered episode.

    Args:
        number: of the episode, from 0.
        episode: which is gathered.
        update: after how many updates its agent acted.
        freezes: whether a violation freezes the state: the steps are then those up to it.
    """
    violated = np.flatnonzero(episode.costs)
    steps = int(violated[0]) + 1 if freezes and len(violated) else len(episode)
    return EpisodeLine(
        episode=number,
        seed=episode.seed,
        policy=episode.policy,
        update=update,
        steps=steps,
        success=episode.success,
        violation=episode.violation,
        unsafe_steps=int((episode.costs[:steps] > 0.0).sum()),
        episode_return=episode.episode_return,
    )


def figures(lines: Sequence[EpisodeLine]) -> dict[str, Any]:
    """Rates and means of some episodes."""
    steps = [line.steps for line in lines if line.success]
    return {
        "success_rate": float(np.mean([line.success for line in lines])),
        "violation_rate": float(np.mean([bool(line.violation) for line in lines])),
        "unsafe_steps": sum(line.unsafe_steps for line in lines),
        "mean_return": float(np.mean([line.episode_return for line in lines])),
        "mean_steps": float(np.mean(steps)) if steps else None,
    }


class LearningCurve:
    """The lines of a training, in `episodes.csv`, `metrics.csv` and `curve.png` of a folder.

    Args:
        folder: an earlier training's lines in it are gone on with.
        freezes: whether a violation freezes the state of an episode.
    """

    def __init__(self, folder: Path, *, freezes: bool = True) -> None:
        self.folder, self._freezes = folder, freezes
        self.updates: list[dict[str, Any]] = []
        self.episodes: list[EpisodeLine] = []
        path = folder / "metrics.csv"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as stream:
                self.updates = list(csv.DictReader(stream))

    def updates_of(self, policy: str) -> int:
        """After how many updates a policy, which names its model last, acts; 0 for the first."""
        model = policy.split()[-1] if policy else ""
        of_model = [int(row["update"]) for row in self.updates if row["model"] == model]
        return of_model[-1] if of_model else 0

    def add_episode(self, episode: Episode) -> EpisodeLine:
        """Add an episode and write `episodes.csv`."""
        update = self.updates_of(episode.policy)
        line = episode_line(len(self.episodes), episode, update, freezes=self._freezes)
        self.episodes.append(line)
        names = [item.name for item in fields(EpisodeLine)]
        _write_csv(self.folder / "episodes.csv", names, [asdict(line) for line in self.episodes])
        return line

    def add_update(self, row: Mapping[str, Any]) -> None:
        """Add an update and write `metrics.csv`; `row` has "update" and "model" at least."""
        self.updates.append(dict(row))
        names = list(dict.fromkeys(name for line in self.updates for name in line))
        _write_csv(self.folder / "metrics.csv", names, self.updates)

    def draw(self) -> None:
        """Draw `curve.png`: rates and steps over the episodes, and where models were taken up."""
        from matplotlib.figure import Figure

        lines = self.episodes
        if not lines:
            return
        figure = Figure(figsize=(7.0, 5.0), layout="constrained")
        rates, steps = figure.subplots(2, 1, sharex=True)
        numbers = np.arange(len(lines))
        for name, values, colour in (
            ("success", [line.success for line in lines], "tab:green"),
            ("violation", [bool(line.violation) for line in lines], "tab:red"),
        ):
            rates.plot(numbers, _running_mean(values), color=colour, label=name)
        rates.set_ylabel(f"share of the last {WINDOW}")
        rates.set_ylim(-0.05, 1.05)
        rates.legend(loc="center right")
        won = [line for line in lines if line.success]
        steps.plot([line.episode for line in won], [line.steps for line in won], ".", color="0.6")
        steps.plot(
            [line.episode for line in won],
            _running_mean([line.steps for line in won]),
            color="tab:blue",
        )
        steps.set_ylabel("steps to the goal")
        steps.set_xlabel("episode (dotted: a new agent acts)")
        for before, after in zip(lines[:-1], lines[1:], strict=True):
            if before.update != after.update:
                for axes in (rates, steps):
                    axes.axvline(after.episode - 0.5, color="0.8", linestyle=":", linewidth=0.8)
        with replacing(self.folder / "curve.png") as temporary:
            figure.savefig(temporary, dpi=110)


def _running_mean(values: Sequence[float]) -> list[float]:
    """Mean of each value and up to WINDOW - 1 before it."""
    return [float(np.mean(values[max(0, k + 1 - WINDOW) : k + 1])) for k in range(len(values))]


def _write_csv(path: Path, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
