"""LS3 in its tasks' environments without ROS: one episode, or many over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from safe_skills.data.episodes import Episode
from safe_skills.data.provenance import revision
from safe_skills.data.statistics import percentiles, rate_interval
from safe_skills.envs.tasks import find_task
from safe_skills.experiments.processes import worker_pool
from safe_skills.ls3.agent import FrameEncoder, LS3Agent
from safe_skills.ls3.planner import Planner, PlanOutcome
from safe_skills.ls3.planner_config import PlannerConfig

LARGEST_CHUNK = 5  # episodes that a process runs between two reports


@dataclass(frozen=True)
class EpisodeResult:
    """What one episode of a planner came to; times in ms.

    `steps` are those until the goal was first reached, or all.
    """

    seed: int
    success: bool
    violation: str
    steps: int
    episode_return: float
    plan_ms: tuple[float, ...]
    outcomes: tuple[int, ...]


def make_env(task: str, layout: str = "", **options: Any) -> gymnasium.Env:
    """The environment of a task, in a layout where it has several, without wrappers."""
    return find_task(task).make(**({"layout": layout} if layout else {}), **options)


def run_episode(
    env: gymnasium.Env,
    agent: LS3Agent,
    planner: Planner,
    seed: int,
    kind: str = "online",
    watch: Callable[[], None] = lambda: None,
) -> tuple[Episode, EpisodeResult]:
    """Runs one episode with the planner in the loop.

    Args:
        env: of a task of LS3, with images as observations.
        agent: encodes the frames.
        planner: its warm start is cleared first.
        seed: of the scene.
        kind: label of the recorded episode.
        watch: called after the reset and after every step.

    Returns:
        The recorded episode, frozen tail included, and its summary.
    """
    observation, info = env.reset(seed=seed)
    planner.reset()
    encode = FrameEncoder(agent)
    seen = [observation]
    actions, rewards, costs, plan_ms, outcomes = [], [], [], [], []
    watch()
    terminated = truncated = False
    while not (terminated or truncated):
        action = np.zeros(agent.action_dim)
        if not info["violation"]:
            plan = planner.plan(*encode(observation["image"]))
            action = plan.actions[0]
            plan_ms.append(1e3 * plan.solve_time)
            outcomes.append(int(plan.outcome))
        observation, reward, terminated, truncated, info = env.step(action)
        watch()
        seen.append(observation)
        actions.append(action)
        rewards.append(reward)
        costs.append(info["cost"])
    layout = getattr(env, "layout", None)
    episode = Episode(
        images=np.stack([frame["image"] for frame in seen]),
        masks=np.stack([frame["mask"] for frame in seen]) if "mask" in observation else None,
        actions=np.array(actions, np.float32),
        rewards=np.array(rewards, np.float32),
        costs=np.array(costs, np.float32),
        terminated=terminated,
        truncated=truncated,
        success=info["success"],
        kind=kind,
        seed=seed,
        policy="ls3",
        layout="" if layout is None else layout.name,
        revision=revision(),
        violation=info["violation"],
    )
    result = EpisodeResult(
        seed=seed,
        success=episode.success,
        violation=episode.violation,
        steps=steps_to_goal(episode),
        episode_return=float(np.sum(rewards)),
        plan_ms=tuple(plan_ms),
        outcomes=tuple(outcomes),
    )
    return episode, result


def steps_to_goal(episode: Episode) -> int:
    """Steps until the goal was first reached; all, where it was not."""
    reached = np.flatnonzero(episode.rewards == 0)
    return int(reached[0]) + 1 if len(reached) else len(episode)


@dataclass(frozen=True)
class Job:
    """A batch of episodes for one process.

    Attributes:
        device: of the networks; "cpu" or "cuda".
        recorded: the episodes are wanted, not only their results.
    """

    checkpoint: Path
    task: str
    layout: str
    profile: str | PlannerConfig
    seeds: tuple[int, ...]
    device: str = "cpu"
    recorded: bool = False


def _run_job(job: Job) -> list[tuple[Episode | None, EpisodeResult]]:
    # A core a process: threads that wait for each other at every product stall where others work.
    torch.set_num_threads(1)
    agent = LS3Agent.load(job.checkpoint, task=job.task, device=job.device)
    env = make_env(job.task, job.layout)
    results = []
    for seed in job.seeds:
        # A planner an episode, so that the result does not depend on how episodes are shared out.
        planner = agent.planner(job.profile, seed=seed)
        episode, result = run_episode(env, agent, planner, seed)
        results.append((episode if job.recorded else None, result))
    env.close()
    return results


class EpisodeRunner:
    """Runs episodes of checkpoints, in this process or over several that stay.

    Args:
        workers: processes, of one core each; 1 runs in this one.
        task: of the checkpoints.
        device: of their networks; see `LS3Agent.load`.
    """

    def __init__(self, workers: int, task: str = "cable", device: str = "cpu") -> None:
        self.workers, self.task, self.device = workers, task, device
        self._pool = worker_pool(workers) if workers > 1 else None

    def __enter__(self) -> EpisodeRunner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def results(
        self, checkpoint: Path, layout: str, profile: str | PlannerConfig, seeds: Sequence[int]
    ) -> Iterator[list[EpisodeResult]]:
        """Yields results as they come; the seeds decide them all."""
        chunk = min(LARGEST_CHUNK, -(-len(seeds) // self.workers))
        chunks = [tuple(seeds[i : i + chunk]) for i in range(0, len(seeds), chunk)]
        jobs = [self._job(checkpoint, layout, profile, part) for part in chunks]
        if not self._pool:
            done = map(_run_job, jobs)
        else:
            futures = [self._pool.submit(_run_job, job) for job in jobs]
            done = (future.result() for future in as_completed(futures))
        for part in done:
            yield [result for _, result in part]

    def record(
        self, checkpoint: Path, layout: str, profile: str | PlannerConfig, seeds: Sequence[int]
    ) -> list[tuple[Episode, EpisodeResult]]:
        """Runs one episode a seed and returns them in this order."""
        jobs = [self._job(checkpoint, layout, profile, (seed,), recorded=True) for seed in seeds]
        parts = self._pool.map(_run_job, jobs) if self._pool else map(_run_job, jobs)
        return [pair for part in parts for pair in part]

    def _job(
        self,
        checkpoint: Path,
        layout: str,
        profile: str | PlannerConfig,
        seeds: tuple[int, ...],
        *,
        recorded: bool = False,
    ) -> Job:
        return Job(checkpoint, self.task, layout, profile, seeds, self.device, recorded)


def summarize(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """The figures of many episodes; rates come with their 95 % Wilson intervals."""
    episodes = len(results)
    successes = [result for result in results if result.success]
    violations = [result for result in results if result.violation]
    plans = [ms for result in results for ms in result.plan_ms]
    outcomes = [outcome for result in results for outcome in result.outcomes]
    infeasible = sum(outcome != PlanOutcome.FEASIBLE for outcome in outcomes)
    return {
        "episodes": episodes,
        "success_rate": len(successes) / episodes,
        "success_interval_95": rate_interval(len(successes), episodes),
        "violation_rate": len(violations) / episodes,
        "violation_interval_95": rate_interval(len(violations), episodes),
        "mean_return": float(np.mean([result.episode_return for result in results])),
        "mean_steps": float(np.mean([r.steps for r in successes])) if successes else None,
        "plan_ms": percentiles(plans),
        "infeasible_share": infeasible / max(1, len(outcomes)),
        "first_seed": min(result.seed for result in results),
    }


def print_summaries(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints one line a summary."""
    table = Table(title=title)
    for heading in ("", "episodes", "success", "violations", "steps", "return", "plan p50 [ms]"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    for name, row in rows.items():
        plan = row.get("plan_ms", {}).get("p50")
        table.add_row(
            name,
            str(row["episodes"]),
            _rate(row, "success"),
            _rate(row, "violation"),
            _number(row["mean_steps"]),
            _number(row["mean_return"]),
            _number(plan),
        )
    Console().print(table)


def _rate(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_interval_95"]
    return f"{row[f'{name}_rate']:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


# What `progress` is called with: episodes done since the last call.
Advance = Callable[[int], None]


def evaluate_checkpoint(
    checkpoint: Path,
    layout: str,
    profile: str | PlannerConfig,
    seeds: Sequence[int],
    runner: EpisodeRunner,
    advance: Advance = lambda _: None,
) -> tuple[dict[str, Any], list[EpisodeResult]]:
    """Runs all episodes and summarizes; results are sorted by seed."""
    results: list[EpisodeResult] = []
    for part in runner.results(checkpoint, layout, profile, seeds):
        results += part
        advance(len(part))
    results.sort(key=lambda result: result.seed)
    return summarize(results), results
