"""LS3's safe set and constraint estimator over another method's latents: a second opinion.

What LS3 knows of its own latents can be learned over those of any encoder: how an action moves
them (f_dyn), whether a state violates the constraint (f_C), and whether a success without violation
can follow (f_S). A watcher has nothing else: it neither encodes images nor plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from safe_skills.data.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from safe_skills.ls3.calibration import CalibrationError, Curve, Level
from safe_skills.ls3.networks import Classifier, DynamicsEnsemble
from safe_skills.ls3.watcher_config import WatcherConfig

METHOD = "safe-set"


class WatcherModels(nn.Module):
    """f_dyn, f_C and f_S over latents (d) and actions (A) in [-1, 1]."""

    def __init__(self, config: WatcherConfig, latent_dim: int, action_dim: int) -> None:
        super().__init__()
        self.latent_dim, self.action_dim = latent_dim, action_dim
        self.dynamics = DynamicsEnsemble(config.dynamics, latent_dim, action_dim)
        self.constraint = Classifier(config.constraint.hidden, latent_dim)
        self.safe_set = Classifier(config.safe_set.hidden, latent_dim)


class Thresholds(NamedTuple):
    """Calibrated levels: f_C of the next latent at most delta_C, f_S at least delta_S."""

    delta_c: Level
    delta_s: Level


class Forecast(NamedTuple):
    """What a watcher expects of n actions, each (n,).

    Attributes:
        constraint: f_C one step ahead, the largest over the members' means.
        safe_set: f_S one step ahead, the mean over them.
    """

    constraint: np.ndarray
    safe_set: np.ndarray


class Watcher:
    """Dynamics, constraint and safe set over given latents, and their calibrated levels.

    It has what `LS3Agent` has for a gate: `constraint_probability`, `safe_set_probability` and
    `predicted_constraint_probability`.

    Args:
        config: hyperparameters.
        task: what it was trained on, "operation".
        encoder_id: model id of what makes the latents.
        latent_dim: d.
        action_dim: A.
    """

    def __init__(
        self,
        config: WatcherConfig,
        *,
        task: str,
        encoder_id: str,
        latent_dim: int,
        action_dim: int,
    ) -> None:
        self.config, self.task, self.encoder_id = config, task, encoder_id
        self.latent_dim, self.action_dim = latent_dim, action_dim
        self.action_limit = np.ones(action_dim)
        self.models = WatcherModels(config, latent_dim, action_dim)
        self.model_id = f"{task}-untrained"
        self.metrics: dict[str, Any] = {}

    @classmethod
    def load(
        cls, folder: Path | str, *, task: str | None = None, encoder_id: str | None = None
    ) -> Watcher:
        """Rebuilds a watcher from a checkpoint folder.

        Args:
            folder: the checkpoint's.
            task: expected task, any when None.
            encoder_id: model id of the encoder it is to be used with, any when None.

        Raises:
            CheckpointError: in one line, for a folder that is missing, damaged, of another method,
                task or encoder, or whose weights do not fit its configuration.
        """
        checkpoint = load_checkpoint(folder, method=METHOD, task=task)
        settings = checkpoint.config
        try:
            watcher = cls(
                WatcherConfig.from_dict(settings["model"]),
                task=settings["task"],
                encoder_id=settings["encoder_id"],
                latent_dim=settings["latent_dim"],
                action_dim=settings["action_dim"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"checkpoint {folder}: config.yaml: {error}") from None
        if encoder_id not in (None, watcher.encoder_id):
            raise CheckpointError(
                f"checkpoint {folder}: expected latents of {encoder_id}, it was trained on those "
                f"of {watcher.encoder_id}"
            )
        load_weights(watcher.models, checkpoint)
        watcher.model_id, watcher.metrics = checkpoint.model_id, checkpoint.metrics
        return watcher

    def save(self, folder: Path | str, metrics: Mapping[str, Any]) -> None:
        """Writes a checkpoint folder that `load` reads."""
        config = {
            "method": METHOD,
            "task": self.task,
            "encoder_id": self.encoder_id,
            "latent_dim": self.latent_dim,
            "action_dim": self.action_dim,
            "model": self.config.to_dict(),
        }
        save_checkpoint(folder, config=config, tensors=self.models.state_dict(), metrics=metrics)

    def thresholds(self, allowed: float | None = None, refused: float | None = None) -> Thresholds:
        """delta_C and delta_S, from the curves in the checkpoint's metrics.

        Args:
            allowed: largest share of unsafe steps among those let through; None: as configured.
            refused: largest share of the safe set's states that are refused; likewise.

        Raises:
            CalibrationError: the checkpoint has no curves, or no level keeps what is asked for.
        """
        curves = self.metrics.get("calibration")
        if curves is None:
            raise CalibrationError(f"{self.model_id}: has not been calibrated; train it to its end")
        settings = self.config.calibration
        constraint, safe_set = (Curve.from_dict(curves[name]) for name in ("delta_c", "delta_s"))
        allowed = settings.allowed if allowed is None else allowed
        refused = settings.refused if refused is None else refused
        return Thresholds(
            constraint.level(allowed, settings.confidence, "delta_C"),
            safe_set.level(refused, settings.confidence, "delta_S"),
        )

    def constraint_probability(self, mean: np.ndarray) -> float:
        """f_C of a latent (d,)."""
        return float(self.probabilities("constraint", np.asarray(mean)[None])[0])

    def safe_set_probability(self, mean: np.ndarray) -> float:
        """f_S of a latent (d,)."""
        return float(self.probabilities("safe_set", np.asarray(mean)[None])[0])

    def predicted_constraint_probability(self, mean: np.ndarray, action: np.ndarray) -> float:
        """f_C one step ahead under `action` (A,), the largest over members' means."""
        return float(self.forecast(np.asarray(mean)[None], np.asarray(action)[None]).constraint[0])

    @torch.inference_mode()
    def probabilities(self, name: str, latents: np.ndarray) -> np.ndarray:
        """(n,) of "constraint" or "safe_set" for latents (n, d)."""
        return getattr(self.models, name)(_tensor(latents)).numpy()

    @torch.inference_mode()
    def forecast(self, latents: np.ndarray, actions: np.ndarray) -> Forecast:
        """What follows from actions (n, A) in latents (n, d), or in one (1, d) for all."""
        latents, actions = _tensor(latents), _tensor(actions)
        following, _ = self.models.dynamics(latents.expand(len(actions), -1), actions)
        constraint = self.models.constraint(following).amax(0)
        safe_set = self.models.safe_set(following).mean(0)
        return Forecast(constraint.numpy(), safe_set.numpy())


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, np.float32))
