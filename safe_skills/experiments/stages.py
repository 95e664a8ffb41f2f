"""Long experiments as stages: commands of `safe-skills`, each of which leaves one JSON file.

What is there is not made again; what was interrupted goes on, as its command does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class StageError(ValueError):
    """A command that failed; the message has the end of what it said."""


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        words: of the command, without `safe-skills` and `--json`.
        result: the JSON file that it writes when it is done.
        after: results that it needs.
    """

    words: tuple[str, ...]
    result: Path
    after: tuple[Path, ...] = ()

    @property
    def command(self) -> list[str]:
        """The process to start."""
        return [sys.executable, "-m", "safe_skills.cli", *self.words, "--json", str(self.result)]

    def run(self) -> None:
        """Runs the command, with what it says in a file beside the result.

        Raises:
            StageError: it failed.
        """
        self.result.parent.mkdir(parents=True, exist_ok=True)
        log = self.result.with_suffix(".log")
        with log.open("wb") as stream:
            done = subprocess.run(
                self.command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False
            )
        if done.returncode != 0 or not self.result.is_file():
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            end = lines[-1] if lines else "it said nothing"
            raise StageError(f"safe-skills {' '.join(self.words)}: {end} (all of it in {log})")


def run_stages(stages: Sequence[Stage], workers: int) -> None:
    """Runs the stages whose results are missing, as many at a time as there are workers.

    Raises:
        StageError: one failed; those under way are awaited, no other is begun.
    """
    waiting = [stage for stage in stages if not stage.result.is_file()]
    running: dict[Future[None], Stage] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn()) as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        bar = progress.add_task("stages", total=len(stages), completed=len(stages) - len(waiting))
        while waiting or running:
            ready = [s for s in waiting if all(need.is_file() for need in s.after)]
            for stage in ready[: workers - len(running)]:
                waiting.remove(stage)
                progress.console.print(f"safe-skills {' '.join(stage.words)}")
                running[pool.submit(stage.run)] = stage
            if not running:
                missing = [str(need) for need in waiting[0].after if not need.is_file()]
                raise StageError(f"no stage makes {', '.join(missing)}")
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                future.result()
                progress.advance(bar)


def read(stage: Stage) -> Mapping[str, Any]:
    """What a stage found."""
    return json.loads(stage.result.read_text(encoding="utf-8"))
