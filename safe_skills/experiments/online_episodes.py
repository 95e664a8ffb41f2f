"""The online episodes of a run of LS3: gathered update by update, kept on disk, and their table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safe_skills.data.episodes import Episode, EpisodeStore, training_seed
from safe_skills.data.run_table import EpisodeRow
from safe_skills.experiments.rollout import EpisodeRunner, summarize
from safe_skills.experiments.selection import actor_folder, episodes_folder
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.online import training_episode
from safe_skills.ls3.training import TrainingEpisode


class OnlineEpisodes:
    """Gathers the K episodes of each update with the present agent; both are kept on disk.

    Args:
        agent: acts; its planner's profile comes from the configuration.
        folder: one store of episodes, and one checkpoint of the agent that acted, an update.
        seed: of scenes and planner.
        runner: runs the episodes; each has a planner seeded by its scene.

    Attributes:
        summaries: figures of the updates whose episodes were run, not read back.
    """

    def __init__(self, agent: LS3Agent, folder: Path, seed: int, runner: EpisodeRunner) -> None:
        self.agent, self.folder, self.seed, self.runner = agent, folder, seed, runner
        self.config = agent.config.online
        self.summaries: dict[int, dict[str, Any]] = {}
        self._rows: list[list[EpisodeRow]] = []

    def __call__(self, update: int) -> list[TrainingEpisode]:
        """Runs, or reads back, the episodes of an update."""
        store = EpisodeStore(episodes_folder(self.folder, update))
        count = self.config.episodes_per_update
        if len(store) < count:
            first = update * count
            seeds = [training_seed(self.seed, "online", first + k) for k in range(count)]
            actor = actor_folder(self.folder, update)
            self.agent.save(actor, {})
            profile = self.agent.planner_config(
                self.config.profile, verify_particles=self.config.verify_particles
            )
            recorded = self.runner.record(actor, self.agent.layout, profile, seeds)
            episodes, results = zip(*recorded, strict=True)
            store.append(episodes)
            self.summaries[update] = summarize(results)
        episodes = list(store)
        numbers = range(update * count, (update + 1) * count)
        rows = [_row(number, item) for number, item in zip(numbers, episodes, strict=True)]
        self._rows[update:] = [rows]
        return [training_episode(episode, self.agent) for episode in episodes]

    def table(self, seconds: list[float]) -> list[EpisodeRow]:
        """The episodes of all finished updates.

        Args:
            seconds: that each of these updates took, episodes and learning; its episodes share
                them equally.
        """
        return [
            EpisodeRow(**{**vars(row), "seconds": spent / len(rows)})
            for rows, spent in zip(self._rows, seconds, strict=False)
            for row in rows
        ]


def _row(number: int, episode: Episode) -> EpisodeRow:
    return EpisodeRow(
        episode=number,
        steps=len(episode),
        episode_return=episode.episode_return,
        success=episode.success,
        violation=bool(episode.violation),
        seconds=0.0,
    )
