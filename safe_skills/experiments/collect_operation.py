"""`safe-skills collect operation`: episodes of the Operation tasks by the noisy scripted policy."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from safe_skills.data.episodes import (
    Episode,
    EpisodeError,
    EpisodeStore,
    read_shard,
    training_seed,
    write_shard,
)
from safe_skills.data.files import write_json
from safe_skills.data.provenance import revision
from safe_skills.envs.operation import HORIZON, OperationEnv
from safe_skills.envs.operation_policy import ScriptedGrasp
from safe_skills.envs.operation_tasks import FIRST_EVALUATION_TASK, TASKS
from safe_skills.experiments.arguments import natural, positive, share
from safe_skills.experiments.collecting import each_done, progress_bar, remove_leftovers
from safe_skills.experiments.operation_rollout import NOISE, figures, noise_of, play

HELP = (
    "Collect episodes of the Operation tasks with the scripted policy, whose actuation noise is "
    "drawn for each episode: both safe and unsafe, successful and not."
)
KIND = "scripted"
SHARD_EPISODES = 34
TASK_SETS = {
    "training": tuple(range(FIRST_EVALUATION_TASK)),
    "evaluation": tuple(range(FIRST_EVALUATION_TASK, TASKS)),
}


class Job(NamedTuple):
    """One shard to collect: the episodes from `first` on."""

    path: str
    tasks: str
    noise: tuple[float, float]
    seed: int
    first: int

    def episodes(self) -> list[tuple[int, int]]:
        """Task and scene seed of each episode; tasks take turns."""
        tasks = TASK_SETS[self.tasks]
        return [
            (tasks[index % len(tasks)], training_seed(self.seed, KIND, index))
            for index in range(self.first, self.first + SHARD_EPISODES)
        ]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--steps", type=positive, default=100_000, help="at least (100000)")
    parser.add_argument("--tasks", choices=sorted(TASK_SETS), default="training")
    parser.add_argument(
        "--noise",
        type=share,
        nargs=2,
        default=NOISE,
        metavar=("LOW", "HIGH"),
        help="range of an episode's noise, in shares of a full action (0.05 0.5)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the episodes")
    parser.add_argument("--workers", type=natural, default=2, help="processes (2)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the whole collection (0)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Collects and prints what there is now."""
    began = time.perf_counter()
    store = collect_operation(
        args.out,
        steps=args.steps,
        tasks=args.tasks,
        noise=tuple(args.noise),
        seed=args.seed,
        workers=args.workers,
        progress=True,
    )
    seconds = time.perf_counter() - began
    summary = summarize(store)
    Console().print(_table(summary["all"]))
    print(f"{summary['megabytes']:.0f} MB; this call collected for {seconds:.0f} s")
    if args.json:
        about = {"tasks": args.tasks, "noise": list(args.noise), "seed": args.seed}
        write_json(args.json, {**about, "seconds": seconds, **summary})
    return 0


def collect_operation(
    folder: Path | str,
    steps: int = 100_000,
    tasks: str = "training",
    noise: tuple[float, float] = NOISE,
    seed: int = 0,
    workers: int = 2,
    progress: bool = False,
) -> EpisodeStore:
    """Collects episodes of the Operation tasks into a folder, or completes what is there.

    Each episode depends on (seed, index, tasks, noise) alone; shards of 34 episodes are renamed
    into place when they are whole. A collection that was interrupted, however, goes on where it
    stopped and ends with the same files: as many shards as it takes to hold `steps` steps.

    Args:
        folder: where the shards go.
        steps: number of steps, at least.
        tasks: "training" or "evaluation"; they take turns.
        noise: range of the actuation noise, drawn for each episode.
        seed: seed of the collection.
        workers: processes; 0 or 1 collects in this one.
        progress: show a progress bar.

    Raises:
        EpisodeError: the folder holds files that are damaged, foreign or of another collection.
        ValueError: a range of noise that is none.
    """
    if noise[0] > noise[1]:
        raise ValueError(f"noise: expected a range, the lower end first, got {noise}")
    store = EpisodeStore(folder)
    known = shard = 0
    with progress_bar("operation", "steps", progress) as bar:
        shown = bar.add_task("collect", total=steps)

        def next_job(busy: int) -> Job | None:
            """The next shard that is missing, if it is needed however long the others become."""
            nonlocal known, shard
            while known + busy * SHARD_EPISODES * HORIZON < steps:
                path = str(store.shard_path(KIND, shard))
                job = Job(path, tasks, noise, seed, shard * SHARD_EPISODES)
                shard += 1
                present = _steps_of(job)
                if present is None:
                    return job
                known += present
                bar.update(shown, completed=min(known, steps))
            return None

        for collected in each_done(next_job, _collect_shard, workers):
            known += collected
            bar.update(shown, completed=min(known, steps))
    return store


def summarize(store: EpisodeStore) -> dict[str, Any]:
    """Figures of a store's scripted episodes: of all, by task, and their size on disk."""
    rows: dict[int, list[tuple[bool, np.ndarray]]] = {}
    for episode in store.episodes(KIND):
        rows.setdefault(episode.task, []).append((episode.success, episode.costs))
    size = sum(path.stat().st_size for path in store.shards(KIND))
    return {
        "all": figures(row for task in rows.values() for row in task),
        "by_task": {task: figures(rows[task]) for task in sorted(rows)},
        "megabytes": size / 1e6,
    }


def _table(row: dict[str, Any]) -> Table:
    table = Table("figure", "value")
    for name, value in row.items():
        text = str(value) if isinstance(value, int) else f"{value:.3f}"
        table.add_row(name.replace("_", " "), text)
    return table


def _steps_of(job: Job) -> int | None:
    """Steps of the shard, None if it is not there; one of another collection is refused."""
    path = Path(job.path)
    remove_leftovers(path)
    if not path.exists():
        return None
    episodes = read_shard(path)
    expected = [(task, seed, noise_of(seed, job.noise)[0]) for task, seed in job.episodes()]
    found = [(episode.task, episode.seed, episode.noise) for episode in episodes]
    for wanted, got in zip(expected, found, strict=False):
        if wanted != got:
            raise EpisodeError(
                f"{path}: holds another collection: expected (task, scene seed, noise) {wanted}, "
                f"got {got}; choose another folder"
            )
    if len(found) != len(expected):
        raise EpisodeError(f"{path}: expected {len(expected)} episodes, got {len(found)}")
    return sum(map(len, episodes))


def _collect_shard(job: Job) -> int:
    env = OperationEnv()
    try:
        episodes = [_episode(env, task, seed, job.noise) for task, seed in job.episodes()]
    finally:
        env.close()
    write_shard(job.path, episodes)
    return sum(map(len, episodes))


def _episode(env: OperationEnv, task: int, seed: int, noise: tuple[float, float]) -> Episode:
    rollout = play(env, task, seed, noise)
    return Episode(
        images=np.stack(rollout.observations),
        masks=None,
        actions=rollout.actions,
        rewards=rollout.rewards,
        costs=rollout.costs,
        terminated=rollout.success,
        truncated=not rollout.success,
        success=rollout.success,
        kind=KIND,
        seed=seed,
        policy=ScriptedGrasp.__name__,
        revision=revision(),
        violation=rollout.violation,
        task=task,
        noise=rollout.noise,
    )
