"""What the training commands share: sections of settings, times of the parts, their table."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

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
