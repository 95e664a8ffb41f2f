"""What LS3's baselines have in common: how they act, learn, and lie on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.policies import ContinuousCritic
from torch import Tensor, nn
from torch.optim import Optimizer

from safe_skills.baselines.config import BaselineConfig
from safe_skills.baselines.pixels import PixelEncoder, PixelSpaces
from safe_skills.baselines.replay import PixelReplay
from safe_skills.data.checkpoint import save_checkpoint
from safe_skills.data.run_state import optimizer_tensors, part, restore_optimizer
from safe_skills.data.settings import plain


class Choice(NamedTuple):
    """An action (A,) in [-1, 1].

    Attributes:
        executed: what the robot does.
        proposed: what the task policy would have done; the same unless a recovery policy acts.
    """

    executed: np.ndarray
    proposed: np.ndarray

    @property
    def recovers(self) -> bool:
        """Whether a recovery policy acts in the task policy's place."""
        return self.executed is not self.proposed


class Phase(NamedTuple):
    """A part of the offline training: so many calls of `step`, which returns its loss."""

    name: str
    iterations: int
    step: Callable[[], float]


class PixelAgent(ABC):
    """Learns a task from frames: offline in phases, then online after the robot's steps.

    Args:
        spaces: what it sees and does.
        config: settings of all methods.
        replay: what it learns from; None for an agent that only acts.
        seed: of weights and draws; torch's generator is seeded with it.
    """

    method: ClassVar[str]

    def __init__(
        self, spaces: PixelSpaces, config: BaselineConfig, replay: PixelReplay | None, seed: int
    ) -> None:
        self.spaces, self.config, self.replay = spaces, config, replay
        torch.manual_seed(seed)

    @abstractmethod
    def choose(self, observation: np.ndarray, *, explore: bool) -> Choice:
        """Chooses an action for stacked frames (kC, S, S) uint8; without exploring, the mode."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The phases of the offline training, in their order."""

    @abstractmethod
    def learn(self) -> dict[str, float]:
        """Makes one gradient step with the present replay; returns losses by name."""

    @abstractmethod
    def acting(self) -> Mapping[str, nn.Module]:
        """The networks that it acts with, which a checkpoint holds."""

    @abstractmethod
    def learned(self) -> Mapping[str, nn.Module]:
        """All networks that learning changes."""

    @abstractmethod
    def optimizers(self) -> Mapping[str, Optimizer]:
        """What changes them."""

    def tensors(self) -> dict[str, Tensor]:
        """All that learning changes, for the state of a run."""
        found = {}
        for name, module in self.learned().items():
            found |= {f"networks.{name}.{key}": t for key, t in module.state_dict().items()}
        for name, optimizer in self.optimizers().items():
            moments = optimizer_tensors(optimizer)
            found |= {f"optimizers.{name}.{key}": t for key, t in moments.items()}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` returned."""
        for name, module in self.learned().items():
            module.load_state_dict(part(tensors, f"networks.{name}."))
        for name, optimizer in self.optimizers().items():
            restore_optimizer(optimizer, part(tensors, f"optimizers.{name}."))

    def is_finite(self) -> bool:
        """Whether all weights are finite numbers."""
        weights = (w for module in self.learned().values() for w in module.parameters())
        return all(bool(torch.isfinite(weight).all()) for weight in weights)

    def save(
        self, folder: Path, metrics: Mapping[str, Any], *, task: str, action_limit: np.ndarray
    ) -> None:
        """Writes a checkpoint that `load_agent` reads.

        Args:
            folder: of the checkpoint.
            metrics: what it scored.
            task: that it was trained on.
            action_limit: (A,) action of the environment that is 1 to the agent.
        """
        config = {
            "method": self.method,
            "task": task,
            "colours": self.spaces.colours,
            "action_limit": [float(value) for value in action_limit],
            "settings": plain(asdict(self.config)),
        }
        tensors = nn.ModuleDict(dict(self.acting())).state_dict()
        save_checkpoint(folder, config=config, tensors=tensors, metrics=metrics)


def batch_of_one(observation: np.ndarray) -> Tensor:
    """Stacked frames (kC, S, S) as a batch (1, kC, S, S)."""
    return torch.from_numpy(observation[None])


def make_critic(
    spaces: PixelSpaces, hidden: tuple[int, ...], kind: type[ContinuousCritic] = ContinuousCritic
) -> ContinuousCritic:
    """Twin critics over an encoder of their own, as soft actor-critic has them."""
    space = spaces.observation
    return kind(
        space,
        spaces.action,
        net_arch=list(hidden),
        features_extractor=PixelEncoder(space, spaces.vision),
        features_dim=spaces.vision.features,
        share_features_extractor=False,
    )
