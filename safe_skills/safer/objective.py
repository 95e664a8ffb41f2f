"""The contrastive objective (SAFER eq. 4, Algorithm 2) and its freeze rule."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from safe_skills.safer.config import ObjectiveConfig


class Terms(NamedTuple):
    """The objective of one batch and what it is made of; scalars.

    Attributes:
        loss: to be minimized.
        safe: mean log p(a | s, c) of the safe steps.
        unsafe: of the unsafe steps, before any freezing.
        kl_safe: mean KL(q(. | Lambda) || p) of the safe steps.
        kl_unsafe: of the unsafe steps.
        frozen: share of the unsafe steps that the freeze rule keeps from the gradient.
    """

    loss: Tensor
    safe: Tensor
    unsafe: Tensor
    kl_safe: Tensor
    kl_unsafe: Tensor
    frozen: Tensor


def objective(
    log_prob: Tensor, kl: Tensor, unsafe: Tensor, lambda_: float, config: ObjectiveConfig
) -> Terms:
    """-(L_safe - lambda L_unsafe - w KL_safe - w KL_unsafe), each a mean over its steps.

    "Freeze this term if it starts to diverge" (SAFER 4.2): no gradient comes from the unsafe steps
    whose log p lies more than `freeze_margin` below L_safe ("sample"), or from any while their
    mean does ("batch").

    Args:
        log_prob: (B,) log p(a | s, c) with c ~ q(. | Lambda).
        kl: (B,) KL(q(. | Lambda) || p(c)); zeros without a posterior.
        unsafe: (B,) bool, of D_unsafe, else of D_safe.
        lambda_: weight of the unsafe term.
        config: KL weight and freeze rule. Without `contrastive`, unsafe steps count for nothing.
    """
    safe_term, safe_kl = _mean(log_prob, ~unsafe), _mean(kl, ~unsafe)
    unsafe_term, unsafe_kl = _mean(log_prob, unsafe), _mean(kl, unsafe)
    loss = config.kl_weight * safe_kl - safe_term
    frozen = torch.zeros(())
    # A batch without safe steps has no floor, and one without unsafe steps nothing to lower.
    if config.contrastive and unsafe.any() and not unsafe.all():
        values = log_prob[unsafe]
        floor = safe_term.detach() - config.freeze_margin
        if config.freeze == "sample":
            below = values < floor
        elif config.freeze == "batch":
            below = (unsafe_term < floor).expand_as(values)
        else:
            below = torch.zeros_like(values, dtype=torch.bool)
        frozen = below.float().mean()
        loss = loss + lambda_ * torch.where(below, values.detach(), values).mean()
    if config.contrastive:
        loss = loss + config.kl_weight * unsafe_kl
    return Terms(
        loss,
        safe_term.detach(),
        unsafe_term.detach(),
        safe_kl.detach(),
        unsafe_kl.detach(),
        frozen,
    )


def _mean(values: Tensor, keep: Tensor) -> Tensor:
    """Mean of the values kept; 0 where there are none."""
    return torch.where(keep, values, 0.0).sum() / keep.sum().clamp(min=1)
