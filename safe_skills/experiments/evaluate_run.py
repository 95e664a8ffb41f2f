"""`safe-skills evaluate run RUN`: how good the agents of a training run were, one after another.

LS3 sec. 7.4 and fig. 6: success over training, of policies that do not learn meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import Progress

from safe_skills.baselines.methods import load_agent
from safe_skills.baselines.rollout import evaluate
from safe_skills.data.checkpoint import load_checkpoint
from safe_skills.data.episodes import FIRST_EVALUATION_SEED
from safe_skills.data.files import write_json
from safe_skills.data.provenance import revision
from safe_skills.data.run_table import figures
from safe_skills.data.updates import update_folder
from safe_skills.envs.tasks import find_task
from safe_skills.experiments.arguments import natural, positive
from safe_skills.experiments.processes import worker_pool
from safe_skills.experiments.rollout import (
    EpisodeRunner,
    evaluate_checkpoint,
    make_env,
    print_summaries,
)
from safe_skills.experiments.selection import actor_folder
from safe_skills.experiments.train_baseline import view_of
from safe_skills.ls3.agent import LS3Agent

HELP = (
    "Measure the agents of a run of `safe-skills train ls3`, `sacfd`, `recovery` or `awac` that is "
    "done: the first one, each after so many updates, and the last one."
)


SHARED = (
    *("episodes", "success_rate", "success_interval_95"),
    *("violation_rate", "violation_interval_95", "mean_return"),
)  # figures that mean the same of all methods


class RunError(ValueError):
    """A folder that is no finished training run; the message is one line."""


class TrainingRun(NamedTuple):
    """A finished training run.

    Attributes:
        method: "ls3", or that of a baseline.
        task: its name.
        layout: of the task, "" where there is but one.
        episodes_per_update: K.
        checkpoints: the agents by the number of their updates.
    """

    method: str
    task: str
    layout: str
    episodes_per_update: int
    checkpoints: dict[int, Path]

    @classmethod
    def read(cls, folder: Path) -> TrainingRun:
        """Finds what is in a run folder.

        Raises:
            RunError: there is no last checkpoint, or none of earlier updates.
            CheckpointError: the last checkpoint is damaged.
        """
        last = load_checkpoint(folder / "checkpoint") if (folder / "checkpoint").is_dir() else None
        if last is None or "updates" not in last.metrics:
            raise RunError(
                f"{folder}: expected the folder of a training that is done, found no checkpoint "
                "with its figures"
            )
        config, updates = last.config, last.metrics["updates"]
        if config["method"] == "ls3":
            found = {n: actor_folder(folder / "online", n) for n in range(updates)}
            found[updates] = folder / "last"
            count, layout = config["model"]["online"]["episodes_per_update"], config["layout"]
        else:
            found = {n: update_folder(folder, n) for n in range(1, updates + 1)}
            count = config["settings"]["online"]["episodes_per_update"]
            layout = last.metrics.get("layout", "")
        missing = [path for path in found.values() if not path.is_dir()]
        if missing or not found:
            raise RunError(
                f"{folder}: expected a checkpoint an update, found none in "
                f"{missing[0] if missing else folder / 'checkpoints'}"
            )
        return cls(config["method"], config["task"], layout, count, found)

    def chosen(self, every: int) -> dict[int, Path]:
        """The agents after 0, `every`, twice as many ... updates, and the last one."""
        last = max(self.checkpoints)
        return {n: f for n, f in self.checkpoints.items() if n % every == 0 or n == last}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of the training")
    parser.add_argument("--every", type=positive, default=1, help="updates (1)")
    parser.add_argument("--episodes", type=positive, default=10, help="of each agent (10)")
    parser.add_argument(
        "--seed", type=natural, default=FIRST_EVALUATION_SEED, help="of the first scene"
    )
    parser.add_argument("--workers", type=positive, default=2, help="processes (2)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    training = TrainingRun.read(args.folder)
    seeds = range(args.seed, args.seed + args.episodes)
    chosen = training.chosen(args.every)
    measure = _measure_ls3 if training.method == "ls3" else _measure_baseline
    measured = {}
    with Progress() as progress:
        bar = progress.add_task("agents", total=len(chosen))
        rows = measure(training, list(chosen.values()), seeds, args.workers)
        for updates, row in zip(chosen, rows, strict=True):
            measured[updates] = row
            progress.advance(bar)
    found = {n: {name: row[name] for name in SHARED} for n, row in measured.items()}
    count = training.episodes_per_update
    title = f"{training.method}, {training.task}, by trajectories"
    print_summaries(title, {f"{n * count}": row | {"mean_steps": None} for n, row in found.items()})
    if args.json:
        rows = [{"updates": n, "trajectories": n * count, **row} for n, row in found.items()]
        written = {
            "run": str(args.folder),
            "method": training.method,
            "task": training.task,
            "layout": training.layout,
            "seed": args.seed,
            "rows": rows,
            "revision": revision(),
        }
        write_json(args.json, written)
    return 0


def _measure_ls3(
    training: TrainingRun, folders: Sequence[Path], seeds: Sequence[int], workers: int
) -> Iterator[dict[str, Any]]:
    """Figures of LS3's agents, with the planner that gathered the run's episodes."""
    with EpisodeRunner(workers, training.task) as runner:
        for folder in folders:
            profile = LS3Agent.load(folder, task=training.task).config.online.profile
            figures_of, _ = evaluate_checkpoint(folder, training.layout, profile, seeds, runner)
            yield figures_of


def _measure_baseline(
    training: TrainingRun, folders: Sequence[Path], seeds: Sequence[int], workers: int
) -> Iterator[dict[str, Any]]:
    """Figures of a baseline's agents without exploration."""
    one = partial(_play, training.task, training.layout, tuple(seeds))
    if workers == 1:
        yield from map(one, folders)
        return
    pool = worker_pool(workers)
    try:
        yield from pool.map(one, folders)
    finally:
        pool.shutdown(cancel_futures=True)


def _play(task: str, layout: str, seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    agent, _ = load_agent(folder, task=task)
    env = make_env(task, layout)
    view, _ = view_of(find_task(task))
    try:
        return figures(list(evaluate(agent, env, view, seeds)))
    finally:
        env.close()
