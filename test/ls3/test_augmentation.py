"""What the encoder's images are changed to while it learns (LS3 sections 4.1 and 7.3.4)."""

import pytest
import torch

from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.learners import EncoderLearner, generator_of
from safe_skills.ls3.models import LS3Models

SIDE = 32


def drawn(images, augmentation, batch_size=64):
    """A batch of an encoder's images (B, C, 32, 32), of frames (n, C, 32, 32) uint8."""
    values = {"encoder": {"augmentation": augmentation, "batch_size": batch_size}}
    config = LS3Config.from_dict(values)
    models = LS3Models(config, 2, channels=images.shape[1])
    return EncoderLearner(models, config, images, generator_of(0, 0)).sample()[0]


def ramps():
    """One frame: channel 0 grows by 8 a column, channel 1 by 8 a row."""
    steps = 8 * torch.arange(SIDE, dtype=torch.uint8)
    return torch.stack((steps.expand(SIDE, SIDE), steps[:, None].expand(SIDE, SIDE)))[None]


def test_without_augmentation_images_are_those_of_the_frames():
    batch = drawn(ramps(), "none")
    torch.testing.assert_close(batch, (ramps().float() / 255).expand(64, -1, -1, -1))


def test_a_crop_is_a_square_of_the_frame_enlarged():
    batch = 255 * drawn(ramps(), "crop")
    # Away from the edges, where the ramp has none to interpolate with, it is a ramp again.
    inner = batch[:, :, 2:-2, 2:-2]
    slopes = (inner[:, 0].diff(dim=2), inner[:, 1].diff(dim=1))
    side = slopes[0].mean((1, 2)) / 8
    for slope in slopes:
        expected = 8 * side[:, None, None].expand_as(slope)
        torch.testing.assert_close(slope, expected, rtol=0, atol=1e-2)
    assert (side**2 >= 0.8 - 1e-3).all() and (side**2 <= 1 + 1e-3).all()
    assert side.max() - side.min() > 0.05
    corners = inner[:, :, 0, 0]
    assert corners.std(0).min() > 1
    assert batch.min() >= 0 and batch.max() <= 248.01


def test_a_crop_adds_nothing_to_a_plain_frame():
    plain = torch.full((1, 3, SIDE, SIDE), 51, dtype=torch.uint8)
    torch.testing.assert_close(drawn(plain, "crop"), torch.full((64, 3, SIDE, SIDE), 0.2))


@pytest.mark.parametrize("channels", [1, 3])
def test_affine_leaves_every_second_frame_as_it_is(channels):
    frame = torch.zeros(1, channels, SIDE, SIDE, dtype=torch.uint8)
    frame[..., 10:14, 10:14] = 255
    batch = drawn(frame, "affine")
    torch.testing.assert_close(batch[32:], (frame.float() / 255).expand(32, -1, -1, -1))
    assert (batch[:32] != batch[32:]).flatten(1).any(1).all()
    # What is moved keeps its size.
    total = batch.sum((2, 3))
    torch.testing.assert_close(total, torch.full_like(total, 16.0), rtol=0.1, atol=0)
