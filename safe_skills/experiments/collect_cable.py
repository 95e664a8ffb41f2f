"""`safe-skills collect cable`: episodes of the cable task by scripted policies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from safe_skills.data.episodes import (
    KINDS,
    SHARD_EPISODES,
    Episode,
    EpisodeError,
    EpisodeStore,
    read_shard,
    training_seed,
    write_shard,
)
from safe_skills.data.files import write_json
from safe_skills.data.provenance import revision
from safe_skills.envs.cable import CableEnv
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.cable_policies import (
    ConstraintSeeker,
    Demonstrator,
    Policy,
    RandomAfterDemo,
)
from safe_skills.experiments.arguments import natural
from safe_skills.experiments.collecting import each_done, progress_bar, remove_leftovers

HELP = "Collect demonstrations, random and constraint-violating episodes of the cable task."

POLICIES = {"demo": Demonstrator, "random": RandomAfterDemo, "constraint": ConstraintSeeker}


class Job(NamedTuple):
    """One shard to collect: episodes `first` to `last` - 1 of a kind."""

    path: str
    layout: str
    kind: str
    seed: int
    first: int
    last: int
    uniform: bool


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="open")
    parser.add_argument("--demos", type=natural, default=420, help="demonstrations (420)")
    parser.add_argument("--random", type=natural, default=150, help="random episodes (150)")
    parser.add_argument("--constraint", type=natural, default=100, help="violating episodes (100)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the episodes")
    parser.add_argument("--workers", type=natural, default=2, help="processes (2)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the whole collection (0)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--uniform",
        action="store_true",
        help="random episodes: draw a new action at every step, as the LS3 paper does",
    )


def run(args: argparse.Namespace) -> int:
    """Collects and prints what there is now."""
    store = collect_cable(
        args.out,
        layout=args.layout,
        demos=args.demos,
        random=args.random,
        constraint=args.constraint,
        seed=args.seed,
        workers=args.workers,
        progress=True,
        uniform=args.uniform,
    )
    summary = summarize(store)
    Console().print(summary_table(summary))
    if args.json:
        write_json(args.json, {"layout": args.layout, "seed": args.seed, "kinds": summary})
    return 0


def collect_cable(
    folder: Path | str,
    layout: str = "open",
    demos: int = 420,
    random: int = 150,
    constraint: int = 100,
    seed: int = 0,
    workers: int = 2,
    progress: bool = False,
    uniform: bool = False,
) -> EpisodeStore:
    """Collects episodes of the cable task into a folder, or completes what is there.

    Each episode depends on (seed, kind, index, layout) alone, and shards are renamed into place
    when they are whole: a collection that was interrupted, however, goes on where it stopped and
    ends with the same files.

    Args:
        folder: where the shards go.
        layout: name of the layout.
        demos: number of demonstrations.
        random: number of random episodes.
        constraint: number of episodes that seek a violation.
        seed: seed of the collection.
        workers: processes; 0 or 1 collects in this one.
        progress: show a progress bar.
        uniform: draw the random episodes' action anew at every step.

    Raises:
        EpisodeError: the folder holds files that are damaged, foreign or of another collection.
    """
    store = EpisodeStore(folder)
    counts = {"demo": demos, "random": random, "constraint": constraint}
    jobs = [
        job
        for kind, count in counts.items()
        for job in _shards_of(store, layout, kind, count, seed, uniform)
    ]
    missing = [job for job in jobs if not _is_done(job)]
    todo = iter(missing)
    bar = progress_bar(layout, "episodes", progress)
    with bar:
        total = sum(counts.values())
        left = sum(job.last - job.first for job in missing)
        task = bar.add_task("collect", total=total, completed=total - left)
        for job in each_done(lambda busy: next(todo, None), _collect_shard, workers):
            bar.advance(task, job.last - job.first)
    return store


def collect_episode(env: CableEnv, policy: Policy, kind: str, seed: int, name: str) -> Episode:
    """Runs one whole episode of `env` from scene seed `seed`.

    Args:
        env: environment with "rgb" observations.
        policy: maps the privileged state to an action.
        kind: one of `KINDS`.
        seed: scene seed.
        name: what acts, for the episode's attributes.
    """
    observation, info = env.reset(seed=seed)
    frames, actions, rewards, costs = [observation], [], [], []
    done = False
    while not done:
        action = np.clip(policy(env.state), env.action_space.low, env.action_space.high)
        action = action.astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        frames.append(observation)
        actions.append(action)
        rewards.append(reward)
        costs.append(info["cost"])
        done = terminated or truncated
    return Episode(
        images=np.stack([frame["image"] for frame in frames]),
        masks=np.stack([frame["mask"] for frame in frames]),
        actions=np.stack(actions),
        rewards=np.asarray(rewards, dtype=np.float32),
        costs=np.asarray(costs, dtype=np.float32),
        terminated=terminated,
        truncated=truncated,
        success=info["success"],
        kind=kind,
        seed=seed,
        policy=name,
        layout=env.layout.name,
        revision=revision(),
        violation=info["violation"],
    )


def summarize(store: EpisodeStore) -> dict[str, dict[str, float]]:
    """Figures of a store by kind: episodes, success, violation, mean return, mean length."""
    summary = {}
    for kind in KINDS:
        rows = [
            (episode.success, bool(episode.violation), episode.episode_return, len(episode))
            for episode in store.episodes(kind)
        ]
        if rows:
            success, violation, mean_return, length = np.mean(rows, axis=0).tolist()
            summary[kind] = {
                "episodes": len(rows),
                "success_rate": success,
                "violation_rate": violation,
                "mean_return": mean_return,
                "mean_length": length,
            }
    return summary


def summary_table(summary: dict[str, dict[str, float]]) -> Table:
    """The figures of `summarize` for people."""
    table = Table("kind", "episodes", "success", "violation", "mean return", "mean length")
    for kind, figures in summary.items():
        table.add_row(
            kind,
            f"{figures['episodes']}",
            f"{figures['success_rate']:.3f}",
            f"{figures['violation_rate']:.3f}",
            f"{figures['mean_return']:.1f}",
            f"{figures['mean_length']:.1f}",
        )
    return table


def _shards_of(
    store: EpisodeStore, layout: str, kind: str, count: int, seed: int, uniform: bool
) -> list[Job]:
    return [
        Job(
            str(store.shard_path(kind, first // SHARD_EPISODES)),
            layout,
            kind,
            seed,
            first,
            min(first + SHARD_EPISODES, count),
            uniform and kind == "random",
        )
        for first in range(0, count, SHARD_EPISODES)
    ]


def _is_done(job: Job) -> bool:
    """Whether the shard is there, whole; one of another collection is refused."""
    path = Path(job.path)
    remove_leftovers(path)
    if not path.exists():
        return False
    episodes = read_shard(job.path)
    for index, episode in enumerate(episodes, start=job.first):
        expected = (job.layout, training_seed(job.seed, job.kind, index), _policy_name(job))
        found = (episode.layout, episode.seed, episode.policy)
        if found != expected:
            raise EpisodeError(
                f"{job.path}: holds another collection: expected (layout, scene seed, policy) "
                f"{expected}, got {found}; choose another folder"
            )
    return len(episodes) >= job.last - job.first


def _policy_name(job: Job) -> str:
    return POLICIES[job.kind].__name__ + (" uniform" if job.uniform else "")


def _collect_shard(job: Job) -> Job:
    env = CableEnv(job.layout)
    try:
        episodes = []
        for index in range(job.first, job.last):
            seed = training_seed(job.seed, job.kind, index)
            options = {"uniform": True} if job.uniform else {}
            policy = POLICIES[job.kind](env.layout, np.random.default_rng([seed, 1]), **options)
            episodes.append(collect_episode(env, policy, job.kind, seed, _policy_name(job)))
    finally:
        env.close()
    write_shard(job.path, episodes)
    return job
