"""Soft actor-critic from Stable-Baselines3, as SAFER and its baselines use it (SAFER app. E).

Over abstract actions it is SAFER, PARROT or Context PARROT, whichever prior decodes; over the
robot's own actions it is the baseline SAC; `PriorExploreSAC` mixes both. The environments see to
that, the agent is the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from safe_skills.data.run_state import (
    optimizer_tensors,
    part,
    read_state,
    restore_optimizer,
    write_state,
)
from safe_skills.data.settings import require

STATE = "state.safetensors"
SAVE_PERIOD = 5000  # steps between snapshots
PRIOR_SHARE = 0.9  # delta of Prior-Explore (SAFER app. E)
_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass(frozen=True)
class SacConfig:
    """Soft actor-critic; the example values of TF-Agents, which the paper's authors used.

    Attributes:
        steps: of the environment.
        learning_starts: steps with uniform actions before the first update.
        batch_size: transitions an update; there is one update a step.
        hidden: widths of actor and critics.
        learning_rate: of actor, critics and temperature.
        discount: gamma.
        target_rate: tau, share of the critics that their targets take over in each update.
        initial_temperature: alpha at the start; it is then learned. A uniform policy over five
            actions earns 3.5 alpha a step in entropy: with SAC's usual 1 that is more than the -1
            of the task, the agent learns to take its time, and 10 000 updates at the learning rate
            bring alpha down to .07 only.
    """

    steps: int = 50_000
    learning_starts: int = 1000
    batch_size: int = 256
    hidden: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4
    discount: float = 0.99
    target_rate: float = 0.005
    initial_temperature: float = 0.1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            require(value >= 1, f"sac.{name}: expected at least 1, got {value}")


@dataclass(frozen=True)
class EpisodeRecord:
    """An episode of training.

    Attributes:
        last_step: steps of the run when it ended.
        steps: its length.
        success: whether the task was done.
        violations: its steps with a cost.
        episode_return: undiscounted.
    """

    last_step: int
    steps: int
    success: bool
    violations: int
    episode_return: float


class PriorExploreSAC(SAC):
    """Acts as the prior does with probability `PRIOR_SHARE`, else as SAC; learns from both.

    Its environment has a method ``proposed(rng)``: the prior's action.
    """

    def _sample_action(
        self,
        learning_starts: int,
        action_noise: ActionNoise | None = None,
        n_envs: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        chance = self._chance = getattr(self, "_chance", np.random.default_rng(self.seed))
        if chance.random() >= PRIOR_SHARE:
            return super()._sample_action(learning_starts, action_noise, n_envs)
        action = np.stack(self.env.env_method("proposed", chance))
        return action, self.policy.scale_action(action)


class Pixels(BaseFeaturesExtractor):
    """An encoder for frames; actor and critics each train one.

    Args:
        observation_space: of frames (3, S, S), as Stable-Baselines3 turns them.
        make: makes the encoder, which takes frames (B, S, S, 3).
        features: length of what it returns.
    """

    def __init__(
        self, observation_space: spaces.Box, make: Callable[[], nn.Module], features: int
    ) -> None:
        super().__init__(observation_space, features)
        self.encoder = make()

    def forward(self, observations: Tensor) -> Tensor:
        """Features (B, d) of frames (B, 3, S, S)."""
        return self.encoder(observations.permute(0, 2, 3, 1))


class SacRun:
    """Trains an agent; stopped and resumed anywhere, though a resumed run draws other numbers.

    Args:
        env: with info["cost"], info["success"] and a bounded action space.
        config: settings.
        folder: where state and TensorBoard scalars are kept; a state found there is resumed.
        seed: of weights and draws.
        identity: what else a state must share with this run, as text.
        explore_with_prior: Prior-Explore.
        encoder: for observations that are frames: makes an encoder, and the length of its features.
        report: called after every step with the steps done and the episodes so far.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        config: SacConfig,
        folder: Path,
        seed: int,
        *,
        identity: str = "",
        explore_with_prior: bool = False,
        encoder: tuple[Callable[[], nn.Module], int] | None = None,
        report: Callable[[int, list[EpisodeRecord]], None] = lambda *_: None,
    ) -> None:
        self.config, self.folder, self.report = config, Path(folder), report
        self.episodes: list[EpisodeRecord] = []
        self.violations_by_step: list[bool] = []
        self.identity = json.dumps({"sac": asdict(config), "seed": seed, "run": identity})
        self.agent = (PriorExploreSAC if explore_with_prior else SAC)(
            "MlpPolicy",
            env,
            learning_rate=config.learning_rate,
            buffer_size=config.steps,
            learning_starts=config.learning_starts,
            batch_size=config.batch_size,
            tau=config.target_rate,
            gamma=config.discount,
            ent_coef=f"auto_{config.initial_temperature}",
            policy_kwargs=_networks(config, encoder),
            seed=seed,
            device="cpu",
        )
        self._resume()

    def train(self) -> None:
        """Runs to the last step."""
        remaining = self.config.steps - self.agent.num_timesteps
        if remaining > 0:
            self.agent.set_logger(configure(str(self.folder / "tensorboard"), ["tensorboard"]))
            self.agent.learn(remaining, callback=_Recorder(self), reset_num_timesteps=False)
            self.save()

    def actor_tensors(self, *, spread: bool = False) -> dict[str, Tensor]:
        """Weights of the actor's mode: `layers.<n>.weight` and `.bias`, ReLU between, tanh last.

        With an encoder its weights, too: `encoder.<name>`; and with `spread` the layer that gives
        the logarithm of the deviation, as `spread.<name>`.
        """
        actor = self.agent.actor
        tensors = {}
        if isinstance(actor.features_extractor, Pixels):
            encoder = actor.features_extractor.encoder
            tensors = {f"encoder.{name}": t for name, t in encoder.state_dict().items()}
        tensors |= {f"layers.{name}": t for name, t in actor.latent_pi.state_dict().items()}
        last = len(actor.latent_pi)
        for name, tensor in actor.mu.state_dict().items():
            tensors[f"layers.{last}.{name}"] = tensor
        if spread:
            tensors |= {f"spread.{name}": t for name, t in actor.log_std.state_dict().items()}
        return tensors

    def save(self) -> None:
        """Writes the whole state, atomically."""
        agent, buffer = self.agent, self.agent.replay_buffer
        tensors = {f"policy.{name}": t for name, t in agent.policy.state_dict().items()}
        for name, optimizer in self._optimizers().items():
            tensors |= {f"{name}.{key}": t for key, t in optimizer_tensors(optimizer).items()}
        tensors["log_ent_coef"] = agent.log_ent_coef.detach()
        size = buffer.size()
        for name in _BUFFER:
            tensors[f"buffer.{name}"] = torch.from_numpy(getattr(buffer, name)[:size].copy())
        tensors["violations"] = torch.tensor(self.violations_by_step, dtype=torch.bool)
        metadata = {
            "steps": str(agent.num_timesteps),
            "updates": str(agent._n_updates),
            "episodes": json.dumps([asdict(episode) for episode in self.episodes]),
        }
        write_state(self.folder / STATE, tensors, metadata, self.identity)

    def _resume(self) -> None:
        tensors, metadata = read_state(self.folder / STATE, self.identity)
        if tensors is None:
            return
        agent, buffer = self.agent, self.agent.replay_buffer
        agent.policy.load_state_dict(part(tensors, "policy."))
        for name, optimizer in self._optimizers().items():
            restore_optimizer(optimizer, part(tensors, f"{name}."))
        with torch.no_grad():
            agent.log_ent_coef.copy_(tensors["log_ent_coef"])
        for name, values in part(tensors, "buffer.").items():
            getattr(buffer, name)[: len(values)] = values.numpy()
            size = len(values)
        buffer.pos, buffer.full = size % buffer.buffer_size, size == buffer.buffer_size
        agent.num_timesteps = int(metadata["steps"])
        agent._n_updates = int(metadata["updates"])
        agent.set_random_seed(agent.seed + agent.num_timesteps)
        self.violations_by_step = tensors["violations"].tolist()
        self.episodes = [EpisodeRecord(**row) for row in json.loads(metadata["episodes"])]

    def _optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        agent = self.agent
        return {
            "actor_optimizer": agent.actor.optimizer,
            "critic_optimizer": agent.critic.optimizer,
            "temperature_optimizer": agent.ent_coef_optimizer,
        }


def _networks(
    config: SacConfig, encoder: tuple[Callable[[], nn.Module], int] | None
) -> dict[str, Any]:
    networks: dict[str, Any] = {"net_arch": list(config.hidden)}
    if encoder is not None:
        networks["features_extractor_class"] = Pixels
        networks["features_extractor_kwargs"] = {"make": encoder[0], "features": encoder[1]}
        networks["normalize_images"] = False  # the encoder does
    return networks


class _Recorder(BaseCallback):
    """Notes episodes and violations, and saves now and then."""

    def __init__(self, run: SacRun) -> None:
        super().__init__()
        self._run = run
        self._rewards: list[float] = []
        self._costs: list[bool] = []

    def _on_rollout_start(self) -> None:
        # Between two steps: the last one is in the buffer and has been learned from.
        if self.num_timesteps > 0 and self.num_timesteps % SAVE_PERIOD == 0:
            self._run.save()

    def _on_step(self) -> bool:
        run, info = self._run, self.locals["infos"][0]
        self._rewards.append(float(self.locals["rewards"][0]))
        self._costs.append(bool(info["cost"]))
        run.violations_by_step.append(self._costs[-1])
        if self.locals["dones"][0]:
            self._conclude(info)
        run.report(self.num_timesteps, run.episodes)
        return True

    def _conclude(self, info: Mapping[str, Any]) -> None:
        record = EpisodeRecord(
            last_step=self.num_timesteps,
            steps=len(self._rewards),
            success=bool(info["success"]),
            violations=sum(self._costs),
            episode_return=sum(self._rewards),
        )
        self._run.episodes.append(record)
        for name in ("success", "violations", "steps", "episode_return"):
            self.logger.record(f"episode/{name}", float(getattr(record, name)))
        self._rewards, self._costs = [], []
