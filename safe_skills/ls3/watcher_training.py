"""Training of a watcher: dynamics, safe set and constraint, one after the other; resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from safe_skills.data.latents import EpisodeLabels, LatentReplay
from safe_skills.data.run_state import part, read_state, write_state
from safe_skills.data.threads import torch_threads
from safe_skills.ls3.learners import (
    ConstraintLearner,
    DynamicsLearner,
    Learner,
    SafeSetLearner,
    generator_of,
)
from safe_skills.ls3.training import (
    SAVE_PERIOD,
    STATE,
    Report,
    learner_tensors,
    restore_learner,
)
from safe_skills.ls3.watcher import Watcher, WatcherModels


@dataclass(frozen=True)
class LatentEpisode:
    """An episode of n steps: latents (n + 1, d) float32 of its frames, and its labels."""

    latents: np.ndarray
    labels: EpisodeLabels


class WatcherTrainer:
    """Trains a watcher in place with LS3's own learners.

    Args:
        watcher: what is trained; its weights are drawn from the seed.
        episodes: the data set's training part.
        folder: where the state is kept; a state found there is resumed.
        seed: of all random draws.
        report: called every `report_every` iterations.
        report_every: iterations between calls.

    Raises:
        ResumeError: the folder has the state of another run.
    """

    def __init__(
        self,
        watcher: Watcher,
        episodes: Sequence[LatentEpisode],
        folder: Path | str,
        seed: int,
        report: Report = lambda *_: None,
        report_every: int = 50,
    ) -> None:
        self.watcher, self.folder, self.seed = watcher, Path(folder), seed
        self.report, self.report_every = report, report_every
        config, models = watcher.config, watcher.models
        self._reset_weights()
        # Rewards are looked at for the goal alone: nobody learns a value here.
        replay = LatentReplay(watcher.latent_dim, watcher.action_dim, discount=1.0)
        replay.extend((e.latents, np.zeros_like(e.latents), e.labels) for e in episodes)
        self.frames = len(replay)
        period = config.safe_set.target_period or None
        draws = (generator_of(seed, number) for number in range(3))
        self.learners: list[Learner] = [
            DynamicsLearner(models, config, replay, next(draws)),
            SafeSetLearner(models.safe_set, config.safe_set, replay, next(draws), period),
            ConstraintLearner(models.constraint, config.constraint, replay, next(draws)),
        ]
        self.seconds = {learner.name: 0.0 for learner in self.learners}
        self._resume()

    def _reset_weights(self) -> None:
        """Draws the first weights from the seed, whatever was drawn before in this process."""
        watcher = self.watcher
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            fresh = WatcherModels(watcher.config, watcher.latent_dim, watcher.action_dim)
        watcher.models.load_state_dict(fresh.state_dict())

    def train(self) -> None:
        """Runs the iterations that are left; then the weights are frozen."""
        self.watcher.models.requires_grad_(True)
        with torch_threads(1):
            for learner in self.learners:
                self._train(learner)
        self.save()
        self.watcher.models.requires_grad_(False)

    def _train(self, learner: Learner) -> None:
        began, before, saved = time.monotonic(), self.seconds[learner.name], time.monotonic()
        total, count = torch.zeros(()), 0
        while learner.steps < learner.iterations:
            total += learner.step()
            count += 1
            self.seconds[learner.name] = before + time.monotonic() - began
            if learner.steps == learner.iterations or learner.steps % self.report_every == 0:
                mean = float(total) / count
                self.report(learner.name, learner.steps, learner.iterations, mean)
                total, count = torch.zeros(()), 0
            if time.monotonic() - saved > SAVE_PERIOD:
                self.save()
                saved = time.monotonic()

    def save(self) -> None:
        """Writes the whole state, atomically, so that a killed run goes on from here."""
        tensors = {f"model.{name}": t for name, t in self.watcher.models.state_dict().items()}
        for learner in self.learners:
            tensors |= learner_tensors(learner)
        steps = {learner.name: learner.steps for learner in self.learners}
        metadata = {"steps": json.dumps(steps), "seconds": json.dumps(self.seconds)}
        write_state(self.folder / STATE, tensors, metadata, self._identity())

    def _identity(self) -> str:
        """What a state must share with this run."""
        model = {**self.watcher.config.to_dict(), "calibration": None}
        encoder = self.watcher.encoder_id
        return json.dumps(
            {"seed": self.seed, "frames": self.frames, "encoder": encoder, "model": model}
        )

    def _resume(self) -> None:
        tensors, metadata = read_state(self.folder / STATE, self._identity())
        if tensors is None:
            return
        self.seconds = json.loads(metadata["seconds"])
        steps = json.loads(metadata["steps"])
        self.watcher.models.load_state_dict(part(tensors, "model."))
        for learner in self.learners:
            learner.steps = steps[learner.name]
            restore_learner(learner, part(tensors, f"{learner.name}."))
