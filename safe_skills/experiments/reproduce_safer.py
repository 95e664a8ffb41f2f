"""SAFER's tables and figures, put together from what the commands of `safer_runs` measured.

Nothing is computed here but means over seeds and sums over steps.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from safe_skills.experiments.results import Result
from safe_skills.experiments.safer_runs import (
    BOUNDS,
    RANKED,
    TABLE_1,
    WITH_UNSAFE,
    WITHOUT_C,
    Agent,
    Run,
)
from safe_skills.experiments.stages import read

# The paper's Table 1: mean success over its six tasks, and violations in all of them. The cautious
# prior is not in it.
PAPER_TABLE_1 = {
    "SAC": (0.004, 9656),
    "PARROT": (0.158, 10539),
    "Context PARROT": (0.127, 18481),
    "Prior Explore": (0.017, 23100),
    "SAFER": (0.606, 2840),
}


def _ranking_rows(run: Run) -> list[dict[str, Any]]:
    rows = []
    for prior in RANKED:
        metrics = read(run.prior(prior))
        for name in ("held_out_episodes", "held_out_tasks"):
            pairs, first = metrics[name]["pairs"], metrics[name]["first_contacts"]
            shares = {
                f"unsafe_in_top_{percent}_percent": pairs[f"unsafe_in_top_{percent}_percent"]
                for percent in (1, 5, 10, 25)
            }
            rows.append(
                {
                    "prior": prior,
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
    both = figure.subplots(1, 2, sharey=True)
    for axes, kind in zip(both, kinds, strict=True):
        chosen = [row for row in rows if row["steps"] == kind]
        for row in chosen:
            values = [row[f"unsafe_in_top_{percent}_percent"] for percent in percents]
            axes.plot(percents, values, marker="o", label=row["prior"])
        axes.axhline(chosen[0]["unsafe_share"], color="grey", linestyle=":", label="all steps")
        axes.set(title=kind, xlabel="most likely steps [%]", ylabel="unsafe among them")
    both[0].set_ylim(bottom=0)
    both[1].legend()


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
        axes.plot(
            allowed,
            values,
            marker="o",
            label="all tasks" if task == "all" else f"task {task}",
            **style,
        )
    top = max(row["allowed"] for row in rows)
    axes.plot((0, top), (0, top), color="grey", linestyle=":", label="allowed")
    axes.set(xlabel="allowed share of unsafe steps", ylabel="share in rollouts")
    axes.legend(ncols=2)


def _policy_rows(agents: dict[str, Agent], run: Run, *, one_task: bool) -> list[dict[str, Any]]:
    rows = []
    for name, agent in agents.items():
        found = [read(stage) for stage in run.policies(agent, _task(run, one_task))]
        in_training = [one["training"]["success_rate"] for one in found]
        at_end = [one["training"]["success_rate_at_end"] for one in found]
        measured = [one["evaluation"]["success_rate"] for one in found]
        unsafe = [one["evaluation"]["unsafe_steps"] for one in found]
        violations = [one["training"]["violations"] for one in found]
        last = [one["training"]["violations_at_end"] for one in found]
        row = {
            "method": name,
            "runs": len(found),
            "eta": float(np.mean([one["eta"] for one in found])),
            "success_in_training": float(np.mean(in_training)),
            "success_at_end": float(np.mean(at_end)),
            "success_at_end_sd": float(np.std(at_end)),
            "success": float(np.mean(measured)),
            "success_sd": float(np.std(measured)),
            "unsafe_steps": float(np.mean(unsafe)),
            "violations_a_run": float(np.mean(violations)),
            "violations_a_run_sd": float(np.std(violations)),
            "violations_in_last_1000": float(np.mean(last)),
        }
        if agents is TABLE_1:
            success, violations_in_all = PAPER_TABLE_1.get(name, (None, None))
            a_run = None if violations_in_all is None else violations_in_all / 6
            row |= {"paper_success": success, "paper_violations_a_run": a_run}
        rows.append(row)
    return rows


def _task(run: Run, one_task: bool) -> int | None:
    return run.scale.tasks[0] if one_task else None


def _violation_rows(run: Run, window: int | None) -> list[dict[str, Any]]:
    """Violations up to a step, or in the `window` steps before it; means over seeds."""
    steps = np.linspace(0, run.scale.sac_steps, 21, dtype=int)[1:]
    rows = []
    for name, agent in TABLE_1.items():
        for task in run.scale.tasks:
            curves = [
                violations_at(run.policy_folder(agent, task, seed) / "curve.csv", steps, window)
                for seed in run.scale.seeds
            ]
            for step, value in zip(steps, np.mean(curves, axis=0), strict=True):
                rows.append(
                    {"method": name, "task": task, "step": int(step), "violations": float(value)}
                )
    return rows


def violations_at(curve: Path, steps: np.ndarray, window: int | None = None) -> np.ndarray:
    """Violations of a training up to each step, or in the window before; whole episodes count.

    Args:
        curve: the episodes, as `safe-skills train sac` writes them.
        steps: (n,) of the environment.
        window: steps; None counts from the beginning.
    """
    with curve.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    ends = np.array([int(row["last_step"]) for row in rows])
    sums = np.concatenate(([0], np.cumsum([int(row["violations"]) for row in rows])))
    steps = np.asarray(steps)
    total = sums[np.searchsorted(ends, steps, side="right")]
    if window is None:
        return total
    return total - sums[np.searchsorted(ends, np.maximum(steps - window, 0), side="right")]


def _draw_violations(figure: Figure, rows: list[dict[str, Any]]) -> None:
    tasks = sorted({row["task"] for row in rows})
    for axes, task in zip(np.atleast_1d(figure.subplots(1, len(tasks))), tasks, strict=True):
        for name in TABLE_1:
            chosen = [row for row in rows if (row["method"], row["task"]) == (name, task)]
            steps = [row["step"] for row in chosen]
            axes.plot(steps, [row["violations"] for row in chosen], label=name)
        axes.set(title=f"task {task}", xlabel="steps", ylabel="violations")
    axes.legend(fontsize=7)


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
        "success and violations of the paper's five methods, and a sixth, on held-out tasks",
        lambda run: run.learning(TABLE_1),
        partial(_policy_rows, TABLE_1, one_task=False),
        _draw_policies,
    ),
    "safer-fig1": Result(
        "unsafe steps among those that a prior holds most likely",
        lambda run: [*run.data(), *(run.prior(name) for name in RANKED)],
        _ranking_rows,
        _draw_ranking,
    ),
    "safer-fig4": Result(
        "unsafe steps of the prior's own rollouts within each eta",
        lambda run: [*run.data(), run.prior("safer"), run.calibration("safer")],
        _calibration_rows,
        _draw_calibration,
    ),
    "safer-fig5": Result(
        "violations so far over training",
        lambda run: run.learning(TABLE_1),
        partial(_violation_rows, window=None),
        _draw_violations,
    ),
    "safer-fig6": Result(
        "success and violations against eta, on one task",
        lambda run: run.learning(BOUNDS, run.scale.tasks[0]),
        partial(_policy_rows, BOUNDS, one_task=True),
        _draw_policies,
    ),
    "safer-fig7": Result(
        "violations of the last 1000 steps over training",
        lambda run: run.learning(TABLE_1),
        partial(_violation_rows, window=1000),
        _draw_violations,
    ),
    "safer-fig8": Result(
        "SAFER with and without its safety variable c",
        lambda run: run.learning(WITHOUT_C),
        partial(_policy_rows, WITHOUT_C, one_task=False),
        _draw_policies,
    ),
    "safer-fig9": Result(
        "PARROT trained on the unsafe steps of successful episodes, too",
        lambda run: run.learning(WITH_UNSAFE),
        partial(_policy_rows, WITH_UNSAFE, one_task=False),
        _draw_policies,
    ),
}
