"""Conditional RealNVP, a = f(z; s, c) (SAFER eq. 1; Dinh et al., 2017), with exact log-densities.

Shapes: B samples, A action components, K components of the condition (psi(s), c).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from safe_skills.safer.config import FlowConfig


class AffineCoupling(nn.Module):
    """Moves some components by a scale and a shift that the others and the condition decide.

    Starts as the identity.

    Args:
        kept: (A,) bool, the components that stay as they are.
        condition: K.
        config: widths and bound.
    """

    def __init__(self, kept: Tensor, condition: int, config: FlowConfig) -> None:
        super().__init__()
        self.register_buffer("kept", kept.nonzero().squeeze(-1), persistent=False)
        self.register_buffer("moved", (~kept).nonzero().squeeze(-1), persistent=False)
        sizes = (len(self.kept) + condition, *config.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        last = nn.Linear(sizes[-1], 2 * len(self.moved))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(*layers, last)
        self.bound = config.max_log_scale

    def _scale_and_shift(self, values: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat((values[:, self.kept], condition), -1)
        raw, shift = self.net(inputs).chunk(2, dim=-1)
        return self.bound * torch.tanh(raw / self.bound), shift

    def forward(self, values: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the action: values (B, A), and the log-determinant (B,)."""
        log_scale, shift = self._scale_and_shift(values, condition)
        moved = values[:, self.moved] * log_scale.exp() + shift
        return values.index_copy(1, self.moved, moved), log_scale.sum(-1)

    def inverse(self, values: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Towards z: values (B, A), and the log-determinant (B,) of this direction."""
        log_scale, shift = self._scale_and_shift(values, condition)
        moved = (values[:, self.moved] - shift) * (-log_scale).exp()
        return values.index_copy(1, self.moved, moved), -log_scale.sum(-1)


class ConditionalRealNVP(nn.Module):
    """f(z; s, c): couplings that keep the low half, the high half, the low half, ...

    With three of them the high half is moved twice; of five components the high half has three.

    Args:
        config: couplings and their networks.
        action_dim: A, at least 2.
        condition: K.
    """

    def __init__(self, config: FlowConfig, action_dim: int, condition: int) -> None:
        super().__init__()
        if action_dim < 2:
            raise ValueError(f"action_dim: a coupling layer takes 2 or more, got {action_dim}")
        low = torch.arange(action_dim) < action_dim // 2
        self.couplings = nn.ModuleList(
            AffineCoupling(low if i % 2 == 0 else ~low, condition, config)
            for i in range(config.couplings)
        )
        self.action_dim = action_dim

    def forward(self, z: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Action (B, A) and log|det df/dz| (B,) for abstract actions z (B, A)."""
        total = z.new_zeros(len(z))
        for coupling in self.couplings:
            z, log_det = coupling(z, condition)
            total = total + log_det
        return z, total

    def inverse(self, action: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Abstract action z (B, A) and log|det df^-1/da| (B,) for actions (B, A)."""
        total = action.new_zeros(len(action))
        for coupling in reversed(self.couplings):
            action, log_det = coupling.inverse(action, condition)
            total = total + log_det
        return action, total

    def log_prob(self, action: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(a | s, c) (B,) by eq. 1, and z (B, A)."""
        z, log_det = self.inverse(action, condition)
        normal = -0.5 * (z.square().sum(-1) + self.action_dim * math.log(2 * math.pi))
        return normal + log_det, z
