"""Frames of whole episodes as a prior encodes them."""

import numpy as np
import pytest
from drawn_episodes import episodes
from skill_checkpoints import save_prior

from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.surprise import encoded_frames


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


def test_frames_of_another_size_are_refused(prior):
    with pytest.raises(ValueError, match="expected frames of 48x48"):
        encoded_frames(prior, [np.zeros((4, 32, 32, 3), np.uint8)])
