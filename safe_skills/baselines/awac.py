"""AWAC: advantage-weighted actor-critic (Nair et al.; LS3 sec. 7.1.4)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces as gym_spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.optim import Adam, Optimizer

from safe_skills.baselines.agent import Choice, Phase, PixelAgent, batch_of_one, make_critic
from safe_skills.baselines.config import BaselineConfig
from safe_skills.baselines.critics import smallest, twin_loss, value_target
from safe_skills.baselines.pixels import PixelEncoder, PixelSpaces
from safe_skills.baselines.replay import PenalizedReplay, PixelReplay
from safe_skills.data.episodes import KINDS

LOG_STD = (-6.0, 0.0)


class GaussianActor(BaseModel):
    """A Gaussian over actions: its mean in [-1, 1] by tanh, one deviation for all states.

    Args:
        observation: space of stacked frames.
        action: space of actions.
        encoder: of frames.
        hidden: widths.
    """

    def __init__(
        self,
        observation: gym_spaces.Box,
        action: gym_spaces.Box,
        encoder: PixelEncoder,
        hidden: tuple[int, ...],
    ) -> None:
        super().__init__(observation, action, features_extractor=encoder)
        size = action.shape[0]
        layers = create_mlp(encoder.features_dim, size, list(hidden), squash_output=True)
        self.mean = nn.Sequential(*layers)
        self.spread = nn.Parameter(torch.zeros(size))

    def forward(self, observations: Tensor) -> Independent:
        """The distribution for frames (B, kC, S, S) uint8."""
        low, high = LOG_STD
        log_std = low + (high - low) * torch.sigmoid(self.spread)
        mean = self.mean(self.extract_features(observations, self.features_extractor))
        return Independent(Normal(mean, log_std.exp()), 1)


class AdvantageWeighted(PixelAgent):
    """AWAC on all offline data, then on these and the online episodes.

    See `PixelAgent` for the arguments.
    """

    method = "awac"

    def __init__(
        self, spaces: PixelSpaces, config: BaselineConfig, replay: PixelReplay | None, seed: int
    ) -> None:
        super().__init__(spaces, config, replay, seed)
        own = self.settings = config.awac
        encoder = PixelEncoder(spaces.observation, spaces.vision)
        self.actor = GaussianActor(spaces.observation, spaces.action, encoder, own.actor_hidden)
        self.critic = make_critic(spaces, own.critic_hidden)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        self._actor_optimizer = Adam(
            self.actor.parameters(), lr=own.learning_rate, weight_decay=own.weight_decay
        )
        self._critic_optimizer = Adam(self.critic.parameters(), lr=own.learning_rate)
        if replay is not None:
            self._replay = PenalizedReplay(replay, KINDS, own.penalty)

    def choose(self, observation: np.ndarray, *, explore: bool) -> Choice:
        """An action of the Gaussian, or its mean."""
        with torch.no_grad():
            policy = self.actor(batch_of_one(observation))
            action = (policy.sample() if explore else policy.mean).clamp(-1.0, 1.0)
        chosen = action[0].numpy()
        return Choice(chosen, chosen)

    def phases(self) -> tuple[Phase, ...]:
        """Actor and critics together on all offline data."""
        return (Phase("offline", self.settings.iterations, lambda: self.learn()["critic"]),)

    def learn(self) -> dict[str, float]:
        """One update of the critics, then one of the actor."""
        own = self.settings
        batch = self._replay.sample(own.batch_size)
        with torch.no_grad():
            following = self.actor(batch.next_observations).sample().clamp(-1.0, 1.0)
            values = smallest(self.critic_target(batch.next_observations, following))
            target = value_target(batch.rewards, batch.dones, values, own.discount)
        critic_loss = twin_loss(self.critic(batch.observations, batch.actions), target)
        self._critic_optimizer.zero_grad()
        critic_loss.backward()
        self._critic_optimizer.step()

        policy = self.actor(batch.observations)
        with torch.no_grad():
            mine = policy.sample().clamp(-1.0, 1.0)
            advantages = smallest(self.critic(batch.observations, batch.actions))
            advantages = (advantages - smallest(self.critic(batch.observations, mine)))[:, 0]
            limit = None if own.normalized else own.largest_weight
            weights = advantage_weights(advantages, own.advantage_scale, limit)
        actor_loss = -(weights * policy.log_prob(batch.actions)).mean()
        self._actor_optimizer.zero_grad()
        actor_loss.backward()
        self._actor_optimizer.step()
        polyak_update(self.critic.parameters(), self.critic_target.parameters(), own.target_rate)
        return {"critic": critic_loss.item(), "actor": actor_loss.item()}

    def acting(self) -> Mapping[str, nn.Module]:
        """The actor."""
        return {"actor": self.actor}

    def learned(self) -> Mapping[str, nn.Module]:
        """Actor, critics and their targets."""
        return {
            "actor": self.actor,
            "critic": self.critic,
            "critic_target": self.critic_target,
        }

    def optimizers(self) -> Mapping[str, Optimizer]:
        """One of the actor, one of the critics."""
        return {"actor": self._actor_optimizer, "critic": self._critic_optimizer}


def advantage_weights(advantages: Tensor, scale: float, largest: float | None = None) -> Tensor:
    """(B,) exp(A / lambda) (AWAC eq. 13).

    Args:
        advantages: (B,) A(s, a) = Q(s, a) - V(s).
        scale: lambda.
        largest: bound of the weights. None: they are divided by their mean over the batch instead.
    """
    if largest is None:
        return torch.softmax(advantages / scale, dim=0) * len(advantages)
    return torch.exp(advantages / scale).clamp(max=largest)
