"""One learner a model: what it samples, its loss, its optimizer. `step` is one gradient update."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safe_skills.data.latents import Frames, LatentReplay, Transitions, ValueTargets
from safe_skills.ls3 import losses
from safe_skills.ls3.config import ClassifierConfig, LS3Config
from safe_skills.ls3.gradients import Backpropagation
from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.networks import Classifier

AUGMENTED_SHIFT = 0.1  # of the image's side
AUGMENTED_ROTATION = 0.35  # rad
CROPPED_AREA = (0.8, 1.0)  # of the image's


class Learner(ABC):
    """A model in training.

    Attributes:
        name: of the phase, in logs.
        iterations: offline updates.
        iterations_per_update: updates after each batch of online episodes.
        module: what is trained.
        target: slowly following copy, where the loss needs one.
    """

    name: ClassVar[str]

    def __init__(
        self,
        module: nn.Module,
        generator: torch.Generator,
        learning_rate: float,
        iterations: int,
        iterations_per_update: int = 0,
        target_period: int | None = None,
    ) -> None:
        self.module, self.generator = module, generator
        self.iterations, self.iterations_per_update = iterations, iterations_per_update
        self.optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate, fused=True)
        self.target = copy.deepcopy(module) if target_period else None
        self.target_period = target_period
        self.steps = 0

    @property
    def can_learn(self) -> bool:
        """Whether the data says anything about what is to be learned."""
        return True

    @abstractmethod
    def sample(self) -> Any:
        """Draws a batch."""

    def blurred(self, latents: Tensor, noise: float) -> Tensor:
        """Latents with noise of a standard deviation added; at 0 nothing is drawn."""
        if not noise:
            return latents
        return latents + noise * torch.randn(latents.shape, generator=self.generator)

    @abstractmethod
    def gradient(self, batch: Any) -> Tensor:
        """Sets the gradients of the parameters and returns the loss, without a graph."""

    def step(self) -> Tensor:
        """Makes one gradient update and returns the loss."""
        if self.target is not None and self.steps % self.target_period == 0:
            self.target.load_state_dict(self.module.state_dict())
        loss = self.gradient(self.sample())
        self.optimizer.step()
        self.steps += 1
        return loss


class EncoderLearner(Learner):
    """Trains the beta-VAE on images (LS3 eq. 7); frozen afterwards.

    Attributes:
        executor: threads for the halves of a batch; None computes one after the other.
    """

    name = "encoder"

    def __init__(self, models: LS3Models, config: LS3Config, images: Tensor, generator) -> None:
        self.config, self.images = config.encoder, images
        if len(images):
            models.vae.pixels.fit(images)
        super().__init__(
            models.vae, generator, config.encoder.learning_rate, config.encoder.iterations
        )
        self.parameters = list(models.vae.parameters())
        self.executor: Executor | None = None

    def sample(self) -> tuple[Tensor, Tensor]:
        """Images (B, C, size, size) in [0, 1] of random frames, and noise (B, d)."""
        index = torch.randint(len(self.images), (self.config.batch_size,), generator=self.generator)
        images = self.images[index].float() / 255.0
        if self.config.augmentation == "affine":
            images = self._moved(images)
        elif self.config.augmentation == "crop":
            images = self._cropped(images)
        noise = torch.randn(len(images), self.config.latent_dim, generator=self.generator)
        return images, noise

    def gradient(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Beta-VAE loss; the batch's halves are computed apart, in `executor` where there is one.

        The sum of two halves does not depend on where they were computed.
        """
        halves = list(zip(*(part.tensor_split(2) for part in batch), strict=True))
        run = map if self.executor is None else self.executor.map
        parts = list(run(self._part, halves))
        for parameter, *gradients in zip(
            self.parameters, *(part[1] for part in parts), strict=True
        ):
            parameter.grad = gradients[0].add_(gradients[1])
        return parts[0][0] + parts[1][0]

    def _part(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Loss of a part of a batch, weighted by its share, and the gradients."""
        images, noise = batch
        pixels = self.module.pixels(images)
        mean, stddev = self.module.belief(pixels)
        reconstruction = self.module.decoder(mean + stddev * noise)
        loss = losses.vae_loss(pixels, reconstruction, mean, stddev, self.config.beta)
        loss = loss * (len(images) / self.config.batch_size)
        return loss.detach(), torch.autograd.grad(loss, self.parameters)

    def _moved(self, images: Tensor) -> Tensor:
        """Moves and turns every second image at random; zeros come in at the edges."""
        count = len(images) // 2
        draw = 2.0 * torch.rand(3, count, generator=self.generator) - 1.0
        angle = draw[0] * AUGMENTED_ROTATION
        # affine_grid's coordinates run from -1 to 1, so a share of the side counts twice.
        x, y = 2.0 * AUGMENTED_SHIFT * draw[1:]
        cosine, sine = angle.cos(), angle.sin()
        rows = torch.stack((cosine, -sine, x, sine, cosine, y)).T.view(count, 2, 3)
        grid = F.affine_grid(rows, images[:count].shape, align_corners=False)
        moved = F.grid_sample(images[:count], grid, align_corners=False)
        return torch.cat((moved, images[count:]))

    def _cropped(self, images: Tensor) -> Tensor:
        """Cuts a random square out of each image and enlarges it to the image's size."""
        least, most = CROPPED_AREA
        draw = torch.rand(3, len(images), generator=self.generator)
        side = (least + (most - least) * draw[0]).sqrt()
        x, y = (1.0 - side) * (2.0 * draw[1:] - 1.0)
        zero = torch.zeros_like(side)
        rows = torch.stack((side, zero, x, zero, side, y)).T.view(-1, 2, 3)
        grid = F.affine_grid(rows, images.shape, align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


class DynamicsLearner(Learner):
    """Trains the probabilistic ensemble, every member on a batch of its own (LS3 eq. 8)."""

    name = "dynamics"

    def __init__(
        self, models: LS3Models, config: LS3Config, replay: LatentReplay, generator
    ) -> None:
        self.config, self.replay = config.dynamics, replay
        super().__init__(
            models.dynamics,
            generator,
            self.config.learning_rate,
            self.config.iterations,
            self.config.iterations_per_update,
        )
        self.network = Backpropagation(models.dynamics.net)

    def sample(self) -> Transitions:
        """Transitions of all members, one member's after the other's."""
        return self.replay.transitions(self.config.members * self.config.batch_size, self.generator)

    def gradient(self, batch: Transitions) -> Tensor:
        """Gaussian negative log-likelihood of the next latents."""
        inputs = torch.cat((batch.latents, batch.actions), -1)
        outputs = self.network.forward(inputs.view(self.config.members, -1, inputs.shape[-1]))
        change = (batch.next_latents - batch.latents).view(*outputs.shape[:2], -1)
        loss, gradient = losses.gaussian_nll_gradient(change, outputs, self.module.bounds)
        self.network.backward(gradient)
        return loss


class ValueLearner(Learner):
    """Trains the value ensemble: first on returns to go (eq. 9), then one-step targets (eq. 10)."""

    name = "value"

    def __init__(
        self, models: LS3Models, config: LS3Config, replay: LatentReplay, generator
    ) -> None:
        self.config, self.replay = config.value, replay
        super().__init__(
            models.value,
            generator,
            self.config.learning_rate,
            self.config.iterations,
            self.config.iterations_per_update,
            self.config.target_period,
        )
        self.network = Backpropagation(models.value.net)

    def sample(self) -> ValueTargets:
        """Steps of all members, one member's after the other's."""
        config = self.config
        batch = self.replay.value_targets(config.members * config.batch_size, self.generator)
        return replace(batch, latents=self.blurred(batch.latents, config.noise))

    @property
    def to_returns(self) -> bool:
        """Whether targets are the returns to go, not made with values that follow."""
        config = self.config
        if self.steps >= config.iterations and config.returns_online:
            return True
        return self.steps < config.monte_carlo_share * config.iterations

    def gradient(self, batch: ValueTargets) -> Tensor:
        """Huber loss to the target, in units of the network's output."""
        config = self.config
        shape = (config.members, config.batch_size)
        if self.to_returns:
            target = batch.returns.view(shape)
        else:
            with torch.no_grad():
                next_values = self.target.each(batch.next_latents.view(*shape, -1))
            target = losses.value_target(
                batch.rewards.view(shape),
                next_values,
                batch.known_next_values.view(shape),
                batch.discounts.view(shape),
                batch.floors.view(shape) if config.floor else None,
            )
        outputs = self.network.forward(batch.latents.view(*shape, -1))
        target = target[..., None] / config.scale
        loss, gradient = losses.huber_gradient(outputs, target, config.expectile)
        self.network.backward(gradient)
        return loss


class ClassifierLearner(Learner):
    """Trains the goal or constraint estimator: cross-entropy on labelled frames."""

    label: ClassVar[str]

    def __init__(
        self,
        classifier: Classifier,
        config: ClassifierConfig,
        replay: LatentReplay,
        generator: torch.Generator,
        target_period: int | None = None,
    ) -> None:
        self.config, self.replay = config, replay
        super().__init__(
            classifier,
            generator,
            config.learning_rate,
            config.iterations,
            config.iterations_per_update,
            target_period,
        )
        self.network = Backpropagation(classifier)

    @property
    def can_learn(self) -> bool:
        """Whether there are frames of both labels."""
        return self.replay.has_both(self.label)

    def sample(self) -> Frames:
        """Labelled frames."""
        return self._frames()

    def _frames(self, **options: bool) -> Frames:
        config = self.config
        batch = self.replay.frames(
            self.label, config.batch_size, self.generator, config.balanced, **options
        )
        return replace(batch, latents=self.blurred(batch.latents, config.noise))

    def target_of(self, batch: Frames) -> Tensor:
        """(B,) what the probabilities should be."""
        return batch.label

    def gradient(self, batch: Frames) -> Tensor:
        """Binary cross-entropy to the target."""
        target = self.target_of(batch)
        logits = self.network.forward(batch.latents[None])
        loss, gradient = losses.cross_entropy_gradient(logits, target[None, :, None])
        self.network.backward(gradient)
        return loss


class ConstraintLearner(ClassifierLearner):
    """f_C (LS3 sec. 4.3)."""

    name, label = "constraint", "violation"


class GoalLearner(ClassifierLearner):
    """f_G (LS3 sec. 4.3)."""

    name, label = "goal", "goal"


class SafeSetLearner(ClassifierLearner):
    """f_S with the recursive target (LS3 eq. 11)."""

    name, label = "safe_set", "in_set"

    def sample(self) -> Frames:
        """Labelled frames and those that followed."""
        return self._frames(with_next=True, decided=self.config.timeouts == "undecided")

    @torch.no_grad()
    def target_of(self, batch: Frames) -> Tensor:
        """max(1_S, gamma_S f_S(next))."""
        following = (self.target or self.module)(batch.next_latents)
        return losses.safe_set_target(batch.label, following, self.config.gamma_s)


def latent_learners(
    models: LS3Models, config: LS3Config, replay: LatentReplay, seed: int
) -> list[Learner]:
    """The learners over latents, in the order in which the released code updates them.

    Each draws from a generator of its own: what one learns does not depend on the others.
    """
    draws = iter(generator_of(seed, number) for number in range(1, 6))
    safe_set_period = config.safe_set.target_period or None
    return [
        DynamicsLearner(models, config, replay, next(draws)),
        ValueLearner(models, config, replay, next(draws)),
        SafeSetLearner(models.safe_set, config.safe_set, replay, next(draws), safe_set_period),
        ConstraintLearner(models.constraint, config.constraint, replay, next(draws)),
        GoalLearner(models.goal, config.goal, replay, next(draws)),
    ]


def generator_of(seed: int, number: int) -> torch.Generator:
    """The generator of a learner in a run; no two share their draws."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
