"""One learner a model: what it samples, its loss, its optimizer. `step` is one gradient update."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safe_skills.data.latents import LatentReplay
from safe_skills.ls3 import losses
from safe_skills.ls3.config import ClassifierConfig, LS3Config
from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.networks import Classifier

AUGMENTED_SHIFT = 0.1  # of the image's side
AUGMENTED_ROTATION = 0.35  # rad


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

    @abstractmethod
    def loss(self) -> Tensor:
        """Samples a batch and returns its loss."""

    def step(self) -> Tensor:
        """Makes one gradient update and returns the loss (detached)."""
        if self.target is not None and self.steps % self.target_period == 0:
            self.target.load_state_dict(self.module.state_dict())
        loss = self.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return loss.detach()


class EncoderLearner(Learner):
    """Trains the beta-VAE on mask images (LS3 eq. 7); frozen afterwards."""

    name = "encoder"

    def __init__(self, models: LS3Models, config: LS3Config, images: Tensor, generator) -> None:
        self.config, self.images = config.encoder, images
        super().__init__(
            models.vae, generator, config.encoder.learning_rate, config.encoder.iterations
        )

    def loss(self) -> Tensor:
        """Beta-VAE loss of a random batch of frames."""
        index = torch.randint(len(self.images), (self.config.batch_size,), generator=self.generator)
        images = self.images[index].float() / 255.0
        if self.config.augmentation == "affine":
            images = self._moved(images)
        mean, stddev = self.module.encode(images)
        noise = torch.randn(mean.shape, generator=self.generator)
        reconstruction = self.module.decode(mean + stddev * noise)
        return losses.vae_loss(images, reconstruction, mean, stddev, self.config.beta)

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

    def loss(self) -> Tensor:
        """Gaussian negative log-likelihood of the next latents."""
        members, size = self.config.members, self.config.batch_size
        batch = self.replay.transitions(members * size, self.generator)
        by_member = [
            part.view(members, size, -1)
            for part in (batch.latents, batch.actions, batch.next_latents)
        ]
        mean, log_variance = self.module(by_member[0], by_member[1])
        return losses.gaussian_nll(by_member[2], mean, log_variance)


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

    def loss(self) -> Tensor:
        """Huber loss to the target, in units of the network's output."""
        config = self.config
        members, size = config.members, config.batch_size
        batch = self.replay.value_targets(members * size, self.generator)
        latents = batch.latents.view(members, size, -1)
        if self.steps < config.monte_carlo_share * config.iterations:
            target = batch.returns.view(members, size)
        else:
            with torch.no_grad():
                next_values = self.target.each(batch.next_latents.view(members, size, -1))
            target = losses.value_target(
                batch.rewards.view(members, size),
                next_values,
                batch.known_next_values.view(members, size),
                config.discount,
            )
        return F.smooth_l1_loss(self.module.each(latents) / config.scale, target / config.scale)


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

    def loss(self) -> Tensor:
        """Binary cross-entropy of a batch."""
        batch = self.replay.frames(
            self.label, self.config.batch_size, self.generator, self.config.balanced
        )
        return F.binary_cross_entropy_with_logits(self.module.logits(batch.latents), batch.label)


class ConstraintLearner(ClassifierLearner):
    """f_C (LS3 sec. 4.3)."""

    name, label = "constraint", "violation"


class GoalLearner(ClassifierLearner):
    """f_G (LS3 sec. 4.3)."""

    name, label = "goal", "goal"


class SafeSetLearner(ClassifierLearner):
    """f_S with the recursive target (LS3 eq. 11)."""

    name, label = "safe_set", "in_set"

    def loss(self) -> Tensor:
        """Binary cross-entropy to max(1_S, gamma_S f_S(next))."""
        batch = self.replay.frames(
            self.label, self.config.batch_size, self.generator, self.config.balanced, with_next=True
        )
        with torch.no_grad():
            following = (self.target or self.module)(batch.next_latents)
        target = losses.safe_set_target(batch.label, following, self.config.gamma_s)
        return F.binary_cross_entropy_with_logits(self.module.logits(batch.latents), target)


def latent_learners(
    models: LS3Models, config: LS3Config, replay: LatentReplay, generator: torch.Generator
) -> list[Learner]:
    """The learners over latents, in the order in which the released code updates them."""
    safe_set_period = config.safe_set.target_period or None
    return [
        DynamicsLearner(models, config, replay, generator),
        ValueLearner(models, config, replay, generator),
        SafeSetLearner(models.safe_set, config.safe_set, replay, generator, safe_set_period),
        ConstraintLearner(models.constraint, config.constraint, replay, generator),
        GoalLearner(models.goal, config.goal, replay, generator),
    ]
