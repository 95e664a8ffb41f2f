"""What LS3 has learned of the navigation task, over the whole window (LS3 fig. 2)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from safe_skills.data.files import replacing
from safe_skills.envs.navigation import (
    GOAL,
    GOAL_RADIUS,
    OBSTACLE,
    START,
    WINDOW,
    NavigationEnv,
    in_obstacle,
)
from safe_skills.ls3.agent import LS3Agent

SPACING = 2.5  # pixels of the window


class Maps(NamedTuple):
    """Values of the learned models at R x C positions.

    Attributes:
        positions: (R, C, 2), a row a y.
        value: (R, C) in steps.
        goal: (R, C) probability, as the two below.
        constraint: (R, C).
        safe_set: (R, C).
    """

    positions: np.ndarray
    value: np.ndarray
    goal: np.ndarray
    constraint: np.ndarray
    safe_set: np.ndarray


@torch.inference_mode()
def navigation_maps(agent: LS3Agent, spacing: float = SPACING) -> Maps:
    """Shows an agent the point at the middle of each cell of a grid, and asks its models."""
    x, y = (np.arange(spacing / 2, side, spacing) for side in WINDOW)
    positions = np.stack(np.meshgrid(x, y), axis=-1)
    env = NavigationEnv()
    views = [agent.view(env.image_at(position)) for position in positions.reshape(-1, 2)]
    env.close()
    means, _ = agent.encode_views(np.stack(views))
    latents = torch.from_numpy(means).to(agent.device)
    models = agent.models
    answers = (models.value, models.goal, models.constraint, models.safe_set)
    shape = positions.shape[:2]
    return Maps(positions, *(model(latents).cpu().numpy().reshape(shape) for model in answers))


def map_figures(maps: Maps) -> dict[str, float]:
    """How the maps agree with the truth.

    Returns:
        "constraint_accuracy", the share of positions that f_C tells right at one half;
        "constraint_overlap", the area where both f_C and truth see the obstacle over that where
        either does; "goal_distance", from the goal to where f_G is largest [pixels];
        "safe_set_share", of the window where f_S is at least .8.
    """
    truth = np.apply_along_axis(in_obstacle, -1, maps.positions)
    told = maps.constraint > 0.5
    best = maps.positions.reshape(-1, 2)[maps.goal.argmax()]
    return {
        "constraint_accuracy": float((told == truth).mean()),
        "constraint_overlap": float((told & truth).sum() / max(1, (told | truth).sum())),
        "goal_distance": float(np.hypot(*(best - GOAL))),
        "safe_set_share": float((maps.safe_set >= 0.8).mean()),
    }


def write_maps(path: Path, maps: Maps) -> None:
    """Writes the picture of `draw_maps`."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    draw_maps(figure, maps)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def draw_maps(figure: Figure, maps: Maps) -> None:
    """Draws the four maps with obstacle, start and goal."""
    panels = {
        "value V [steps]": (maps.value, None),
        "goal f_G": (maps.goal, (0, 1)),
        "constraint f_C": (maps.constraint, (0, 1)),
        "safe set f_S": (maps.safe_set, (0, 1)),
    }
    width, height = WINDOW
    for axes, (title, (values, limits)) in zip(
        figure.subplots(2, 2).flat, panels.items(), strict=True
    ):
        low, high = limits or (None, None)
        shown = axes.imshow(values, extent=(0, width, height, 0), vmin=low, vmax=high)
        size = OBSTACLE[1] - OBSTACLE[0]
        axes.add_patch(Rectangle(OBSTACLE[0], *size, fill=False, edgecolor="red"))
        axes.add_patch(Circle(GOAL, GOAL_RADIUS, fill=False, edgecolor="white"))
        axes.plot(*START, "w+")
        axes.set_title(title)
        figure.colorbar(shown, ax=axes, shrink=0.8)
