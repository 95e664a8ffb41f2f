"""LS3's losses and targets, one function an equation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_to_standard_normal(mean: Tensor, stddev: Tensor) -> Tensor:
    """KL(N(mean, stddev^2) || N(0, I)), elementwise."""
    return 0.5 * (mean.square() + stddev.square() - 1.0) - stddev.log()


def vae_loss(
    images: Tensor, reconstruction: Tensor, mean: Tensor, stddev: Tensor, beta: float
) -> Tensor:
    """Beta-VAE loss (LS3 eq. 7), averaged over pixels and over latent dimensions.

    Args:
        images: (B, C, size, size) in [0, 1].
        reconstruction: same shape.
        mean: (B, d).
        stddev: (B, d), positive.
        beta: weight of the KL term.
    """
    return F.mse_loss(reconstruction, images) + beta * kl_to_standard_normal(mean, stddev).mean()


def gaussian_nll(target: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Negative log-likelihood of the dynamics (LS3 eq. 8), mean over members, batch, dimensions.

    The constant 0.5 log(2 pi) is left out.
    """
    error = (target - mean).square() * torch.exp(-log_variance)
    return 0.5 * (error + log_variance).mean()


def value_target(
    rewards: Tensor, next_values: Tensor, known_next_values: Tensor, discount: float
) -> Tensor:
    """One-step target r_t + gamma V'(z_{t+1}) (LS3 eq. 10).

    There is no mask at the time limit. Where the rest of the episode is known it replaces V': 0
    in the goal, and after a violation, which freezes the state, -1 for each step that is left.

    Args:
        rewards: (B,).
        next_values: (..., B) from the target network.
        known_next_values: (B,), NaN where the target network is to be used.
        discount: gamma.
    """
    known = known_next_values.isnan().logical_not()
    return rewards + discount * torch.where(known, known_next_values.nan_to_num(), next_values)


def safe_set_target(in_set: Tensor, next_probability: Tensor, gamma_s: float) -> Tensor:
    """max(1_S(s_t), gamma_S f_S(s_{t+1})) (LS3 eq. 11).

    Args:
        in_set: (B,) 1 where s_t lies on an episode that reached the goal, else 0.
        next_probability: (B,) f_S of the next latent, no gradient.
        gamma_s: gamma_S; 0 gives plain classification ("BC SS").
    """
    return torch.maximum(in_set, gamma_s * next_probability)
