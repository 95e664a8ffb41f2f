"""`safe-skills collect operation-tasks`: draws the Operation tasks and sorts them by hardness."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_skills.data.files import write_json
from safe_skills.envs.operation import OperationEnv
from safe_skills.envs.operation_tasks import FIRST_EVALUATION_TASK, TASKS, OperationTask, draw_task
from safe_skills.experiments.arguments import natural, positive
from safe_skills.experiments.benchmark import print_table
from safe_skills.experiments.collecting import each_done, progress_bar
from safe_skills.experiments.operation_rollout import NOISE, figures, play

HELP = (
    "Draw the 40 Operation tasks: those that the scripted policy without noise solves, sorted by "
    "how often it touches the container with noise. The last 6 are held out for evaluation."
)
SOLVED = 0.95
"""Success without noise that a task has to reach to be kept."""


class Job(NamedTuple):
    """A task to measure: `number` counts all that were drawn."""

    number: int
    task: OperationTask
    episodes: int


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the tasks")
    parser.add_argument(
        "--episodes", type=positive, default=100, help="a task, without noise and with (100)"
    )
    parser.add_argument("--workers", type=natural, default=2, help="processes (2)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the draw (0)")


def run(args: argparse.Namespace) -> int:
    """Draws, measures, writes and prints the tasks."""
    rows = draw_tasks(args.seed, args.episodes, args.workers, progress=True)
    write_json(args.out, {"seed": args.seed, "episodes": args.episodes, "tasks": rows})
    headings = ("task", "object", "width", "height", "success, no noise", "contact", "success")
    print_table("Operation tasks", headings, [_row(n, row) for n, row in enumerate(rows)])
    return 0


def draw_tasks(
    seed: int, episodes: int, workers: int = 2, tasks: int = TASKS, progress: bool = False
) -> list[dict[str, Any]]:
    """Draws tasks until enough are solved; returns them with their figures, the hardest last.

    Args:
        seed: of the draw.
        episodes: a task, without noise and with.
        workers: processes.
        tasks: how many to keep.
        progress: show a progress bar.
    """
    rng, used, kept = np.random.default_rng(seed), set(), []
    drawn = 0
    with progress_bar("operation tasks", "tasks", progress) as bar:
        shown = bar.add_task("collect", total=tasks)
        while len(kept) < tasks:
            jobs = []
            for _ in range(tasks - len(kept)):
                task = draw_task(rng, used)
                used.add(task.object)
                jobs.append(Job(drawn, task, episodes))
                drawn += 1
            todo, found = iter(jobs), {}
            for job, row in each_done(lambda busy, todo=todo: next(todo, None), measure, workers):
                found[job.number] = row
                solved = sum(row["quiet_success_rate"] >= SOLVED for row in found.values())
                bar.update(shown, completed=len(kept) + solved)
            kept += [
                {"drawn": number, **found[number]}
                for number in sorted(found)
                if found[number]["quiet_success_rate"] >= SOLVED
            ]
    return sorted(kept, key=lambda row: (row["contact_rate"], row["unsafe_steps"], row["drawn"]))


def measure(job: Job) -> tuple[Job, dict[str, Any]]:
    """Figures of a task: success and contact without noise ("quiet"), and all with it."""
    env = OperationEnv(job.task, observation="state")
    try:
        quiet, noisy = (
            figures(
                (rollout.success, rollout.costs)
                for rollout in (play(env, job.task, seed, noise) for seed in range(job.episodes))
            )
            for noise in ((0.0, 0.0), NOISE)
        )
    finally:
        env.close()
    return job, {
        **asdict(job.task),
        "quiet_success_rate": quiet["success_rate"],
        "quiet_contact_rate": quiet["contact_rate"],
        **{name: noisy[name] for name in ("contact_rate", "unsafe_steps", "success_rate")},
    }


def _row(number: int, row: dict[str, Any]) -> tuple[str, ...]:
    held_out = "" if number < FIRST_EVALUATION_TASK else ", held out"
    return (
        f"{number}{held_out}",
        f"{row['object']}",
        f"{100 * row['width']:.1f} cm",
        f"{100 * row['height']:.1f} cm",
        f"{row['quiet_success_rate']:.2f}",
        f"{row['contact_rate']:.2f}",
        f"{row['success_rate']:.2f}",
    )
