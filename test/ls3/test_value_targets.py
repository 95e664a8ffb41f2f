"""What values are learned from: floors of targets, and returns to go online."""

import numpy as np
import torch

from safe_skills.data.latents import EpisodeLabels, LatentReplay
from safe_skills.ls3 import losses
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.learners import ValueLearner
from safe_skills.ls3.models import LS3Models

STATES = 3
DISCOUNT = 0.9


def labels_of(rewards):
    count = len(rewards)
    actions = np.zeros((count, 1), np.float32)
    return EpisodeLabels(actions, np.float32(rewards), np.zeros(count, np.float32), on_policy=True)


def added(replay, states, rewards):
    latents = np.eye(STATES, dtype=np.float32)[states]
    replay.add(latents, np.zeros_like(latents), labels_of(rewards))


def test_floors_are_the_returns_of_what_reached_the_goal():
    replay = LatentReplay(STATES, 1, DISCOUNT)
    added(replay, [0, 1, 2], [-1, 0])
    np.testing.assert_allclose(replay.floors, [-1, 0, 0])
    # It leaves the goal again: what follows says nothing, and counts until then.
    added(replay, [0, 1, 2, 1], [-1, 0, -1])
    np.testing.assert_allclose(replay.floors[3:5], [-1 - DISCOUNT**2, -DISCOUNT])
    assert replay.floors[5] == -torch.inf
    added(replay, [0, 0, 0], [-1, -1])
    assert (replay.floors[6:] == -torch.inf).all() and len(replay.floors) == 8


def learned(**changes):
    """Values of the states: 0 -> 1 -> goal was done four times, 1 -> 1 -> 1 -> 1 eight times."""
    replay = LatentReplay(STATES, 1, DISCOUNT)
    for _ in range(4):
        added(replay, [0, 1, 2], [-1, 0])
    for _ in range(8):
        added(replay, [1, 1, 1, 1], [-1, -1, -1])
    value = {"hidden": [32], "learning_rate": 1e-2, "monte_carlo_share": 0.0, "members": 2}
    value |= {"discount": DISCOUNT, "target_period": 5, **changes}
    config = LS3Config.from_dict({"value": value, "encoder": {"latent_dim": STATES}})
    torch.manual_seed(0)
    models = LS3Models(config, 1, 1)
    learner = ValueLearner(models, config, replay, torch.Generator().manual_seed(0))
    for _ in range(600):
        learner.step()
    with torch.no_grad():
        return models.value(torch.eye(STATES)).numpy()


def test_what_was_done_keeps_its_value_where_failures_lie_beyond():
    # Of 28 steps from state 1, 4 lead to the goal and 24 back: V = 24/28 (-1 + 0.9 V).
    second = -(24 / 28) / (1 - DISCOUNT * 24 / 28)
    found = learned(floor=False)
    np.testing.assert_allclose(found, [-1 + DISCOUNT * second, second, 0], atol=0.35)
    np.testing.assert_allclose(learned(floor=True), [-1, second, 0], atol=0.35)


def test_online_updates_can_regress_on_returns():
    # From state 1 the goal was reached at once 4 times; 24 steps have 3, 2 or 1 left, in vain.
    mean = -8 * ((1 + DISCOUNT + DISCOUNT**2) + (1 + DISCOUNT) + 1) / 28
    np.testing.assert_allclose(learned(iterations=0, returns_online=True), [-1, mean, 0], atol=0.1)
    bootstrapped = learned(iterations=0)
    np.testing.assert_allclose(bootstrapped, learned(iterations=2000), atol=0)
    assert bootstrapped[1] < 2 * mean


def test_a_value_is_at_least_its_floor_where_nothing_else_is_known():
    replay = LatentReplay(STATES, 1, DISCOUNT)
    added(replay, [0, 1, 2], [-1, 0])
    batch = replay.value_targets(100, torch.Generator().manual_seed(0))
    unlikely = torch.full((100,), -100.0)
    known = batch.known_next_values
    target = losses.value_target(batch.rewards, unlikely, known, batch.discounts, batch.floors)
    assert (target >= batch.floors - 1e-6).all() and target.min() >= -1.001
    assert losses.value_target(batch.rewards, unlikely, known, batch.discounts).min() < -90
