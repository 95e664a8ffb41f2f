"""The learning curve of a training run on LS3's tasks, the same for every method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from safe_skills.data.files import replacing
from safe_skills.data.run_table import EpisodeRow
from safe_skills.experiments.train_sac import smoothed

WINDOW = 10  # episodes that a point of the curve is a mean of


def write_curve(
    path: Path, rows: Sequence[EpisodeRow], demonstrations: float | None = None
) -> None:
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
        if name != "return":
            axes.set_ylim(-0.02, 1.02)
        elif demonstrations is not None:
            axes.axhline(demonstrations, color="grey", linestyle="--", label="demonstrations")
            axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
