"""What can be wrong with a camera's picture, as functions of one frame.

Every fault takes a frame (H, H, 3) uint8 RGB and a generator, and returns a frame of that shape.
Lengths are given for a side of 64 pixels and grow with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

Fault = Callable[[np.ndarray, np.random.Generator], np.ndarray]
REFERENCE_SIDE = 64
CABLE_RED = (200, 30, 30)


def filled(image: np.ndarray, rng: np.random.Generator, value: int) -> np.ndarray:
    """Every pixel of one value."""
    return np.full_like(image, value)


def noise(image: np.ndarray, rng: np.random.Generator, stddev: float) -> np.ndarray:
    """Gaussian noise on every channel of every pixel."""
    noisy = image + rng.normal(0.0, stddev, image.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def salt_and_pepper(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """A share of the pixels black or white."""
    drawn = rng.random(image.shape[:2])
    spoilt = image.copy()
    spoilt[drawn < share / 2] = 0
    spoilt[drawn > 1 - share / 2] = 255
    return spoilt


def half_covered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One half, any of the four, is black."""
    turns, spoilt = int(rng.integers(4)), image.copy()
    np.rot90(spoilt, turns)[: image.shape[0] // 2] = 0
    return spoilt


def shifted(image: np.ndarray, rng: np.random.Generator, pixels: int) -> np.ndarray:
    """The camera was knocked: all moved sideways, the edge repeated."""
    move = round(pixels * image.shape[0] / REFERENCE_SIDE) * int(rng.choice((-1, 1)))
    columns = np.clip(np.arange(image.shape[1]) - move, 0, image.shape[1] - 1)
    return image[:, columns]


def blurred(image: np.ndarray, rng: np.random.Generator, stddev: float) -> np.ndarray:
    """Out of focus."""
    return cv2.GaussianBlur(image, (0, 0), stddev * image.shape[0] / REFERENCE_SIDE)


def gained(image: np.ndarray, rng: np.random.Generator, factor: float) -> np.ndarray:
    """Darker or brighter."""
    return np.clip(image * factor, 0, 255).astype(np.uint8)


def hue_turned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other colours, as under another lamp: the hue turned by a third of the circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + 60) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def swapped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Red taken for blue: a driver that names the wrong encoding."""
    return np.ascontiguousarray(image[..., ::-1])


def mirrored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Left and right changed."""
    return np.ascontiguousarray(image[:, ::-1])


def occluded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Something in the cable's colour, the size of a hand, lies anywhere in the middle."""
    side, spoilt = image.shape[0], image.copy()
    scale = side / REFERENCE_SIDE
    centre = tuple(int(number) for number in rng.integers(side // 4, 3 * side // 4, 2))
    axes = (round(10 * scale), round(6 * scale))
    cv2.ellipse(spoilt, centre, axes, float(rng.uniform(0, 180)), 0, 360, CABLE_RED, cv2.FILLED)
    return spoilt


FAULTS: dict[str, Fault] = {
    "black": partial(filled, value=0),
    "white": partial(filled, value=255),
    "noise, stddev 10": partial(noise, stddev=10.0),
    "noise, stddev 30": partial(noise, stddev=30.0),
    "noise, stddev 60": partial(noise, stddev=60.0),
    "salt and pepper, 5 %": partial(salt_and_pepper, share=0.05),
    "salt and pepper, 30 %": partial(salt_and_pepper, share=0.3),
    "half covered": half_covered,
    "moved by 10 pixels of 64": partial(shifted, pixels=10),
    "moved by 20 pixels of 64": partial(shifted, pixels=20),
    "blurred, stddev 1.5 pixels": partial(blurred, stddev=1.5),
    "blurred, stddev 3 pixels": partial(blurred, stddev=3.0),
    "half as bright": partial(gained, factor=0.5),
    "1.5 times as bright": partial(gained, factor=1.5),
    "hue turned by 120 degrees": hue_turned,
    "red and blue swapped": swapped,
    "mirrored": mirrored,
    "red blob over it": occluded,
}


def spoil(fault: Fault, images: np.ndarray, seed: int) -> np.ndarray:
    """Frames (n, H, H, 3) with one fault, each drawn anew from the seed."""
    rng = np.random.default_rng(seed)
    return np.stack([fault(image, rng) for image in images])
