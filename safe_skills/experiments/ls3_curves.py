"""Learning curves of LS3 and its baselines: means over seeds of what trainings and agents did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from safe_skills.data.run_table import EPISODES, EpisodeRow, read_episodes
from safe_skills.data.statistics import mean_and_error
from safe_skills.experiments.ls3_runs import METHODS, Run, run_folder
from safe_skills.experiments.results import Row
from safe_skills.experiments.stages import Stage, read

WINDOW = 10  # trajectories that a point of a curve is a mean of, K of the simulated tasks
SIMULATED = ("navigation", "reacher", "pushing")
MEASURES = {
    "return": lambda row: row.episode_return,
    "success": lambda row: row.success,
    "violations": lambda row: row.violation,
}


def done(stages: Sequence[Stage]) -> list[Stage]:
    """Those that have been run."""
    return [stage for stage in stages if stage.result.is_file()]


def episodes(training: Stage) -> list[EpisodeRow]:
    """The online trajectories of a training."""
    return read_episodes(run_folder(training) / EPISODES)


def demonstrations(run: Run, task: str) -> float | None:
    """Mean return of a task's demonstrations; None where they have not been collected."""
    data = run.data(task)
    return read(data)["kinds"]["demo"]["mean_return"] if data.result.is_file() else None


def mean_over_seeds(name: str, values: Sequence[float]) -> Row:
    """Columns of a mean and its standard error."""
    mean, error = mean_and_error(values)
    return {name: mean, f"{name}_se": error}


def curve(trainings: Sequence[Stage], limit: int | None = None) -> list[Row]:
    """A row for every `WINDOW` trajectories, as far as all trainings that have been run go.

    Args:
        trainings: of one method and task, a seed each.
        limit: trajectories that are read at most.
    """
    runs = [episodes(stage) for stage in done(trainings)]
    end = min(len(rows) for rows in runs) if runs else 0
    end = end if limit is None else min(end, limit)
    found = []
    for first in range(0, end, WINDOW):
        last = min(first + WINDOW, end)
        row: Row = {"trajectories": last, "seeds": len(runs)}
        for name, measure in MEASURES.items():
            means = [float(np.mean([measure(r) for r in rows[first:last]])) for rows in runs]
            row |= mean_over_seeds(name, means)
        found.append(row)
    return found


def learning_rows(run: Run, tasks: Sequence[str]) -> list[Row]:
    """The curves of all methods that a scale names, beside the demonstrations (fig. 4 and 5)."""
    found = []
    for task in tasks:
        if task not in run.scale.tasks:
            continue
        end = {"demo_return": demonstrations(run, task)}
        for name, method in METHODS.items():
            head = {"task": task, "method": method.title}
            found += [head | row | end for row in curve(run.trainings(name, task))]
    return found


def checkpoint_rows(run: Run) -> list[Row]:
    """Success of the agents after so many trajectories (fig. 6)."""
    found = []
    for task in SIMULATED:
        for name, method in METHODS.items():
            stages = done([run.checkpoints(stage) for stage in run.trainings(name, task)])
            agents = [{row["updates"]: row for row in read(stage)["rows"]} for stage in stages]
            common = set.intersection(*map(set, agents)) if agents else set()
            for updates in sorted(common):
                rows = [by_update[updates] for by_update in agents]
                found.append(
                    {
                        "task": task,
                        "method": method.title,
                        "trajectories": rows[0]["trajectories"],
                        "seeds": len(rows),
                        "rollouts": sum(row["episodes"] for row in rows),
                        **mean_over_seeds("success", [row["success_rate"] for row in rows]),
                    }
                )
    return found


def sweep_rows(run: Run, name: str) -> list[Row]:
    """The curves of LS3 with other values of a setting of its planner (fig. 7 to 9)."""
    sweeps = run.scale.sweeps
    limit = sweeps.updates * run.episodes_per_update(sweeps.task)
    end = {"demo_return": demonstrations(run, sweeps.task)}
    found = []
    for value in run.values(name):
        head = {"task": sweeps.task, name: value, "own": value == run.own_value(name)}
        found += [head | row | end for row in curve(run.sweep(name, value), limit)]
    return found


def draw_tasks(figure: Figure, rows: list[Row], measure: str) -> None:
    """One panel a task, one line a method."""
    tasks = [task for task in SIMULATED if any(row["task"] == task for row in rows)]
    for axes, task in zip(np.atleast_1d(figure.subplots(1, len(tasks))), tasks, strict=True):
        chosen = [row for row in rows if row["task"] == task]
        draw_lines(axes, chosen, "method", measure)
        axes.set(title=task, xlabel="trajectories", ylabel=measure)
    legend(figure)


def draw_measures(figure: Figure, rows: list[Row], key: str) -> None:
    """One panel each of return, success and violations, one line a value of the column `key`."""
    for axes, measure in zip(figure.subplots(1, len(MEASURES)), MEASURES, strict=True):
        draw_lines(axes, rows, key, measure)
        axes.set(title=measure, xlabel="trajectories")
    legend(figure)


def draw_lines(axes: Axes, rows: list[Row], key: str, measure: str) -> None:
    """Means with a band of one standard error; the demonstrations' return as a dashed line."""
    for value in dict.fromkeys(row[key] for row in rows):
        chosen = [row for row in rows if row[key] == value]
        x, mean = (np.array([row[name] for row in chosen]) for name in ("trajectories", measure))
        error = np.array([row[f"{measure}_se"] or 0.0 for row in chosen])
        label = value if key == "method" else f"{key} = {value}"
        (line,) = axes.plot(x, mean, marker="o", markersize=3, label=label, color=_colour(value))
        axes.fill_between(x, mean - error, mean + error, alpha=0.2, color=line.get_color())
    known = rows[0].get("demo_return")
    if measure == "return" and known is not None:
        axes.axhline(known, color="grey", linestyle="--", label="demonstrations")
    if measure == "success":
        axes.set_ylim(-0.02, 1.02)
    elif measure == "violations":  # few, so that they would all lie on the axis
        axes.set_ylim(-0.005, max(0.1, axes.get_ylim()[1]))


def legend(figure: Figure) -> None:
    """One legend of all panels, to the right of them."""
    known: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    figure.legend(known.values(), known.keys(), loc="outside right upper", fontsize=7)


def _colour(value: Any) -> str | None:
    """A method has the same colour in all panels; values of a setting, the next one."""
    titles = [method.title for method in METHODS.values()]
    return f"C{titles.index(value)}" if value in titles else None
