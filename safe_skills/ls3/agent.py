"""LS3 as one object: from a camera frame to a plan. What nodes and experiments use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from safe_skills.data.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from safe_skills.data.vision import MaskConfig, cable_mask
from safe_skills.ls3.config import LS3Config, PlannerConfig, planner_profile
from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.planner import Planner, Scoring


class LS3Agent:
    """Models, preprocessing and limits of one task.

    Args:
        config: hyperparameters.
        task: name of the task, "cable".
        layout: the scene it was trained on.
        action_limit: (A,) largest displacement a step, SI units, symmetric.
        mask: how a frame becomes a mask.
        device: where the models live.
    """

    def __init__(
        self,
        config: LS3Config,
        *,
        task: str,
        layout: str,
        action_limit: np.ndarray,
        mask: MaskConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self.config = config
        self.task, self.layout = task, layout
        self.action_limit = np.asarray(action_limit, dtype=np.float64)
        self.mask_config = mask or MaskConfig()
        self.device = torch.device(device)
        self.models = LS3Models(config, len(self.action_limit)).to(self.device)
        self.model_id = f"{task}-untrained"
        self.metrics: dict[str, Any] = {}

    @classmethod
    def load(cls, folder: Path | str, task: str = "cable", device: str = "cpu") -> LS3Agent:
        """Rebuilds an agent from a checkpoint folder.

        Raises:
            CheckpointError: in one line, for a folder that is missing, damaged, of another task,
                or whose weights do not fit its configuration.
        """
        checkpoint = load_checkpoint(folder, method="ls3", task=task)
        try:
            settings = checkpoint.config
            agent = cls(
                LS3Config.from_dict(settings["model"]),
                task=settings["task"],
                layout=settings["layout"],
                action_limit=np.array(settings["action_limit"], dtype=np.float64),
                mask=MaskConfig.from_dict(settings["mask"]),
                device=device,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"checkpoint {folder}: config.yaml: {error}") from None
        load_weights(agent.models, checkpoint)
        agent.model_id, agent.metrics = checkpoint.model_id, checkpoint.metrics
        return agent

    def save(self, folder: Path | str, metrics: Mapping[str, Any]) -> None:
        """Writes a checkpoint folder that `load` reads."""
        config = {
            "method": "ls3",
            "task": self.task,
            "layout": self.layout,
            "action_limit": self.action_limit.tolist(),
            "mask": self.mask_config.to_dict(),
            "model": self.config.to_dict(),
        }
        save_checkpoint(folder, config=config, tensors=self.models.state_dict(), metrics=metrics)

    @property
    def latent_dim(self) -> int:
        """d, the length of a latent."""
        return self.models.latent_dim

    @property
    def action_dim(self) -> int:
        """A, the length of an action."""
        return self.models.action_dim

    def planner(
        self,
        profile: str | PlannerConfig = "realtime",
        seed: int = 0,
        scoring: Scoring | None = None,
    ) -> Planner:
        """Returns a planner over these models; `profile` is a name or a full configuration."""
        return Planner(self.models, planner_profile(profile), self.action_limit, seed, scoring)

    def inputs(self, masks: np.ndarray) -> np.ndarray:
        """Encoder input (n, 1, s, s) float32 in [0, 1] for masks (n, size, size) uint8."""
        side = self.config.encoder.image_size
        shrunk = [cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA) for mask in masks]
        return np.stack(shrunk)[:, None].astype(np.float32) / 255.0

    @torch.inference_mode()
    def encode_masks(self, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Beliefs (n, d) mean and stddev for masks (n, size, size) uint8."""
        images = torch.from_numpy(self.inputs(masks)).to(self.device)
        beliefs = [self.models.encode(part) for part in images.split(256)]
        mean, stddev = (torch.cat(part).cpu().numpy() for part in zip(*beliefs, strict=True))
        return mean, stddev

    def encode(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Belief (d,) mean and stddev for one camera frame (H, W, 3) uint8 RGB.

        Raises:
            ValueError: for another shape or type, or a frame smaller than the mask.
        """
        mean, stddev = self.encode_masks(cable_mask(image, self.mask_config)[None])
        return mean[0], stddev[0]

    def constraint_probability(self, mean: np.ndarray) -> float:
        """f_C of a latent (d,)."""
        return self._probability(self.models.constraint, mean)

    def safe_set_probability(self, mean: np.ndarray) -> float:
        """f_S of a latent (d,)."""
        return self._probability(self.models.safe_set, mean)

    @torch.inference_mode()
    def predicted_constraint_probability(self, mean: np.ndarray, action: np.ndarray) -> float:
        """f_C one step ahead under `action` (A,) in SI units, the largest over members' means."""
        scaled = np.asarray(action, dtype=np.float64) / self.action_limit
        latents, _ = self.models.dynamics(self._row(mean), self._row(scaled))
        return float(self.models.constraint(latents).max())

    @torch.inference_mode()
    def _probability(self, classifier: torch.nn.Module, mean: np.ndarray) -> float:
        return float(classifier(self._row(mean)))

    def _row(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)[None]
