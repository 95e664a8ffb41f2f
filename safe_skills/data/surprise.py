"""Surprise: how unlike all clean frames a frame is to an encoder, by limits from held-out episodes.

Two measures. The latent distance is Mahalanobis' distance of a latent's mean from the latents of
training. The reconstruction error is what a decoder does not reproduce of the frame; an encoder
without a decoder has none. Each has a limit: a high quantile of clean frames that were not trained
on. What the limit is worth is counted on other episodes again, which chose nothing.

The file `surprise.safetensors` lies beside a checkpoint's weights and names them; a checkpoint
without it works, its surprise is unknown.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from safe_skills.data.checkpoint import CheckpointError
from safe_skills.data.files import replacing
from safe_skills.data.segments import SegmentError, split_episodes
from safe_skills.data.settings import ConfigError, from_mapping, require
from safe_skills.data.statistics import clopper_pearson

FILE = "surprise.safetensors"
FORMAT = "1"
SHARE = 1e-3
"""Of the clean frames that choose a limit so many are above it."""

CONFIDENCE = 0.95
QUANTILES = (0.5, 0.9, 0.99, 0.999)
SMALLEST_VARIANCE = 1e-9
"""Floor of the covariance, as a share of the mean variance of a dimension."""

_TENSORS = ("center", "whitening")
_LEVELS = ("latent_distance", "reconstruction_error")


class SurpriseError(CheckpointError):
    """A calibration that cannot be made or used; the message is one line."""


@dataclass(frozen=True)
class EncodedFrames:
    """What an encoder made of n frames of whole episodes.

    Attributes:
        mean: (n, d) of the latent.
        stddev: (n, d) of the latent; 0 for an encoder that gives points.
        error: (n,) reconstruction error; None for an encoder without a decoder.
        episode: (n,) number of the episode that a frame is of.
    """

    mean: np.ndarray
    stddev: np.ndarray
    error: np.ndarray | None
    episode: np.ndarray

    def __len__(self) -> int:
        return len(self.mean)

    def of(self, episodes: np.ndarray) -> EncodedFrames:
        """The frames of these episodes."""
        keep = np.isin(self.episode, episodes)
        error = None if self.error is None else self.error[keep]
        return EncodedFrames(self.mean[keep], self.stddev[keep], error, self.episode[keep])


@dataclass(frozen=True)
class SurpriseLevel:
    """The limit of one measure, and what held-out clean frames that did not choose it say of it.

    Attributes:
        limit: a frame above it surprises.
        frames: that were looked at.
        episodes: that these are of.
        frames_above: of them above the limit.
        episodes_above: of them with a frame above the limit.
        episode_bound: with 95 % confidence at most this share of clean episodes has a frame above
            the limit (Clopper-Pearson; frames of one episode are not independent, episodes are).
        quantiles: .5, .9, .99 and .999 of the frames.
        maximum: of the frames.
    """

    limit: float
    frames: int
    episodes: int
    frames_above: int
    episodes_above: int
    episode_bound: float
    quantiles: tuple[float, ...]
    maximum: float

    def __post_init__(self) -> None:
        numbers = (self.limit, self.episode_bound, self.maximum, *self.quantiles)
        known = all(isinstance(number, float) and number >= 0 for number in numbers)
        require(
            known and math.isfinite(self.limit) and len(self.quantiles) == len(QUANTILES),
            f"expected a finite limit and {len(QUANTILES)} quantiles, none negative, got {self}",
        )


@dataclass(frozen=True)
class SurpriseModel:
    """When a frame surprises an encoder.

    Attributes:
        center: (d,) mean of the training latents.
        whitening: (d, d) inverse square root of their covariance.
        latent_distance: level of the distance.
        reconstruction_error: level of the error; None for an encoder without a decoder.
    """

    center: np.ndarray = field(repr=False)
    whitening: np.ndarray = field(repr=False)
    latent_distance: SurpriseLevel
    reconstruction_error: SurpriseLevel | None = None

    def __post_init__(self) -> None:
        d = len(self.center)
        if self.center.shape != (d,) or self.whitening.shape != (d, d) or d == 0:
            raise SurpriseError(
                f"surprise: expected a center (d,) and a whitening (d, d), got "
                f"{self.center.shape} and {self.whitening.shape}"
            )
        if not (np.isfinite(self.center).all() and np.isfinite(self.whitening).all()):
            raise SurpriseError("surprise: expected finite numbers")

    @property
    def latent_dim(self) -> int:
        """d, the length of a latent."""
        return len(self.center)

    @property
    def latent_distance_limit(self) -> float:
        """A latent farther away than this surprises."""
        return self.latent_distance.limit

    @property
    def reconstruction_limit(self) -> float:
        """An error above this surprises; NaN for an encoder without a decoder."""
        return math.nan if self.reconstruction_error is None else self.reconstruction_error.limit

    def latent_distance_of(self, mean: np.ndarray) -> float:
        """Mahalanobis' distance of a latent's mean (d,); infinite where that is not finite.

        Raises:
            ValueError: for another length.
        """
        if np.shape(mean) != self.center.shape:
            raise ValueError(f"latent: expected {self.latent_dim} numbers, got {np.shape(mean)}")
        return float(self.latent_distances(np.asarray(mean)[None])[0])

    def latent_distances(self, means: np.ndarray) -> np.ndarray:
        """The distances (n,) of means (n, d)."""
        return _distances(self.center, self.whitening, means)


def calibrate(
    training: EncodedFrames, choosing: EncodedFrames, certifying: EncodedFrames
) -> SurpriseModel:
    """Finds the latents' center and spread, and both limits.

    The covariance is that of the latents as they are drawn: of their means, shrunk as Ledoit and
    Wolf (2004) do, and the mean of their variances.

    Args:
        training: frames that the encoder learned from, or others like them.
        choosing: clean frames of episodes that are not among these; they choose the limits.
        certifying: clean frames of yet other episodes; they say what the limits are worth.

    Raises:
        SurpriseError: too few frames, or ones that make no limit.
    """
    for name, part in (("train", training), ("choose", choosing), ("certify", certifying)):
        if len(part) < 2:
            raise SurpriseError(f"surprise: expected 2 frames or more to {name}, got {len(part)}")
    center = training.mean.astype(np.float64).mean(0)
    covariance = shrunk_covariance(training.mean)
    covariance[np.diag_indices_from(covariance)] += np.square(training.stddev).mean(0)
    whitening = inverse_square_root(covariance)
    distances = [_distances(center, whitening, part.mean) for part in (choosing, certifying)]
    errors = None
    if choosing.error is not None and certifying.error is not None:
        errors = _level(
            choosing.error, certifying.error, certifying.episode, "reconstruction error"
        )
    distance = _level(*distances, certifying.episode, "latent distance")
    return SurpriseModel(center, whitening, distance, errors)


def calibrate_held_out(frames: EncodedFrames, seed: int) -> SurpriseModel:
    """Calibrates on frames that the encoder did not learn from, split by episode.

    Half of the episodes say where latents lie, a quarter chooses the limits and a quarter
    certifies them.

    Args:
        frames: clean ones, like those of training.
        seed: of the split.

    Raises:
        SurpriseError: too few episodes, or ones that make no limit.
    """
    try:
        parts = split_episodes(np.unique(frames.episode), hold_out=0.5, seed=seed)
    except SegmentError as error:
        raise SurpriseError(f"surprise: {error}") from None
    return calibrate(*map(frames.of, parts))


def without_repeats(images: np.ndarray) -> np.ndarray:
    """Frames (n, H, W, 3) without those that are like the one before: the world stood still."""
    changes = (images[1:] != images[:-1]).any((1, 2, 3))
    return images[np.append(True, changes)]


def shrunk_covariance(values: np.ndarray) -> np.ndarray:
    """Covariance (d, d) of n values (n, d), shrunk to a multiple of the identity.

    By as much as is best for independent values (Ledoit and Wolf, 2004, "A well-conditioned
    estimator for large-dimensional covariance matrices", eq. 14).
    """
    centred = np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64)
    n, d = centred.shape
    sample = centred.T @ centred / n
    variance = np.trace(sample) / d
    target = variance * np.eye(d)
    distance = np.square(sample - target).sum()
    noise = (np.square(np.square(centred).sum(1)).mean() - np.square(sample).sum()) / n
    weight = 1.0 if distance == 0 else min(max(noise, 0.0) / distance, 1.0)
    return (1 - weight) * sample + weight * target


def inverse_square_root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric W (d, d) with W W = covariance^-1.

    Raises:
        SurpriseError: the covariance is not finite, or 0.
    """
    if not np.isfinite(covariance).all() or np.trace(covariance) <= 0:
        raise SurpriseError("surprise: expected latents that differ and are finite")
    variances, axes = np.linalg.eigh(covariance)
    variances = np.maximum(variances, SMALLEST_VARIANCE * variances.mean())
    return (axes / np.sqrt(variances)) @ axes.T


def _distances(center: np.ndarray, whitening: np.ndarray, means: np.ndarray) -> np.ndarray:
    offsets = np.asarray(means, np.float64) - center
    finite = np.isfinite(offsets).all(1)
    whitened = np.where(finite[:, None], offsets, 0.0) @ whitening
    return np.where(finite, np.sqrt(np.square(whitened).sum(1)), np.inf)


def _level(
    choosing: np.ndarray, certifying: np.ndarray, episode: np.ndarray, name: str
) -> SurpriseLevel:
    # The rank that makes P(a new value is above) at most SHARE, where there are values enough.
    rank = min(math.ceil((len(choosing) + 1) * (1 - SHARE)), len(choosing))
    limit = float(np.sort(choosing)[rank - 1])
    if not math.isfinite(limit):
        raise SurpriseError(
            f"surprise: {name}: expected {1 - SHARE:.1%} of the clean frames to have a finite one; "
            f"do all of them show what the encoder looks for?"
        )
    above = certifying > limit
    episodes, episodes_above = (len(np.unique(part)) for part in (episode, episode[above]))
    return SurpriseLevel(
        limit=limit,
        frames=len(certifying),
        episodes=episodes,
        frames_above=int(above.sum()),
        episodes_above=episodes_above,
        episode_bound=clopper_pearson(episodes_above, episodes, CONFIDENCE)[1],
        quantiles=tuple(np.quantile(certifying, QUANTILES, method="higher").tolist()),
        maximum=float(certifying.max()),
    )


def save_surprise(
    model: SurpriseModel, folder: Path | str, model_id: str, about: Mapping[str, Any] | None = None
) -> Path:
    """Writes a calibration beside the weights that it is for; returns the file's path.

    Args:
        model: the calibration.
        folder: of the checkpoint.
        model_id: of its weights.
        about: what it was made from, as plain values; for who looks into the file.
    """
    tensors = {name: np.ascontiguousarray(getattr(model, name), np.float64) for name in _TENSORS}
    levels = {name: getattr(model, name) for name in _LEVELS if getattr(model, name)}
    text = json.dumps({name: asdict(level) for name, level in levels.items()})
    metadata = {
        "format": FORMAT,
        "model_id": model_id,
        "levels": text,
        "sha256": _digest(tensors, text, model_id),
        "about": json.dumps(dict(about or {})),
    }
    path = Path(folder) / FILE
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))
    return path


def load_surprise(folder: Path | str, model_id: str) -> SurpriseModel | None:
    """Reads the calibration of a checkpoint; None where it has none.

    Args:
        folder: of the checkpoint.
        model_id: of the weights that it has to be for.

    Raises:
        SurpriseError: in one line: damaged, or for other weights.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SurpriseError(f"{path} is damaged ({error}); {_REMEDY}") from None
    if metadata.get("format") != FORMAT:
        raise SurpriseError(
            f"{path}: expected format {FORMAT}, found {metadata.get('format')}; {_REMEDY}"
        )
    if metadata.get("model_id") != model_id:
        raise SurpriseError(
            f"{path}: expected the calibration of {model_id}, found that of "
            f"{metadata.get('model_id')}; {_REMEDY}"
        )
    text = metadata.get("levels", "")
    if set(tensors) != set(_TENSORS) or metadata.get("sha256") != _digest(tensors, text, model_id):
        raise SurpriseError(f"{path} is damaged: its SHA-256 is another; {_REMEDY}")
    try:
        levels = {
            name: from_mapping(SurpriseLevel, values, name)
            for name, values in dict(json.loads(text)).items()
        }
        return SurpriseModel(**tensors, **levels)
    except (ConfigError, TypeError, ValueError) as error:
        raise SurpriseError(f"{path}: {error}; {_REMEDY}") from None


_REMEDY = "make it anew with safe-skills calibrate surprise, or remove it to do without"


def _digest(tensors: dict[str, np.ndarray], levels: str, model_id: str) -> str:
    digest = hashlib.sha256(f"{FORMAT} {model_id} {levels}".encode())
    for name in sorted(tensors):
        digest.update(f"{tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
