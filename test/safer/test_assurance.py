"""Eta: the exact rule against brute force, Algorithm 3 against it, and bounds that hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.safer.assurance import (
    GRID,
    AssuranceError,
    Radii,
    bounded_eta,
    choose_eta,
    exact_eta,
    literal_eta,
    one_an_episode,
    share_bound,
)

POINTS = st.lists(st.integers(1, 12).map(lambda k: k / 4), min_size=1, max_size=25)
MIXES = st.sampled_from([None, 0.5, 0.2])
RADII = st.builds(lambda s, u, mix: Radii(np.array(s), np.array(u), mix), POINTS, POINTS, MIXES)
ALLOWED = st.sampled_from([0.0, 0.1, 0.15, 0.3, 0.45, 0.5, 0.9])


def eta_or_zero(radii, allowed):
    try:
        return exact_eta(radii, allowed)
    except AssuranceError:
        return 0.0


@given(RADII, ALLOWED)
def test_exact_rule_is_the_largest_box_by_brute_force(radii, allowed):
    candidates = np.concatenate((radii.safe, radii.unsafe))
    fits = [eta for eta in candidates if radii.unsafe_share(eta) <= allowed]
    assert eta_or_zero(radii, allowed) == max(fits, default=0.0)


@given(RADII, ALLOWED)
def test_share_inside_is_at_most_what_is_allowed(radii, allowed):
    assert radii.unsafe_share(eta_or_zero(radii, allowed)) <= allowed


@given(RADII, ALLOWED, ALLOWED)
def test_eta_does_not_decrease_with_the_allowed_share(radii, one, other):
    low, high = sorted((one, other))
    assert eta_or_zero(radii, low) <= eta_or_zero(radii, high)


@given(RADII, ALLOWED)
def test_never_a_box_of_nothing(radii, allowed):
    eta = eta_or_zero(radii, allowed)
    assert eta == 0.0 or sum(radii.counts(eta)) > 0


def test_mix_counts_the_rare_class_up():
    safe, unsafe = np.linspace(0.1, 2.0, 90), np.linspace(0.5, 2.5, 10)
    natural, balanced = Radii(safe, unsafe, None), Radii(safe, unsafe, 0.5)
    assert natural.unsafe_share(3.0) == pytest.approx(0.1)
    assert balanced.unsafe_share(3.0) == pytest.approx(0.5)
    # With a tenth unsafe, 15 % is no bound at all.
    assert exact_eta(natural, 0.15) == unsafe.max()
    assert exact_eta(balanced, 0.15) < 1.0


def test_a_box_whose_centre_is_unsafe_is_an_error_not_zero():
    with pytest.raises(AssuranceError, match="at most 0.15: the steps nearest to z = 0") as caught:
        exact_eta(Radii(np.array([1.0, 1.1]), np.array([0.1, 0.2, 0.3])), 0.15)
    assert "\n" not in str(caught.value)
    # Zero radii, as of a prior without spread, are no box either.
    with pytest.raises(AssuranceError):
        exact_eta(Radii(np.zeros(3), np.array([1.0])), 0.15)


def normal_radii(rng, count=400, dim=5):
    safe = np.abs(rng.standard_normal((count, dim))).max(-1)
    return Radii(safe, 1.0 + np.abs(rng.standard_normal((count, dim))).max(-1))


@pytest.mark.parametrize("seed", range(3))
def test_algorithm_3_agrees_where_it_converges(seed):
    radii = normal_radii(np.random.default_rng(seed))
    exact = exact_eta(radii, 0.3)
    eta, converged = literal_eta(radii, 0.3, seed=seed)
    assert converged
    # A round may skip a few of the outermost steps, and stops at the first box that qualifies.
    assert eta <= exact
    ordered = np.sort(np.concatenate((radii.safe, radii.unsafe)))
    skipped = int(((ordered > eta) & (ordered <= exact)).sum())
    assert skipped <= 10
    assert radii.unsafe_share(eta) <= 0.3
    assert choose_eta("literal", radii, 0.3, seed=seed) == eta


def test_algorithm_3_is_guarded_against_zero_and_against_stalling():
    radii = Radii(np.array([5.0]), np.array([0.1, 0.2, 0.3, 0.4]), None)
    with pytest.raises(AssuranceError, match="emptied the box"):
        literal_eta(radii, 0.15, start=1.0)
    # The one safe step is drawn in every round, and the box never shrinks.
    assert literal_eta(radii, 0.15) == (5.0, False)
    with pytest.raises(AssuranceError, match="did not converge in 5000 rounds"):
        choose_eta("literal", radii, 0.15)


@pytest.mark.parametrize("mix", [None, 0.5])
def test_bound_holds_as_often_as_it_says(mix):
    """The true share of a box, known from the distributions, is below the bound in 95 %."""
    rng = np.random.default_rng(0)
    inside_safe, inside_unsafe, weight = 0.7, 0.1, 0.5
    truth = weight * inside_unsafe / (weight * inside_unsafe + (1 - weight) * inside_safe)
    held = 0
    for _ in range(400):
        unsafe_count = 200 if mix else rng.binomial(400, weight)
        safe = np.where(rng.random(400 - unsafe_count) < inside_safe, 0.5, 2.0)
        unsafe = np.where(rng.random(unsafe_count) < inside_unsafe, 0.5, 2.0)
        held += truth <= share_bound(Radii(safe, unsafe, mix), 1.0)
    assert held >= 0.95 * 400 - 2 * np.sqrt(400 * 0.05 * 0.95)


@given(RADII, st.sampled_from([0.5, 1.0, 2.5]))
def test_bound_lies_above_the_share_that_was_seen(radii, eta):
    assert share_bound(radii, eta) >= radii.unsafe_share(eta)
    assert share_bound(radii, eta, 0.99) >= share_bound(radii, eta, 0.9)


def test_bound_tightens_with_data():
    rng = np.random.default_rng(0)
    few, many = normal_radii(rng, 100), normal_radii(rng, 10_000)
    assert share_bound(many, 1.2) < share_bound(few, 1.2)


def test_eta_by_the_bound_is_cautious():
    radii = normal_radii(np.random.default_rng(0), 2000)
    eta = bounded_eta(radii, 0.3)
    assert eta in GRID
    assert eta < exact_eta(radii, 0.3)
    assert share_bound(radii, eta, 1 - 0.05 / len(GRID)) <= 0.3
    assert choose_eta("bound", radii, 0.3) == eta
    with pytest.raises(AssuranceError, match="no box .* at confidence 0.95"):
        bounded_eta(normal_radii(np.random.default_rng(0), 20), 0.01)


def test_one_step_an_episode():
    episode = np.repeat(np.arange(4), 5)
    keep = episode != 2
    seen = set()
    for seed in range(20):
        rows = one_an_episode(episode, keep, np.random.default_rng(seed))
        assert episode[rows].tolist() == [0, 1, 3]
        seen |= set(rows)
    assert len(seen) > 8


def test_radii_without_a_class_or_not_finite_are_refused():
    with pytest.raises(AssuranceError, match="expected unsafe steps"):
        Radii(np.ones(3), np.array([]))
    with pytest.raises(AssuranceError, match="finite radii of safe"):
        Radii(np.array([np.nan]), np.ones(1))
