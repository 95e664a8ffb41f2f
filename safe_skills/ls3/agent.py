"""LS3 as one object: from a camera frame to a plan. What nodes and experiments use."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from safe_skills.data.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from safe_skills.data.vision import MaskConfig
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.observation import MaskObservation, Observation, observation_from
from safe_skills.ls3.planner import Planner, Scoring
from safe_skills.ls3.planner_config import PlannerConfig, planner_profile


class LS3Agent:
    """Models, preprocessing and limits of one task.

    Args:
        config: hyperparameters.
        task: name of the task, as "cable".
        layout: the scene it was trained on; "" where there is but one.
        action_limit: (A,) largest displacement a step, SI units, symmetric.
        observation: what it sees of a frame; the mask of a cable where none is given.
        device: where the models live.
    """

    def __init__(
        self,
        config: LS3Config,
        *,
        task: str,
        layout: str,
        action_limit: np.ndarray,
        observation: Observation | None = None,
        device: str = "cpu",
    ) -> None:
        self.config = config
        self.task, self.layout = task, layout
        self.action_limit = np.asarray(action_limit, dtype=np.float64)
        self.observation = observation or MaskObservation()
        self.device = torch.device(device)
        models = LS3Models(config, len(self.action_limit), self.observation.channels)
        self.models = models.to(self.device)
        self.model_id = f"{task}-untrained"
        self.metrics: dict[str, Any] = {}

    @classmethod
    def load(cls, folder: Path | str, task: str = "cable", device: str = "cpu") -> LS3Agent:
        """Rebuilds an agent from a checkpoint folder.

        Raises:
            CheckpointError: in one line, for a folder that is missing, damaged, of another task,
                or whose weights do not fit its configuration.
            ValueError: in one line: PyTorch finds no GPU where one is asked for.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device: expected cpu, PyTorch finds no CUDA GPU here; got cuda")
        checkpoint = load_checkpoint(folder, method="ls3", task=task)
        try:
            settings = checkpoint.config
            agent = cls(
                LS3Config.from_dict(settings["model"]),
                task=settings["task"],
                layout=settings["layout"],
                action_limit=np.array(settings["action_limit"], dtype=np.float64),
                observation=observation_from(settings),
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
            **self.observation.to_dict(),
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

    @property
    def mask_config(self) -> MaskConfig:
        """How a frame becomes a mask.

        Raises:
            ValueError: the agent sees whole frames.
        """
        if not isinstance(self.observation, MaskObservation):
            raise ValueError(f"expected an agent that sees masks, that of {self.task} sees frames")
        return self.observation.mask

    def planner_config(self, profile: str | PlannerConfig, **changes: Any) -> PlannerConfig:
        """A profile by name with the agent's own settings (`online.planner`), and some changes.

        A full configuration is taken as it is.
        """
        if isinstance(profile, str):
            changes = {**self.config.online.planner, **changes}
        return planner_profile(profile, self.task, **changes)

    def planner(
        self,
        profile: str | PlannerConfig = "realtime",
        seed: int = 0,
        scoring: Scoring | None = None,
    ) -> Planner:
        """Returns a planner over these models; for `profile` see `planner_config`."""
        return Planner(self.models, self.planner_config(profile), self.action_limit, seed, scoring)

    def view(self, image: np.ndarray) -> np.ndarray:
        """What is kept of a camera frame (H, W, 3) uint8 RGB; see `Observation.view`.

        Raises:
            ValueError: for another shape or type, or a frame that is too small.
        """
        return self.observation.view(image)

    def inputs(self, views: np.ndarray) -> np.ndarray:
        """Encoder inputs (n, C, s, s) float32 in [0, 1] for the views of n frames in a row."""
        return self.observation.inputs(views, self.config.encoder.image_size)

    def encode_views(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Beliefs (n, d) mean and stddev for the views of n frames in a row."""
        return self._beliefs(self.inputs(views))

    def encode(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Belief (d,) mean and stddev for one camera frame (H, W, 3) uint8 RGB.

        An agent that sees a stack of frames takes it for an episode's first; see `FrameEncoder`.

        Raises:
            ValueError: as `view` does.
        """
        mean, stddev = self.encode_views(self.view(image)[None])
        return mean[0], stddev[0]

    @torch.inference_mode()
    def _beliefs(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = torch.from_numpy(inputs).to(self.device)
        beliefs = [self.models.encode(part) for part in images.split(256)]
        mean, stddev = (torch.cat(part).cpu().numpy() for part in zip(*beliefs, strict=True))
        return mean, stddev

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


class FrameEncoder:
    """Encodes the frames of an episode as they come, each with those before it where that counts.

    Args:
        agent: that sees them.
    """

    def __init__(self, agent: LS3Agent) -> None:
        self._agent = agent
        self._views: deque[np.ndarray] = deque(maxlen=agent.observation.stack)

    def reset(self) -> None:
        """Forgets the frames: call it at the start of an episode."""
        self._views.clear()

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Belief (d,) mean and stddev for the next camera frame (H, W, 3) uint8 RGB.

        Raises:
            ValueError: as `LS3Agent.view` does.
        """
        self._views.append(self._agent.view(image))
        mean, stddev = self._agent.encode_views(np.stack(self._views))
        return mean[-1], stddev[-1]
