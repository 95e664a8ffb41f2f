"""Labelled steps of many episodes, and windows of past states over them, by index.

A window of 16 frames a step would take 16 times the memory of the frames: it is never stored. Nor
is it computed frame by frame: a batch is made of segments, runs of steps of one episode, and every
frame of a segment is encoded once, however many windows it is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

PADDING = -1
"""In a window's indices: no state, the episode had not begun."""


class SegmentError(ValueError):
    """A data set that cannot be learned from; the message is one line."""


class LabelledEpisode(Protocol):
    """What is read of an episode of n steps."""

    images: np.ndarray  # (n + 1, H, W, 3) uint8 RGB
    actions: np.ndarray  # (n, A) float32 in [-1, 1]
    costs: np.ndarray  # (n,) omega: 1 where the step led to a violation
    success: bool
    task: int | None  # None where there is but one


@dataclass(frozen=True)
class UnsafeLabel:
    """Which steps count as unsafe.

    Attributes:
        contacts: "any" counts every step with omega = 1, as the paper does. "first" counts those
            that begin a contact: what led to it was decided there, while the steps after it differ
            from it in little but the contact itself. Steps of a persisting contact are then
            neither safe nor unsafe.
        ahead: also counts the steps up to so many before.
    """

    contacts: str = "first"
    ahead: int = 0

    def __post_init__(self) -> None:
        if self.contacts not in ("first", "any"):
            raise SegmentError(f"contacts: expected 'first' or 'any', got {self.contacts!r}")
        if self.ahead < 0:
            raise SegmentError(f"ahead: expected 0 or more, got {self.ahead}")

    def of(self, omega: np.ndarray) -> np.ndarray:
        """Which steps (n,) of one episode are unsafe, for omega (n,) bool."""
        contact = omega.copy()
        if self.contacts == "first":
            contact[1:] &= ~omega[:-1]
        unsafe = contact.copy()
        for k in range(1, self.ahead + 1):
            unsafe[:-k] |= contact[k:]
        return unsafe


@dataclass(frozen=True)
class Steps:
    """N labelled steps, episode after episode; row i is (s, a, omega, success) of a step.

    Attributes:
        images: (N, size, size, 3) uint8 RGB, the frame in which the step was decided.
        actions: (N, A) float32 in [-1, 1].
        omega: (N,) bool, the step touched what it must not.
        first: (N,) bool, the step began a contact.
        success: (N,) bool, the step belongs to a successful episode.
        safe: (N,) bool, D_safe: no contact, not unsafe, of a successful episode (SAFER sec. 5.1).
        unsafe: (N,) bool, D_unsafe, by the label.
        task: (N,) int64.
        start: (N,) int64, row of the first step of the same episode.
        episode: (N,) int64, number of the episode in the data set.
    """

    images: np.ndarray
    actions: np.ndarray
    omega: np.ndarray
    first: np.ndarray
    success: np.ndarray
    safe: np.ndarray
    unsafe: np.ndarray
    task: np.ndarray
    start: np.ndarray
    episode: np.ndarray

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def action_dim(self) -> int:
        """A."""
        return self.actions.shape[1]

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(np.unique(self.episode))

    def windows(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Rows (B, size) of the states up to and with each of `rows` (B,), the oldest first.

        `PADDING` stands where the episode had not begun.
        """
        ages = np.arange(size - 1, -1, -1)
        found = np.asarray(rows)[:, None] - ages
        return np.where(found >= self.start[rows][:, None], found, PADDING)

    def require_both(self) -> None:
        """Refuses a data set without safe or without unsafe steps.

        Raises:
            SegmentError: in one line.
        """
        if not self.success.any():
            raise SegmentError(
                f"no successful episode among {self.episodes}: expected some, for D_safe is made "
                f"of their steps without contact"
            )
        if not self.safe.any():
            raise SegmentError(f"no safe step of a successful episode among {len(self)} steps")
        if not self.unsafe.any():
            raise SegmentError(f"no unsafe step among {len(self)}: expected some, for D_unsafe")

    def summary(self) -> dict[str, int]:
        """Counts, as plain values."""
        return {
            "episodes": self.episodes,
            "steps": len(self),
            "tasks": len(np.unique(self.task)),
            "contact_steps": int(self.omega.sum()),
            "first_contacts": int(self.first.sum()),
            "safe_steps": int(self.safe.sum()),
            "unsafe_steps": int(self.unsafe.sum()),
        }


def read_steps(
    episodes: Iterable[LabelledEpisode],
    label: UnsafeLabel,
    *,
    image_size: int,
    frame_size: int = 48,
) -> Steps:
    """Reads labelled steps; the frame after an episode's last step is left out.

    Args:
        episodes: an episode store, or any of the same attributes.
        label: which steps are unsafe.
        image_size: side of the frames kept, shrunk by area.
        frame_size: side that the recorded frames must have.

    Raises:
        SegmentError: no episodes, frames of another size, actions of another size or outside
            [-1, 1], or costs other than 0 and 1.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in Steps.__dataclass_fields__}
    total = 0
    for number, episode in enumerate(episodes):
        _check(episode, number, frame_size, columns["actions"])
        count = len(episode.actions)
        omega = np.asarray(episode.costs) > 0
        unsafe = label.of(omega)
        success = np.full(count, bool(episode.success))
        row = {
            "images": _shrunk(episode.images[:-1], image_size),
            "actions": episode.actions,
            "omega": omega,
            "first": UnsafeLabel("first").of(omega),
            "success": success,
            "safe": success & ~omega & ~unsafe,
            "unsafe": unsafe,
            "task": np.full(count, episode.task or 0),
            "start": np.full(count, total),
            "episode": np.full(count, number),
        }
        for name, values in row.items():
            columns[name].append(values)
        total += count
    if total == 0:
        raise SegmentError("the data set has no episodes: expected some with images and actions")
    # Column by column, so that no more than one is held twice.
    return Steps(**{name: np.concatenate(columns.pop(name)) for name in list(columns)})


def _check(
    episode: LabelledEpisode, number: int, frame_size: int, before: Sequence[np.ndarray]
) -> None:
    size = episode.images.shape[1:]
    if size != (frame_size, frame_size, 3):
        raise SegmentError(
            f"episode {number}: expected frames of {frame_size}x{frame_size} RGB, got "
            f"{'x'.join(map(str, size))}"
        )
    if before and episode.actions.shape[1] != before[0].shape[1]:
        raise SegmentError(
            f"episode {number}: expected actions of {before[0].shape[1]} numbers, as before, got "
            f"{episode.actions.shape[1]}"
        )
    if np.abs(episode.actions).max() > 1 + 1e-6:
        raise SegmentError(f"episode {number}: expected actions in [-1, 1]")
    if not np.isin(episode.costs, (0, 1)).all():
        raise SegmentError(f"episode {number}: expected costs of 0 or 1")


def _shrunk(images: np.ndarray, size: int) -> np.ndarray:
    """Frames (n, size, size, 3) shrunk by area, each a mean over what it covers."""
    if images.shape[1] == size:
        return images
    return np.stack([shrink(image, size) for image in images])


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """One frame (H, H, 3) uint8 shrunk by area to (size, size, 3)."""
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def select(steps: Steps, keep: np.ndarray) -> Steps:
    """The steps of the episodes for which `keep` (N,) holds; it must hold for whole episodes."""
    new_row = np.cumsum(keep) - 1
    columns = {name: getattr(steps, name)[keep] for name in Steps.__dataclass_fields__}
    columns["start"] = new_row[columns["start"]]
    return Steps(**columns)


@dataclass(frozen=True)
class Split:
    """Steps by what they are for; no episode is in two of them.

    Attributes:
        train: learned from.
        calibration: eta is chosen on these.
        certification: bounds on the unsafe share are computed on these, which chose nothing.
        unseen: of the held-out tasks; None where there are none.
    """

    train: Steps
    calibration: Steps
    certification: Steps
    unseen: Steps | None

    @property
    def held_out(self) -> tuple[Steps, Steps]:
        """What calibrates and what certifies."""
        return self.calibration, self.certification


def split(steps: Steps, *, hold_out: float, seed: int, held_out_tasks: Sequence[int] = ()) -> Split:
    """Splits by episode, at random from the seed, within the tasks that are not held out.

    Args:
        steps: all.
        hold_out: share of the episodes held out, one half for calibration, one for certification.
        seed: of the draw.
        held_out_tasks: tasks whose episodes are kept apart.

    Raises:
        SegmentError: a part would be empty.
    """
    apart = np.isin(steps.task, list(held_out_tasks))
    parts = split_episodes(np.unique(steps.episode[~apart]), hold_out=hold_out, seed=seed)
    chosen = [select(steps, np.isin(steps.episode, part)) for part in parts]
    return Split(*chosen, unseen=select(steps, apart) if apart.any() else None)


def split_episodes(
    episodes: np.ndarray, *, hold_out: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers (E,) of episodes to train on, to calibrate with and to certify with, as in `split`.

    Raises:
        SegmentError: a part would be empty.
    """
    count = int(np.ceil(hold_out * len(episodes) / 2))
    if len(episodes) < 2 * count + 1 or count < 1:
        raise SegmentError(
            f"cannot hold out {hold_out:g} of {len(episodes)} episodes: expected at least 1 each "
            f"to train, to calibrate and to certify"
        )
    drawn = np.random.default_rng(seed).permutation(episodes)
    return drawn[2 * count :], drawn[:count], drawn[count : 2 * count]


@dataclass(frozen=True)
class Segments:
    """Runs of steps of one episode that hold at least one step to learn from.

    Attributes:
        wanted: (N,) bool, the steps to learn from.
        first: (M,) row of the first step.
        last: (M,) row after the last step.
    """

    wanted: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def segments_of(steps: Steps, length: int, wanted: np.ndarray) -> Segments:
    """Cuts every episode into runs of at most `length` steps and keeps those with wanted ones.

    Every wanted step (N,) is in one segment, so that drawing segments uniformly draws every step
    of D_safe as often as any other, and likewise of D_unsafe.
    """
    begins = (np.arange(len(steps)) - steps.start) % length == 0
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(steps))
    before = np.concatenate(([0], np.cumsum(wanted)))
    keep = before[last] > before[first]
    return Segments(wanted, first[keep], last[keep])


@dataclass(frozen=True)
class Batch:
    """Wanted steps of some segments, and the frames that their windows need, each once.

    Attributes:
        frames: (F,) rows of the frames in `Steps.images`.
        rows: (B,) rows of the wanted steps.
        current: (B,) each step's own frame, as an index into `frames`.
        windows: (B, w) each step's window, as indices into `frames`, `PADDING` before the episode.
        unsafe: (B,) bool, the step is of D_unsafe, else of D_safe.
    """

    frames: np.ndarray
    rows: np.ndarray
    current: np.ndarray
    windows: np.ndarray
    unsafe: np.ndarray


def batch_of(steps: Steps, segments: Segments, chosen: np.ndarray, window: int) -> Batch:
    """Gathers the wanted steps of the chosen segments (indices)."""
    runs = [np.arange(segments.first[k], segments.last[k]) for k in chosen]
    candidates = np.concatenate(runs)
    rows = candidates[segments.wanted[candidates]]
    windows = steps.windows(rows, window)
    frames = np.unique(windows)
    frames = frames[frames != PADDING]
    place = np.searchsorted(frames, windows)
    return Batch(
        frames=frames,
        rows=rows,
        current=np.searchsorted(frames, rows),
        windows=np.where(windows == PADDING, PADDING, place),
        unsafe=steps.unsafe[rows],
    )
