"""Every equation against a closed form or autograd."""

import math

import numpy as np
import torch
from torch.distributions import Normal, kl_divergence

from safe_skills.data.latents import returns_to_go
from safe_skills.ls3 import losses


def test_kl_equals_torchs():
    mean, stddev = torch.randn(5, 3), torch.rand(5, 3) + 0.1
    expected = kl_divergence(Normal(mean, stddev), Normal(torch.zeros(5, 3), torch.ones(5, 3)))
    torch.testing.assert_close(losses.kl_to_standard_normal(mean, stddev), expected)


def test_vae_loss_by_hand():
    images, reconstruction = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)
    mean, stddev = torch.ones(2, 3), torch.ones(2, 3)
    loss = losses.vae_loss(images, reconstruction, mean, stddev, beta=0.1)
    assert math.isclose(float(loss), 0.25 + 0.1 * 0.5, rel_tol=1e-6)


def test_gaussian_nll_equals_torchs_density():
    target, mean, log_variance = torch.randn(3, 4, 2)
    density = Normal(mean, torch.exp(0.5 * log_variance)).log_prob(target)
    expected = -(density + 0.5 * math.log(2 * math.pi)).mean()
    torch.testing.assert_close(losses.gaussian_nll(target, mean, log_variance), expected)


def test_returns_to_go_by_definition():
    rewards = torch.tensor([-1.0, -1.0, 0.0, -1.0])
    gamma = 0.9
    own = [sum(gamma**i * float(rewards[t + i]) for i in range(4 - t)) for t in range(4)]
    later = [sum(gamma**i * float(rewards[t + i]) for i in range(1, 4 - t)) for t in range(4)]
    np.testing.assert_allclose(returns_to_go(rewards, gamma), own, rtol=1e-6)
    np.testing.assert_allclose(returns_to_go(rewards, gamma, own_reward=False), later, rtol=1e-6)


def test_returns_with_own_reward_solve_the_one_step_target():
    rewards = torch.tensor([-1.0, -1.0, -1.0, 0.0])
    returns = returns_to_go(rewards, 0.99)
    known = torch.tensor([float("nan")] * 3 + [0.0])
    following = torch.cat((returns[1:], torch.full((1,), 123.0)))
    torch.testing.assert_close(losses.value_target(rewards, following, known, 0.99), returns)


def test_value_target_prefers_what_is_known():
    rewards = torch.tensor([-1.0, 0.0, -1.0])
    known = torch.tensor([float("nan"), 0.0, -5.0])
    following = torch.tensor([[-10.0, -10.0, -10.0]])
    expected = torch.tensor([[-1.0 - 9.0, 0.0, -1.0 - 4.5]])
    torch.testing.assert_close(losses.value_target(rewards, following, known, 0.9), expected)


def test_safe_set_target_by_definition():
    in_set = torch.tensor([1.0, 0.0, 0.0])
    following = torch.tensor([0.2, 0.8, 0.0])
    target = losses.safe_set_target(in_set, following, gamma_s=0.5)
    torch.testing.assert_close(target, torch.tensor([1.0, 0.4, 0.0]))
    torch.testing.assert_close(losses.safe_set_target(in_set, following, gamma_s=0.0), in_set)
