"""Which of a run's agents is kept: the one of an earlier update may be better than the last.

Online updates do not improve an agent every time. Every agent that has acted is still there, with
what its episodes came to; the best few and the last one are compared on scenes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safe_skills.data.episodes import EpisodeStore, training_seed
from safe_skills.experiments.rollout import EpisodeRunner, summarize

CANDIDATES = 3  # earlier agents that are compared with the last one
SCENES = 40  # on which they are compared


def actor_folder(online: Path, update: int) -> Path:
    """Checkpoint of the agent that ran the episodes of an update."""
    return online / f"actor-{update:03d}"


def episodes_folder(online: Path, update: int) -> Path:
    """Store of the episodes of an update."""
    return online / f"update-{update:03d}"


@dataclass(frozen=True)
class Selected:
    """The agent that is kept.

    Attributes:
        checkpoint: its folder.
        updates: online updates that it had.
        comparison: figures of all that were compared, by their numbers of updates.
    """

    checkpoint: Path
    updates: int
    comparison: dict[int, dict[str, Any]]


def select(
    last: Path,
    online: Path,
    updates: int,
    *,
    layout: str,
    profile: str,
    seed: int,
    used: int,
    runner: EpisodeRunner,
) -> Selected:
    """Compares the last agent with the best earlier ones and keeps the one that violates least.

    Of those that violate as little the one with the best mean return is kept, of equals the later.

    Args:
        last: checkpoint of the last agent.
        online: folder of the run's online episodes and of those that acted in them.
        updates: online updates of the run.
        layout: of the environment.
        profile: of the planner.
        seed: of the run.
        used: scenes that the online episodes took; the comparison takes those after them.
        runner: runs the episodes.
    """
    if updates == 0:
        return Selected(last, 0, {})
    acted = [_figures_of(episodes_folder(online, update)) for update in range(updates)]
    best = sorted(sorted(range(updates), key=lambda update: acted[update])[-CANDIDATES:])
    candidates = {update: actor_folder(online, update) for update in best} | {updates: last}
    seeds = [training_seed(seed, "online", used + k) for k in range(SCENES)]
    comparison = {
        update: _measured(runner, folder, layout, profile, seeds)
        for update, folder in candidates.items()
    }
    chosen = max(
        comparison,
        key=lambda update: (
            -comparison[update]["violation_rate"],
            comparison[update]["mean_return"],
            update,
        ),
    )
    return Selected(candidates[chosen], chosen, comparison)


def _figures_of(folder: Path) -> tuple[int, float]:
    """Violations of a batch of episodes, negated, and their mean return."""
    episodes = list(EpisodeStore(folder))
    violations = sum(bool(episode.costs.any()) for episode in episodes)
    return -violations, float(np.mean([episode.rewards.sum() for episode in episodes]))


def _measured(
    runner: EpisodeRunner, checkpoint: Path, layout: str, profile: str, seeds: Sequence[int]
) -> dict[str, Any]:
    results = [r for part in runner.results(checkpoint, layout, profile, seeds) for r in part]
    return summarize(results)
