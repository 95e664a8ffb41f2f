"""Who chooses the abstract action: the prior itself within eta, or a policy learned over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from safe_skills.data.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from safe_skills.data.settings import from_mapping, plain
from safe_skills.safer.config import EncoderConfig
from safe_skills.safer.encoder import StateEncoder

METHOD = "sac"
ACTIONS = ("skill", "raw")
"""What a policy's numbers mean: abstract actions z, or the robot's own actions."""

LOG_DEVIATION = (-20.0, 2.0)
"""Limits of the logarithm of a policy's deviation, those of Stable-Baselines3."""


class Actor(Protocol):
    """Chooses actions from observations of `skill_env.StateFeatures`."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        """The action (A,) for psi(s) (d,), or for a frame."""


def truncated_normal(rng: np.random.Generator, bound: float, size: int) -> np.ndarray:
    """Draws z (size,) of N(0, I) truncated to |z|_inf <= bound."""
    # Takes a second and 60 MB, and who has a learned policy draws nothing.
    from scipy.stats import truncnorm

    return truncnorm.rvs(-bound, bound, size=size, random_state=rng).astype(np.float32)


class PriorActor:
    """Samples the prior within its bound, whatever the state.

    Args:
        bound: eta.
        action_dim: A.
        rng: draws.
    """

    def __init__(self, bound: float, action_dim: int, rng: np.random.Generator) -> None:
        self.bound, self.action_dim, self._rng = bound, action_dim, rng

    def act(self, observation: np.ndarray) -> np.ndarray:
        """A draw (A,) of the truncated prior."""
        return truncated_normal(self._rng, self.bound, self.action_dim)


class SkillPolicy(nn.Module):
    """pi(s): the mode of a policy that was learned over a prior's features, or from frames.

    tanh times the bound, so that no action leaves it (SAFER sec. 4.4).

    Args:
        features: d.
        action_dim: A.
        bound: eta for skill actions; 1 for raw ones.
        hidden: widths of the hidden layers, ReLU between them.
        actions: one of `ACTIONS`.
        prior_id: model id of the prior whose features it reads.
        task: environment's name.
        task_number: which of its tasks.
        encoder: of the policy's own encoder, for one that sees frames; `features` is its length.
        spread: whether it also has the deviation of its distribution, and can `draw` from it.
    """

    def __init__(
        self,
        *,
        features: int,
        action_dim: int,
        bound: float,
        hidden: Sequence[int],
        actions: str,
        prior_id: str,
        task: str,
        task_number: int,
        encoder: EncoderConfig | None = None,
        spread: bool = False,
    ) -> None:
        super().__init__()
        if actions not in ACTIONS:
            raise ValueError(f"actions: expected one of {ACTIONS}, got {actions!r}")
        if not 0.0 < bound < np.inf:
            raise ValueError(f"bound: expected a number above 0, got {bound}")
        self.settings: dict[str, Any] = {
            "features": features,
            "action_dim": action_dim,
            "bound": float(bound),
            "hidden": list(hidden),
            "actions": actions,
            "prior_id": prior_id,
            "task_number": task_number,
            "encoder": plain(asdict(encoder)) if encoder else None,
            "spread": spread,
        }
        self.observation = "pixels" if encoder else "features"
        self.encoder = StateEncoder(encoder) if encoder else None
        self.task, self.bound, self.actions, self.prior_id = task, float(bound), actions, prior_id
        self.model_id = f"{task}-untrained"
        self.metrics: dict[str, Any] = {}
        widths = (features, *hidden)
        layers: list[nn.Module] = []
        for width, following in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(width, following), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], action_dim))
        self.spread = nn.Linear(widths[-1], action_dim) if spread else None

    def forward(self, observations: Tensor) -> Tensor:
        """Actions (B, A) within the bound for psi(s) (B, d), or for frames (B, S, S, 3) uint8."""
        features = self.encoder(observations) if self.encoder else observations
        return self.bound * torch.tanh(self.layers(features))

    @torch.inference_mode()
    def act(self, observation: np.ndarray) -> np.ndarray:
        """The action (A,) for psi(s) (d,), or for a frame (S, S, 3) uint8."""
        dtype = np.uint8 if self.encoder else np.float32
        return self(torch.as_tensor(np.asarray(observation, dtype))[None])[0].numpy()

    @torch.inference_mode()
    def draw(self, observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An action (A,) of the distribution whose mode `act` gives, to learn from.

        tanh of a Gaussian, times the bound, as soft actor-critic has it.

        Raises:
            ValueError: the policy has no spread.
        """
        if self.spread is None:
            raise ValueError(f"policy {self.model_id}: expected one with a spread, to draw from it")
        dtype = np.uint8 if self.encoder else np.float32
        features = torch.as_tensor(np.asarray(observation, dtype))[None]
        if self.encoder:
            features = self.encoder(features)
        hidden = self.layers[:-1](features)
        deviation = self.spread(hidden).clamp(*LOG_DEVIATION).exp()[0].numpy()
        noise = rng.standard_normal(len(deviation)).astype(np.float32)
        chosen = self.layers[-1](hidden)[0].numpy() + deviation * noise
        return (self.bound * np.tanh(chosen)).astype(np.float32)

    def save(self, folder: Path | str, metrics: Mapping[str, Any]) -> None:
        """Writes a checkpoint folder that `load` reads."""
        config = {"method": METHOD, "task": self.task, "policy": self.settings}
        save_checkpoint(folder, config=config, tensors=self.state_dict(), metrics=metrics)

    @classmethod
    def load(cls, folder: Path | str, *, prior_id: str | None = None) -> SkillPolicy:
        """Rebuilds a policy from a checkpoint folder.

        Args:
            folder: the checkpoint's.
            prior_id: model id of the prior it is to be used with, any when None.

        Raises:
            CheckpointError: in one line, for a folder that is missing, damaged, of another method,
                or learned over another prior.
        """
        checkpoint = load_checkpoint(folder, method=METHOD)
        try:
            settings = dict(checkpoint.config["policy"])
            if settings["encoder"] is not None:
                settings["encoder"] = from_mapping(EncoderConfig, settings["encoder"], "encoder")
            policy = cls(task=checkpoint.config["task"], **settings)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"checkpoint {folder}: config.yaml: {error}") from None
        if prior_id not in (None, policy.prior_id):
            raise CheckpointError(
                f"checkpoint {folder}: expected a policy over the prior {prior_id}, it was "
                f"learned over {policy.prior_id}"
            )
        load_weights(policy, checkpoint)
        policy.model_id, policy.metrics = checkpoint.model_id, checkpoint.metrics
        return policy
