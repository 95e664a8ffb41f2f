"""Frames of whole episodes as a prior encodes them."""

import numpy as np
import pytest
from drawn_episodes import episodes
from skill_checkpoints import save_prior

from safe_skills.data.segments import UnsafeLabel, read_steps, split
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.surprise import encoded_frames, encoded_steps


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    return SkillPrior.load(save_prior(tmp_path_factory.mktemp("prior")))


def test_frames_become_the_priors_features(prior):
    drawn = [episode.images for episode in episodes(3)]
    encoded = encoded_frames(prior, drawn)
    expected = np.concatenate([prior.features(images) for images in drawn])
    np.testing.assert_allclose(encoded.mean, expected, atol=1e-5)
    assert encoded.error is None and not encoded.stddev.any()
    np.testing.assert_array_equal(
        encoded.episode, np.repeat(np.arange(3), [len(images) for images in drawn])
    )


def test_steps_of_a_split_become_the_same_features(prior):
    drawn = episodes(8)
    steps = read_steps(drawn, UnsafeLabel(), image_size=prior.config.encoder.image_size)
    parts = split(steps, hold_out=0.5, seed=0).held_out
    encoded = encoded_steps(prior, parts)
    expected = {number: prior.features(item.images[:-1]) for number, item in enumerate(drawn)}
    assert len(np.unique(encoded.episode)) == 4
    for number in np.unique(encoded.episode):
        np.testing.assert_allclose(
            encoded.mean[encoded.episode == number], expected[number], atol=1e-5
        )


def test_frames_of_another_size_are_refused(prior):
    with pytest.raises(ValueError, match="expected frames of 48x48"):
        encoded_frames(prior, [np.zeros((4, 32, 32, 3), np.uint8)])
