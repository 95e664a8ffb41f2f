"""SACfD with Recovery RL: a safety critic, and a policy that acts where the task policy may not.

Thananjeyan et al., "Recovery RL"; LS3 sec. 7.1.3.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from safe_skills.baselines.agent import Choice, Phase, batch_of_one, make_critic
from safe_skills.baselines.config import BaselineConfig
from safe_skills.baselines.critics import risk_target, twin_loss
from safe_skills.baselines.pixels import PixelSpaces
from safe_skills.baselines.replay import PixelReplay
from safe_skills.baselines.sacfd import SacFromDemonstrations
from safe_skills.data.episodes import KINDS


class SafetyCritic(ContinuousCritic):
    """Twin estimates of the discounted probability of a violation, each from 0 to 1."""

    def features(self, observations: Tensor) -> Tensor:
        """(B, d) what the encoder makes of frames (B, kC, S, S) uint8."""
        return self.extract_features(observations, self.features_extractor)

    def estimates(self, features: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """Two estimates (B, 1) for actions (B, A)."""
        pairs = torch.cat([features, actions], dim=1)
        return tuple(torch.sigmoid(network(pairs)) for network in self.q_networks)

    def risk(self, features: Tensor, actions: Tensor) -> Tensor:
        """(B, 1) the larger estimate: Q_risk."""
        return torch.cat(self.estimates(features, actions), dim=1).max(dim=1, keepdim=True).values


class SacWithRecovery(SacFromDemonstrations):
    """SACfD + RRL.

    The task policy proposes. Where Q_risk of its action exceeds eps_risk, the recovery policy acts
    instead; the task policy learns from its own proposal with what then happened, the safety critic
    from what was executed. The recovery policy minimizes Q_risk by its gradient (model-free), on
    the safety critic's features.
    """

    method = "recovery"

    def __init__(
        self, spaces: PixelSpaces, config: BaselineConfig, replay: PixelReplay | None, seed: int
    ) -> None:
        super().__init__(spaces, config, replay, seed)
        own = self.risk_settings = config.recovery
        self.safety_critic = make_critic(spaces, own.hidden, SafetyCritic)
        self.safety_target = copy.deepcopy(self.safety_critic).requires_grad_(False)
        self.recovery = nn.Sequential(
            *create_mlp(
                spaces.vision.features, spaces.action_dim, list(own.hidden), squash_output=True
            )
        )
        self._risk_optimizer = Adam(self.safety_critic.parameters(), lr=own.learning_rate)
        self._recovery_optimizer = Adam(self.recovery.parameters(), lr=own.learning_rate)

    def choose(self, observation: np.ndarray, *, explore: bool) -> Choice:
        """The task policy's action where that is not too risky, else the recovery policy's."""
        choice = super().choose(observation, explore=explore)
        with torch.no_grad():
            features = self.safety_critic.features(batch_of_one(observation))
            proposed = torch.from_numpy(choice.proposed)[None]
            if self.safety_critic.risk(features, proposed).item() <= self.risk_settings.eps_risk:
                return choice
            return Choice(self.recovery(features)[0].numpy(), choice.proposed)

    def phases(self) -> tuple[Phase, ...]:
        """SACfD's, then safety critic and recovery policy on all offline data."""
        return (*super().phases(), Phase("risk", self.risk_settings.iterations, self._learn_risk))

    def learn(self) -> dict[str, float]:
        """One update of safety critic and recovery policy, one of soft actor-critic."""
        return {"risk": self._learn_risk(), **super().learn()}

    def acting(self) -> Mapping[str, nn.Module]:
        """Task policy, safety critic and recovery policy."""
        own = {"safety_critic": self.safety_critic, "recovery": self.recovery}
        return {**super().acting(), **own}

    def learned(self) -> Mapping[str, nn.Module]:
        """SACfD's networks and those of the recovery."""
        own = {
            "safety_critic": self.safety_critic,
            "safety_target": self.safety_target,
            "recovery": self.recovery,
        }
        return {**super().learned(), **own}

    def optimizers(self) -> Mapping[str, Optimizer]:
        """SACfD's and those of the recovery."""
        own = {"safety_critic": self._risk_optimizer, "recovery": self._recovery_optimizer}
        return {**super().optimizers(), **own}

    def _learn_risk(self) -> float:
        own = self.risk_settings
        batch = self.replay.sample(self.settings.batch_size, KINDS, executed=True)
        with torch.no_grad():
            following = self.sac.actor(batch.next_observations)
            seen = self.safety_target.features(batch.next_observations)
            risks = self.safety_target.risk(seen, following)
            target = risk_target(batch.costs, batch.terminated, risks, own.gamma_risk)
        features = self.safety_critic.features(batch.observations)
        loss = twin_loss(self.safety_critic.estimates(features, batch.actions), target)
        self._risk_optimizer.zero_grad()
        loss.backward()
        self._risk_optimizer.step()

        features = features.detach()
        danger = self.safety_critic.risk(features, self.recovery(features)).mean()
        self._recovery_optimizer.zero_grad()
        danger.backward()
        self._recovery_optimizer.step()
        critic, target = self.safety_critic, self.safety_target
        polyak_update(critic.parameters(), target.parameters(), own.target_rate)
        return loss.item()
