"""Faults of a picture: each is one, keeps the form of the frame, and comes from its seed alone."""

import numpy as np
import pytest

from safe_skills.experiments.picture_faults import FAULTS, shifted, spoil


@pytest.fixture(params=[48, 64, 128])
def images(request):
    drawn = np.random.default_rng(0).integers(40, 200, (3, 8, 8, 3), np.uint8)
    return np.kron(drawn, np.ones((1, request.param // 8, request.param // 8, 1), np.uint8))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_the_picture_and_keeps_its_form(name, images):
    before = images.copy()
    spoilt = spoil(FAULTS[name], images, seed=3)
    assert spoilt.shape == images.shape and spoilt.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    assert all((new != old).any() for new, old in zip(spoilt, images, strict=True))
    np.testing.assert_array_equal(spoilt, spoil(FAULTS[name], images, seed=3))


def test_a_move_is_by_so_many_pixels_of_64(images):
    side = images.shape[1]
    moved = shifted(images[0], np.random.default_rng(0), 8)
    step = side // 8
    right, left = moved[:, step:], moved[:, :-step]
    assert (right == images[0][:, :-step]).all() or (left == images[0][:, step:]).all()


def test_half_is_covered(images):
    spoilt = spoil(FAULTS["half covered"], images, seed=0)
    assert ((spoilt == 0).all(-1).mean((1, 2)) == 0.5).all()
