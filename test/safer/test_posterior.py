"""The posterior sees its window and nothing else: no padding, no future, every state of it."""

import pytest
import torch

from safe_skills.safer.config import PosteriorConfig
from safe_skills.safer.posterior import SafetyPosterior, kl_to_standard_normal

FEATURES = 6
CONFIG = PosteriorConfig(size=3, window=4, layers=2, heads=2, width=8)


@pytest.fixture
def posterior():
    torch.manual_seed(0)
    return SafetyPosterior(CONFIG, FEATURES).eval()


def assert_same(one, other):
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right)


def test_padding_does_not_leak(posterior):
    """A short window is what a shorter transformer would see: only its states count."""
    features = torch.randn(5, FEATURES)
    short = torch.tensor([[-1, -1, 3, 4]])
    found = posterior(features, short)
    other = features.clone()
    other[:3] = 100.0
    assert_same(found, posterior(other, short))
    assert_same(found, posterior(features[3:], torch.tensor([[-1, -1, 0, 1]])))
    # The weights of padding are zero, so not even what the padding's own token is matters.
    with torch.no_grad():
        posterior.position[:2] += 5.0
    assert_same(found, posterior(features, short))
    assert not torch.allclose(found[0], posterior(features, torch.tensor([[0, 1, 3, 4]]))[0])


def test_permuting_the_future_does_not_matter(posterior):
    features = torch.randn(10, FEATURES)
    windows = torch.tensor([[1, 2, 3, 4], [2, 3, 4, 5]])
    order = torch.tensor([0, 1, 2, 3, 4, 5, 9, 7, 6, 8])
    assert_same(posterior(features, windows), posterior(features[order], windows))


def test_every_state_and_the_order_of_a_window_matter(posterior):
    features = torch.randn(4, FEATURES)
    mean, _ = posterior(features, torch.arange(4)[None])
    for i in range(4):
        other = features.clone()
        other[i] += 1.0
        assert not torch.allclose(posterior(other, torch.arange(4)[None])[0], mean, atol=1e-4)
    swapped = posterior(features, torch.tensor([[1, 0, 2, 3]]))[0]
    assert not torch.allclose(swapped, mean, atol=1e-4)


def test_windows_do_not_depend_on_their_batch(posterior):
    features = torch.randn(9, FEATURES)
    windows = torch.tensor([[-1, -1, -1, 0], [0, 1, 2, 3], [5, 6, 7, 8]])
    together = posterior(features, windows)
    for i, window in enumerate(windows):
        alone = posterior(features, window[None])
        assert_same([part[i : i + 1] for part in together], alone)


def test_gradient_reaches_every_state_of_the_window_and_no_other(posterior):
    features = torch.randn(7, FEATURES, requires_grad=True)
    posterior(features, torch.tensor([[-1, 1, 3, 4]]))[0].sum().backward()
    moved = features.grad.abs().sum(-1) > 0
    assert moved.tolist() == [False, True, False, True, True, False, False]


def test_divergence_is_that_of_torch():
    mean, stddev = torch.randn(5, 3), torch.rand(5, 3) + 0.1
    normal = torch.distributions.Normal(mean, stddev)
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean, stddev), expected.sum(-1))
