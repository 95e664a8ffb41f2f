"""Model of the camera picture: the newest frame, the cable's mask, the plan, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safe_skills.data.vision import MaskConfig
from safe_skills.rqt.picture import WHOLE_FRAME, draw_mask, draw_path, enlarge

SIDE = 384
"""Least longer side of the picture [pixels]."""

FRESH = 1.0
"""Age beyond which a plan is not drawn any more, and a frame is called old [s]."""


class CameraView:
    """Keeps the newest camera frame, position and plan; draws a picture where they change."""

    def __init__(self) -> None:
        self.mask: MaskConfig | None = None
        self.crop: Sequence[float] = WHOLE_FRAME
        self.span: float | None = None
        self.version = 0
        self._image: tuple[float, np.ndarray] | None = None
        self._trouble = ""
        self._position: tuple[float, np.ndarray] | None = None
        self._path: tuple[float, np.ndarray] | None = None
        self._drawn: tuple[object, ...] | None = None
        self._picture: np.ndarray | None = None
        self._mask_trouble = ""

    def image(self, now: float, image: np.ndarray) -> None:
        """Take a frame, (h, w, 3) uint8 RGB."""
        self._image, self._trouble = (now, image), ""

    def refused(self, line: str) -> None:
        """Note that a frame cannot be shown, and why."""
        self._trouble = line

    def position(self, now: float, position: np.ndarray) -> None:
        """Take the robot's position (x, y) in the task frame [m]."""
        self._position = (now, np.asarray(position, float))

    def plan(self, now: float, actions: np.ndarray) -> None:
        """Take a plan (H, 2) of displacements [m]; it starts at the position of now."""
        if self._position is None or now - self._position[0] > FRESH or not len(actions):
            self._path = None
            return
        start = self._position[1]
        with np.errstate(over="ignore"):  # what becomes infinite is not drawn
            self._path = (now, np.vstack((start, start + np.cumsum(actions, axis=0))))

    def picture(self, now: float) -> np.ndarray | None:
        """Return the picture of now, (H, W, 3) uint8 RGB; the same array where nothing changed."""
        if self._image is None:
            return None
        path = self._path if self._path and now - self._path[0] <= FRESH else None
        # The frame and the path are compared by identity: both are kept here, so ids are theirs.
        drawn = (id(self._image[1]), id(path), self.mask, tuple(self.crop), self.span)
        if drawn != self._drawn:
            self._drawn = drawn
            self._picture = self._draw(None if path is None else path[1])
            self.version += 1
        return self._picture

    def note(self, now: float) -> str:
        """Return what is drawn in, what is not and why, and whether the frame is old."""
        if self._image is None:
            return self._trouble or "no camera image"
        words = []
        age = now - self._image[0]
        if self._trouble:
            words.append(self._trouble)
        elif age > FRESH:
            words.append(f"OLD IMAGE: {age:.0f} s")
        if self.mask is not None:
            words.append(self._mask_trouble or "cyan: the cable as the encoder sees it")
        if self._path is not None and self.span is None:
            words.append("plan not drawn: run_recorder's camera_span is not known")
        elif self._path is not None and now - self._path[0] <= FRESH:
            words.append("magenta: plan")
        return "; ".join(words)

    def _draw(self, path: np.ndarray | None) -> np.ndarray:
        image = self._image[1]
        picture = np.ascontiguousarray(enlarge(image, SIDE))
        if picture is image:
            picture = picture.copy()
        if self.mask is not None:
            try:
                draw_mask(picture, image, self.mask, self.crop)
                self._mask_trouble = ""
            except ValueError as error:
                self._mask_trouble = f"no mask: {error}"
        if path is not None and self.span is not None:
            draw_path(picture, path, self.span)
        return picture
