"""Long experiments as stages: commands of `safe-skills`, each of which leaves one JSON file.

What is there is not made again; what was interrupted goes on, as its command does.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)


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

    @classmethod
    def of(cls, result: Path, *words: object, after: Sequence[Path] = ()) -> Stage:
        """Makes one of words of any type."""
        return cls(tuple(str(word) for word in words), result, tuple(after))

    @property
    def command(self) -> list[str]:
        """The process to start."""
        return [sys.executable, "-m", "safe_skills.cli", *self.words, "--json", str(self.result)]

    @property
    def line(self) -> str:
        """The command as one would type it."""
        return f"safe-skills {' '.join(self.words)}"

    def run(self) -> None:
        """Runs the command, with what it says in a file beside the result.

        Raises:
            StageError: it failed.
        """
        self.result.parent.mkdir(parents=True, exist_ok=True)
        log = self.result.with_suffix(".log")
        with log.open("wb") as stream:
            done = subprocess.run(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                check=False,
                preexec_fn=_end_with_parent,
            )
        if done.returncode != 0 or not self.result.is_file():
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            end = lines[-1] if lines else "it said nothing"
            raise StageError(f"{self.line}: {end} (all of it in {log})")


def _end_with_parent() -> None:
    """Has a command killed when the process that waits for it is gone.

    The same stage may be begun again at once, and two commands would write to one folder.
    """
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Runner(Protocol):
    """Where stages run."""

    def run(self, stage: Stage) -> None:
        """Runs one and waits for it; called from several threads.

        Raises:
            StageError: it failed.
        """

    def cancel(self) -> None:
        """Ends those under way."""


class LocalRunner:
    """Runs stages as processes of this machine."""

    def run(self, stage: Stage) -> None:
        """Runs one and waits for it."""
        stage.run()

    def cancel(self) -> None:
        """Ctrl-C has reached the commands, too, and has them save their state."""


def run_stages(stages: Sequence[Stage], workers: int, runner: Runner | None = None) -> None:
    """Runs the stages whose results are missing.

    Args:
        stages: in any order.
        workers: how many run at a time.
        runner: where they run; None: here.

    Raises:
        StageError: one failed; those under way are awaited, no other is begun.
    """
    runner = runner or LocalRunner()
    waiting = [stage for stage in stages if not stage.result.is_file()]
    running: dict[Future[None], Stage] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn()) as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        bar = progress.add_task("stages", total=len(stages), completed=len(stages) - len(waiting))
        try:
            while waiting or running:
                ready = [s for s in waiting if all(need.is_file() for need in s.after)]
                for stage in ready[: workers - len(running)]:
                    waiting.remove(stage)
                    progress.console.print(stage.line)
                    running[pool.submit(runner.run, stage)] = stage
                if not running:
                    missing = [str(need) for need in waiting[0].after if not need.is_file()]
                    raise StageError(f"no stage makes {', '.join(missing)}")
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    future.result()
                    progress.advance(bar)
        except KeyboardInterrupt:
            runner.cancel()
            raise


def read(stage: Stage) -> Mapping[str, Any]:
    """What a stage found."""
    return json.loads(stage.result.read_text(encoding="utf-8"))
