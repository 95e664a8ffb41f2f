"""`safe-skills collect navigation` and others: episodes of LS3's tasks by scripted policies."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np
from rich.console import Console

from safe_skills.data.episodes import Episode, EpisodeError, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.envs.navigation_policies import (
    NavigationConstraintSeeker,
    NavigationDemonstrator,
    NavigationRandomWalk,
)
from safe_skills.envs.pushing_policies import NOISE as PUSHING_NOISE
from safe_skills.envs.pushing_policies import (
    VARIED_NOISE,
    PushingDemonstrator,
    PushingOutburst,
    PushingWanderer,
    VariedPushingDemonstrator,
)
from safe_skills.envs.reacher_policies import (
    RANDOM_STEPS,
    ReacherConstraintSeeker,
    ReacherDemonstrator,
    ReacherRandomWalk,
)
from safe_skills.envs.scripted import TEACHER_NOISE, ScriptedPolicy
from safe_skills.envs.tasks import TASKS
from safe_skills.experiments.arguments import natural, share
from safe_skills.experiments.scripted_episodes import (
    Shard,
    collect_shards,
    play_episode,
    shards_of,
    summarize,
    summary_table,
)

ATTEMPTS = 100  # at a demonstration
OPTIONS = {"demo": "demos", "constraint": "constraint", "random": "random"}
"""Kinds of episodes as the command line calls their numbers."""


@dataclass(frozen=True)
class Source:
    """Where episodes of one kind come from.

    Attributes:
        policy: acts; called with a random generator and `noise`.
        what: the episodes are, for the help.
        noise: of the policy, in shares of the largest action.
        random_start: they start anywhere.
        steps: of an episode; None: the task's horizon.
        reference_return: mean return of such episodes with the reference code, where measured.
    """

    policy: Callable[..., ScriptedPolicy]
    what: str
    noise: float = TEACHER_NOISE
    random_start: bool = False
    steps: int | None = None
    reference_return: float | None = None


SOURCES: dict[str, dict[str, Source]] = {
    "navigation": {
        "demo": Source(
            NavigationDemonstrator,
            "demonstrations",
            reference_return=-83.7,
        ),
        "constraint": Source(
            NavigationConstraintSeeker,
            "violating episodes",
            random_start=True,
        ),
        "random": Source(NavigationRandomWalk, "random episodes", random_start=True),
    },
    "reacher": {
        "demo": Source(
            ReacherDemonstrator,
            "demonstrations",
            reference_return=-84.0,
        ),
        "constraint": Source(
            ReacherConstraintSeeker,
            "violating episodes",
            random_start=True,
        ),
        "random": Source(
            ReacherRandomWalk,
            f"random episodes of {RANDOM_STEPS} steps",
            random_start=True,
            steps=RANDOM_STEPS,
        ),
    },
    "pushing": {
        "demo": Source(
            PushingDemonstrator, "demonstrations", noise=PUSHING_NOISE, reference_return=-58.0
        ),
        "random": Source(PushingOutburst, "random and violating episodes", noise=0.0),
    },
}
VARIED: dict[str, dict[str, Source]] = {
    "pushing": {
        "demo": Source(VariedPushingDemonstrator, "varied demonstrations", noise=VARIED_NOISE),
        "random": Source(PushingWanderer, "wandering episodes", noise=VARIED_NOISE),
    },
}
"""Episodes that show more than a task's plain ones, where there are such."""


def _source_of(task: str, kind: str, varied: bool) -> Source:
    return (VARIED if varied else SOURCES)[task][kind]


class Job(NamedTuple):
    """A shard to collect; see `collect_task` for the others."""

    shard: Shard
    task: str
    noise: float
    unfiltered: bool
    varied: bool = False

    @property
    def source(self) -> Source:
        """Where its episodes come from."""
        return _source_of(self.task, self.shard.kind, self.varied)

    @property
    def policy_name(self) -> str:
        """What acts."""
        return self.source.policy.__name__ + (" unfiltered" if self.unfiltered else "")

    def is_done(self) -> bool:
        """Whether it is there; see `Shard.is_done`."""
        return self.shard.is_done(("policy", "noise"), (self.policy_name, self.noise))


class Command:
    """The command that collects a task's episodes.

    Args:
        task: name of the task.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self.HELP = (
            f"Collect episodes of the {task} task by scripted policies, as many as LS3's paper. "
            "Interrupt it at any time; the same command goes on."
        )

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declares the arguments."""
        sources, counts = SOURCES[self.task], TASKS[self.task].episodes
        for kind, option in OPTIONS.items():
            if kind in sources:
                about = f"{sources[kind].what} ({counts[kind]})"
                parser.add_argument(f"--{option}", type=natural, default=counts[kind], help=about)
        noise = sources["demo"].noise
        parser.add_argument(
            "--noise",
            type=share,
            help=f"of the demonstrator, in shares of the largest action ({noise:g})",
        )
        if self.task in VARIED:
            parser.add_argument(
                "--varied",
                action="store_true",
                help="demonstrations with mishaps that are mended, in any order, and random "
                "episodes that go everywhere, both with noise "
                f"{VARIED[self.task]['demo'].noise:g}",
            )
        parser.add_argument(
            "--unfiltered",
            action="store_true",
            help="keep demonstrations that fail or violate, too, as the reference code does",
        )
        parser.add_argument("--out", type=Path, required=True, help="folder of the episodes")
        parser.add_argument("--workers", type=natural, default=2, help="processes (2)")
        parser.add_argument("--seed", type=natural, default=0, help="of the whole collection (0)")
        parser.add_argument("--json", type=Path, help="write the figures to this file")

    def run(self, args: argparse.Namespace) -> int:
        """Collects and prints what there is now."""
        varied = getattr(args, "varied", False)
        store = collect_task(
            args.out,
            self.task,
            {kind: getattr(args, OPTIONS[kind]) for kind in SOURCES[self.task]},
            seed=args.seed,
            workers=args.workers,
            progress=True,
            noise=args.noise,
            unfiltered=args.unfiltered,
            varied=varied,
        )
        summary = summarize(store)
        reference = {kind: source.reference_return for kind, source in SOURCES[self.task].items()}
        Console().print(summary_table(summary, reference))
        if args.json:
            about = {
                "task": self.task,
                "seed": args.seed,
                "noise": demonstrator_noise(self.task, varied, args.noise),
            }
            about |= {"varied": True} if varied else {}
            write_json(args.json, {**about, "unfiltered": args.unfiltered, "kinds": summary})
        return 0


def collect_task(
    folder: Path | str,
    task: str,
    counts: Mapping[str, int] | None = None,
    *,
    seed: int = 0,
    workers: int = 2,
    progress: bool = False,
    noise: float | None = None,
    unfiltered: bool = False,
    varied: bool = False,
) -> EpisodeStore:
    """Collects episodes of a task into a folder, or completes what is there.

    Each episode depends on the task, seed, kind, index and options alone, and shards are renamed
    into place when they are whole: a collection that was interrupted, however, goes on where it
    stopped and ends with the same files. A demonstration that misses the goal or violates the
    constraint is played again with other noise until one does not.

    Args:
        folder: where the shards go.
        task: key of `SOURCES`.
        counts: number of episodes by kind; None: the paper's.
        seed: seed of the collection.
        workers: processes; 0 or 1 collects in this one.
        progress: show a progress bar.
        noise: of the demonstrator, in shares of the largest action; None: its source's.
        unfiltered: keep every demonstration, as the reference code does.
        varied: the episodes are those of `VARIED`.

    Raises:
        ValueError: a task or a kind of episode that does not exist.
        EpisodeError: the folder holds files that are damaged, foreign or of another collection.
    """
    if task not in SOURCES:
        raise ValueError(f"task: expected one of {sorted(SOURCES)}, got {task!r}")
    sources = SOURCES[task]
    counts = TASKS[task].episodes if counts is None else counts
    unknown = sorted(set(counts) - set(sources))
    if unknown:
        raise ValueError(f"counts: expected some of {sorted(sources)}, got {unknown}")
    store = EpisodeStore(folder)
    if varied and task not in VARIED:
        raise ValueError(f"varied: expected one of {sorted(VARIED)}, got {task!r}")
    noises = {kind: _source_of(task, kind, varied).noise for kind in sources}
    noises["demo"] = demonstrator_noise(task, varied, noise)
    jobs = [
        Job(shard, task, noises[kind], unfiltered and kind == "demo", varied)
        for kind, count in counts.items()
        for shard in shards_of(store, kind, count, seed)
    ]
    collect_shards(jobs, _play_shard, what=task, workers=workers, progress=progress)
    return store


def demonstrator_noise(task: str, varied: bool, noise: float | None) -> float:
    """Noise of a task's demonstrator, in shares of the largest action: as given, or its own."""
    return _source_of(task, "demo", varied).noise if noise is None else noise


def _play_shard(job: Job) -> list[Episode]:
    env = TASKS[job.task].make()
    try:
        return [_play(env, job, seed) for seed in job.shard.scene_seeds]
    finally:
        env.close()


def _play(env: gymnasium.Env, job: Job, seed: int) -> Episode:
    source = job.source
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, 1 + attempt])
        episode = play_episode(
            env,
            source.policy(rng, noise=job.noise),
            kind=job.shard.kind,
            seed=seed,
            name=job.policy_name,
            noise=job.noise,
            options={"random_start": True} if source.random_start else None,
            steps=source.steps,
        )
        good = episode.success and not episode.violation
        if good or job.unfiltered or job.shard.kind != "demo":
            return episode
    raise EpisodeError(
        f"{job.policy_name}: expected a success without violation, got none in {ATTEMPTS} attempts "
        f"with noise {job.noise:g}"
    )
