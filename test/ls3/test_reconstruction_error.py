"""LS3's reconstruction error: by hand, for what it must see, and frame by frame as in batches."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from safe_skills.data.vision import cable_mask
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.surprise import encoded_frames, reconstruction_error, unexplained


@pytest.fixture(scope="module")
def agent():
    torch.manual_seed(0)
    return LS3Agent(LS3Config(), task="cable", layout="open", action_limit=np.full(2, 0.03))


def frame(column, side=64):
    rgb = np.full((side, side, 3), 200, np.uint8)
    rgb[side // 2 :, column : column + 8] = (220, 25, 25)
    return rgb


def test_the_error_is_the_losses_over_what_is_seen():
    torch.manual_seed(1)
    images, found = torch.rand(5, 1, 8, 8), torch.rand(5, 1, 8, 8)
    for image, decoded, share in zip(images, found, unexplained(images, found), strict=True):
        loss, seen = F.mse_loss(decoded, image), image.square().mean()
        assert float(share) == pytest.approx(float(loss / seen), rel=1e-5)


def test_the_errors_ends():
    images = torch.zeros(3, 1, 8, 8)
    images[:2, 0, 2, 3] = 1.0
    found = images.clone()
    found[1] = 0.0
    assert unexplained(images, found).tolist() == [0.0, 1.0, np.inf]


def test_an_empty_mask_is_never_explained(agent):
    black = np.zeros((64, 64, 3), np.uint8)
    mean, _ = agent.encode(black)
    assert reconstruction_error(agent, black, mean) == np.inf
    assert np.isfinite(reconstruction_error(agent, frame(20), mean))


def test_one_frame_is_measured_as_in_a_batch(agent):
    images = [frame(column) for column in range(0, 48, 4)]
    masks = np.stack([cable_mask(image, agent.mask_config) for image in images])
    encoded = encoded_frames(agent, [np.stack(images[:5]), np.stack(images[5:])])
    mean, stddev = agent.encode_views(masks)
    np.testing.assert_allclose(encoded.mean, mean, atol=1e-5)
    np.testing.assert_allclose(encoded.stddev, stddev, atol=1e-5)
    np.testing.assert_array_equal(encoded.episode, [0] * 5 + [1] * 7)
    for image, latent, error in zip(images, mean, encoded.error, strict=True):
        assert reconstruction_error(agent, image, latent) == pytest.approx(error, rel=1e-4)


def test_a_frame_that_the_encoder_refuses_is_refused(agent):
    with pytest.raises(ValueError, match="at least 64x64 pixels"):
        reconstruction_error(agent, frame(4, side=32), np.zeros(agent.latent_dim))
