"""The learned models of LS3 in one module, over normalized latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.inference import ClassifierKernel, DynamicsKernel, Kernels, ValueKernel
from safe_skills.ls3.networks import VAE, Classifier, DynamicsEnsemble, ValueEnsemble


class LS3Models(nn.Module):
    """Encoder, dynamics, value, goal, constraint and safe set (LS3 fig. 2).

    Once the encoder is trained its latents are shifted and scaled to zero mean and unit variance
    a dimension over the training frames; every other model sees only normalized latents.

    Args:
        config: hyperparameters.
        action_dim: A.
        channels: C, of an image.
    """

    def __init__(self, config: LS3Config, action_dim: int, channels: int = 1) -> None:
        super().__init__()
        d = config.encoder.latent_dim
        self.latent_dim, self.action_dim, self.channels = d, action_dim, channels
        self.vae = VAE(config.encoder, channels)
        self.dynamics = DynamicsEnsemble(config.dynamics, d, action_dim)
        self.value = ValueEnsemble(config.value, d)
        self.goal = Classifier(config.goal.hidden, d)
        self.constraint = Classifier(config.constraint.hidden, d)
        self.safe_set = Classifier(config.safe_set.hidden, d)
        self.register_buffer("latent_shift", torch.zeros(d))
        self.register_buffer("latent_scale", torch.ones(d))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the normalized belief, mean and stddev (B, d), for images in [0, 1]."""
        mean, stddev = self.vae.encode(images)
        return (mean - self.latent_shift) / self.latent_scale, stddev / self.latent_scale

    def fit_normalization(self, mean: Tensor, stddev: Tensor) -> None:
        """Sets shift and scale from raw beliefs (n, d) of the training frames."""
        self.latent_shift.copy_(mean.mean(0))
        spread = (mean.var(0) + stddev.square().mean(0)).sqrt()
        self.latent_scale.copy_(spread.clamp(min=1e-6))

    def decode(self, latents: Tensor) -> Tensor:
        """Returns images (B, C, size, size) for normalized latents (B, d)."""
        return self.vae.decode(latents * self.latent_scale + self.latent_shift)

    def kernels(self, dtype: torch.dtype) -> Kernels:
        """Returns what a planner evaluates: a snapshot of the weights in a precision."""
        return Kernels(
            dynamics=DynamicsKernel(self.dynamics, dtype),
            value=ValueKernel(self.value, dtype),
            goal=ClassifierKernel(self.goal, dtype),
            constraint=ClassifierKernel(self.constraint, dtype),
            safe_set=ClassifierKernel(self.safe_set, dtype),
        )
