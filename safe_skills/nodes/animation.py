"""A GIF of a run: the scene, what the camera and the encoder see, the plan and the gate."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from safe_skills.data.files import replacing
from safe_skills.data.vision import MaskConfig, cable_mask

VIEW = 144
BAR = 22
FRAME_MS = 100
LAST_FRAME_MS = 1000
GATE_COLOURS = {
    "OK": (40, 150, 70),
    "LIMITED": (200, 150, 20),
    "HOLD": (210, 90, 20),
    "STOPPED": (200, 30, 30),
}
_UNKNOWN_COLOUR = (120, 120, 120)


@dataclass
class Snapshot:
    """What was known about one camera frame.

    Attributes:
        stamp: The frame's stamp [ns].
        camera: (h, w, 3) uint8 RGB.
        episode: Number of the episode in this run, from 0.
        scene: Overview picture, (H, W, 3) uint8 RGB, where one was published.
        path: (n, 2) planned positions [m], task frame, from the gripper's position on.
        gate: State of the gate, with its reasons.
        note: How the episode ended, in its last frame.
    """

    stamp: int
    camera: np.ndarray
    episode: int
    scene: np.ndarray | None = None
    path: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    gate: str = ""
    note: str = ""


def task_to_pixels(points: np.ndarray, span: float, side: int) -> np.ndarray:
    """Project task positions (n, 2) [m] into a square top-down view of half width `span` [m]."""
    shares = (np.asarray(points, float) / span + 1) / 2
    return np.stack((shares[:, 0], 1 - shares[:, 1]), axis=1) * side


class Animation:
    """Collects snapshots of the first episodes; draws and writes them at the end.

    Args:
        episodes: Number of episodes kept.
        mask: How the encoder sees a frame; None: as the camera does.
        camera_span: Half width of what the camera sees [m].
    """

    def __init__(self, episodes: int, mask: MaskConfig | None, camera_span: float = 1.0) -> None:
        self._limit, self._mask, self._span = episodes, mask, camera_span
        self._snapshots: list[Snapshot] = []
        self._recent: deque[Snapshot] = deque(maxlen=8)
        self._episode = 0
        self._scene: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._snapshots)

    def camera(self, stamp: int, image: np.ndarray) -> None:
        """Take a camera frame; one with the stamp of the last is a repeat."""
        if self._episode >= self._limit or self._find(stamp) is not None:
            return
        snapshot = Snapshot(stamp, image, self._episode, self._scene)
        self._snapshots.append(snapshot)
        self._recent.append(snapshot)

    def scene(self, stamp: int, image: np.ndarray) -> None:
        """Take an overview picture."""
        self._scene = image
        snapshot = self._find(stamp)
        if snapshot is not None:
            snapshot.scene = image

    def plan(self, stamp: int, position: np.ndarray | None, actions: np.ndarray) -> None:
        """Take a plan (H, 2) of displacements [m] and the gripper's position (2,) [m]."""
        snapshot = self._find(stamp)
        if snapshot is not None and position is not None:
            snapshot.path = np.vstack((position, position + np.cumsum(actions, axis=0)))

    def gate(self, stamp: int, state: str, reasons: Sequence[str]) -> None:
        """Take the gate's state."""
        snapshot = self._find(stamp)
        if snapshot is not None:
            snapshot.gate = " ".join((state, *reasons[:1]))

    def end_episode(self, note: str) -> None:
        """Note how the episode ended."""
        if self._episode < self._limit and self._snapshots:
            self._snapshots[-1].note = note
        self._recent.clear()
        self._episode += 1

    def save(self, path: Path | str) -> None:
        """Draw and write the GIF, beside the target first.

        Raises:
            ValueError: There is no frame to write.
        """
        if not self._snapshots:
            raise ValueError(f"{path}: no camera frame came, so there is no GIF to write")
        # A frame without a scene of its own shows the nearest one: all must have one size.
        scene = next((s.scene for s in self._snapshots if s.scene is not None), None)
        for snapshot in self._snapshots:
            scene = snapshot.scene = snapshot.scene if snapshot.scene is not None else scene
        frames = [self._draw(snapshot) for snapshot in self._snapshots]
        times = [LAST_FRAME_MS if s.note else FRAME_MS for s in self._snapshots]
        with replacing(path) as temporary:
            frames[0].save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=frames[1:],
                duration=times,
                loop=0,
            )

    def _find(self, stamp: int) -> Snapshot | None:
        return next((s for s in reversed(self._recent) if s.stamp == stamp), None)

    def _draw(self, snapshot: Snapshot) -> Image.Image:
        views = [self._camera_view(snapshot)]
        if self._mask is not None:
            views.append(self._mask_view(snapshot))
        scene = snapshot.scene
        if scene is None:
            canvas = Image.new("RGB", (len(views) * VIEW, VIEW + BAR), "white")
            for column, view in enumerate(views):
                canvas.paste(view, (column * VIEW, 0))
        else:
            height, width = scene.shape[:2]
            canvas = Image.new("RGB", (width + VIEW, max(height, 2 * VIEW) + BAR), "white")
            canvas.paste(Image.fromarray(scene), (0, (canvas.height - BAR - height) // 2))
            for row, view in enumerate(views):
                canvas.paste(view, (width, row * VIEW))
        self._caption(canvas, snapshot)
        return canvas.quantize(128, Image.Quantize.FASTOCTREE)

    def _camera_view(self, snapshot: Snapshot) -> Image.Image:
        view = Image.fromarray(snapshot.camera).resize((VIEW, VIEW), Image.Resampling.NEAREST)
        if len(snapshot.path) > 1:
            points = task_to_pixels(snapshot.path, self._span, VIEW)
            draw = ImageDraw.Draw(view)
            draw.line([tuple(point) for point in points], fill=(250, 0, 250), width=2)
            x, y = points[-1]
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(250, 0, 250))
        return view

    def _mask_view(self, snapshot: Snapshot) -> Image.Image:
        try:
            mask = cable_mask(snapshot.camera, self._mask)
        except ValueError:
            mask = np.zeros((self._mask.size, self._mask.size), np.uint8)
        view = Image.fromarray(mask).convert("RGB")
        return view.resize((VIEW, VIEW), Image.Resampling.NEAREST)

    def _caption(self, canvas: Image.Image, snapshot: Snapshot) -> None:
        draw = ImageDraw.Draw(canvas)
        font = ImageFont.load_default(13)
        top = canvas.height - BAR
        left = f"episode {snapshot.episode}"
        draw.text((5, top + 3), f"{left}  {snapshot.note}".rstrip(), fill="black", font=font)
        state = snapshot.gate or "no gate"
        colour = GATE_COLOURS.get(state.split()[0], _UNKNOWN_COLOUR)
        width = draw.textlength(state, font=font)
        box = (canvas.width - width - 12, top + 1, canvas.width - 1, canvas.height - 2)
        draw.rectangle(box, fill=colour)
        draw.text((box[0] + 6, top + 3), state, fill="white", font=font)
