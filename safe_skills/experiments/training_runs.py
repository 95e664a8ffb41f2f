"""What the training commands share: sections of settings, progress, times of the parts."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch.utils.tensorboard import SummaryWriter

from safe_skills.data.settings import ConfigError
from safe_skills.experiments.benchmark import print_table
from safe_skills.paths import config_file


def load_section(file: str, name: str, known: Collection[str]) -> dict[str, Any]:
    """Reads a section of a file in config/training.

    Args:
        file: its name, "ls3_cable.yaml".
        name: of the section.
        known: keys that a section may have.

    Raises:
        ConfigError: for an unknown section or key.
    """
    settings = yaml.safe_load(config_file(f"training/{file}").read_text(encoding="utf-8"))
    if name not in settings:
        raise ConfigError(f"unknown setting {name!r}; known: {', '.join(settings)}")
    section = settings[name]
    unknown = set(section) - set(known)
    if unknown:
        raise ConfigError(
            f"setting {name}: unknown key {unknown.pop()!r}; known: {', '.join(known)}"
        )
    return section


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Notes the duration of a block."""
    began = time.monotonic()
    yield
    seconds[name] = time.monotonic() - began


def print_seconds(seconds: Mapping[str, float]) -> None:
    """Prints how long each part took."""
    rows = [(part.replace("_", " "), f"{value:.1f}") for part, value in seconds.items()]
    print_table("time", ("part", "seconds"), rows)


class PhaseReporter:
    """Shows the progress of a training's phases and writes their losses to TensorBoard.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.progress = Progress(
            TextColumn("{task.description:28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeElapsedColumn(),
        )
        self.writer = SummaryWriter(folder / "tensorboard")
        self._bars: dict[str, Any] = {}
        self._scalars = 0

    def __call__(self, phase: str, done: int, total: int, loss: float) -> None:
        """Reports the mean loss of the last iterations of a phase."""
        if phase not in self._bars:
            self._bars[phase] = self.progress.add_task(phase, total=total, loss=loss)
        self.progress.update(self._bars[phase], completed=done, loss=loss)
        self.writer.add_scalar(f"loss/{phase.split()[-1]}", loss, self._scalars)
        self._scalars += 1

    def episode_scalars(self, update: int, summary: Mapping[str, Any]) -> None:
        """Writes the figures of an update's episodes."""
        for name in ("success_rate", "violation_rate", "mean_return"):
            self.writer.add_scalar(f"online/{name}", summary[name], update)
