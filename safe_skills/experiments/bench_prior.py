"""`safe-skills bench prior`: SAFER's training, with frames encoded once a segment or once a window.

Also what a skill prior takes in the loop: one frame encoded, one context, one action.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from safe_skills.data.files import write_json
from safe_skills.data.segments import PADDING, Batch, read_steps
from safe_skills.data.statistics import percentiles
from safe_skills.data.threads import torch_threads
from safe_skills.experiments.arguments import positive
from safe_skills.experiments.benchmark import in_turns, machine, median_ratio, print_table
from safe_skills.experiments.train_safer import load_setting
from safe_skills.safer.config import METHODS
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.training import SkillPriorTrainer

HELP = (
    "Iterations a second of SAFER and PARROT at a setting, in turns with the same iterations that "
    "encode every window's frames apart; and the time of a step in the loop."
)
ACTION_DIM = 5


@dataclass(frozen=True)
class DrawnEpisode:
    """An episode of the Operation task's shapes."""

    images: np.ndarray
    actions: np.ndarray
    costs: np.ndarray
    success: bool
    task: int | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--setting", default="default", help="of the training (default)")
    parser.add_argument("--rounds", type=positive, default=10, help="timed turns (10)")
    parser.add_argument("--episodes", type=positive, default=200, help="of the drawn data (200)")
    parser.add_argument("--threads", type=positive, default=1, help="of torch (1)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    with torch_threads(args.threads):
        rng = np.random.default_rng(0)
        episodes = [drawn_episode(rng) for _ in range(args.episodes)]
        figures = {method: _measure(method, episodes, args) for method in METHODS}
    print_table(
        "skill priors: iterations a second, and ms of a step in the loop",
        ("method", "a window", "a segment", "ratio", "quartiles", "frames", "encode", "decode"),
        [_row(method, row) for method, row in figures.items()],
    )
    if args.json:
        write_json(args.json, {"machine": machine(), "setting": args.setting, "priors": figures})
    return 0


def drawn_episode(rng: np.random.Generator) -> DrawnEpisode:
    """An episode of 12 to 30 steps; three of five have a contact, nine of ten succeed."""
    steps = int(rng.integers(12, 31))
    costs = np.zeros(steps, np.float32)
    if rng.random() < 0.6:
        first = int(rng.integers(3, steps - 1))
        costs[first : first + 2] = 1.0
    return DrawnEpisode(
        rng.integers(0, 256, (steps + 1, 48, 48, 3), dtype=np.uint8),
        rng.uniform(-1, 1, (steps, ACTION_DIM)).astype(np.float32),
        costs,
        bool(rng.random() < 0.9),
    )


def a_window_at_a_time(batch: Batch) -> Batch:
    """The same steps, with the frames of each window encoded for it alone."""
    present = batch.windows != PADDING
    windows = np.full(batch.windows.shape, PADDING)
    windows[present] = np.arange(present.sum())
    frames = batch.frames[batch.windows[present]]
    # A window's last frame is the step's own.
    return replace(batch, frames=frames, windows=windows, current=windows[:, -1])


def _measure(method: str, episodes: list[DrawnEpisode], args: argparse.Namespace) -> dict[str, Any]:
    config = load_setting(args.setting, method).config
    steps = read_steps(episodes, config.objective.label, image_size=config.encoder.image_size)
    prior = SkillPrior(config, method=method, task="drawn", action_dim=ACTION_DIM)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SkillPriorTrainer(prior, steps, folder, seed=0)
    batch = trainer.batch()
    plain = a_window_at_a_time(batch)
    cases = {
        "plain": partial(trainer.update, plain),
        "here": partial(trainer.update, batch),
    }
    times = in_turns(cases, args.rounds)
    ratio, low, high = median_ratio(times["plain"], times["here"])
    return {
        "iterations_per_s": 1e3 / float(np.median(times["here"])),
        "plain_iterations_per_s": 1e3 / float(np.median(times["plain"])),
        "ratio": ratio,
        "ratio_quartiles": [low, high],
        "frames": len(batch.frames),
        "plain_frames": len(plain.frames),
        "steps": len(batch.rows),
        **_in_the_loop(prior, episodes[0].images, args.rounds),
    }


def _in_the_loop(prior: SkillPrior, images: np.ndarray, rounds: int) -> dict[str, Any]:
    """Milliseconds of a step: one frame's encoding with its context, and one action."""
    history = prior.history()
    contexts = []

    def encode() -> None:
        history.push(images[len(contexts) % len(images)])
        contexts.append(history.context().mean)

    state = history.push(images[0])
    z = np.zeros(prior.action_dim)
    cases = {
        "encode": encode,
        "decode": lambda: prior.decode(z, state, contexts[-1]),
    }
    times = in_turns(cases, 10 * rounds)
    return {f"{name}_ms": percentiles(values) for name, values in times.items()}


def _row(method: str, row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["ratio_quartiles"]
    return (
        method,
        f"{row['plain_iterations_per_s']:.1f}",
        f"{row['iterations_per_s']:.1f}",
        f"{row['ratio']:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{row['plain_frames']} / {row['frames']}",
        f"{row['encode_ms']['p50']:.2f}",
        f"{row['decode_ms']['p50']:.2f}",
    )
