"""`safe-skills collect cable`: episodes of the cable task by scripted policies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from safe_skills.data.episodes import Episode, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.envs.cable import CableEnv
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.cable_policies import (
    ConstraintSeeker,
    Demonstrator,
    RandomAfterDemo,
)
from safe_skills.experiments.arguments import natural
from safe_skills.experiments.scripted_episodes import (
    Shard,
    collect_shards,
    play_episode,
    shards_of,
    summarize,
    summary_table,
)

HELP = "Collect demonstrations, random and constraint-violating episodes of the cable task."

POLICIES = {"demo": Demonstrator, "random": RandomAfterDemo, "constraint": ConstraintSeeker}


class Job(NamedTuple):
    """A shard to collect."""

    shard: Shard
    layout: str
    uniform: bool

    @property
    def policy_name(self) -> str:
        """What acts."""
        return POLICIES[self.shard.kind].__name__ + (" uniform" if self.uniform else "")

    def is_done(self) -> bool:
        """Whether it is there; see `Shard.is_done`."""
        return self.shard.is_done(("layout", "policy"), (self.layout, self.policy_name))


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
        Job(shard, layout, uniform and kind == "random")
        for kind, count in counts.items()
        for shard in shards_of(store, kind, count, seed)
    ]
    collect_shards(jobs, _play_shard, what=layout, workers=workers, progress=progress)
    return store


def _play_shard(job: Job) -> list[Episode]:
    env = CableEnv(job.layout)
    kind, options = job.shard.kind, {"uniform": True} if job.uniform else {}
    episodes = []
    try:
        for seed in job.shard.scene_seeds:
            policy = POLICIES[kind](env.layout, np.random.default_rng([seed, 1]), **options)
            episodes.append(
                play_episode(
                    env,
                    policy,
                    kind=kind,
                    seed=seed,
                    name=job.policy_name,
                    layout=job.layout,
                )
            )
    finally:
        env.close()
    return episodes
