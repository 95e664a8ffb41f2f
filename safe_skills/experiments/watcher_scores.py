"""What a watcher says of held-out episodes: areas under the curve, and curves for its levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from safe_skills.data.latents import LatentReplay
from safe_skills.data.segments import UnsafeLabel
from safe_skills.ls3.calibration import constraint_curve, safe_set_curve
from safe_skills.ls3.watcher import Thresholds, Watcher
from safe_skills.ls3.watcher_training import LatentEpisode
from safe_skills.safer.assurance import one_an_episode
from safe_skills.safer.ranking import auc


@dataclass(frozen=True)
class HeldOut:
    """N steps and M states of episodes that were not trained on.

    Attributes:
        constraint: (N,) f_C one step ahead under the action taken.
        omega: (N,) bool, the step touched.
        first: (N,) bool, the step began a contact.
        step_episode: (N,) number of the episode.
        safe_set: (M,) f_S of the states.
        in_set: (M,) bool, in the sampled safe set.
        state_episode: (M,) number of the episode.
    """

    constraint: np.ndarray
    omega: np.ndarray
    first: np.ndarray
    step_episode: np.ndarray
    safe_set: np.ndarray
    in_set: np.ndarray
    state_episode: np.ndarray


def held_out(watcher: Watcher, episodes: Sequence[LatentEpisode]) -> HeldOut:
    """Looks at every step and state of some episodes."""
    replay = LatentReplay(watcher.latent_dim, watcher.action_dim, discount=1.0)
    replay.extend((e.latents, np.zeros_like(e.latents), e.labels) for e in episodes)
    latents = np.concatenate([item.latents[:-1] for item in episodes])
    actions = np.concatenate([item.labels.actions for item in episodes])
    contacts = [item.labels.costs > 0 for item in episodes]
    numbers = np.arange(len(episodes))
    return HeldOut(
        constraint=watcher.forecast(latents, actions).constraint,
        omega=np.concatenate(contacts),
        first=np.concatenate([UnsafeLabel("first").of(omega) for omega in contacts]),
        step_episode=np.repeat(numbers, [len(omega) for omega in contacts]),
        safe_set=watcher.probabilities("safe_set", replay.mean.numpy()),
        in_set=replay.frame_labels["in_set"].numpy(),
        state_episode=np.repeat(numbers, [len(item.latents) for item in episodes]),
    )


def calibrated(part: HeldOut, rng: np.random.Generator) -> dict[str, Any]:
    """Curves for delta_C and delta_S, from one step and one state of S an episode."""
    steps = one_an_episode(part.step_episode, np.ones(len(part.omega), bool), rng)
    states = one_an_episode(part.state_episode, part.in_set, rng)
    return {
        "delta_c": constraint_curve(part.constraint[steps], part.omega[steps]).to_dict(),
        "delta_s": safe_set_curve(part.safe_set[states]).to_dict(),
    }


def scores(part: HeldOut, levels: Thresholds | None) -> dict[str, Any]:
    """How well both tell good from bad, and what the levels do to these steps.

    Returns:
        AUC of contacts, and of first contacts against steps without any, by f_C one step ahead;
        AUC of the sampled safe set by f_S; the share of steps that delta_C lets through and of
        unsafe ones among them; the share of the safe set's states that delta_S refuses. The
        shares are None without levels.
    """
    settled = part.first | ~part.omega
    shares = dict.fromkeys(("let_through", "unsafe_let_through", "safe_set_refused"))
    if levels is not None:
        through = part.constraint <= levels.delta_c.value
        shares = {
            "let_through": float(through.mean()),
            "unsafe_let_through": _share(part.omega[through]),
            "safe_set_refused": _share(part.safe_set[part.in_set] < levels.delta_s.value),
        }
    return {
        "steps": len(part.omega),
        "unsafe_share": float(part.omega.mean()),
        "constraint_auc": auc(-part.constraint, part.omega),
        "first_contact_auc": auc(-part.constraint[settled], part.first[settled]),
        "safe_set_auc": auc(part.safe_set, ~part.in_set),
        **shares,
    }


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
