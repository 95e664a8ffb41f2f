"""Episodes of an agent as people see them, as a GIF."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from safe_skills.data.files import replacing
from safe_skills.envs.tasks import find_task
from safe_skills.experiments.rollout import make_env, run_episode
from safe_skills.ls3.agent import LS3Agent

GIF_WIDTH = 360  # pixels
FRAME_MS = 60
MOST_FRAMES = 60  # of an episode, of a longer one every second or third: they take time to draw
PAUSE_FRAMES = 12  # that the last one of an episode is shown


def write_episodes_gif(path: Path, agent: LS3Agent, profile: str, seeds: Sequence[int]) -> None:
    """Runs an episode a seed as people see it, and writes them one after the other."""
    env = make_env(agent.task, agent.layout, render_mode="rgb_array")
    every = math.ceil(find_task(agent.task).horizon / MOST_FRAMES)
    frames: list[np.ndarray] = []

    def watch() -> None:
        if next(steps) % every == 0:
            frames.append(_shrunk(env.render()))

    for seed in seeds:
        steps = itertools.count()
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
