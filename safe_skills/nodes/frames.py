"""From a camera frame to the square task area that the models were trained on."""

from collections.abc import Sequence

import numpy as np

ASPECT_TOLERANCE = 0.02


def task_area(image: np.ndarray, crop: Sequence[float], least: int) -> np.ndarray:
    """Cut the task area out of a camera frame.

    Args:
        image: (height, width, 3) uint8, RGB.
        crop: Top, left, height and width of the area as shares of the frame.
        least: Least side of the area in pixels.

    Returns:
        (rows, columns, 3) view of the area: square, as the models saw it in training.

    Raises:
        ValueError: The area leaves the frame, is not square or has too few pixels; one line.
    """
    rows, columns = image.shape[:2]
    top, left, height, width = crop
    if min(top, left) < 0 or min(height, width) <= 0 or max(top + height, left + width) > 1 + 1e-9:
        raise ValueError(
            "crop: expected top, left, height, width inside the frame (0 to 1), "
            f"got {', '.join(f'{share:g}' for share in crop)}"
        )
    y, x = round(top * rows), round(left * columns)
    area = image[y : y + round(height * rows), x : x + round(width * columns)]
    tall, wide = area.shape[:2]
    if min(tall, wide) < least or abs(tall - wide) > ASPECT_TOLERANCE * max(tall, wide):
        raise ValueError(
            f"expected a frame whose task area is square and at least {least}x{least} pixels, "
            f"got {columns}x{rows} with a task area of {wide}x{tall}"
        )
    return area
