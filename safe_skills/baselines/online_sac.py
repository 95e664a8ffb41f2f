"""Soft actor-critic where somebody else runs the robot and gathers the episodes (SAFER Alg. 1).

Run as a module it is the worker of a `data.background.Worker`: the updates take place in a process
of their own, beside the robot that acts.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import configure

from safe_skills.baselines.sac import EpisodeRecord, SacConfig, SacRun
from safe_skills.data.background import serve
from safe_skills.data.episodes import Episode, EpisodeStore, read_shard
from safe_skills.data.provenance import revision
from safe_skills.data.settings import from_mapping
from safe_skills.data.updates import answers_of, update_folder
from safe_skills.safer.policy import SkillPolicy
from safe_skills.safer.prior import SkillPrior

CAPACITY = 50_000  # transitions


@dataclass(frozen=True)
class SacUpdateSettings:
    """What the updates work on.

    Attributes:
        prior: checkpoint of the skill prior that is acted through.
        gathered: store of the gathered episodes, one a shard, in their order; their actions are
            the abstract ones, z.
        out: folder for the state of the agent and for `checkpoints/update-0001` and so on.
        task: number of the environment's task.
        bound: eta.
        episodes_per_update: K.
        seed: of weights and draws.
        updates_per_step: gradient steps for every step that was gathered.
    """

    prior: str
    gathered: str
    out: str
    task: int
    bound: float
    episodes_per_update: int = 5
    seed: int = 0
    updates_per_step: int = 1


class OnlineSac:
    """Updates a policy over a prior with gathered episodes, five or so at a time.

    States are psi(s) of the prior's frozen encoder; rewards are the task's, contacts are not
    learned from. Every update ends with a policy that has its spread, to explore by.

    Args:
        settings: what it works on.

    Raises:
        CheckpointError: the prior cannot be used.
        EpisodeError: an episode cannot be read.
        ResumeError: the state in `out` is that of another training.
    """

    def __init__(self, settings: SacUpdateSettings) -> None:
        self.settings, self.out = settings, Path(settings.out)
        self.prior = SkillPrior.load(settings.prior)
        features, size = self.prior.config.encoder.features, self.prior.action_dim
        self.sac = SacRun(
            _Spaces(features, size, settings.bound),
            SacConfig(steps=CAPACITY, learning_starts=0),
            self.out,
            settings.seed,
            identity=f"{self.prior.model_id} {settings.task} online {settings.bound:.6g}",
        )
        self.sac.agent.set_logger(configure(str(self.out / "tensorboard"), ["tensorboard"]))

    @property
    def updates(self) -> int:
        """Updates whose episodes the agent has learned from."""
        return len(self.sac.episodes) // self.settings.episodes_per_update

    def run(self) -> dict[str, Any]:
        """Learns from the next K episodes, which must have been gathered, and writes the policy.

        Returns:
            "update", "checkpoint" (a folder), "accepted", "reason", "losses", and the success
            rate of these episodes.
        """
        first = len(self.sac.episodes)
        steps = sum(
            self._take(episode)
            for number in range(first, first + self.settings.episodes_per_update)
            for episode in self._episode(number)
        )
        agent = self.sac.agent
        agent.train(steps * self.settings.updates_per_step, batch_size=agent.batch_size)
        self.sac.save()
        return self.conclude()

    def conclude(self) -> dict[str, Any]:
        """Writes the policy of the last update; what `run` does at its end."""
        recent = self.sac.episodes[-self.settings.episodes_per_update :]
        metrics = {
            "update": self.updates,
            "episodes": len(self.sac.episodes),
            "steps": self.sac.agent.num_timesteps,
            "success_rate": float(np.mean([episode.success for episode in recent])),
            "violations": int(sum(episode.violations for episode in recent)),
            "losses": self._losses(),
            "revision": revision(),
        }
        policy = SkillPolicy(
            features=self.prior.config.encoder.features,
            action_dim=self.prior.action_dim,
            bound=self.settings.bound,
            hidden=self.sac.config.hidden,
            actions="skill",
            prior_id=self.prior.model_id,
            task=self.prior.task,
            task_number=self.settings.task,
            spread=True,
        )
        policy.load_state_dict(self.sac.actor_tensors(spread=True))
        finite = all(torch.isfinite(t).all() for t in policy.state_dict().values())
        folder = update_folder(self.out, self.updates, accepted=finite)
        shutil.rmtree(folder, ignore_errors=True)
        policy.save(folder, metrics)
        return {
            **metrics,
            "checkpoint": str(folder),
            "accepted": finite,
            "reason": "" if finite else "expected finite weights, got some that are not",
        }

    def _take(self, episode: Episode) -> int:
        """Puts an episode's steps into the buffer; how many they are."""
        agent, last = self.sac.agent, len(episode) - 1
        states = self.prior.features(episode.images)
        actions = episode.actions / np.float32(self.settings.bound)
        for k in range(len(episode)):
            ends = k == last
            agent.replay_buffer.add(
                states[k][None],
                states[k + 1][None],
                actions[k][None],
                episode.rewards[k : k + 1],
                np.array([ends]),
                [{"TimeLimit.truncated": ends and not episode.terminated}],
            )
        agent.num_timesteps += len(episode)
        self.sac.violations_by_step += (episode.costs > 0).tolist()
        self.sac.episodes.append(
            EpisodeRecord(
                last_step=agent.num_timesteps,
                steps=len(episode),
                success=episode.success,
                violations=int((episode.costs > 0).sum()),
                episode_return=episode.episode_return,
            )
        )
        return len(episode)

    def _episode(self, number: int) -> list[Episode]:
        return read_shard(EpisodeStore(self.settings.gathered).shard_path("online", number))

    def _losses(self) -> dict[str, float]:
        values = self.sac.agent.logger.name_to_value
        return {name.removeprefix("train/"): float(value) for name, value in values.items()}


class _Spaces(gymnasium.Env):
    """What an agent has to know of a task that it does not run itself."""

    def __init__(self, features: int, action_dim: int, bound: float) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (features,), np.float32)
        self.action_space = spaces.Box(-bound, bound, (action_dim,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Nothing to see."""
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape, np.float32), {}


def start(settings: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Prepares the updates; what is returned answers requests of a `Worker`."""
    torch.set_num_threads(1)
    return answers_of(OnlineSac(from_mapping(SacUpdateSettings, settings)))


if __name__ == "__main__":
    sys.exit(serve(start))
