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


def gaussian_nll_gradient(
    change: Tensor, outputs: Tensor, bounds: tuple[float, float] | None
) -> tuple[Tensor, Tensor]:
    """`gaussian_nll` of a `DynamicsEnsemble`, and its gradient.

    Args:
        change: (E, B, d) z' - z.
        outputs: (E, B, 2 d) of its network: predicted change and log-variance before the bounds.
        bounds: soft bounds of the log-variance, or None.

    Returns:
        The loss and its gradient (E, B, 2 d) by `outputs`.
    """
    predicted, log_variance = outputs.chunk(2, -1)
    slope = None
    if bounds is not None:
        low, high = bounds
        below_high = high - log_variance
        above_low = high - low - F.softplus(below_high)
        log_variance = low + F.softplus(above_low)
        slope = torch.sigmoid(below_high).mul_(torch.sigmoid(above_low))
    gradient = torch.empty_like(outputs)
    by_change, by_log_variance = gradient.chunk(2, -1)
    error = change - predicted
    weighted = error * torch.exp(-log_variance)
    torch.mul(weighted, -1.0 / change.numel(), out=by_change)
    square = weighted.mul_(error)
    loss = 0.5 * (square.mean() + log_variance.mean())
    torch.mul(1.0 - square, 0.5 / change.numel(), out=by_log_variance)
    if slope is not None:
        by_log_variance.mul_(slope)
    return loss, gradient


def huber(values: Tensor, target: Tensor, expectile: float = 0.5) -> Tensor:
    """Mean Huber loss (threshold 1); all of one shape.

    What misses a target counts 2 expectile times where it is below the target and 2 (1 - expectile)
    times where it is above, as in implicit Q-learning (Kostrikov et al. 2021, eq. 5).
    """
    if expectile == 0.5:
        return F.smooth_l1_loss(values, target)
    weights = _expectile_weights(values, target, expectile)
    return (weights * F.smooth_l1_loss(values, target, reduction="none")).mean()


def huber_gradient(values: Tensor, target: Tensor, expectile: float = 0.5) -> tuple[Tensor, Tensor]:
    """`huber`, and its gradient by `values`."""
    gradient = (values - target).clamp_(-1.0, 1.0).div_(values.numel())
    if expectile != 0.5:
        gradient.mul_(_expectile_weights(values, target, expectile))
    return huber(values, target, expectile), gradient


def _expectile_weights(values: Tensor, target: Tensor, expectile: float) -> Tensor:
    return torch.where(target > values, 2.0 * expectile, 2.0 * (1.0 - expectile))


def cross_entropy_gradient(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean binary cross-entropy, and its gradient by `logits`; all of one shape."""
    gradient = torch.sigmoid(logits).sub_(target).div_(logits.numel())
    return F.binary_cross_entropy_with_logits(logits, target), gradient


def value_target(
    rewards: Tensor,
    next_values: Tensor,
    known_next_values: Tensor,
    discount: float | Tensor,
    floors: Tensor | None = None,
) -> Tensor:
    """One-step target r_t + gamma V'(z_{t+1}) (LS3 eq. 10), or that of k steps.

    There is no mask at the time limit. Where the rest of the episode is known it replaces V': 0
    in the goal, and after a violation, which freezes the state, -1 for each step that is left.

    Args:
        rewards: (B,), of k steps their discounted sum.
        next_values: (..., B) from the target network, k steps later.
        known_next_values: (B,), NaN where the target network is to be used.
        discount: gamma, or (B,) gamma^k.
        floors: (B,) below which no target is.
    """
    known = known_next_values.isnan().logical_not()
    following = torch.where(known, known_next_values.nan_to_num(), next_values)
    target = rewards + discount * following
    return target if floors is None else torch.maximum(target, floors)


def safe_set_target(in_set: Tensor, next_probability: Tensor, gamma_s: float) -> Tensor:
    """max(1_S(s_t), gamma_S f_S(s_{t+1})) (LS3 eq. 11).

    Args:
        in_set: (B,) 1 where s_t lies on an episode that reached the goal, else 0.
        next_probability: (B,) f_S of the next latent, no gradient.
        gamma_s: gamma_S; 0 gives plain classification ("BC SS").
    """
    return torch.maximum(in_set, gamma_s * next_probability)
