"""The contrastive objective against a batch worked out by hand, and its freeze rule."""

import pytest
import torch

from safe_skills.safer.config import ObjectiveConfig
from safe_skills.safer.objective import objective

LOG_PROB = [2.0, 4.0, 1.0, -9.0]  # two safe, two unsafe steps
KL = [0.2, 0.4, 1.0, 3.0]
UNSAFE = torch.tensor([False, False, True, True])


def value(lambda_=0.5, log_prob=LOG_PROB, unsafe=UNSAFE, **changes):
    log_prob = torch.tensor(log_prob, requires_grad=True)
    kl = torch.tensor(KL[: len(unsafe)], requires_grad=True)
    config = ObjectiveConfig(**{"kl_weight": 0.1, "freeze": "none", **changes})
    terms = objective(log_prob, kl, unsafe, lambda_, config)
    terms.loss.backward()
    return terms._replace(loss=terms.loss.detach()), log_prob.grad, kl.grad


def test_batch_by_hand():
    terms, gradient, of_kl = value()
    # L_safe = 3, L_unsafe = -4, KL_safe = .3, KL_unsafe = 2
    assert float(terms.loss) == pytest.approx(-(3.0 - 0.5 * -4.0 - 0.1 * 0.3 - 0.1 * 2.0))
    assert [float(term) for term in terms[1:5]] == pytest.approx([3.0, -4.0, 0.3, 2.0])
    torch.testing.assert_close(gradient, torch.tensor([-0.5, -0.5, 0.25, 0.25]))
    torch.testing.assert_close(of_kl, torch.full((4,), 0.05))
    assert float(terms.frozen) == 0.0


def test_without_the_unsafe_term_unsafe_steps_count_for_nothing():
    terms, gradient, of_kl = value(contrastive=False)
    assert float(terms.loss) == pytest.approx(-(3.0 - 0.1 * 0.3))
    assert gradient[2:].tolist() == of_kl[2:].tolist() == [0.0, 0.0]


def test_freezing_by_sample_stops_those_below_the_floor():
    terms, gradient, _ = value(freeze="sample", freeze_margin=5.0)  # the floor is -2
    torch.testing.assert_close(gradient, torch.tensor([-0.5, -0.5, 0.25, 0.0]))
    assert float(terms.frozen) == 0.5


@pytest.mark.parametrize(("margin", "frozen"), [(6.9, True), (7.1, False)])
def test_freezing_by_batch_stops_all_while_their_mean_is_below(margin, frozen):
    terms, gradient, _ = value(freeze="batch", freeze_margin=margin)  # mean 7 nats below L_safe
    assert float(terms.frozen) == float(frozen)
    torch.testing.assert_close(gradient[2:], torch.full((2,), 0.0 if frozen else 0.25))


def test_the_floor_moves_with_the_safe_steps_but_does_not_pull_them():
    for log_prob, frozen in (([2.0, 4.0, -1.9, -9.0], 0.5), ([0.0, 2.0, -1.9, -9.0], 0.5)):
        terms, gradient, _ = value(log_prob=log_prob, freeze="sample")
        assert float(terms.frozen) == frozen
        torch.testing.assert_close(gradient[:2], torch.full((2,), -0.5))
    terms, _, _ = value(log_prob=[5.0, 7.0, -1.9, -9.0], freeze="sample")
    assert float(terms.frozen) == 1.0


def test_batches_of_one_kind():
    terms, gradient, _ = value(log_prob=LOG_PROB[:2], unsafe=UNSAFE[:2])
    assert float(terms.loss) == pytest.approx(-3.0 + 0.1 * 0.3)
    # Without safe steps there is nothing to compare with.
    terms, gradient, _ = value(log_prob=LOG_PROB[2:], unsafe=UNSAFE[2:])
    assert gradient.tolist() == [0.0, 0.0]


def test_lambda_by_ratio_and_absolute():
    # Two hundred safe and fifty unsafe steps: each unsafe one weighs rho times a safe one.
    config = ObjectiveConfig(rho=2.0)
    assert config.lambda_(200, 50) == 0.5
    assert config.lambda_(200, 50) / 50 == pytest.approx(2.0 * (1 / 200))
    assert ObjectiveConfig(absolute_lambda=1e-4).lambda_(200, 50) == 1e-4
