"""A training run of a baseline: offline phases, then online episodes; stopped and resumed anywhere.

The state is saved within the offline phases and after every update, that is, every K episodes. A
resumed run repeats what was not saved, with the same random numbers: it ends with the same weights
as one that was not stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from safe_skills.baselines.agent import PixelAgent
from safe_skills.baselines.rollout import Rollout, View
from safe_skills.data.episodes import Episode, EpisodeStore, read_shard, training_seed, write_shard
from safe_skills.data.provenance import revision
from safe_skills.data.run_state import part, read_state, write_state
from safe_skills.data.run_table import EPISODES, EpisodeRow, figures, write_episodes
from safe_skills.data.updates import update_folder

STATE = "state.safetensors"
SAVE_PERIOD = 1000  # gradient steps between two snapshots of the offline phases
REPORT_PERIOD = 100  # gradient steps between two reports

# Told of a phase, how much of it is done, its length, and the mean of its last losses.
Report = Callable[[str, int, int, float], None]


class DivergenceError(ValueError):
    """A training whose losses or weights are no longer finite numbers."""


class BaselineRun:
    """Trains an agent in an environment.

    Args:
        agent: that learns; its replay holds the offline episodes.
        env: see `Rollout`.
        folder: of the run: episodes.csv, online/ with the episodes, checkpoints/, and the state.
        seed: of scenes.
        task: its name.
        view: what the agent sees of an image.
        report: called now and then.

    Raises:
        ResumeError: the folder has the state of another run, or a damaged one.
        EpisodeError: the episodes of the run that the folder has are damaged.
    """

    def __init__(
        self,
        agent: PixelAgent,
        env: gymnasium.Env,
        folder: Path,
        seed: int,
        *,
        task: str,
        view: View,
        report: Report = lambda *_: None,
    ) -> None:
        self.agent, self.env, self.folder, self.seed = agent, env, Path(folder), seed
        self.task, self.view, self.report = task, view, report
        self.config = agent.config.online
        self.action_limit = env.action_space.high.astype(np.float32)
        self.episodes: list[EpisodeRow] = []
        self.recoveries: list[int] = []  # steps of each episode in which a recovery policy acted
        self._phase, self._iteration, self._steps, self._loss = 0, 0, 0, 0.0
        self._store = EpisodeStore(self.folder / "online")
        self._identity = self._describe()
        self._resume()

    @property
    def updates(self) -> int:
        """Updates made: K episodes each."""
        return len(self.episodes) // self.config.episodes_per_update

    def train_offline(self) -> None:
        """Runs what is left of the offline phases.

        Raises:
            DivergenceError: losses or weights are not finite any more.
        """
        phases = self.agent.phases()
        while self._phase < len(phases):
            phase = phases[self._phase]
            losses: list[float] = []
            while self._iteration < phase.iterations:
                losses.append(phase.step())
                self._require_finite(math.isfinite(losses[-1]))
                self._iteration += 1
                if self._iteration % REPORT_PERIOD == 0 or self._iteration == phase.iterations:
                    loss = float(np.mean(losses))
                    self.report(phase.name, self._iteration, phase.iterations, loss)
                    losses.clear()
                if self._iteration % SAVE_PERIOD == 0:
                    self._save()
            self._phase, self._iteration = self._phase + 1, 0
            self._save()

    def train_online(self, updates: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Runs what is left of so many updates; the agent learns while it acts.

        Yields:
            The number of each update, from 1, when its checkpoint has been written, and the
            figures of its episodes.

        Raises:
            DivergenceError: losses or weights are not finite any more.
        """
        count = self.config.episodes_per_update
        while self.updates < updates:
            gathered = []
            for _ in range(count):
                gathered.append(self._run_episode())
                write_episodes(self.folder / EPISODES, self.episodes)
                self.report("online", len(self.episodes), updates * count, self._loss)
            summary = figures(self.episodes[-count:])
            self.save_checkpoint(update_folder(self.folder, self.updates), {"training": summary})
            write_shard(self._store.shard_path("online", self.updates - 1), gathered)
            self._save()
            yield self.updates, summary

    def save_checkpoint(self, folder: Path, metrics: Mapping[str, Any]) -> None:
        """Writes the agent as it is now."""
        found = {**metrics, "update": self.updates, "revision": revision()}
        self.agent.save(folder, found, task=self.task, action_limit=self.action_limit)

    def _run_episode(self) -> Episode:
        agent, replay, number = self.agent, self.agent.replay, len(self.episodes)
        scene = training_seed(self.seed, "online", number)
        rollout = Rollout(self.env, self.view, agent.spaces, scene)
        replay.start(rollout.frame)
        losses, recoveries = [], 0
        while not rollout.done:
            choice = agent.choose(rollout.observation, explore=True)
            rollout.step(choice.executed)
            recoveries += choice.recovers
            replay.add(
                rollout.frame,
                choice.executed,
                rollout.reward,
                rollout.cost,
                kind="online",
                terminated=rollout.terminated,
                proposed=choice.proposed,
            )
            self._steps += 1
            if self._steps % self.config.steps_per_gradient == 0:
                found = agent.learn()
                self._require_finite(all(map(math.isfinite, found.values())))
                losses.append(found["critic"])
        self._loss = float(np.mean(losses)) if losses else 0.0
        self.episodes.append(rollout.row(number))
        self.recoveries.append(recoveries)
        return rollout.record("online", agent.method)

    def _describe(self) -> str:
        """What a state must share with this run; more updates may be asked for later."""
        settings = asdict(self.agent.config)
        settings["online"].pop("updates")
        run = {
            "method": self.agent.method,
            "task": self.task,
            "seed": self.seed,
            "offline": self.agent.replay.digest(),
            "settings": settings,
        }
        return json.dumps(run)

    def _require_finite(self, finite: bool) -> None:
        if not finite:
            raise DivergenceError(
                f"{self.agent.method}: losses or weights are not finite any more after "
                f"{len(self.episodes)} online episodes; a smaller learning rate may help"
            )

    def _save(self) -> None:
        self._require_finite(self.agent.is_finite())
        tensors = {f"agent.{name}": tensor for name, tensor in self.agent.tensors().items()}
        tensors["torch_generator"] = torch.get_rng_state()
        tensors["choices"] = torch.from_numpy(self.agent.replay.choices("online"))
        progress = {
            "phase": self._phase,
            "iteration": self._iteration,
            "steps": self._steps,
            "replay_generator": self.agent.replay.rng.bit_generator.state,
            "recoveries": self.recoveries,
            "episodes": [asdict(row) for row in self.episodes],
        }
        metadata = {"progress": json.dumps(progress)}
        write_state(self.folder / STATE, tensors, metadata, self._identity)

    def _resume(self) -> None:
        tensors, metadata = read_state(self.folder / STATE, self._identity)
        if tensors is None:
            return
        progress = json.loads(metadata["progress"])
        self.agent.restore(part(tensors, "agent."))
        self._phase, self._iteration = progress["phase"], progress["iteration"]
        self._steps, self.recoveries = progress["steps"], progress["recoveries"]
        self.episodes = [EpisodeRow(**row) for row in progress["episodes"]]
        replay, first = self.agent.replay, 0
        for update in range(self.updates):
            for episode in read_shard(self._store.shard_path("online", update)):
                choices = tensors["choices"][first : first + len(episode)].numpy()
                replay.add_episode(episode, self.view, self.action_limit, choices)
                first += len(episode)
        replay.rng.bit_generator.state = progress["replay_generator"]
        torch.set_rng_state(tensors["torch_generator"])
