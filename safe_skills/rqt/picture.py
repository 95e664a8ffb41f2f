"""The camera picture with what the encoder sees and where the planner wants to go drawn in."""

from collections.abc import Sequence

import cv2
import numpy as np

from safe_skills.data.vision import MaskConfig, cable_mask
from safe_skills.nodes.animation import task_to_pixels
from safe_skills.nodes.frames import task_area

WHOLE_FRAME = (0.0, 0.0, 1.0, 1.0)
MASK_COLOUR = (0, 255, 255)
PATH_COLOUR = (250, 0, 250)


def enlarge(image: np.ndarray, least: int) -> np.ndarray:
    """Returns the image with a longer side of `least` pixels or more, each pixel kept whole."""
    factor = -(-least // max(image.shape[:2]))
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)


def draw_mask(
    picture: np.ndarray, image: np.ndarray, mask: MaskConfig, crop: Sequence[float] = WHOLE_FRAME
) -> None:
    """Draws the outline of the cable, as the encoder sees it, into a picture, in place.

    Args:
        picture: (H, W, 3) uint8 RGB, the frame enlarged.
        image: (h, w, 3) uint8 RGB, the frame.
        mask: how the encoder finds the cable.
        crop: top, left, height, width of the task area as shares of the frame.

    Raises:
        ValueError: the task area does not fit the frame or the mask; one line.
    """
    found = cable_mask(task_area(image, crop, mask.size), mask)
    top, left, height, width = crop
    mask_top, mask_left, mask_height, mask_width = mask.crop
    rows, columns = picture.shape[:2]
    y, x = round((top + mask_top * height) * rows), round((left + mask_left * width) * columns)
    size = (round(mask_width * width * columns), round(mask_height * height * rows))
    cells = (found >= 128).astype(np.uint8)
    shown = cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(shown, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, outlines, -1, MASK_COLOUR, max(1, columns // 250), offset=(x, y))


def draw_path(picture: np.ndarray, path: np.ndarray, span: float) -> None:
    """Draws a path in the task plane into a top-down picture, in place.

    Args:
        picture: (H, W, 3) uint8 RGB; the task frame's origin is in its centre.
        path: (n, 2) positions [m], the present one first.
        span: half width of what the picture shows [m].
    """
    if not np.isfinite(path).all():
        return
    rows, columns = picture.shape[:2]
    points = task_to_pixels(np.clip(path, -100 * span, 100 * span), span, columns)
    points[:, 1] += (rows - columns) / 2
    pixels = np.rint(points).astype(np.int32)
    thick = max(2, columns // 150)
    cv2.polylines(picture, [pixels.reshape(-1, 1, 2)], False, PATH_COLOUR, thick, cv2.LINE_AA)
    cv2.circle(picture, pixels[0].tolist(), 2 * thick, PATH_COLOUR, thick, cv2.LINE_AA)
    cv2.circle(picture, pixels[-1].tolist(), 2 * thick, PATH_COLOUR, -1, cv2.LINE_AA)
