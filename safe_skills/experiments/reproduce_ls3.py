"""LS3's tables and figures, put together from what the commands of `ls3_runs` measured.

Nothing is computed here but means over trajectories and seeds, and standard errors over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from safe_skills.data.run_table import LAST
from safe_skills.experiments.ls3_curves import (
    MEASURES,
    SIMULATED,
    checkpoint_rows,
    demonstrations,
    done,
    draw_measures,
    draw_tasks,
    episodes,
    learning_rows,
    legend,
    mean_over_seeds,
    sweep_rows,
)
from safe_skills.experiments.ls3_runs import METHODS, Run, run_folder
from safe_skills.experiments.navigation_maps import draw_maps, navigation_maps
from safe_skills.experiments.results import Result, Row
from safe_skills.experiments.stages import Stage, read
from safe_skills.ls3.agent import LS3Agent

TABLE_METHODS = ("sacfd", "awac", "recovery", "ls3-no-safe-set", "ls3")
CABLE = ("cable",)
# The paper's tables: mean and standard error over ten seeds, of all trajectories of training, for
# `TABLE_METHODS`.
PAPER_SUCCESS = {
    "navigation": ((0.363, 0.068), (0.312, 0.093), (0.184, 0.053), (0.818, 0.019), (0.988, 0.004)),
    "reacher": ((0.502, 0.072), (0.255, 0.089), (0.473, 0.056), (0.736, 0.025), (0.870, 0.024)),
    "pushing": ((0.425, 0.064), (0.006, 0.003), (0.466, 0.065), (0.366, 0.030), (0.648, 0.049)),
}
PAPER_VIOLATIONS = {
    "navigation": ((0.006, 0.002), (0.104, 0.070), (0.001, 0.001), (0.019, 0.006), (0.005, 0.001)),
    "reacher": ((0.146, 0.039), (0.398, 0.107), (0.142, 0.031), (0.247, 0.027), (0.102, 0.027)),
    "pushing": ((0.033, 0.003), (0.138, 0.028), (0.054, 0.006), (0.122, 0.031), (0.107, 0.016)),
}
PAPER = {"success": PAPER_SUCCESS, "violations": PAPER_VIOLATIONS}


def trainings(run: Run, methods: Sequence[str], tasks: Sequence[str]) -> list[Stage]:
    """All trainings of some methods on some tasks that a scale names."""
    return [stage for task in tasks for name in methods for stage in run.trainings(name, task)]


def _learning(run: Run, methods: Sequence[str], tasks: Sequence[str]) -> list[Stage]:
    return _with_data(run, trainings(run, methods, tasks), tasks)


def _with_data(run: Run, stages: Sequence[Stage], tasks: Sequence[str]) -> list[Stage]:
    data = [run.data(task) for task in tasks if task in run.scale.tasks]
    return [*data, *dict.fromkeys(stages)]


def _checkpoints(run: Run) -> list[Stage]:
    learned = trainings(run, list(METHODS), SIMULATED)
    return [*_with_data(run, learned, SIMULATED), *map(run.checkpoints, learned)]


def _sweep(run: Run, name: str) -> list[Stage]:
    stages = [stage for value in run.values(name) for stage in run.sweep(name, value)]
    return _with_data(run, stages, [run.scale.sweeps.task])


def table_rows(run: Run, measure: str) -> list[Row]:
    """A row of the paper's table each, None where the scale does not name it."""
    found = []
    for task in SIMULATED:
        for name, paper in zip(TABLE_METHODS, PAPER[measure][task], strict=True):
            stages = run.trainings(name, task)
            runs = [episodes(stage) for stage in done(stages)]
            row: Row = {
                "task": task,
                "method": METHODS[name].title,
                "seeds": len(runs) if stages else None,
                "trajectories": sum(map(len, runs)) if stages else None,
                measure: None,
                f"{measure}_se": None,
                f"paper_{measure}": paper[0],
                f"paper_{measure}_se": paper[1],
            }
            if measure == "success":
                row |= {"last_20_return": None, "last_20_return_se": None, "demo_return": None}
            if runs:
                row |= mean_over_seeds(measure, _means(runs, measure))
            if runs and measure == "success":
                last = [rows[-LAST:] for rows in runs]
                row |= mean_over_seeds("last_20_return", _means(last, "return"))
                row["demo_return"] = demonstrations(run, task)
            found.append(row)
    return found


def _means(runs: Sequence[Sequence], measure: str) -> list[float]:
    return [float(np.mean([MEASURES[measure](row) for row in rows])) for rows in runs]


def draw_table(figure: Figure, rows: list[Row], measure: str) -> None:
    """Bars of the means, beside the paper's."""
    for axes, task in zip(figure.subplots(1, len(SIMULATED), sharey=True), SIMULATED, strict=True):
        chosen = [row for row in rows if row["task"] == task]
        places = np.arange(len(chosen))
        for offset, prefix, label in ((-0.2, "", "here"), (0.2, "paper_", "paper")):
            known = [row[prefix + measure] is not None for row in chosen]
            heights = [row[prefix + measure] or 0.0 for row in chosen]
            errors = [row[f"{prefix}{measure}_se"] or 0.0 for row in chosen]
            axes.bar(places + offset, heights, width=0.4, yerr=errors, label=label)
            for place in places[~np.array(known)]:
                axes.text(place + offset, 0.0, "-", ha="center", va="bottom")
        axes.set_xticks(places, [row["method"] for row in chosen], rotation=45, fontsize=7)
        axes.set(title=task)
    figure.axes[0].set_ylabel(f"{measure}, all of training")
    figure.axes[0].set_ylim(bottom=0.0)
    legend(figure)


def _first_navigation(run: Run) -> list[Stage]:
    return run.trainings("ls3", "navigation")[:1]


def map_rows(run: Run) -> list[Row]:
    """How what LS3 has learned of the navigation task agrees with the truth."""
    found = []
    for stage in done(_first_navigation(run)):
        metrics = read(stage)
        checkpoint = str(run_folder(stage) / "checkpoint")
        seed = {"seed": metrics["seed"], "trajectories": len(episodes(stage))}
        found.append({"checkpoint": checkpoint, **seed, **metrics["maps"]})
    return found


def _draw_maps(figure: Figure, rows: list[Row]) -> None:
    agent = LS3Agent.load(Path(rows[0]["checkpoint"]), task="navigation")
    draw_maps(figure, navigation_maps(agent))


def _table(measure: str, what: str) -> Result:
    return Result(
        f"{what} over all of training, with the paper's",
        lambda run: _learning(run, TABLE_METHODS, SIMULATED),
        partial(table_rows, measure=measure),
        partial(draw_table, measure=measure),
        partial=True,
        size=(10, 3.6),
    )


def _curves(
    summary: str,
    stages: Callable[[Run], list[Stage]],
    rows: Callable[[Run], list[Row]],
    draw: Callable[[Figure, list[Row]], None],
    curve: tuple[str, ...] = ("task", "method"),
) -> Result:
    return Result(summary, stages, rows, draw, partial=True, size=(11, 3.2), curve=curve)


def _sweep_figure(name: str, what: str) -> Result:
    return _curves(
        f"LS3's return, success and violations over training, by {what}",
        partial(_sweep, name=name),
        partial(sweep_rows, name=name),
        partial(draw_measures, key=name),
        curve=(name,),
    )


RESULTS = {
    "ls3-table1": _table("success", "success"),
    "ls3-table2": _table("violations", "violations"),
    "ls3-fig2": Result(
        "value, goal, constraint and safe set that LS3 has learned of navigation",
        lambda run: _with_data(run, _first_navigation(run), ["navigation"]),
        map_rows,
        _draw_maps,
        partial=True,
        size=(9, 7),
    ),
    "ls3-fig4": _curves(
        "return over training of all methods on the simulated tasks",
        lambda run: _learning(run, list(METHODS), SIMULATED),
        partial(learning_rows, tasks=SIMULATED),
        partial(draw_tasks, measure="return"),
    ),
    "ls3-fig5": _curves(
        "return, success and violations over training on the cable",
        lambda run: _learning(run, list(METHODS), CABLE),
        partial(learning_rows, tasks=CABLE),
        partial(draw_measures, key="method"),
    ),
    "ls3-fig6": _curves(
        "success of the agents on the way through training, without exploration",
        _checkpoints,
        checkpoint_rows,
        partial(draw_tasks, measure="success"),
    ),
    "ls3-fig7": _sweep_figure("delta_c", "delta_C; none plans without the constraint"),
    "ls3-fig8": _sweep_figure("delta_s", "delta_S"),
    "ls3-fig9": _sweep_figure("horizon", "horizon H"),
}
