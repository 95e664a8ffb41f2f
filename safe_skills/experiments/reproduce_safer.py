"""What SAFER's tables and figures are made of, and how they are put together.

Every number comes from a command of `safe-skills` (`stages.Stage`); nothing is computed here but
means over seeds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure

from safe_skills.data.files import replacing, write_json, write_text
from safe_skills.data.provenance import revision
from safe_skills.data.settings import from_mapping
from safe_skills.experiments.benchmark import machine, print_table
from safe_skills.experiments.stages import Stage, read
from safe_skills.paths import config_file
from safe_skills.safer.config import METHODS

SCALES = ("smoke", "cpu", "paper")
PRIOR_SEED = 0

# Rows of Table 1: name, whose prior, and what the agent chooses.
TABLE_1 = {
    "SAC": ("safer", "raw"),
    "PARROT": ("parrot", "skill"),
    "Context PARROT": ("context-parrot", "skill"),
    "Prior Explore": ("safer", "explore"),
    "SAFER": ("safer", "skill"),
}
# The paper's Table 1: mean success over its six tasks, and violations in all of them.
PAPER_TABLE_1 = {
    "SAC": (0.004, 9656),
    "PARROT": (0.158, 10539),
    "Context PARROT": (0.127, 18481),
    "Prior Explore": (0.017, 23100),
    "SAFER": (0.606, 2840),
}


@dataclass(frozen=True)
class Scale:
    """Sizes of a reproduction; config/reproduce/safer.yaml explains them."""

    data_steps: int
    evaluation_data_steps: int
    prior_setting: str
    sac_steps: int
    tasks: tuple[int, ...]
    seeds: tuple[int, ...]
    episodes: int


def load_scale(name: str) -> Scale:
    """Reads a scale of config/reproduce/safer.yaml."""
    scales = yaml.safe_load(config_file("reproduce/safer.yaml").read_text(encoding="utf-8"))
    return from_mapping(Scale, scales[name])


@dataclass(frozen=True)
class Run:
    """The stages of a scale, in a folder.

    Attributes:
        scale: how large.
        folder: of data, checkpoints and measurements.
    """

    scale: Scale
    folder: Path

    def data(self, tasks: str) -> Stage:
        """Episodes of the "training" or the "evaluation" tasks."""
        steps = self.scale.data_steps if tasks == "training" else self.scale.evaluation_data_steps
        out = self.folder / "data" / tasks
        words = ("collect", "operation", "--tasks", tasks, "--steps", steps, "--workers", 1)
        return _stage(self.folder / "data" / f"{tasks}.json", *words, "--out", out)

    def prior(self, method: str) -> Stage:
        """A skill prior, ranked on the held-out episodes and tasks."""
        data = [self.data(tasks) for tasks in ("training", "evaluation")]
        folders = [self.folder / "data" / tasks for tasks in ("training", "evaluation")]
        words = ("train", method, "operation", "--data", *folders)
        return _stage(
            self.folder / f"{method}.json",
            *words,
            *("--setting", self.scale.prior_setting, "--seed", PRIOR_SEED),
            *("--out", self.folder / method),
            after=[stage.result for stage in data],
        )

    def checkpoint(self, method: str) -> Path:
        """Where `prior` puts the checkpoint."""
        return self.folder / method / "checkpoint"

    def calibration(self, method: str) -> Stage:
        """The prior by itself within each eta, on the held-out tasks."""
        return _stage(
            self.folder / f"calibration_{method}.json",
            *("evaluate", "operation", "--prior", self.checkpoint(method)),
            *("--episodes", self.scale.episodes, "--workers", 1),
            after=[self.prior(method).result],
        )

    def policy(self, row: str, task: int, seed: int) -> Stage:
        """A policy of a row of Table 1."""
        method, actions = TABLE_1[row]
        name = f"{row.lower().replace(' ', '-')}_{task}_{seed}"
        return _stage(
            self.folder / "policies" / f"{name}.json",
            *("train", "sac", "--prior", self.checkpoint(method), "--task", task),
            *("--actions", actions, "--steps", self.scale.sac_steps, "--seed", seed),
            *("--episodes", self.scale.episodes, "--out", self.folder / "policies" / name),
            after=[self.prior(method).result],
        )

    def policies(self, row: str) -> list[Stage]:
        """All policies of a row of Table 1."""
        return [
            self.policy(row, task, seed) for task in self.scale.tasks for seed in self.scale.seeds
        ]

    @cached_property
    def sources(self) -> list[Stage]:
        """Data and priors, which everything else needs."""
        data = [self.data(tasks) for tasks in ("training", "evaluation")]
        return [*data, *(self.prior(method) for method in METHODS)]


def _stage(result: Path, *words: object, after: Sequence[Path] = ()) -> Stage:
    return Stage(tuple(str(word) for word in words), result, tuple(after))


@dataclass(frozen=True)
class Result:
    """A table or figure.

    Attributes:
        summary: what it shows.
        stages: what has to be run.
        rows: the result as rows of named values.
        draw: the picture.
    """

    summary: str
    stages: Callable[[Run], list[Stage]]
    rows: Callable[[Run], list[dict[str, Any]]]
    draw: Callable[[Figure, list[dict[str, Any]]], None]

    def write(self, run: Run, path: Path, scale: str) -> None:
        """Writes PATH.json, PATH.csv and PATH.png, and prints the table."""
        rows = self.rows(run)
        write_json(
            path.with_suffix(".json"),
            {
                "result": path.name,
                "summary": self.summary,
                "scale": scale,
                "sizes": vars(run.scale),
                "rows": rows,
                "commands": [f"safe-skills {' '.join(s.words)}" for s in self.stages(run)],
                "machine": machine(),
                "revision": revision(),
            },
        )
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        write_text(path.with_suffix(".csv"), text.getvalue())
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        self.draw(figure, rows)
        with replacing(path.with_suffix(".png")) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
        cells = [tuple(_cell(value) for value in row.values()) for row in rows]
        print_table(f"{path.name} ({scale}): {self.summary}", tuple(rows[0]), cells)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _ranking_rows(run: Run) -> list[dict[str, Any]]:
    rows = []
    for method in METHODS:
        metrics = read(run.prior(method))
        for name in ("held_out_episodes", "held_out_tasks"):
            pairs, first = metrics[name]["pairs"], metrics[name]["first_contacts"]
            shares = {
                f"unsafe_in_top_{percent}_percent": pairs[f"unsafe_in_top_{percent}_percent"]
                for percent in (1, 5, 10, 25)
            }
            rows.append(
                {
                    "method": method,
                    "steps": name.replace("_", " "),
                    "unsafe_share": pairs["unsafe_share"],
                    **shares,
                    "auc": pairs["auc"],
                    "auc_of_first_contacts": first["auc"],
                }
            )
    return rows


def _draw_ranking(figure: Figure, rows: list[dict[str, Any]]) -> None:
    percents = (1, 5, 10, 25)
    kinds = ("held out episodes", "held out tasks")
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), kinds, strict=True):
        chosen = [row for row in rows if row["steps"] == kind]
        for row in chosen:
            values = [row[f"unsafe_in_top_{percent}_percent"] for percent in percents]
            axes.plot(percents, values, marker="o", label=row["method"])
        axes.axhline(chosen[0]["unsafe_share"], color="grey", linestyle=":", label="all steps")
        axes.set(title=kind, xlabel="most likely steps [%]", ylabel="unsafe among them")
        axes.set_ylim(bottom=0)
    axes.legend()


def _calibration_rows(run: Run) -> list[dict[str, Any]]:
    rows = []
    for row in read(run.calibration("safer"))["rows"]:
        low, high = row["unsafe_interval_95"]
        rows.append(
            {
                "allowed": row["allowed"],
                "eta": row["eta"],
                "task": "all" if row["task"] is None else row["task"],
                "episodes": row["episodes"],
                "unsafe_steps": row["unsafe_steps"],
                "low": low,
                "high": high,
                "success_rate": row["success_rate"],
                "contact_rate": row["contact_rate"],
            }
        )
    return rows


def _draw_calibration(figure: Figure, rows: list[dict[str, Any]]) -> None:
    axes = figure.subplots()
    for task in sorted({row["task"] for row in rows}, key=str):
        chosen = [row for row in rows if row["task"] == task]
        allowed = [row["allowed"] for row in chosen]
        style = {"color": "black", "linewidth": 2.5} if task == "all" else {"alpha": 0.6}
        values = [row["unsafe_steps"] for row in chosen]
        axes.plot(allowed, values, marker="o", label=f"task {task}", **style)
    top = max(row["allowed"] for row in rows)
    axes.plot((0, top), (0, top), color="grey", linestyle=":", label="allowed")
    axes.set(xlabel="allowed share of unsafe steps", ylabel="share in rollouts")
    axes.legend(ncols=2)


def _policy_rows(run: Run) -> list[dict[str, Any]]:
    rows = []
    for name in TABLE_1:
        found = [read(stage) for stage in run.policies(name)]
        at_end = [one["training"]["success_rate_at_end"] for one in found]
        measured = [one["evaluation"]["success_rate"] for one in found]
        violations = [one["training"]["violations"] for one in found]
        last = [one["training"]["violations_at_end"] for one in found]
        paper_success, paper_violations = PAPER_TABLE_1[name]
        rows.append(
            {
                "method": name,
                "runs": len(found),
                "success_at_end": float(np.mean(at_end)),
                "success_at_end_sd": float(np.std(at_end)),
                "success": float(np.mean(measured)),
                "success_sd": float(np.std(measured)),
                "violations_a_run": float(np.mean(violations)),
                "violations_a_run_sd": float(np.std(violations)),
                "violations_in_last_1000": float(np.mean(last)),
                "paper_success": paper_success,
                "paper_violations_a_run": paper_violations / 6,
            }
        )
    return rows


def _draw_policies(figure: Figure, rows: list[dict[str, Any]]) -> None:
    names = [row["method"].replace(" ", "\n") for row in rows]
    left, right = figure.subplots(1, 2)
    for axes, key, title in (
        (left, "success", "success of the final policy"),
        (right, "violations_a_run", "violations a run"),
    ):
        axes.bar(names, [row[key] for row in rows], yerr=[row[f"{key}_sd"] for row in rows])
        axes.set(title=title)
        axes.tick_params(axis="x", labelsize=8)


RESULTS = {
    "safer-table1": Result(
        "success and violations of five methods on held-out tasks",
        lambda run: [*run.sources, *(s for row in TABLE_1 for s in run.policies(row))],
        _policy_rows,
        _draw_policies,
    ),
    "safer-fig1": Result(
        "unsafe steps among those that a prior holds most likely",
        lambda run: run.sources,
        _ranking_rows,
        _draw_ranking,
    ),
    "safer-fig4": Result(
        "unsafe steps of the prior's own rollouts within each eta",
        lambda run: [*run.sources, run.calibration("safer")],
        _calibration_rows,
        _draw_calibration,
    ),
}
