"""SACfD: soft actor-critic from demonstrations (LS3 sec. 7.1.2).

The updates are Stable-Baselines3's. What is added is how demonstrations initialize it: behaviour
cloning of the actor's mean, and Bellman backups of the critics.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from safe_skills.baselines.agent import Choice, Phase, PixelAgent, batch_of_one
from safe_skills.baselines.config import BaselineConfig, SacfdConfig
from safe_skills.baselines.critics import smallest, twin_loss, value_target
from safe_skills.baselines.pixels import PixelEncoder, PixelSpaces
from safe_skills.baselines.replay import PenalizedReplay, PixelReplay


class SacFromDemonstrations(PixelAgent):
    """SACfD; demonstrations stay in the replay beside the online episodes.

    The penalty for violations is part of the reward that it learns from. See `PixelAgent` for the
    arguments.
    """

    method = "sacfd"

    def __init__(
        self, spaces: PixelSpaces, config: BaselineConfig, replay: PixelReplay | None, seed: int
    ) -> None:
        super().__init__(spaces, config, replay, seed)
        self.settings = config.sacfd
        self.sac = _soft_actor_critic(spaces, self.settings, seed)
        mean = [self.sac.actor.features_extractor, self.sac.actor.latent_pi, self.sac.actor.mu]
        self._clone_optimizer = Adam(
            (weight for module in mean for weight in module.parameters()),
            lr=self.settings.learning_rate,
        )
        if replay is not None:
            penalty = self.settings.penalty
            self._demonstrations = PenalizedReplay(replay, ("demo",), penalty)
            self.sac.replay_buffer = PenalizedReplay(replay, ("demo", "online"), penalty)

    def choose(self, observation: np.ndarray, *, explore: bool) -> Choice:
        """The policy's action."""
        with torch.no_grad():
            action = self.sac.actor(batch_of_one(observation), deterministic=not explore)
        chosen = action[0].numpy()
        return Choice(chosen, chosen)

    def phases(self) -> tuple[Phase, ...]:
        """Cloning, then the critics' backups."""
        settings = self.settings
        return (
            Phase("clone", settings.clone_iterations, self._clone),
            Phase("critic", settings.critic_iterations, self._back_up),
        )

    def learn(self) -> dict[str, float]:
        """One update of soft actor-critic."""
        self.sac.train(1, self.settings.batch_size)
        values = self.sac.logger.name_to_value
        return {name: float(values[f"train/{name}_loss"]) for name in ("actor", "critic")}

    def acting(self) -> Mapping[str, nn.Module]:
        """The actor."""
        return {"actor": self.sac.actor}

    def learned(self) -> Mapping[str, nn.Module]:
        """Actor, critics and their targets."""
        return {"sac": self.sac.policy}

    def optimizers(self) -> Mapping[str, Optimizer]:
        """Those of Stable-Baselines3, and the one of behaviour cloning."""
        actor, critic = self.sac.actor.optimizer, self.sac.critic.optimizer
        return {"actor": actor, "critic": critic, "clone": self._clone_optimizer}

    def _clone(self) -> float:
        batch = self._demonstrations.sample(self.settings.batch_size)
        actions = self.sac.actor(batch.observations, deterministic=True)
        loss = cloning_loss(actions, batch.actions)
        self._clone_optimizer.zero_grad()
        loss.backward()
        self._clone_optimizer.step()
        return loss.item()

    def _back_up(self) -> float:
        sac, settings = self.sac, self.settings
        batch = self._demonstrations.sample(settings.batch_size)
        with torch.no_grad():
            actions, log_prob = sac.actor.action_log_prob(batch.next_observations)
            values = smallest(sac.critic_target(batch.next_observations, actions))
            values = values - settings.temperature * log_prob.reshape(-1, 1)
            target = value_target(batch.rewards, batch.dones, values, settings.discount)
        loss = twin_loss(sac.critic(batch.observations, batch.actions), target)
        sac.critic.optimizer.zero_grad()
        loss.backward()
        sac.critic.optimizer.step()
        polyak_update(sac.critic.parameters(), sac.critic_target.parameters(), settings.target_rate)
        return loss.item()


def cloning_loss(actions: Tensor, demonstrated: Tensor) -> Tensor:
    """Mean over a batch (B, A) of ||mu(s) - a||^2 (LS3 sec. 7.1.2)."""
    return (actions - demonstrated).square().sum(dim=1).mean()


def _soft_actor_critic(spaces: PixelSpaces, settings: SacfdConfig, seed: int) -> SAC:
    """Stable-Baselines3's agent without an environment: others run it and fill its replay."""
    sac = SAC(
        "MlpPolicy",
        None,
        learning_rate=settings.learning_rate,
        buffer_size=1,
        batch_size=settings.batch_size,
        tau=settings.target_rate,
        gamma=settings.discount,
        ent_coef=settings.temperature,
        target_entropy=-float(spaces.action_dim),
        policy_kwargs={
            "net_arch": list(settings.hidden),
            "features_extractor_class": PixelEncoder,
            "features_extractor_kwargs": {"vision": spaces.vision},
        },
        seed=seed,
        device="cpu",
        _init_setup_model=False,
    )
    sac.observation_space, sac.action_space = spaces.observation, spaces.action
    sac.n_envs = 1
    sac._setup_model()
    sac.set_logger(Logger(None, []))
    return sac
