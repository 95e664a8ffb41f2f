"""Training of a skill prior (SAFER Algorithm 2), stopped and resumed anywhere."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safe_skills.data.run_state import (
    optimizer_tensors,
    part,
    read_state,
    restore_optimizer,
    write_state,
)
from safe_skills.data.segments import Batch, Steps, batch_of, segments_of
from safe_skills.data.settings import ConfigError
from safe_skills.data.threads import torch_threads
from safe_skills.safer.config import ObjectiveConfig, OptimizationConfig
from safe_skills.safer.encoder import shifted
from safe_skills.safer.models import SkillPriorModels
from safe_skills.safer.objective import Terms, objective
from safe_skills.safer.prior import SkillPrior

STATE = "state.safetensors"
SAVE_PERIOD = 20.0  # s between snapshots
FINAL_RATE = 0.01  # of the learning rate, at the end of a cosine


class DivergenceError(ValueError):
    """Training has left the finite numbers."""


# Called with the iterations done, those in all, and mean values by name since the last call.
Report = Callable[[int, int, dict[str, float]], None]


class SkillPriorTrainer:
    """Trains a prior in place.

    Algorithm 2 draws a batch of D_safe and one of D_unsafe. Here both come from one draw of
    segments, in which every step of either set is as likely as any other of its set: a frame is
    encoded once, whatever it is needed for.

    Args:
        prior: what is trained; its weights are drawn from the seed.
        steps: the data set's training part.
        folder: where the state is kept; a state found there is resumed.
        seed: of all random draws.
        report: called every `report_every` iterations.
        report_every: iterations between calls.
        threads: of torch, while training.
        start: a trained prior of the same networks to go on from, in place of drawn weights.

    Raises:
        SegmentError: the data set has no safe or no unsafe steps.
        ConfigError: `start` has other networks.
        ResumeError: the folder has the state of another run.
    """

    def __init__(
        self,
        prior: SkillPrior,
        steps: Steps,
        folder: Path | str,
        seed: int,
        report: Report = lambda *_: None,
        report_every: int = 50,
        threads: int = 1,
        start: SkillPrior | None = None,
    ) -> None:
        steps.require_both()
        self.prior, self.steps, self.seed = prior, steps, seed
        self.folder = Path(folder)
        self.report, self.report_every, self.threads = report, report_every, threads
        config = prior.config
        wanted = _wanted(steps, config.objective)
        self.segments = segments_of(steps, config.optimization.segment_steps, wanted)
        self.lambda_ = config.objective.lambda_(int(steps.safe.sum()), int(steps.unsafe.sum()))
        self._dequantization = _dequantization(config.optimization, prior.action_dim)
        self._started_from = "" if start is None else start.model_id
        self._reset_weights()
        if start is not None:
            self._start_from(start)
        self.optimizer = _optimizer(config.optimization, self.models)
        self.generator = torch.Generator().manual_seed(seed)
        self.iteration = 0
        self.seconds = 0.0
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))
        self._resume()

    @property
    def models(self) -> SkillPriorModels:
        """What is trained."""
        return self.prior.models

    def _reset_weights(self) -> None:
        """Draws the first weights from the seed, whatever was drawn before in this process."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            fresh = SkillPriorModels(self.prior.config, self.prior.action_dim)
        self.models.load_state_dict(fresh.state_dict())

    def _start_from(self, start: SkillPrior) -> None:
        for part_name in ("encoder", "flow", "posterior"):
            own, other = (getattr(p.config, part_name) for p in (self.prior, start))
            if own != other:
                raise ConfigError(
                    f"{start.model_id}: expected a prior with the same {part_name}, {own}; "
                    f"found {other}"
                )
        self.models.load_state_dict(start.models.state_dict())

    def train(self) -> None:
        """Runs the iterations that are left.

        Raises:
            DivergenceError: the objective or its gradient is not finite.
        """
        total = self.prior.config.optimization.iterations
        self.models.requires_grad_(True).train()
        began, before, saved = time.monotonic(), self.seconds, time.monotonic()
        sums: dict[str, float] = {}
        count = 0
        with torch_threads(self.threads):
            while self.iteration < total:
                terms, norm = self.step()
                for name, value in (*terms._asdict().items(), ("gradient", norm)):
                    sums[name] = sums.get(name, 0.0) + float(value)
                count += 1
                self.seconds = before + time.monotonic() - began
                last = self.iteration == total
                if last or self.iteration % self.report_every == 0:
                    means = {name: value / count for name, value in sums.items()}
                    self.report(self.iteration, total, means)
                    sums, count = {}, 0
                if last or time.monotonic() - saved > SAVE_PERIOD:
                    self.save()
                    saved = time.monotonic()
        self.models.requires_grad_(False).eval()

    def step(self) -> tuple[Terms, float]:
        """One iteration; the terms of the objective, and the norm of the gradient."""
        found = self.update(self.batch())
        self.iteration += 1
        return found

    def update(self, batch: Batch) -> tuple[Terms, float]:
        """Descends the objective of one batch.

        Raises:
            DivergenceError: the objective or its gradient is not finite.
        """
        config = self.prior.config
        terms = self.terms(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad()
        terms.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.models.parameters(), config.optimization.clip)
        if not (torch.isfinite(terms.loss) and torch.isfinite(norm)):
            raise DivergenceError(
                f"training diverged at iteration {self.iteration + 1}: the loss is "
                f"{terms.loss.item():g}; lower the learning rate, rho or the clipping norm"
            )
        self.optimizer.step()
        return terms._replace(loss=terms.loss.detach()), float(norm)

    def batch(self) -> Batch:
        """The segments of the present iteration; each is drawn once before any comes again."""
        count = min(self.prior.config.optimization.segments, len(self.segments))
        a_pass = len(self.segments) // count
        number, place = divmod(self.iteration, a_pass)
        if self._order[0] != number:
            rng = np.random.default_rng([self.seed, number])
            self._order = number, rng.permutation(len(self.segments))
        chosen = self._order[1][place * count : (place + 1) * count]
        return batch_of(self.steps, self.segments, chosen, self.prior.window)

    def terms(self, batch: Batch) -> Terms:
        """The objective of a batch, with c drawn from the posterior (Algorithm 2)."""
        config = self.prior.config
        unsafe = torch.from_numpy(batch.unsafe & config.objective.contrastive)
        features = self.models.encoder(self._images(batch.frames))
        mean, stddev = self.models.context(features, torch.from_numpy(batch.windows))
        context = mean + stddev * self._normal(mean.shape)
        actions = self._dequantized(torch.from_numpy(self.steps.actions[batch.rows]))
        state = features[torch.from_numpy(batch.current)]
        log_prob, _ = self.models.log_prob(actions, state, context)
        kl = self.models.kl(mean, stddev)
        return objective(log_prob, kl, unsafe, self.lambda_, config.objective)

    def _images(self, frames: np.ndarray) -> Tensor:
        images = torch.from_numpy(self.steps.images[frames])
        largest = self.prior.config.encoder.shift
        if largest == 0:
            return images
        # All frames of an episode are moved alike: what moves between them stays what it was.
        _, numbers = np.unique(self.steps.start[frames], return_inverse=True)
        shape = (int(numbers.max()) + 1, 2)
        moves = torch.randint(2 * largest + 1, shape, generator=self.generator)
        return shifted(images, moves[torch.from_numpy(numbers)], largest)

    def _dequantized(self, actions: Tensor) -> Tensor:
        if self.prior.config.optimization.dequantization == "normal":
            noise = self._normal(actions.shape)
        else:
            noise = 2 * torch.rand(actions.shape, generator=self.generator) - 1
        return actions + self._dequantization * noise

    def _normal(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def _learning_rate(self) -> float:
        config = self.prior.config.optimization
        if config.decay == "none":
            return config.learning_rate
        share = 0.5 * (1 + math.cos(math.pi * self.iteration / config.iterations))
        return config.learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * share)

    def save(self) -> None:
        """Writes the whole state, atomically, so that a killed run goes on from here."""
        tensors = {f"model.{name}": t for name, t in self.models.state_dict().items()}
        for name, tensor in optimizer_tensors(self.optimizer).items():
            tensors[f"optimizer.{name}"] = tensor
        tensors["generator"] = self.generator.get_state()
        metadata = {"iteration": str(self.iteration), "seconds": repr(self.seconds)}
        write_state(self.folder / STATE, tensors, metadata, self._identity())

    def _identity(self) -> str:
        """What a state must share with this run: seed, model and size of the data set."""
        model: dict[str, Any] = {**self.prior.config.to_dict(), "assurance": None}
        what = {"seed": self.seed, "method": self.prior.method, "model": model}
        what["start"] = self._started_from
        return json.dumps({**what, "data": self.steps.summary()})

    def _resume(self) -> None:
        tensors, metadata = read_state(self.folder / STATE, self._identity())
        if tensors is None:
            return
        self.models.load_state_dict(part(tensors, "model."))
        restore_optimizer(self.optimizer, part(tensors, "optimizer."))
        self.generator.set_state(tensors["generator"])
        self.iteration, self.seconds = int(metadata["iteration"]), float(metadata["seconds"])


def _wanted(steps: Steps, config: ObjectiveConfig) -> np.ndarray:
    """(N,) bool, the steps that the objective needs."""
    if config.contrastive:
        return steps.safe | steps.unsafe
    return steps.success if config.imitate == "successful" else steps.safe


def _optimizer(config: OptimizationConfig, models: SkillPriorModels) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(models.parameters(), lr=config.learning_rate)
    return torch.optim.SGD(models.parameters(), lr=config.learning_rate, momentum=config.momentum)


def _dequantization(config: OptimizationConfig, action_dim: int) -> Tensor:
    scale = torch.tensor(config.dequantization_scale)
    if len(scale) not in (1, action_dim):
        raise ConfigError(
            f"optimization.dequantization_scale: expected 1 or {action_dim} numbers, got "
            f"{len(scale)}"
        )
    return scale
