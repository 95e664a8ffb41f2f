"""Gradients written out are those of autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from safe_skills.ls3 import losses
from safe_skills.ls3.config import DynamicsConfig
from safe_skills.ls3.gradients import Backpropagation
from safe_skills.ls3.networks import Classifier, DynamicsEnsemble, EnsembleMLP

EXACT = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "net",
    [
        EnsembleMLP(3, (4, 8, 6, 2), nn.SiLU),
        EnsembleMLP(2, (4, 8, 1), nn.ReLU),
        Classifier((8, 6), 4),
    ],
    ids=["silu", "relu", "classifier"],
)
def test_backpropagation_is_autograds(net):
    members = getattr(net, "members", 1)
    inputs = torch.randn(members, 5, 4)
    expected = net.logits(inputs)[..., None] if isinstance(net, Classifier) else net(inputs)
    weight = torch.randn_like(expected)
    gradients = torch.autograd.grad((weight * expected).sum(), list(net.parameters()))
    network = Backpropagation(net)
    for _ in range(2):  # the second pass overwrites the first, it does not add
        torch.testing.assert_close(network.forward(inputs), expected.detach(), **EXACT)
        network.backward(weight)
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, **EXACT)


def test_weights_loaded_later_are_the_ones_in_use():
    net, other = (EnsembleMLP(2, (3, 4, 1), nn.ReLU) for _ in range(2))
    network = Backpropagation(net)
    net.load_state_dict(other.state_dict())
    inputs = torch.randn(2, 5, 3)
    torch.testing.assert_close(network.forward(inputs), other(inputs).detach())


def test_other_activations_are_refused():
    with pytest.raises(TypeError, match="expected SiLU or ReLU, got Tanh"):
        Backpropagation(EnsembleMLP(2, (3, 4, 1), nn.Tanh))


@pytest.mark.parametrize("bounds", [(-10.0, 0.5), None])
def test_gradient_of_the_likelihood(bounds):
    dynamics = DynamicsEnsemble(DynamicsConfig(members=3, log_variance_bounds=bounds), 4, 2)
    latents, actions, following = (torch.randn(3, 6, size) for size in (4, 2, 4))
    outputs = (5 * torch.randn(3, 6, 8)).requires_grad_()
    dynamics.net.forward = lambda *_: outputs
    expected = losses.gaussian_nll(following, *dynamics(latents, actions))
    expected.backward()
    loss, gradient = losses.gaussian_nll_gradient(following - latents, outputs.detach(), bounds)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, outputs.grad, **EXACT)


@pytest.mark.parametrize(
    ("with_gradient", "plain"),
    [
        (losses.huber_gradient, F.smooth_l1_loss),
        (losses.cross_entropy_gradient, F.binary_cross_entropy_with_logits),
    ],
)
def test_gradient_of_the_other_losses(with_gradient, plain):
    outputs = (3 * torch.randn(3, 6, 1)).requires_grad_()
    target = torch.rand(3, 6, 1)
    expected = plain(outputs, target)
    expected.backward()
    loss, gradient = with_gradient(outputs.detach(), target)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, outputs.grad, **EXACT)


@pytest.mark.parametrize("expectile", [0.2, 0.5, 0.8])
def test_gradient_of_the_loss_of_an_expectile(expectile):
    outputs = (3 * torch.randn(3, 6, 1)).requires_grad_()
    target = torch.rand(3, 6, 1)
    below = (target > outputs).float()
    weights = 2 * (expectile * below + (1 - expectile) * (1 - below))
    expected = (weights * F.smooth_l1_loss(outputs, target, reduction="none")).mean()
    expected.backward()
    loss, gradient = losses.huber_gradient(outputs.detach(), target, expectile)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, outputs.grad, **EXACT)


def test_the_value_of_an_expectile_lies_between_the_mean_of_its_targets_and_their_best():
    # Within the Huber loss's threshold the minimum has a closed form: of targets 0 and 0.5 with
    # weights tau and 1 - tau it is where tau (0.5 - v) = (1 - tau) v.
    target = torch.tensor([0.0, 0.5])
    for expectile, value in ((0.5, 0.25), (0.8, 0.4), (0.9, 0.45)):
        _, gradient = losses.huber_gradient(torch.full((2,), value), target, expectile)
        assert abs(float(gradient.sum())) < 1e-7
