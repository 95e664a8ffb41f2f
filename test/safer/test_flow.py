"""The flow is exactly invertible, its log-determinant autograd's, its density integrates to 1."""

import numpy as np
import pytest
import torch

from safe_skills.safer.config import FlowConfig
from safe_skills.safer.flow import ConditionalRealNVP

CONDITION = 7


def flow_of(action_dim=5, couplings=3, bound=2.0, seed=0):
    """Random weights in the last layers too, which start at zero."""
    torch.manual_seed(seed)
    config = FlowConfig(couplings=couplings, hidden=(16, 16), max_log_scale=bound)
    flow = ConditionalRealNVP(config, action_dim, CONDITION)
    for coupling in flow.couplings:
        torch.nn.init.normal_(coupling.net[-1].weight, std=0.5)
        torch.nn.init.normal_(coupling.net[-1].bias, std=0.5)
    return flow.double()


def inputs(count=6, action_dim=5):
    return (
        torch.randn(count, action_dim, dtype=torch.float64),
        torch.randn(count, CONDITION, dtype=torch.float64),
    )


@pytest.mark.parametrize("action_dim", [2, 5, 8])
@pytest.mark.parametrize("couplings", [2, 3, 5])
def test_inverse_is_exact(action_dim, couplings):
    flow = flow_of(action_dim, couplings)
    z, condition = inputs(action_dim=action_dim)
    action, forward = flow(z, condition)
    back, inverse = flow.inverse(action, condition)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-9)
    torch.testing.assert_close(forward, -inverse)
    assert not torch.allclose(action, z)


@pytest.mark.parametrize("couplings", [2, 3, 5])
def test_log_determinant_is_that_of_autograd(couplings):
    flow = flow_of(couplings=couplings)
    z, condition = inputs()
    action, forward = flow(z, condition)
    _, inverse = flow.inverse(action, condition)
    for i in range(len(z)):
        row = condition[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(lambda x, c=row: flow(x[None], c)[0][0], z[i])
        torch.testing.assert_close(forward[i], torch.linalg.slogdet(jacobian).logabsdet)
        jacobian = torch.autograd.functional.jacobian(
            lambda x, c=row: flow.inverse(x[None], c)[0][0], action[i]
        )
        torch.testing.assert_close(inverse[i], torch.linalg.slogdet(jacobian).logabsdet)


def test_density_is_that_of_the_change_of_variables():
    flow = flow_of()
    z, condition = inputs()
    action, log_det = flow(z, condition)
    log_prob, found = flow.log_prob(action, condition)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(log_prob, normal - log_det)
    torch.testing.assert_close(found, z)


def test_density_integrates_to_one_in_two_dimensions():
    flow = flow_of(action_dim=2, bound=1.0)
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for seed in range(3):
        torch.manual_seed(seed)
        condition = torch.randn(1, CONDITION, dtype=torch.float64).expand(len(grid), -1)
        with torch.no_grad():
            density = flow.log_prob(grid, condition)[0].exp()
        cell = float(axis[1] - axis[0]) ** 2
        assert float(density.sum() * cell) == pytest.approx(1.0, abs=5e-3)


def test_log_scales_are_bounded_whatever_the_network_says():
    flow = flow_of(bound=1.5)
    for coupling in flow.couplings:
        coupling.net[-1].weight.data *= 1e4
    z, condition = inputs(200)
    for coupling in flow.couplings:
        _, log_det = coupling(z, condition)
        assert log_det.abs().max() <= 1.5 * len(coupling.moved) + 1e-9


def test_starts_as_the_identity():
    flow = ConditionalRealNVP(FlowConfig(), 5, CONDITION)
    z, condition = (value.float() for value in inputs())
    torch.testing.assert_close(flow(z, condition)[0], z)


def test_three_couplings_keep_low_high_low():
    kept = [coupling.kept.tolist() for coupling in flow_of().couplings]
    assert kept == [[0, 1], [2, 3, 4], [0, 1]]


def test_the_condition_decides():
    flow = flow_of()
    z, condition = inputs()
    assert not torch.allclose(flow(z, condition)[0], flow(z, condition + 0.1)[0])


def test_one_component_is_refused():
    with pytest.raises(ValueError, match="2 or more, got 1"):
        ConditionalRealNVP(FlowConfig(), 1, CONDITION)


def test_learns_two_modes():
    """A density with two modes, by maximum likelihood; an affine map of a normal cannot."""
    torch.manual_seed(0)
    flow = ConditionalRealNVP(FlowConfig(couplings=4, hidden=(32, 32)), 2, 1)
    rng = np.random.default_rng(0)
    first = rng.choice((-1.0, 1.0), 512)
    data = np.stack((first, first * 0.5), -1) + 0.15 * rng.standard_normal((512, 2))
    data = torch.tensor(data, dtype=torch.float32)
    condition = torch.zeros(512, 1)
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = -flow.log_prob(data, condition)[0].mean()
        loss.backward()
        optimizer.step()
    normal = torch.distributions.MultivariateNormal(data.mean(0), data.T.cov())
    assert -loss.item() > normal.log_prob(data).mean().item() + 0.5
