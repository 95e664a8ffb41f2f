"""Pictures of a training run on LS3's tasks: its learning curve, and episodes as a GIF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from safe_skills.data.files import replacing
from safe_skills.data.run_table import EpisodeRow
from safe_skills.experiments.rollout import make_env, run_episode
from safe_skills.experiments.train_sac import smoothed
from safe_skills.ls3.agent import LS3Agent

WINDOW = 10  # episodes that a point of the learning curve is a mean of
GIF_WIDTH = 360  # pixels
FRAME_MS = 60
PAUSE_FRAMES = 12  # that the last one of an episode is shown


def write_curve(path: Path, rows: Sequence[EpisodeRow], demonstrations: float) -> None:
    """Draws return, success and violations of the online episodes, each a mean of the last ten.

    Args:
        path: a PNG.
        rows: of the episodes.
        demonstrations: their mean return, drawn as a line.
    """
    figure = Figure(figsize=(10, 3), layout="constrained")
    panels = {
        "return": [row.episode_return for row in rows],
        "success": [float(row.success) for row in rows],
        "violation": [float(row.violation) for row in rows],
    }
    for axes, (name, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axes.plot(smoothed(values, WINDOW))
        axes.set(xlabel="trajectories", ylabel=f"{name} (mean of {WINDOW})")
        if name == "return":
            axes.axhline(demonstrations, color="grey", linestyle="--", label="demonstrations")
            axes.legend()
        else:
            axes.set_ylim(-0.02, 1.02)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def write_episodes_gif(path: Path, agent: LS3Agent, profile: str, seeds: Sequence[int]) -> None:
    """Runs an episode a seed as people see it, and writes them one after the other."""
    env = make_env(agent.task, agent.layout, render_mode="rgb_array")
    frames: list[np.ndarray] = []

    def watch() -> None:
        frames.append(_shrunk(env.render()))

    for seed in seeds:
        run_episode(env, agent, agent.planner(profile, seed=seed), seed, watch=watch)
        frames.extend([frames[-1]] * PAUSE_FRAMES)
    env.close()
    write_gif(path, frames)


def write_gif(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Writes frames (H, W, 3) uint8 RGB as a GIF that repeats."""
    first, *others = [
        Image.fromarray(frame).quantize(64, Image.Quantize.FASTOCTREE) for frame in frames
    ]
    with replacing(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=FRAME_MS,
            loop=0,
        )


def _shrunk(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    size = (GIF_WIDTH, round(height * GIF_WIDTH / width))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
