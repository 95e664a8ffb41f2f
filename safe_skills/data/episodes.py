"""Episodes on disk: HDF5 shards with Minari's group names, readable with h5py alone."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from safe_skills.data.files import replacing

FORMAT = "safe_skills episodes 1"
KINDS = ("demo", "random", "constraint", "online", "scripted")
SHARD_EPISODES = 10
FIRST_EVALUATION_SEED = 1_000_000
"""Scene seeds below are for training, those from here on for evaluation: they never meet."""

# First seed, seeds, and seeds a run. The kinds of the cable task share the seeds out; scripted
# episodes are those of another environment.
_SEEDS = {
    "demo": (0, 250_000, 10_000),
    "random": (250_000, 250_000, 10_000),
    "constraint": (500_000, 250_000, 10_000),
    "online": (750_000, 250_000, 10_000),
    "scripted": (0, 1_000_000, 100_000),
}
_OPTIONAL = {"task": int, "noise": float}
_SHARD_NAME = re.compile(rf"({'|'.join(KINDS)})-(\d{{5}})\.hdf5")


class EpisodeError(ValueError):
    """An episode file that is damaged, truncated or not one of ours; the message is one line."""


@dataclass(frozen=True)
class Episode:
    """One attempt of n steps; row i of the actions leads from image i to image i + 1.

    Attributes:
        images: (n+1, H, W, 3) uint8 RGB.
        masks: (n+1, H, W) uint8, 255 on the cable; None for tasks without.
        actions: (n, A) float32, in the units of the environment.
        rewards: (n,) float32.
        costs: (n,) float32, 1 for a step that violates the constraint.
        terminated: the episode came to an end of its own.
        truncated: the horizon was reached.
        success: the task was done; it holds for every step of the episode.
        kind: one of `KINDS`.
        seed: scene seed.
        policy: what acted, in words.
        revision: software that made it.
        layout: layout of the environment; "" where there is but one.
        violation: what first touched what it must not, as the environment names it, or "".
        task: number of the environment's task; None where there is but one.
        noise: actuation noise of the policy, in shares of a full action; None where not recorded.
    """

    images: np.ndarray
    masks: np.ndarray | None
    actions: np.ndarray
    rewards: np.ndarray
    costs: np.ndarray
    terminated: bool
    truncated: bool
    success: bool
    kind: str
    seed: int
    policy: str
    revision: str
    layout: str = ""
    violation: str = ""
    task: int | None = None
    noise: float | None = None

    def __post_init__(self) -> None:
        for name, dimensions in (("images", 4), ("actions", 2)):
            shape = getattr(self, name).shape
            if len(shape) != dimensions or 0 in shape:
                raise EpisodeError(
                    f"{name}: expected {dimensions} dimensions, none empty, got shape {shape}"
                )
        steps, size = len(self.actions), self.actions.shape[1]
        height, width = self.images.shape[1:3]
        expected = {
            "images": (np.uint8, (steps + 1, height, width, 3)),
            "actions": (np.float32, (steps, size)),
            "rewards": (np.float32, (steps,)),
            "costs": (np.float32, (steps,)),
        }
        if self.masks is not None:
            expected["masks"] = (np.uint8, (steps + 1, height, width))
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise EpisodeError(
                    f"{name}: expected {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}"
                )
            if dtype == np.float32 and not np.isfinite(array).all():
                raise EpisodeError(f"{name}: expected finite numbers")
        if self.kind not in KINDS:
            raise EpisodeError(f"kind: expected one of {KINDS}, got {self.kind!r}")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of the rewards."""
        return float(self.rewards.sum())


def training_seed(seed: int, kind: str, index: int) -> int:
    """Scene seed of the `index`-th training episode of a kind, below `FIRST_EVALUATION_SEED`.

    Different kinds of one environment never share a seed, nor do different indices, nor do runs of
    seeds 0 to 24 (0 to 9 for scripted episodes).

    Raises:
        ValueError: an index beyond the seeds of a run.
    """
    first, seeds, run = _SEEDS[kind]
    if not 0 <= index < run:
        raise ValueError(f"index: expected 0 to {run - 1}, got {index}")
    return first + (seed * run + index) % seeds


def write_shard(path: Path | str, episodes: Sequence[Episode]) -> None:
    """Writes episodes to one HDF5 file, beside first and then renamed over `path`.

    Raises:
        EpisodeError: the file cannot be written.
    """
    # In memory first: HDF5 may end the process when the disk is full.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["total_episodes"] = len(episodes)
        for index, episode in enumerate(episodes):
            _write_episode(file.create_group(f"episode_{index}"), index, episode)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content.getbuffer())
    except OSError as error:
        raise EpisodeError(f"{path}: cannot be written ({error.strerror})") from error


def read_shard(path: Path | str) -> list[Episode]:
    """Reads the episodes of one file.

    Raises:
        EpisodeError: the file is damaged, truncated or not one of ours.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            count = _episode_count(file)
            return [_read_episode(file[f"episode_{index}"]) for index in range(count)]
    except EpisodeError as error:
        raise EpisodeError(f"{path}: {error}") from None
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise EpisodeError(f"{path}: damaged or not an episode file ({reason})") from error


class EpisodeStore:
    """A folder of shards named `<kind>-<number>.hdf5`, about ten episodes each.

    Iterating yields the episodes kind by kind in the order in which they were made.

    Args:
        folder: made if it does not exist.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise EpisodeError(f"{self.folder}: expected a folder of episodes, got a file")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EpisodeError(f"{self.folder}: cannot be made ({error.strerror})") from error

    def __iter__(self) -> Iterator[Episode]:
        return self.episodes()

    def __len__(self) -> int:
        return sum(self.count().values())

    def episodes(self, kind: str | None = None) -> Iterator[Episode]:
        """Yields the episodes of one kind, or of all.

        Raises:
            EpisodeError: at the first file that is damaged, truncated or not one of ours.
        """
        for path in self.shards(kind):
            yield from read_shard(path)

    def count(self) -> dict[str, int]:
        """Number of episodes by kind, without reading them.

        Raises:
            EpisodeError: a file cannot be opened or is not one of ours.
        """
        return {kind: sum(map(shard_length, self.shards(kind))) for kind in KINDS}

    def append(self, episodes: Sequence[Episode]) -> Path:
        """Writes episodes of one kind as the next shard of that kind; returns its path."""
        kinds = {episode.kind for episode in episodes}
        if len(kinds) != 1:
            raise ValueError(f"append: expected episodes of one kind, got {sorted(kinds)}")
        (kind,) = kinds
        numbers = [int(_SHARD_NAME.fullmatch(path.name)[2]) for path in self.shards(kind)]
        path = self.shard_path(kind, max(numbers, default=-1) + 1)
        write_shard(path, episodes)
        return path

    def shard_path(self, kind: str, number: int) -> Path:
        """Where the shard of this kind and number lies, whether it exists or not."""
        return self.folder / f"{kind}-{number:05d}.hdf5"

    def shards(self, kind: str | None = None) -> list[Path]:
        """The existing shards of one kind, or of all, in order.

        Raises:
            EpisodeError: there is an HDF5 file of another name.
        """
        found = []
        for path in self.folder.glob("[!.]*.hdf5"):
            match = _SHARD_NAME.fullmatch(path.name)
            if match is None:
                raise EpisodeError(
                    f"{path}: expected a name like demo-00000.hdf5, got '{path.name}'"
                )
            if kind in (None, match[1]):
                found.append((KINDS.index(match[1]), int(match[2]), path))
        return [path for *_, path in sorted(found)]


def shard_length(path: Path | str) -> int:
    """Number of episodes in one file.

    Raises:
        EpisodeError: the file cannot be opened or is not one of ours.
    """
    try:
        with h5py.File(path, "r") as file:
            return _episode_count(file)
    except EpisodeError as error:
        raise EpisodeError(f"{path}: {error}") from None
    except OSError as error:
        reason = " ".join(str(error).split())
        raise EpisodeError(f"{path}: damaged or not an episode file ({reason})") from error


def _episode_count(file: h5py.File) -> int:
    found = file.attrs.get("format")
    if found != FORMAT:
        raise EpisodeError(f"expected format '{FORMAT}', got {found!r}")
    return int(file.attrs["total_episodes"])


def _write_episode(group: h5py.Group, index: int, episode: Episode) -> None:
    steps = len(episode)
    for name in ("images", "masks"):
        frames = getattr(episode, name)
        if frames is None:
            continue
        group.create_dataset(
            f"observations/{name[:-1]}",
            data=frames,
            chunks=(1, *frames.shape[1:]),
            compression="lzf",
            fletcher32=True,
        )
    last = np.arange(steps) == steps - 1
    tables = {
        "actions": episode.actions,
        "rewards": episode.rewards,
        "terminations": last & episode.terminated,
        "truncations": last & episode.truncated,
        "infos/cost": episode.costs,
    }
    for name, table in tables.items():
        group.create_dataset(name, data=table, fletcher32=True)
    group.attrs.update(
        id=index,
        total_steps=steps,
        kind=episode.kind,
        seed=episode.seed,
        policy=episode.policy,
        layout=episode.layout,
        revision=episode.revision,
        success=episode.success,
        violation=episode.violation,
    )
    for name in _OPTIONAL:
        value = getattr(episode, name)
        if value is not None:
            group.attrs[name] = value


def _read_episode(group: h5py.Group) -> Episode:
    attributes = group.attrs
    masks = group["observations"].get("mask")
    optional = {
        name: kind(attributes[name]) for name, kind in _OPTIONAL.items() if name in attributes
    }
    return Episode(
        images=group["observations/image"][()],
        masks=None if masks is None else masks[()],
        actions=group["actions"][()],
        rewards=group["rewards"][()],
        costs=group["infos/cost"][()],
        terminated=bool(group["terminations"][()].any()),
        truncated=bool(group["truncations"][()].any()),
        success=bool(attributes["success"]),
        kind=str(attributes["kind"]),
        seed=int(attributes["seed"]),
        policy=str(attributes["policy"]),
        revision=str(attributes["revision"]),
        layout=str(attributes["layout"]),
        violation=str(attributes["violation"]),
        **optional,
    )
