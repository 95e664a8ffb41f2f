"""The learners' updates in the plainest way: network by network, with autograd and default Adam.

What `bench training` compares with, and what its tests hold the learners to.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safe_skills.data.latents import Frames, Transitions, ValueTargets
from safe_skills.ls3 import losses
from safe_skills.ls3.learners import (
    ClassifierLearner,
    DynamicsLearner,
    EncoderLearner,
    Learner,
    SafeSetLearner,
    ValueLearner,
)
from safe_skills.ls3.networks import EnsembleMLP


class PlainLearner(ABC):
    """Starts from a learner's weights and samples as it does.

    Args:
        learner: which.
        networks: copies of its networks, each of which gets an optimizer of its own.
        learning_rate: of all.
    """

    def __init__(self, learner: Learner, networks: list[nn.Module], learning_rate: float) -> None:
        self.learner, self.networks = learner, networks
        self.optimizers = [torch.optim.Adam(net.parameters(), learning_rate) for net in networks]
        self.targets = copy.deepcopy(networks)
        self.steps = 0

    def step(self) -> None:
        """One update on a batch of its own."""
        self.update(self.learner.sample())

    def update(self, batch: Any) -> None:
        """One update of every network on its part of a batch."""
        period = self.learner.target_period
        if period and self.steps % period == 0:
            self.targets = copy.deepcopy(self.networks)
        for member, (network, optimizer) in enumerate(
            zip(self.networks, self.optimizers, strict=True)
        ):
            loss = self.loss(member, network, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.steps += 1

    @abstractmethod
    def loss(self, member: int, network: nn.Module, batch: Any) -> Tensor:
        """What the member adds to the learner's loss."""


class PlainEncoder(PlainLearner):
    """LS3 eq. 7."""

    def loss(self, member: int, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Beta-VAE loss."""
        images, noise = batch
        mean, stddev = network.encode(images)
        reconstruction = network.decode(mean + stddev * noise)
        return losses.vae_loss(images, reconstruction, mean, stddev, self.learner.config.beta)


class PlainDynamics(PlainLearner):
    """LS3 eq. 8."""

    def loss(self, member: int, network: nn.Module, batch: Transitions) -> Tensor:
        """The member's negative log-likelihood on its part."""
        config = self.learner.config
        part = slice(member * config.batch_size, (member + 1) * config.batch_size)
        latents = batch.latents[part]
        outputs = network(torch.cat((latents, batch.actions[part]), -1))
        change, log_variance = outputs.chunk(2, -1)
        if config.log_variance_bounds is not None:
            low, high = config.log_variance_bounds
            log_variance = high - F.softplus(high - log_variance)
            log_variance = low + F.softplus(log_variance - low)
        mean = latents + change
        return losses.gaussian_nll(batch.next_latents[part], mean, log_variance) / config.members


class PlainValue(PlainLearner):
    """LS3 eq. 9 and 10."""

    def loss(self, member: int, network: nn.Module, batch: ValueTargets) -> Tensor:
        """The member's Huber loss on its part."""
        config = self.learner.config
        part = slice(member * config.batch_size, (member + 1) * config.batch_size)
        if self.learner.to_returns:
            target = batch.returns[part]
        else:
            with torch.no_grad():
                next_values = self.targets[member](batch.next_latents[part])
            target = losses.value_target(
                batch.rewards[part],
                config.scale * next_values.squeeze(-1),
                batch.known_next_values[part],
                batch.discounts[part],
                batch.floors[part] if config.floor else None,
            )
        values = network(batch.latents[part]).squeeze(-1)
        loss = losses.huber(values, target / config.scale, config.expectile)
        return loss / config.members


class PlainClassifier(PlainLearner):
    """LS3 sec. 4.3, and eq. 11 for the safe set."""

    def loss(self, member: int, network: nn.Module, batch: Frames) -> Tensor:
        """Binary cross-entropy."""
        target = batch.label
        if isinstance(self.learner, SafeSetLearner):
            with torch.no_grad():
                source = self.targets[0] if self.learner.target_period else network
                following = source(batch.next_latents)
            target = losses.safe_set_target(batch.label, following, self.learner.config.gamma_s)
        return F.binary_cross_entropy_with_logits(network.logits(batch.latents), target)


def plain(learner: Learner) -> PlainLearner:
    """The plain counterpart of a learner, with its present weights."""
    rate = learner.config.learning_rate
    if isinstance(learner, EncoderLearner):
        return PlainEncoder(learner, [copy.deepcopy(learner.module)], rate)
    if isinstance(learner, ClassifierLearner):
        return PlainClassifier(learner, [copy.deepcopy(learner.module)], rate)
    if not isinstance(learner, DynamicsLearner | ValueLearner):
        raise TypeError(f"no plain update for {type(learner).__name__}")
    networks = members_of(learner.module.net)
    kind = PlainDynamics if isinstance(learner, DynamicsLearner) else PlainValue
    return kind(learner, networks, rate)


def members_of(ensemble: EnsembleMLP) -> list[nn.Module]:
    """The ensemble's networks, one by one, as plain perceptrons with the same weights."""
    networks = []
    for member in range(ensemble.members):
        layers: list[nn.Module] = []
        for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
            layer = nn.Linear(*weight.shape[1:])
            with torch.no_grad():
                layer.weight.copy_(weight[member].T)
                layer.bias.copy_(bias[member, 0])
            layers += [layer, copy.deepcopy(ensemble.activation)]
        networks.append(nn.Sequential(*layers[:-1]))
    return networks
