"""Levels from held-out steps: their order, their bound, and how often it holds."""

import numpy as np
import pytest
from scipy.stats import beta

from safe_skills.ls3.calibration import (
    CONSTRAINT_LEVELS,
    SAFE_SET_LEVELS,
    CalibrationError,
    Curve,
    constraint_curve,
    safe_set_curve,
)


def test_counts_are_of_the_steps_that_a_level_lets_through():
    probability = np.array([0.1, 0.2, 0.3, 0.9])
    curve = constraint_curve(probability, np.array([False, True, False, True]))
    assert curve.values == CONSTRAINT_LEVELS
    assert (curve.trials[0], curve.counts[0]) == (2, 1)
    assert (curve.trials[-1], curve.counts[-1]) == (4, 2)
    states = safe_set_curve(np.array([0.105, 0.5, 0.9]))
    assert states.values == SAFE_SET_LEVELS
    assert states.trials == (3,) * len(SAFE_SET_LEVELS)
    assert [states.counts[k] for k in (0, 10, 98)] == [0, 1, 3]


def test_the_level_is_the_last_before_the_first_that_fails():
    curve = Curve((0.2, 0.3, 0.4, 0.5), (0, 1, 9, 1), (100, 100, 100, 1000))
    found = curve.level(0.05, 0.95, "delta_C")
    # 0.5 would do, but 0.4 has failed before.
    assert (found.value, found.count, found.trials) == (0.3, 1, 100)
    assert found.bound == pytest.approx(beta.ppf(0.95, 2, 99))
    assert curve.level(0.2, 0.95, "delta_C").value == 0.5
    with pytest.raises(CalibrationError, match=r"delta_C: not even 0\.2 keeps .* 0 of 100 steps"):
        curve.level(0.01, 0.95, "delta_C")


def test_a_level_that_lets_nothing_through_says_nothing():
    with pytest.raises(CalibrationError, match="0 of 0 steps"):
        Curve((0.2,), (0,), (0,)).level(0.5, 0.95, "delta_C")


def test_the_promise_is_kept_as_often_as_it_says():
    """f_C is uniform and overconfident; the share of unsafe steps below each level is known."""
    rng = np.random.default_rng(0)
    allowed, broken = 0.1, 0
    for _ in range(400):
        probability = rng.random(1000)
        unsafe = rng.random(1000) < probability**2
        level = constraint_curve(probability, unsafe).level(allowed, 0.9, "delta_C").value
        broken += level**2 / 3 > allowed
    assert 0 < broken / 400 <= 0.1 + 3 * 0.015


def test_curves_survive_their_dictionary():
    curve = constraint_curve(np.array([0.1, 0.6]), np.array([False, True]))
    assert Curve.from_dict(curve.to_dict()) == curve
