"""Bellman backups of twin critics, for rewards and for risk."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def smallest(values: Sequence[Tensor]) -> Tensor:
    """(B, 1) the smaller of twin critics' values (B, 1), against overestimation."""
    return torch.cat(list(values), dim=1).min(dim=1, keepdim=True).values


def value_target(
    rewards: Tensor, terminated: Tensor, next_values: Tensor, discount: float
) -> Tensor:
    """(B, 1) r + (1 - terminated) gamma V(s'); a time limit does not terminate."""
    return rewards + (1.0 - terminated) * discount * next_values


def risk_target(costs: Tensor, terminated: Tensor, next_risks: Tensor, discount: float) -> Tensor:
    """(B, 1) c + (1 - c) gamma_risk Q_risk(s', a') (Recovery RL eq. 2); no risk after the end."""
    return costs + (1.0 - costs) * (1.0 - terminated) * discount * next_risks


def twin_loss(values: Sequence[Tensor], target: Tensor) -> Tensor:
    """Half the sum of the critics' mean squared errors, as in Stable-Baselines3."""
    return 0.5 * sum(F.mse_loss(value, target) for value in values)
