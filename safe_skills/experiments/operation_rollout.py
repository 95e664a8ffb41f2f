"""Episodes of the scripted policy in the Operation environment, and figures of many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from safe_skills.envs.operation import OperationEnv
from safe_skills.envs.operation_policy import ScriptedGrasp
from safe_skills.envs.operation_tasks import OperationTask

NOISE = (0.05, 0.5)
"""Range that an episode's actuation noise is drawn from."""


@dataclass(frozen=True)
class Rollout:
    """One episode of n steps.

    Attributes:
        observations: n + 1 of them.
        actions: (n, 5) float32.
        rewards: (n,) float32.
        costs: (n,) float32, omega.
        success: whether the object was extracted.
        violation: what touched the container first, "finger", "arm" or "".
        noise: the policy's.
    """

    observations: list[np.ndarray]
    actions: np.ndarray
    rewards: np.ndarray
    costs: np.ndarray
    success: bool
    violation: str
    noise: float


def noise_of(seed: int, noise: tuple[float, float]) -> tuple[float, np.random.Generator]:
    """Draws an episode's actuation noise; also returns the source of all further chance."""
    rng = np.random.default_rng([seed, 1])
    return float(rng.uniform(*noise)), rng


def play(
    env: OperationEnv,
    task: int | OperationTask,
    seed: int,
    noise: tuple[float, float] = NOISE,
) -> Rollout:
    """Runs the scripted policy for an episode, which depends on the arguments alone.

    Args:
        env: the environment.
        task: to go over to.
        seed: of the scene and the noise.
        noise: range that the noise is drawn from.
    """
    level, rng = noise_of(seed, noise)
    policy = ScriptedGrasp(rng, level)
    observation, info = env.reset(seed=seed, options={"task": task})
    observations, actions, rewards, costs, touched = [observation], [], [], [], []
    done = False
    while not done:
        action = policy(env.state).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        costs.append(info["cost"])
        touched.append(info["violation"])
        done = terminated or truncated
    return Rollout(
        observations=observations,
        actions=np.stack(actions),
        rewards=np.asarray(rewards, dtype=np.float32),
        costs=np.asarray(costs, dtype=np.float32),
        success=info["success"],
        violation=next(filter(None, touched), ""),
        noise=level,
    )


def figures(episodes: Iterable[tuple[bool, np.ndarray]]) -> dict[str, Any]:
    """Rates of some episodes, given as (success, costs (n,)).

    Returns:
        "episodes", "steps", "success_rate", "contact_rate" (share of episodes with any contact),
        "clean_success_rate" (success without contact), "unsafe_steps" and "first_contacts" (shares
        of steps that touch, and that begin a contact) and "mean_length".
    """
    rows = []
    for success, costs in episodes:
        contact = costs > 0
        began = contact & ~np.append(False, contact[:-1])
        clean = success and not contact.any()
        rows.append((success, contact.any(), clean, contact.sum(), began.sum(), len(costs)))
    success, touched, clean, contacts, began, lengths = np.asarray(rows, dtype=float).T
    steps = lengths.sum()
    return {
        "episodes": len(rows),
        "steps": int(steps),
        "success_rate": float(success.mean()),
        "contact_rate": float(touched.mean()),
        "clean_success_rate": float(clean.mean()),
        "unsafe_steps": float(contacts.sum() / steps),
        "first_contacts": float(began.sum() / steps),
        "mean_length": float(lengths.mean()),
    }
