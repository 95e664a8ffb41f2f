"""Episodes in the Operation tasks with a skill prior in the loop: by itself, or under a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from scipy.stats import bootstrap

from safe_skills.data.statistics import rate_interval
from safe_skills.envs.operation import OperationEnv
from safe_skills.experiments.operation_rollout import figures
from safe_skills.experiments.processes import worker_pool
from safe_skills.experiments.watched_skills import WIDE_BOUND, WatchedSkills, Watching
from safe_skills.ls3.watcher import Watcher
from safe_skills.safer.policy import Actor, PriorActor, SkillPolicy
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.skill_env import SkillActions, StateFeatures

LARGEST_CHUNK = 5  # episodes that a process runs between two reports


@dataclass(frozen=True)
class SkillEpisode:
    """What one episode came to.

    Attributes:
        task: of the environment.
        seed: of the scene.
        success: the object was taken out.
        costs: (n,) of its steps, 1 where the arm touched.
        episode_return: sum of the rewards.
        held: steps in which a watcher let no action through.
        replaced: steps in which it took another than the one proposed.
    """

    task: int
    seed: int
    success: bool
    costs: tuple[float, ...]
    episode_return: float
    held: int = 0
    replaced: int = 0


def skill_env(
    prior: SkillPrior, task: int, actions: str, bound: float, observation: str = "features"
) -> gymnasium.Env:
    """The environment of a task that takes a policy's actions, "skill" or "raw"."""
    env = StateFeatures(OperationEnv(task=task), prior, observation)
    return SkillActions(env, bound) if actions == "skill" else env


def run_episode(env: gymnasium.Env, actor: Actor, task: int, seed: int) -> SkillEpisode:
    """Runs one episode of an actor in a scene."""
    observation, info = env.reset(seed=seed, options={"task": task})
    costs, rewards = [], []
    held = replaced = 0
    done = False
    while not done:
        observation, reward, terminated, truncated, info = env.step(actor.act(observation))
        costs.append(float(info["cost"]))
        rewards.append(reward)
        held += info.get("held", False)
        replaced += info.get("replaced", False)
        done = terminated or truncated
    return SkillEpisode(
        task, seed, bool(info["success"]), tuple(costs), float(np.sum(rewards)), held, replaced
    )


@dataclass(frozen=True)
class SkillJob:
    """A batch of episodes for one process.

    Attributes:
        prior: folder of the checkpoint.
        policy: folder of a policy's checkpoint; None samples the prior.
        bound: eta, for the prior's samples; a policy has its own.
        task: of the environment.
        seeds: of the scenes.
        gate: one of `GATES`; without eta a policy's outputs are stretched to `WIDE_BOUND`.
        watch: folder of a watcher's checkpoint, for the gates that have one.
        watching: what it asks for.
    """

    prior: Path
    policy: Path | None
    bound: float
    task: int
    seeds: tuple[int, ...]
    gate: str = "eta"
    watch: Path | None = None
    watching: Watching | None = None


def run_job(job: SkillJob) -> list[SkillEpisode]:
    """Runs the episodes; each depends on its seed alone."""
    torch.set_num_threads(1)
    prior = SkillPrior.load(job.prior, task="operation")
    policy = SkillPolicy.load(job.policy, prior_id=prior.model_id) if job.policy else None
    wide = job.gate == "safe-set"
    if policy and wide:
        policy.bound = WIDE_BOUND
    actions, bound = (policy.actions, policy.bound) if policy else ("skill", job.bound)
    observation = policy.observation if policy else "features"
    env = skill_env(prior, job.task, actions, bound, observation)
    if job.watch:
        watcher = Watcher.load(job.watch, task="operation", encoder_id=prior.model_id)
        env = WatchedSkills(env.env, bound, watcher, job.watching)
    episodes = []
    for seed in job.seeds:
        actor = policy or PriorActor(bound, prior.action_dim, np.random.default_rng([seed, 2]))
        episodes.append(run_episode(env, actor, job.task, seed))
    env.close()
    return episodes


def run_jobs(jobs: Sequence[SkillJob], workers: int) -> Iterator[list[SkillEpisode]]:
    """Runs jobs over processes, in pieces, and yields their episodes as they come."""
    pieces = [
        replace(job, seeds=job.seeds[i : i + LARGEST_CHUNK])
        for job in jobs
        for i in range(0, len(job.seeds), LARGEST_CHUNK)
    ]
    if workers == 1:
        yield from map(run_job, pieces)
        return
    with worker_pool(workers) as pool:
        for future in as_completed([pool.submit(run_job, piece) for piece in pieces]):
            yield future.result()


def summarize(episodes: Sequence[SkillEpisode]) -> dict[str, Any]:
    """Figures of many episodes, with 95 % intervals.

    Wilson's for rates of episodes; for the share of unsafe steps, which depend on each other within
    an episode, a bootstrap over episodes.
    """
    count = len(episodes)
    wins = sum(episode.success for episode in episodes)
    touched = sum(any(episode.costs) for episode in episodes)
    clean = sum(episode.success and not any(episode.costs) for episode in episodes)
    steps = sum(len(episode.costs) for episode in episodes)
    return {
        **figures((episode.success, np.asarray(episode.costs)) for episode in episodes),
        "success_interval_95": rate_interval(wins, count),
        "clean_success_interval_95": rate_interval(clean, count),
        "contact_interval_95": rate_interval(touched, count),
        "unsafe_interval_95": _interval_of_share(episodes),
        "mean_return": float(np.mean([episode.episode_return for episode in episodes])),
        "violations": int(sum(sum(episode.costs) for episode in episodes)),
        "held_steps": sum(episode.held for episode in episodes) / steps,
        "replaced_steps": sum(episode.replaced for episode in episodes) / steps,
    }


def _interval_of_share(episodes: Sequence[SkillEpisode]) -> tuple[float, float]:
    unsafe = np.array([sum(episode.costs) for episode in episodes])
    steps = np.array([len(episode.costs) for episode in episodes])
    if len(episodes) < 2:
        return 0.0, 1.0
    found = bootstrap(
        (unsafe, steps),
        lambda unsafe, steps, axis: unsafe.sum(axis) / steps.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
