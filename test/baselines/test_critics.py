"""Bellman targets against sums over an episode, written out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.baselines.critics import risk_target, smallest, twin_loss, value_target

shares = st.floats(0.0, 1.0)


def column(values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


@given(st.lists(st.floats(-5, 0), min_size=1, max_size=12), shares, st.booleans(), st.floats(-9, 0))
def test_backups_of_values_add_up_to_the_discounted_return(rewards, discount, ends, tail):
    value = torch.tensor([[tail]], dtype=torch.float64)
    for number, reward in reversed(list(enumerate(rewards))):
        terminated = float(ends and number == len(rewards) - 1)
        value = value_target(column([reward]), column([terminated]), value, discount)
    powers = discount ** np.arange(len(rewards) + 1)
    rest = 0.0 if ends else tail
    assert value.item() == pytest.approx(powers @ [*rewards, rest], abs=1e-9)


@given(st.integers(1, 12), st.integers(0, 12), shares, st.booleans())
def test_the_risk_of_a_step_is_discounted_by_how_far_the_violation_is(steps, first, discount, ends):
    """The violation freezes: costs are 1 from the step `first` on, if the episode is that long."""
    risk = column([0.0])
    for number in reversed(range(steps)):
        cost = float(number >= first)
        terminated = float(ends and number == steps - 1)
        risk = risk_target(column([cost]), column([terminated]), risk, discount)
    expected = discount**first if first < steps else 0.0
    assert risk.item() == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(shares, shares, shares), min_size=1, max_size=5), shares)
def test_risks_remain_probabilities(rows, discount):
    costs, terminated, risks = (column(values) for values in zip(*rows, strict=True))
    target = risk_target(costs, terminated, risks, discount)
    assert ((target >= 0) & (target <= 1)).all()


def test_twins_by_hand():
    first, second = column([1.0, -2.0]), column([0.0, 5.0])
    np.testing.assert_array_equal(smallest((first, second)), [[0.0], [-2.0]])
    loss = twin_loss((first, second), column([1.0, 1.0]))
    assert loss.item() == pytest.approx(0.5 * ((0 + 9) / 2 + (1 + 16) / 2))
