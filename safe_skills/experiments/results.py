"""What `safe-skills reproduce` makes: a result of a paper as JSON, CSV, picture and table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml
from matplotlib.figure import Figure

from safe_skills.data.files import replacing, write_json, write_text
from safe_skills.data.provenance import revision
from safe_skills.data.settings import plain, require
from safe_skills.experiments.benchmark import machine, print_table
from safe_skills.experiments.stages import Stage
from safe_skills.paths import config_file

SCALES = ("smoke", "cpu", "paper")  # sections of the files in config/reproduce
WIDTH = 100  # characters of a printed table, at least

Row = dict[str, Any]


class ResultError(ValueError):
    """A result that cannot be put together; the message is one line."""


def load_section(file: str, scale: str) -> dict[str, Any]:
    """Reads the section of a scale in a file of config/reproduce.

    Raises:
        ConfigError: the scale is none of `SCALES`.
    """
    require(scale in SCALES, f"scale: expected one of {', '.join(SCALES)}, got {scale!r}")
    return yaml.safe_load(config_file(f"reproduce/{file}").read_text(encoding="utf-8"))[scale]


class Run(Protocol):
    """The stages of a paper's results at a scale, in a folder.

    Attributes:
        scale: a data class of sizes.
        folder: of data, checkpoints and measurements.
    """

    scale: Any
    folder: Path


@dataclass(frozen=True)
class Result:
    """A table or figure.

    Attributes:
        summary: what it shows.
        stages: what has to be run.
        rows: the result as rows of named values.
        draw: the picture.
        partial: the rows can be made of the stages that have been run, whichever these are.
        size: of the picture [inches].
        curve: columns that name a curve: a terminal shows the last row of each alone.
    """

    summary: str
    stages: Callable[[Any], list[Stage]]
    rows: Callable[[Any], list[Row]]
    draw: Callable[[Figure, list[Row]], None]
    partial: bool = False
    size: tuple[float, float] = (8, 3.2)
    curve: tuple[str, ...] = ()

    def write(self, run: Run, path: Path, scale: str) -> None:
        """Writes PATH.json, PATH.csv and PATH.png, and prints the table.

        Raises:
            ResultError: stages are missing, of a result that needs them all, or all of them are.
        """
        done, missing = [], []
        for stage in self.stages(run):
            (done if stage.result.is_file() else missing).append(stage)
        rows = self.rows(run) if self.partial or not missing else []
        if not rows:
            what = "nothing to show yet" if self.partial else "expected all stages to have been run"
            first = f", the first of them {missing[0].result}" if missing else ""
            raise ResultError(
                f"{path.name}: {what}, missing {len(missing)} of {len(done) + len(missing)}{first}"
            )
        values = {
            "result": path.name,
            "summary": self.summary,
            "scale": scale,
            "sizes": plain(asdict(run.scale)),
            "rows": rows,
            "commands": [stage.line for stage in done],
        }
        if self.partial:
            values["missing"] = [stage.line for stage in missing]
        write_json(
            path.with_suffix(".json"), values | {"machine": machine(), "revision": revision()}
        )
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        write_text(path.with_suffix(".csv"), text.getvalue())
        figure = Figure(figsize=self.size, layout="constrained")
        self.draw(figure, rows)
        with replacing(path.with_suffix(".png")) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
        self._print(f"{path.name} ({scale}): {self.summary}", rows)

    def _print(self, title: str, rows: list[Row]) -> None:
        if self.curve:
            rows = list({tuple(row[name] for name in self.curve): row for row in rows}.values())
        # Ends of intervals are in the files; a terminal has no room for them.
        shown = [name for name in rows[0] if not name.endswith(("_low", "_high", "_se"))]
        cells = [tuple(_cell(row, name) for name in shown) for row in rows]
        print_table(title, tuple(_heading(name) for name in shown), cells, WIDTH)


class Family(NamedTuple):
    """The results of one paper.

    Attributes:
        results: by name.
        load: makes the run of a scale, by its name, in a folder.
        folder: of runs, by default; a folder a scale lies in it.
    """

    results: Mapping[str, Result]
    load: Callable[[str, Path], Run]
    folder: Path


def _heading(name: str) -> str:
    """A column's name, short enough for a terminal."""
    for long, short in (
        ("unsafe_in_", ""),
        ("_percent", " %"),
        ("violations", "viol."),
        ("trajectories", "traj."),
        ("clean_success", "clean"),
        ("_", " "),
    ):
        name = name.replace(long, short)
    return name


def _cell(row: Row, name: str) -> str:
    """A value, with its standard error where there is one."""
    value, error = row[name], row.get(f"{name}_se")
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    digits = 1 if abs(value) >= 10 else 3
    return f"{value:.{digits}f}" + ("" if error is None else f" ±{error:.{digits}f}")
