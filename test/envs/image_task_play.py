"""What the tests of LS3's simulated tasks share: playing episodes."""

import hashlib
from typing import NamedTuple

import numpy as np


class Played(NamedTuple):
    """What an episode came to."""

    total: float
    success: bool
    violation: str
    cost: float
    actions: np.ndarray


def start(env, seed, random_start=False):
    """A reset."""
    return env.reset(seed=seed, options={"random_start": True} if random_start else None)


def play(env, policy, seed, random_start=False):
    """One whole episode."""
    start(env, seed, random_start)
    rewards, costs, actions = [], [], []
    done = False
    while not done:
        actions.append(policy(env.state))
        _, reward, terminated, truncated, info = env.step(actions[-1])
        rewards.append(reward)
        costs.append(info["cost"])
        done = terminated or truncated
    return Played(sum(rewards), info["success"], info["violation"], sum(costs), np.array(actions))


def play_all(env, make, seeds, random_start=False):
    """One episode a seed, each with a policy of its own."""
    return [play(env, make(np.random.default_rng([s, 1])), s, random_start) for s in seeds]


def wander(env, seed, steps=12, random_start=False):
    """Hash of what is seen in an episode with random actions."""
    digest = hashlib.sha256()
    observation, _ = start(env, seed, random_start)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for name in sorted(observation):
            digest.update(observation[name].tobytes())
        observation, *_ = env.step(rng.uniform(env.action_space.low, env.action_space.high))
    return digest.hexdigest()
