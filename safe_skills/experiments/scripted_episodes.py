"""Collections of whole episodes by scripted policies: their files, their making, their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import gymnasium
import numpy as np
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
from safe_skills.data.provenance import revision
from safe_skills.experiments.collecting import each_done, progress_bar, remove_leftovers


class Shard(NamedTuple):
    """One file to collect: episodes `first` to `last` - 1 of a kind, of a collection's seed."""

    path: str
    kind: str
    seed: int
    first: int
    last: int

    @property
    def scene_seeds(self) -> list[int]:
        """Scene seed of each episode."""
        return [training_seed(self.seed, self.kind, k) for k in range(self.first, self.last)]

    def is_done(self, told: Sequence[str], expected: tuple[object, ...]) -> bool:
        """Whether the file is there, whole; leftovers of a killed process are removed.

        Args:
            told: attributes of an episode, besides its seed, that tell a collection.
            expected: what they have to be.

        Raises:
            EpisodeError: it is damaged or holds another collection.
        """
        path = Path(self.path)
        remove_leftovers(path)
        if not path.exists():
            return False
        episodes = read_shard(path)
        for index, episode in enumerate(episodes, start=self.first):
            wanted = (training_seed(self.seed, self.kind, index), *expected)
            found = (episode.seed, *(getattr(episode, name) for name in told))
            if found != wanted:
                raise EpisodeError(
                    f"{self.path}: holds another collection: expected (scene seed, "
                    f"{', '.join(told)}) {wanted}, got {found}; choose another folder"
                )
        return len(episodes) >= self.last - self.first


def shards_of(store: EpisodeStore, kind: str, count: int, seed: int) -> list[Shard]:
    """The files of `count` episodes of a kind."""
    return [
        Shard(
            path=str(store.shard_path(kind, first // SHARD_EPISODES)),
            kind=kind,
            seed=seed,
            first=first,
            last=min(first + SHARD_EPISODES, count),
        )
        for first in range(0, count, SHARD_EPISODES)
    ]


class ShardJob(Protocol):
    """A shard with what it takes to collect it."""

    @property
    def shard(self) -> Shard:
        """The shard."""

    def is_done(self) -> bool:
        """Whether it is there; see `Shard.is_done`."""


Work = TypeVar("Work", bound=ShardJob)


def collect_shards(
    jobs: Sequence[Work],
    function: Callable[[Work], Sequence[Episode]],
    *,
    what: str,
    workers: int,
    progress: bool,
) -> None:
    """Collects the shards that are missing.

    Args:
        jobs: all shards of the collection.
        function: plays a job's episodes; of a module's top level.
        what: is collected, for the progress bar.
        workers: processes; 0 or 1 works in this one.
        progress: show a progress bar.

    Raises:
        EpisodeError: a file is damaged, foreign or of another collection.
    """
    missing = [job for job in jobs if not job.is_done()]
    todo = iter(missing)
    total, left = (sum(j.shard.last - j.shard.first for j in some) for some in (jobs, missing))
    with progress_bar(what, "episodes", progress) as bar:
        task = bar.add_task("collect", total=total, completed=total - left)
        write = partial(_write, function)
        for shard in each_done(lambda busy: next(todo, None), write, workers):
            bar.advance(task, shard.last - shard.first)


def _write(function: Callable[[Work], Sequence[Episode]], job: Work) -> Shard:
    write_shard(job.shard.path, function(job))
    return job.shard


def play_episode(
    env: gymnasium.Env,
    policy: Callable[[Any], np.ndarray],
    *,
    kind: str,
    seed: int,
    name: str,
    layout: str = "",
    noise: float | None = None,
    options: dict[str, Any] | None = None,
    steps: int | None = None,
) -> Episode:
    """Runs one whole episode of an environment with images, and records it.

    Args:
        env: without wrappers.
        policy: maps the privileged state, `env.state`, to an action.
        kind: one of `KINDS`.
        seed: scene seed.
        name: what acts, for the episode's attributes.
        layout: for its attributes.
        noise: for its attributes.
        options: of the reset.
        steps: the episode is truncated after so many, if it has not ended before.
    """
    observation, info = env.reset(seed=seed, options=options)
    frames, actions, rewards, costs = [observation], [], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        action = np.clip(policy(env.state), env.action_space.low, env.action_space.high)
        action = action.astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        frames.append(observation)
        actions.append(action)
        rewards.append(reward)
        costs.append(info["cost"])
        truncated = truncated or (not terminated and len(actions) == steps)
    return Episode(
        images=np.stack([frame["image"] for frame in frames]),
        masks=np.stack([frame["mask"] for frame in frames]) if "mask" in observation else None,
        actions=np.stack(actions),
        rewards=np.asarray(rewards, dtype=np.float32),
        costs=np.asarray(costs, dtype=np.float32),
        terminated=terminated,
        truncated=truncated,
        success=info["success"],
        kind=kind,
        seed=seed,
        policy=name,
        layout=layout,
        noise=noise,
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


def summary_table(
    summary: dict[str, dict[str, float]], reference: Mapping[str, float | None] | None = None
) -> Table:
    """The figures of `summarize` for people.

    Args:
        summary: what `summarize` returned.
        reference: by kind, the mean return of another implementation, where known; shown beside.
    """
    table = Table("kind", "episodes", "success", "violation", "mean return")
    if reference is not None:
        table.add_column("reference")
    table.add_column("mean length")
    for kind, figures in summary.items():
        row = [
            kind,
            f"{figures['episodes']}",
            f"{figures['success_rate']:.3f}",
            f"{figures['violation_rate']:.3f}",
            f"{figures['mean_return']:.1f}",
        ]
        if reference is not None:
            known = reference.get(kind)
            row.append("-" if known is None else f"{known:.1f}")
        table.add_row(*row, f"{figures['mean_length']:.1f}")
    return table
