"""Contact seen by the camera: masks by colour that touch (LS3 section 7.3.4)."""

from __future__ import annotations

import cv2
import numpy as np


def seen_contact(cable_mask: np.ndarray, obstacle_mask: np.ndarray, dilate_px: int = 1) -> bool:
    """Whether the cable, grown by `dilate_px` pixels, covers a pixel of the obstacle.

    Seen from above, a cable beside the obstacle looks as if it touched it: this over-triggers, and
    is a warning rather than the truth.

    Args:
        cable_mask: (height, width) uint8 or bool, not zero where the cable is seen.
        obstacle_mask: (height, width) of the same size, for the obstacle.
        dilate_px: by how many pixels the cable is grown in all eight directions, 0 to 100.

    Raises:
        ValueError: masks that are not two-dimensional or differ in size, or a `dilate_px` outside.
    """
    cable, obstacle = np.asarray(cable_mask) != 0, np.asarray(obstacle_mask) != 0
    if cable.ndim != 2 or cable.shape != obstacle.shape or cable.size == 0:
        raise ValueError(
            f"masks: expected two of the same (height, width), "
            f"got {cable.shape} and {obstacle.shape}"
        )
    if not 0 <= dilate_px <= 100:
        raise ValueError(f"dilate_px: expected 0 to 100, got {dilate_px!r}")
    side = 2 * int(dilate_px) + 1
    grown = cv2.dilate(cable.astype(np.uint8), np.ones((side, side), np.uint8))
    return bool((grown.astype(bool) & obstacle).any())
