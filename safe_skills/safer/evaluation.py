"""What a prior says of held-out steps: densities, abstract actions, ranking, assurances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from safe_skills.data.segments import Split, Steps
from safe_skills.safer.assurance import (
    AssuranceError,
    Radii,
    choose_eta,
    one_an_episode,
    share_bound,
)
from safe_skills.safer.config import AssuranceConfig
from safe_skills.safer.models import SkillPriorModels
from safe_skills.safer.ranking import ranking

CHUNK = 2048


@dataclass(frozen=True)
class Encoded:
    """N steps as the prior sees them, with the posterior's mean as c.

    Attributes:
        log_prob: (N,) log p(a | s, E[c]).
        radius: (N,) |z|_inf.
        kl: (N,) KL(q(c | Lambda) || p(c)).
    """

    log_prob: np.ndarray
    radius: np.ndarray
    kl: np.ndarray


@torch.inference_mode()
def encode_steps(models: SkillPriorModels, steps: Steps) -> Encoded:
    """Encodes every frame once and inverts every action."""
    images = torch.from_numpy(steps.images)
    features = torch.cat([models.encoder(part) for part in images.split(CHUNK)])
    window = models.config.posterior.window if models.posterior else 1
    windows = steps.windows(np.arange(len(steps)), window)
    actions = torch.from_numpy(steps.actions)
    parts = []
    for first in range(0, len(steps), CHUNK):
        rows = slice(first, first + CHUNK)
        mean, stddev = models.context(features, torch.from_numpy(windows[rows]))
        log_prob, z = models.log_prob(actions[rows], features[rows], mean)
        parts.append((log_prob, z.abs().amax(-1), models.kl(mean, stddev)))
    return Encoded(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def rank_steps(*parts: tuple[Steps, Encoded]) -> dict[str, Any]:
    """Densities and rankings (SAFER Fig. 1) over the steps of one or more data sets.

    Returns:
        Medians of log p; `pairs`: the ranking of all steps, unsafe where omega is 1;
        `first_contacts`: that of the steps of D_safe and those that begin a contact.
    """
    log_prob, kl = (
        np.concatenate([getattr(encoded, name) for _, encoded in parts])
        for name in ("log_prob", "kl")
    )
    omega, first, safe, unsafe = (
        np.concatenate([getattr(steps, name) for steps, _ in parts])
        for name in ("omega", "first", "safe", "unsafe")
    )
    settled = first | safe
    return {
        "steps": len(log_prob),
        "median_log_prob_safe": _median(log_prob[safe]),
        "median_log_prob_unsafe": _median(log_prob[unsafe]),
        "mean_kl": float(kl.mean()),
        "pairs": ranking(log_prob, omega),
        "first_contacts": ranking(log_prob[settled], first[settled]),
    }


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def radii_of(steps: Steps, encoded: Encoded, mix: float | None) -> Radii:
    """|z|_inf of the safe and unsafe steps."""
    return Radii(encoded.radius[steps.safe], encoded.radius[steps.unsafe], mix)


def assure(
    calibration: Radii, certification: Radii, config: AssuranceConfig, seed: int
) -> list[dict[str, Any]]:
    """An eta for every allowed share, and what held-out steps that did not choose it say of it.

    Args:
        calibration: chooses eta.
        certification: independent steps, one an episode and class.
        config: method, shares, confidence.
        seed: of Algorithm 3.

    Returns:
        One mapping a share; `eta` is None, and `reason` says why, where there is none.
    """
    levels = []
    for allowed in config.allowed:
        level: dict[str, Any] = {"allowed": allowed, "eta": None}
        try:
            eta = choose_eta(config.method, calibration, allowed, config.confidence, seed)
        except AssuranceError as error:
            levels.append(level | {"reason": str(error)})
            continue
        safe, unsafe = certification.counts(eta)
        levels.append(
            level
            | {
                "eta": eta,
                "unsafe_share": calibration.unsafe_share(eta),
                "certified_share": certification.unsafe_share(eta),
                "certified_bound": share_bound(certification, eta, config.confidence),
                "certified_safe": [safe, len(certification.safe)],
                "certified_unsafe": [unsafe, len(certification.unsafe)],
            }
        )
    return levels


def evaluate(
    models: SkillPriorModels, split: Split, config: AssuranceConfig, seed: int
) -> dict[str, Any]:
    """Metrics of a prior: rankings on held-out episodes and tasks, and the assurances."""
    rng = np.random.default_rng(seed)
    chosen, held = ((part, encode_steps(models, part)) for part in split.held_out)
    safe, unsafe = (held[1].radius[rows] for rows in independent(held[0], rng))
    certification = Radii(safe, unsafe, config.unsafe_mix)
    metrics = {
        "held_out_episodes": rank_steps(chosen, held),
        "assurance": assure(radii_of(*chosen, config.unsafe_mix), certification, config, seed),
    }
    if split.unseen is not None:
        unseen = split.unseen, encode_steps(models, split.unseen)
        metrics["held_out_tasks"] = rank_steps(unseen)
    return metrics


def independent(steps: Steps, rng: np.random.Generator) -> Sequence[np.ndarray]:
    """Rows of one safe and one unsafe step an episode that has one."""
    return [one_an_episode(steps.episode, keep, rng) for keep in (steps.safe, steps.unsafe)]
