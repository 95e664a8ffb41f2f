"""The networks of a skill prior as one module: encoder, posterior, flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safe_skills.safer.config import SaferConfig
from safe_skills.safer.encoder import StateEncoder
from safe_skills.safer.flow import ConditionalRealNVP
from safe_skills.safer.posterior import SafetyPosterior, kl_to_standard_normal


class SkillPriorModels(nn.Module):
    """psi(s), q(c | Lambda) and f(z; s, c).

    Args:
        config: sizes.
        action_dim: A.
    """

    def __init__(self, config: SaferConfig, action_dim: int) -> None:
        super().__init__()
        self.config = config
        features, context = config.encoder.features, config.posterior.context_size
        self.encoder = StateEncoder(config.encoder)
        self.posterior = SafetyPosterior(config.posterior, features) if context else None
        self.flow = ConditionalRealNVP(config.flow, action_dim, features + context)

    def context(self, features: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and stddev (B, C) of c; the stddev is 0 where c is deterministic, C may be 0.

        Args:
            features: (F, d).
            windows: (B, w) indices into `features`, negative for padding.
        """
        if self.posterior is None:
            empty = features.new_zeros(len(windows), 0)
            return empty, empty
        mean, stddev = self.posterior(features, windows)
        if self.config.posterior.kind == "deterministic":
            stddev = torch.zeros_like(stddev)
        return mean, stddev

    def kl(self, mean: Tensor, stddev: Tensor) -> Tensor:
        """KL(q(c | Lambda) || N(0, I)) (B,); 0 where c is deterministic or absent."""
        if self.config.posterior.kind != "gaussian":
            return mean.new_zeros(len(mean))
        return kl_to_standard_normal(mean, stddev)

    def decode(self, z: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """Actions (B, A) = f(z; s, c)."""
        return self.flow(z, torch.cat((features, context), -1))[0]

    def log_prob(self, action: Tensor, features: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(a | s, c) (B,) (eq. 1) and z (B, A)."""
        return self.flow.log_prob(action, torch.cat((features, context), -1))
