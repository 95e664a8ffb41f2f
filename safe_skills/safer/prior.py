"""A skill prior as one object: what nodes, agents and experiments use."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from safe_skills.data.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from safe_skills.data.segments import shrink
from safe_skills.safer.assurance import AssuranceError
from safe_skills.safer.config import METHODS, SaferConfig
from safe_skills.safer.models import SkillPriorModels


class Context(NamedTuple):
    """q(c | Lambda) at one step.

    Attributes:
        mean: (C,), what decodes actions (SAFER 4.3); C is 0 for a prior without c.
        stddev: (C,).
        fill: share of the window that has been seen.
    """

    mean: np.ndarray
    stddev: np.ndarray
    fill: float


class SkillPrior:
    """Models, preprocessing and assurances of one data set's skills.

    States are features psi(s) from `features`; every method takes one sample or a batch.

    Args:
        config: hyperparameters.
        method: one of `METHODS`; the configuration must be that of `config.for_method`.
        task: what it was trained on, "operation".
        action_dim: A.
        frame_size: side of the camera frames that it takes.
        device: where the models live.
    """

    def __init__(
        self,
        config: SaferConfig,
        *,
        method: str,
        task: str,
        action_dim: int,
        frame_size: int = 48,
        device: str = "cpu",
    ) -> None:
        self.config, self.method, self.task = config, method, task
        self.action_dim, self.frame_size = action_dim, frame_size
        self.device = torch.device(device)
        self.models = SkillPriorModels(config, action_dim).to(self.device)
        self.model_id = f"{task}-untrained"
        self.metrics: dict[str, Any] = {}

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        task: str | None = None,
        action_dim: int | None = None,
        device: str = "cpu",
    ) -> SkillPrior:
        """Rebuilds a prior from a checkpoint folder.

        Args:
            folder: the checkpoint's.
            task: expected task, any when None.
            action_dim: expected length of an action, any when None.
            device: where the models shall live.

        Raises:
            CheckpointError: in one line, for a folder that is missing, damaged, of another method,
                task or action size, or whose weights do not fit its configuration.
        """
        checkpoint = load_checkpoint(folder, task=task)
        settings = checkpoint.config
        if settings["method"] not in METHODS:
            raise CheckpointError(
                f"checkpoint {folder}: expected method {', '.join(METHODS)}, found "
                f"{settings['method']!r}"
            )
        if action_dim not in (None, settings.get("action_dim")):
            raise CheckpointError(
                f"checkpoint {folder}: expected actions of {action_dim} numbers, found "
                f"{settings.get('action_dim')}"
            )
        try:
            prior = cls(
                SaferConfig.from_dict(settings["model"]),
                method=settings["method"],
                task=settings["task"],
                action_dim=settings["action_dim"],
                frame_size=settings["frame_size"],
                device=device,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"checkpoint {folder}: config.yaml: {error}") from None
        load_weights(prior.models, checkpoint)
        prior.model_id, prior.metrics = checkpoint.model_id, checkpoint.metrics
        return prior

    def save(self, folder: Path | str, metrics: Mapping[str, Any]) -> None:
        """Writes a checkpoint folder that `load` reads."""
        config = {
            "method": self.method,
            "task": self.task,
            "action_dim": self.action_dim,
            "frame_size": self.frame_size,
            "model": self.config.to_dict(),
        }
        save_checkpoint(folder, config=config, tensors=self.models.state_dict(), metrics=metrics)

    @property
    def context_size(self) -> int:
        """C, the length of c; 0 without c."""
        return self.config.posterior.context_size

    @property
    def window(self) -> int:
        """States in Lambda, with the present one; without c, that one alone."""
        return self.config.posterior.window if self.context_size else 1

    def eta(self, allowed: float = 0.15) -> float:
        """The bound |z|_inf <= eta for an allowed unsafe share, from the checkpoint's metrics.

        Raises:
            AssuranceError: the checkpoint has none for this share.
        """
        found = {level["allowed"]: level["eta"] for level in self.metrics.get("assurance", [])}
        if found.get(allowed) is None:
            known = ", ".join(f"{key:g}" for key, value in found.items() if value is not None)
            raise AssuranceError(
                f"{self.model_id}: no eta for an unsafe share of {allowed:g}; there is: "
                f"{known or 'none'}"
            )
        return float(found[allowed])

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        """psi(s): (d,) for a frame (H, H, 3) uint8 RGB, (n, d) for frames (n, H, H, 3).

        Raises:
            ValueError: for frames of another size or type.
        """
        images = np.asarray(images)
        size = self.frame_size
        if images.dtype != np.uint8 or images.shape[-3:] != (size, size, 3):
            raise ValueError(
                f"expected frames of {size}x{size} RGB, uint8, got {images.dtype} {images.shape}"
            )
        single = images.ndim == 3
        batch = images[None] if single else images
        small = np.stack([shrink(image, self.config.encoder.image_size) for image in batch])
        found = self.models.encoder(torch.from_numpy(small).to(self.device)).cpu().numpy()
        return found[0] if single else found

    def history(self) -> History:
        """An empty window of states, for one episode."""
        return History(self)

    @torch.inference_mode()
    def context(self, features: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and stddev (B, C) of c for windows (B, w) of indices into features (n, d).

        Negative indices are padding: no state, the episode had not begun.
        """
        mean, stddev = self.models.context(
            self._tensor(features), torch.as_tensor(windows, device=self.device)
        )
        return mean.cpu().numpy(), stddev.cpu().numpy()

    @torch.inference_mode()
    def decode(
        self, z: np.ndarray, state: np.ndarray, context: np.ndarray, *, clip: bool = True
    ) -> np.ndarray:
        """The action f(z; s, c).

        Args:
            z: (A,) or (B, A).
            state: psi(s), (d,) or (B, d).
            context: c, (C,) or (B, C).
            clip: to [-1, 1], which commands are limited to; unclipped, `encode` is the inverse.

        Returns:
            Actions of z's shape.
        """
        (z, state, context), single = self._batched(z, state, context)
        action = self.models.decode(z, state, context)
        if clip:
            action = action.clamp(-1.0, 1.0)
        action = action.cpu().numpy()
        return action[0] if single else action

    @torch.inference_mode()
    def encode(
        self, action: np.ndarray, state: np.ndarray, context: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The abstract action z = f^-1(a; s, c) and log p(a | s, c) (eq. 1).

        Args:
            action: (A,) or (B, A) in [-1, 1].
            state: psi(s), (d,) or (B, d).
            context: c, (C,) or (B, C).

        Returns:
            z of the action's shape, and the log-density, () or (B,).
        """
        (action, state, context), single = self._batched(action, state, context)
        log_prob, z = self.models.log_prob(action, state, context)
        z, log_prob = z.cpu().numpy(), log_prob.cpu().numpy()
        return (z[0], log_prob[0]) if single else (z, log_prob)

    def _batched(self, *values: np.ndarray) -> tuple[list[torch.Tensor], bool]:
        single = np.ndim(values[0]) == 1
        tensors = [self._tensor(value) for value in values]
        return ([value[None] for value in tensors] if single else tensors), single

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)


class History:
    """The states of an episode so far, each encoded once; the last w of them are kept.

    Args:
        prior: encodes them.
    """

    def __init__(self, prior: SkillPrior) -> None:
        self._prior = prior
        self._features: deque[np.ndarray] = deque(maxlen=prior.window)

    def reset(self) -> None:
        """Forgets the episode."""
        self._features.clear()

    def push(self, image: np.ndarray) -> np.ndarray:
        """Adds the present frame (H, H, 3) uint8 and returns its features psi(s) (d,)."""
        features = self._prior.features(image)
        self.push_features(features)
        return features

    def push_features(self, features: np.ndarray) -> None:
        """Adds the features psi(s) (d,) of the present frame, which were computed elsewhere.

        Raises:
            ValueError: they have another length.
        """
        size = self._prior.config.encoder.features
        if np.shape(features) != (size,):
            raise ValueError(f"history: expected {size} features, got {np.shape(features)}")
        self._features.append(features)

    def context(self) -> Context:
        """q(c | Lambda) of the window that ends with the last frame.

        Raises:
            ValueError: no frame has been pushed.
        """
        seen, size = len(self._features), self._prior.window
        if seen == 0:
            raise ValueError("history: expected a frame before a context is asked for")
        window = np.arange(size)[None] - (size - seen)
        mean, stddev = self._prior.context(np.stack(self._features), np.maximum(window, -1))
        return Context(mean[0], stddev[0], seen / size)
