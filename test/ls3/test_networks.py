"""The networks against plain renderings of the same formulas."""

import math

import pytest
import torch
from torch import nn

from safe_skills.ls3.config import DynamicsConfig, EncoderConfig, ValueConfig
from safe_skills.ls3.networks import VAE, DynamicsEnsemble, EnsembleMLP, ValueEnsemble


@pytest.mark.parametrize(
    ("architecture", "size"), [("compact", 32), ("compact", 64), ("planet", 64)]
)
def test_vae_shapes(architecture, size):
    vae = VAE(EncoderConfig(architecture=architecture, image_size=size))
    mean, stddev = vae.encode(torch.rand(3, 1, size, size))
    assert mean.shape == stddev.shape == (3, 32)
    assert (stddev > 0).all()
    assert vae.decode(mean).shape == (3, 1, size, size)


def test_planet_encoder_has_the_papers_feature_sizes():
    vae = VAE(EncoderConfig(architecture="planet", image_size=64))
    sides, images = [], torch.rand(1, 1, 64, 64)
    for layer in vae.trunk:
        images = layer(images)
        if isinstance(layer, nn.Conv2d):
            sides.append(images.shape[-1])
    assert sides == [31, 10, 4, 1]


def test_ensemble_equals_its_members_one_by_one():
    ensemble = EnsembleMLP(3, (4, 8, 8, 2), nn.SiLU)
    inputs = torch.randn(3, 5, 4)
    expected = []
    for member in range(3):
        hidden = inputs[member]
        for i, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
            hidden = hidden @ weight[member] + bias[member]
            hidden = nn.functional.silu(hidden) if i < 2 else hidden
        expected.append(hidden)
        alone = ensemble(inputs[member], member)
        torch.testing.assert_close(alone[0], hidden)
    torch.testing.assert_close(ensemble(inputs), torch.stack(expected))
    shared = ensemble(inputs[0])
    torch.testing.assert_close(shared[1], ensemble(inputs[0], 1)[0])


def test_log_variance_stays_within_its_soft_bounds():
    dynamics = DynamicsEnsemble(DynamicsConfig(log_variance_bounds=(-10.0, 0.5)), 4, 2)
    with torch.no_grad():
        for weight in dynamics.net.weights:
            weight.mul_(50.0)
    mean, log_variance = dynamics(100 * torch.randn(64, 4), torch.randn(64, 2))
    assert mean.shape == log_variance.shape == (5, 64, 4)
    assert log_variance.min() >= -10.0 - 1e-3
    # The lower bound is added after the upper one, so it may lift the upper by softplus(-10.5).
    assert log_variance.max() <= 0.5 + math.log1p(math.exp(-10.5)) + 1e-4


def test_dynamics_predicts_a_change():
    dynamics = DynamicsEnsemble(DynamicsConfig(), 4, 2)
    with torch.no_grad():
        for parameters in (*dynamics.net.weights, *dynamics.net.biases):
            parameters.zero_()
    latents = torch.randn(7, 4)
    mean, _ = dynamics(latents, torch.randn(7, 2))
    torch.testing.assert_close(mean, latents.expand(5, 7, 4))


def test_value_is_the_members_mean_in_steps():
    value = ValueEnsemble(ValueConfig(scale=10.0), 4)
    latents = torch.randn(6, 4)
    torch.testing.assert_close(value(latents), 10.0 * value.net(latents).squeeze(-1).mean(0))
