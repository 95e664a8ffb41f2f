"""`safe-skills calibrate surprise`: when a camera frame surprises a checkpoint's encoder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from safe_skills.data.episodes import EpisodeError, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.data.provenance import revision
from safe_skills.data.surprise import (
    CONFIDENCE,
    QUANTILES,
    SHARE,
    SurpriseLevel,
    SurpriseModel,
    calibrate_held_out,
    save_surprise,
    without_repeats,
)
from safe_skills.data.threads import torch_threads
from safe_skills.experiments.arguments import natural, positive
from safe_skills.experiments.benchmark import print_table
from safe_skills.experiments.encoder_subjects import Subject, subject_of
from safe_skills.experiments.picture_faults import FAULTS, spoil
from safe_skills.paths import checkpoint_dir

HELP = (
    "Calibrate when a camera frame surprises a checkpoint's encoder: limits of the latent distance "
    "and the reconstruction error from clean episodes that it did not learn from, and which faults "
    "of a picture they show. Writes surprise.safetensors beside the weights, which stay as they "
    "are."
)
SPOILT_FRAMES = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("checkpoint", help="folder of a checkpoint, or the name of a shipped one")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        help="folders of clean episodes that were not trained on (default: collected now)",
    )
    parser.add_argument(
        "--episodes", type=positive, default=500, help="to collect, about; needs no --data (500)"
    )
    parser.add_argument(
        "--seed",
        type=natural,
        help="of collection and split (default: one that the training of the checkpoint left out)",
    )
    parser.add_argument("--workers", type=positive, default=2, help="processes that collect (2)")
    parser.add_argument("--out", type=Path, help="folder to write into (default: the checkpoint's)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    # Threads within an operation wait for each other, for minutes where the cores are busy.
    with torch_threads(1):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    folder = Path(args.checkpoint).expanduser()
    if not folder.is_dir() and folder.name == args.checkpoint:
        folder = checkpoint_dir(args.checkpoint)
    subject = subject_of(folder)
    seed = subject.seed if args.seed is None else args.seed
    collected = Path("outputs/calibrate") / f"{subject.model_id}_{seed}"
    foreign = {}
    if args.data:
        frames = read_frames(args.data)
    else:
        episodes = subject.collect(collected / "held_out", args.episodes, seed, args.workers)
        frames = [without_repeats(episode.images) for episode in episodes]
        foreign = subject.foreign(collected / "foreign", seed, args.workers)
    about = {
        "data": "given" if args.data else "collected",
        "episodes": len(frames),
        "seed": seed,
        "revision": revision(),
    }
    model = calibrate_held_out(subject.encode(frames), seed)
    path = save_surprise(model, args.out or folder, subject.model_id, about)

    clean = evenly(np.concatenate(frames), SPOILT_FRAMES)
    shares = {"none": shares_above(subject, model, clean)}
    for name, fault in FAULTS.items():
        shares[name] = shares_above(subject, model, spoil(fault, clean, seed))
    for name, others in foreign.items():
        images = np.concatenate([episode.images for episode in others])
        shares[name] = shares_above(subject, model, evenly(images, SPOILT_FRAMES))
    print_levels(subject.model_id, model)
    print_shares(shares)
    Console().print(f"written: {path}")
    if args.json:
        figures = {"model_id": subject.model_id, **about, "share": SHARE, "confidence": CONFIDENCE}
        write_json(args.json, {**figures, "levels": levels_of(model), "shares_above": shares})
    return 0


def read_frames(folders: Sequence[Path]) -> list[np.ndarray]:
    """The frames (n, H, W, 3) of each episode in some folders, without repeats.

    Raises:
        EpisodeError: a folder is missing, there is no episode, or one cannot be read.
    """
    for folder in folders:
        if not folder.is_dir():
            raise EpisodeError(f"{folder}: no such folder of episodes")
    episodes = chain.from_iterable(map(EpisodeStore, folders))
    frames = [without_repeats(episode.images) for episode in episodes]
    if not frames:
        raise EpisodeError("no episode to calibrate with: expected some in the folders of --data")
    return frames


def calibrate_checkpoint(folder: Path, collected: Path, episodes: int, workers: int) -> Path:
    """Calibrates a checkpoint that has just been trained; returns the file's path.

    Args:
        folder: of the checkpoint.
        collected: where its held-out episodes go; those that are there are not made again.
        episodes: about so many.
        workers: processes that collect.

    Raises:
        SurpriseError: too few episodes, or ones that make no limit.
    """
    subject = subject_of(folder)
    held_out = subject.collect(collected, episodes, subject.seed, workers)
    frames = [without_repeats(episode.images) for episode in held_out]
    about = {"data": "collected", "episodes": len(frames), "seed": subject.seed}
    with torch_threads(1):
        model = calibrate_held_out(subject.encode(frames), subject.seed)
    return save_surprise(model, folder, subject.model_id, {**about, "revision": revision()})


def evenly(frames: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the frames, at even distances."""
    return frames[:: -(-len(frames) // count)]


def shares_above(subject: Subject, model: SurpriseModel, images: np.ndarray) -> dict[str, float]:
    """Share of the frames (n, H, W, 3) above each limit, and above any."""
    encoded = subject.encode([images])
    above = {"latent_distance": model.latent_distances(encoded.mean) > model.latent_distance_limit}
    if encoded.error is not None:
        above["reconstruction_error"] = encoded.error > model.reconstruction_limit
    above["any"] = np.logical_or.reduce(list(above.values()))
    return {name: float(values.mean()) for name, values in above.items()}


def levels_of(model: SurpriseModel) -> dict[str, dict[str, Any]]:
    """The levels as plain values; an infinite maximum, which JSON has no word for, is None."""
    levels = {}
    for name in ("latent_distance", "reconstruction_error"):
        level = getattr(model, name)
        if level is not None:
            values = asdict(level)
            numbers = (*level.quantiles, level.maximum)
            *quantiles, maximum = (x if np.isfinite(x) else None for x in numbers)
            levels[name] = {**values, "quantiles": quantiles, "maximum": maximum}
    return levels


def print_levels(model_id: str, model: SurpriseModel) -> None:
    """Prints the limits and what certifies them."""
    levels = [model.latent_distance, model.reconstruction_error]
    columns = [column for column in map(_level_cells, levels) if column]
    names = (
        "limit",
        *(f"{quantile:g} quantile" for quantile in QUANTILES),
        "maximum",
        "frames above the limit",
        "episodes with one",
        f"their share, {CONFIDENCE:.0%} sure at most",
    )
    print_table(
        f"{model_id}: clean frames of held-out episodes",
        ("", "latent distance", "reconstruction error")[: 1 + len(columns)],
        list(zip(names, *columns, strict=True)),
    )


def _level_cells(level: SurpriseLevel | None) -> tuple[str, ...]:
    if level is None:
        return ()
    return (
        *(f"{number:.3f}" for number in (level.limit, *level.quantiles, level.maximum)),
        f"{level.frames_above} of {level.frames}",
        f"{level.episodes_above} of {level.episodes}",
        f"{level.episode_bound:.3f}",
    )


def print_shares(shares: Mapping[str, Mapping[str, float]]) -> None:
    """Prints which share of the faulty frames is above the limits."""
    measures = ("latent_distance", "reconstruction_error", "any")
    rows = [
        (name, *(f"{row[measure]:.3f}" if measure in row else "-" for measure in measures))
        for name, row in shares.items()
    ]
    print_table("share of frames above the limit", ("fault", "distance", "error", "any"), rows)
