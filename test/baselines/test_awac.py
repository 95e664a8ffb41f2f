"""AWAC: weights, the Gaussian, and both losses against closed forms."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from track import CONFIG, SPACES, offline_replay

from safe_skills.baselines.awac import AdvantageWeighted, advantage_weights
from safe_skills.baselines.replay import PixelReplay
from safe_skills.data.settings import ConfigError


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def agent(replay=None, **changes):
    config = dataclasses.replace(CONFIG, awac=dataclasses.replace(CONFIG.awac, **changes))
    return AdvantageWeighted(SPACES, config, replay or offline_replay(), 0)


advantages = st.lists(st.floats(-20, 20), min_size=1, max_size=10)


@given(advantages, st.floats(0.1, 10))
def test_weights_are_the_exponential_of_the_advantage(values, scale):
    found = advantage_weights(torch.tensor(values, dtype=torch.float64), scale, 100.0)
    expected = np.minimum(np.exp(np.array(values) / scale), 100.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@given(advantages, st.floats(0.1, 10), st.floats(-50, 50))
def test_normalized_weights_have_a_mean_of_one_and_ignore_a_common_part(values, scale, common):
    values = torch.tensor(values, dtype=torch.float64)
    found = advantage_weights(values, scale)
    assert found.mean().item() == pytest.approx(1.0)
    plain = advantage_weights(values, scale, np.inf)
    np.testing.assert_allclose(found, plain / plain.mean(), rtol=1e-6)
    np.testing.assert_allclose(advantage_weights(values + common, scale), found, rtol=1e-6)


def test_the_policy_is_a_gaussian_with_a_bounded_spread():
    made = agent()
    batch = made.replay.sample(4, ("demo",))
    with torch.no_grad():
        made.actor.spread.copy_(torch.tensor([0.0, 100.0]))
        policy = made.actor(batch.observations)
    mean, deviations = policy.mean.numpy(), np.exp([-3.0, 0.0])
    assert (np.abs(mean) < 1).all()
    expected = norm.logpdf(batch.actions.numpy(), mean, deviations).sum(axis=1)
    np.testing.assert_allclose(policy.log_prob(batch.actions), expected, rtol=1e-4)


@pytest.mark.parametrize("normalized", [True, False])
def test_a_step_takes_the_gradient_of_the_weighted_likelihood(normalized):
    """Another agent of the same seed makes the same draws; its loss is written out."""
    made, other = agent(normalized=normalized), agent(normalized=normalized)
    generator = torch.get_rng_state()
    losses = made.learn()
    torch.set_rng_state(generator)
    own = other.settings
    batch = other.replay.sample(own.batch_size, ("demo", "random", "constraint", "online"))
    with torch.no_grad():
        following = other.actor(batch.next_observations).sample().clamp(-1, 1)
        twins = other.critic_target(batch.next_observations, following)
        target = batch.rewards - own.penalty * batch.costs
        target += own.discount * torch.minimum(*twins)
    errors = [(q - target).square().mean() for q in other.critic(batch.observations, batch.actions)]
    assert losses["critic"] == pytest.approx(sum(errors).item() / 2, rel=1e-5)

    policy = other.actor(batch.observations)
    mine = policy.sample().clamp(-1, 1)
    with torch.no_grad():  # the critics that `made` has now
        gained = torch.minimum(*made.critic(batch.observations, batch.actions))
        gained = (gained - torch.minimum(*made.critic(batch.observations, mine)))[:, 0]
    weights = torch.exp(gained / own.advantage_scale)
    weights = weights / weights.mean() if normalized else weights.clamp(max=own.largest_weight)
    expected = -(weights * policy.log_prob(batch.actions)).mean()
    assert losses["actor"] == pytest.approx(expected.item(), rel=1e-4)
    expected.backward()
    for one, two in zip(made.actor.parameters(), other.actor.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-5)


def test_the_better_of_two_actions_is_learned_though_the_worse_is_as_frequent():
    replay = PixelReplay(SPACES, 0)
    frame = np.full(SPACES.frame_shape, 99, np.uint8)
    for side, reward in ((0.6, 0.0), (-0.6, -8.0)):
        replay.start(frame)
        action = np.array([side, 0.0], np.float32)
        replay.add(frame, action, reward, 0.0, kind="random", terminated=True)
    made = agent(replay, learning_rate=3e-2, batch_size=16, advantage_scale=1.0)
    (phase,) = made.phases()
    for _ in range(80):
        phase.step()
    seen = np.concatenate([frame, frame])
    assert made.choose(seen, explore=False).executed[0] == pytest.approx(0.6, abs=0.1)
    drawn = [made.choose(seen, explore=True).executed for _ in range(20)]
    assert len(set(map(tuple, drawn))) == 20 and np.abs(drawn).max() <= 1.0


def test_a_scale_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="awac.advantage_scale: expected more than 0, got 0"):
        agent(advantage_scale=0.0)
