"""Masks by colour."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.data.vision import BLUE, RED, MaskConfig, cable_mask, hsv_mask


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_hsv_mask_follows_the_colour_wheel(red, green, blue):
    image = np.full((1, 1, 3), (red, green, blue), np.uint8)
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    hue, saturation, value = hue * 180, saturation * 255, value * 255
    seen = bool(hsv_mask(image, BLUE)[0, 0])
    margin = 1.0  # OpenCV rounds each channel
    bounds = list(zip((hue, saturation, value), *BLUE[0], strict=True))
    inside = [low + margin <= x <= high - margin for x, low, high in bounds]
    outside = [x < low - margin or x > high + margin for x, low, high in bounds]
    if all(inside) or (saturation > 250 and all(inside[::2])):
        assert seen
    if any(outside):
        assert not seen


def test_red_wraps_around():
    image = np.array([[(220, 20, 10), (220, 10, 30), (20, 20, 220), (128, 128, 128)]], np.uint8)
    assert hsv_mask(image, RED).tolist() == [[255, 255, 0, 0]]


def test_shrinking_keeps_the_covered_area():
    image = np.full((256, 256, 3), 230, np.uint8)
    image[100:109, 30:200] = (200, 20, 20)
    mask = cable_mask(image, MaskConfig())
    assert mask.shape == (64, 64)
    assert mask.astype(float).sum() / 255 == pytest.approx(9 * 170 / 16, rel=0.02)


def test_crop_takes_the_task_area():
    image = np.full((480, 640, 3), 230, np.uint8)
    image[0:240, 0:320] = (200, 20, 20)
    mask = cable_mask(image, MaskConfig(crop=(0.0, 0.0, 0.5, 0.5)))
    assert (mask == 255).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranges": [[[0, 0, 0], [200, 255, 255]]]}, "179"),
        ({"ranges": [[[10, 0, 0], [5, 255, 255]]]}, "low <= high"),
        ({"ranges": [[0, 0, 0]]}, "shape"),
        ({"crop": (0.5, 0.0, 0.6, 1.0)}, "unit square"),
        ({"crop": (0.0, 0.0, 0.0, 1.0)}, "unit square"),
        ({"size": 4}, "at least 8"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(ValueError, match=message):
        MaskConfig(**changes)


def test_configuration_survives_yaml():
    config = MaskConfig(crop=(0.1, 0.2, 0.5, 0.5))
    assert MaskConfig.from_dict(config.to_dict()) == config


def test_too_small_a_task_area():
    with pytest.raises(ValueError, match="at least 64x64"):
        cable_mask(np.zeros((100, 100, 3), np.uint8), MaskConfig(crop=(0, 0, 0.5, 0.5)))
