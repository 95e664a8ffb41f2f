"""Frames are shrunk by area, stacked in order, and seen by convolutions of the sizes asked for."""

import numpy as np
import pytest
import torch

from safe_skills.baselines.config import VisionConfig
from safe_skills.baselines.pixels import FrameStack, PixelEncoder, PixelSpaces
from safe_skills.data.settings import ConfigError

SMALL = VisionConfig(image_size=16, channels=(4, 8), kernel=4, features=5, frames=3)


def test_a_picture_is_shrunk_by_area_with_its_channels_first():
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:2, 2:4, 1] = 200  # one cell of the small frame
    picture[4, 0, 2] = 100  # a quarter of another
    frame = PixelSpaces(SMALL, 3, 2).frame(picture)
    assert frame.shape == (3, 16, 16) and frame.dtype == np.uint8
    assert frame[1, 0, 1] == 200 and frame[2, 2, 0] == 25
    assert frame.astype(int).sum() == 225


def test_a_mask_has_one_channel_and_a_picture_of_the_right_size_is_as_it_was():
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(PixelSpaces(SMALL, 1, 2).frame(mask)[0], mask)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((16, 16), np.uint8), np.zeros((16, 16, 4), np.uint8), np.zeros((16, 16, 3))],
)
def test_a_picture_of_another_kind_is_refused(picture):
    with pytest.raises(ValueError, match="expected a picture with 3 channels, uint8, got shape"):
        PixelSpaces(SMALL, 3, 2).frame(picture)


def test_the_newest_frame_is_last_in_a_stack_that_starts_with_the_first_repeated():
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 4, 4), np.uint8)
    stack = FrameStack(3)
    seen = [stack.start(frames[0]), *(stack.push(frame) for frame in frames[1:])]
    assert [list(stacked[::2, 0, 0]) for stacked in seen] == [
        [0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4],
    ]  # fmt: skip
    np.testing.assert_array_equal(stack.start(frames[4])[::2, 0, 0], [4, 4, 4])


@pytest.mark.parametrize("vision", [SMALL, VisionConfig(), VisionConfig(channels=(3,), padding=0)])
def test_convolutions_have_the_sizes_asked_for(vision):
    spaces = PixelSpaces(vision, 3, 2)
    encoder = PixelEncoder(spaces.observation, vision)
    shape = spaces.observation.shape
    assert shape == (3 * vision.frames, vision.image_size, vision.image_size)
    assert encoder(torch.rand(2, *shape)).shape == (2, vision.features)
    weights = [layer.weight for layer in encoder.layers if isinstance(layer, torch.nn.Conv2d)]
    assert tuple(len(weight) for weight in weights) == vision.channels


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"channels": ()}, "vision.channels: expected at least one"),
        ({"frames": 0}, "vision.frames: expected more than 0, got 0"),
        ({"image_size": 4, "channels": (2,) * 4, "padding": 0}, "4 convolutions leave nothing"),
    ],
)
def test_sizes_that_do_not_work_are_refused(values, says):
    with pytest.raises(ConfigError, match=says):
        VisionConfig(**values)
