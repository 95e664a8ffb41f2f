"""What the collections share: work in processes that goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from safe_skills.data.episodes import EpisodeError
from safe_skills.experiments.processes import worker_pool

Job = TypeVar("Job")
Result = TypeVar("Result")


def progress_bar(what: str, unit: str, shown: bool) -> Progress:
    """A bar that counts in a unit."""
    return Progress(
        TextColumn(f"collecting {what}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        disable=not shown,
    )


def remove_leftovers(path: Path) -> None:
    """Removes what a killed process left of a file that it was writing."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink()


def each_done(
    next_job: Callable[[int], Job | None], function: Callable[[Job], Result], workers: int
) -> Iterator[Result]:
    """Yields the results of jobs as they are done.

    Args:
        next_job: called with the number of jobs that are being done; returns one more, or None for
            none now. Ends when it has none and none is being done.
        function: does a job; of a module's top level.
        workers: processes; 0 or 1 works in this one.

    Raises:
        EpisodeError: a process was killed.
    """
    if workers <= 1:
        while (job := next_job(0)) is not None:
            yield function(job)
        return
    pool = worker_pool(workers)
    busy: set[Future[Result]] = set()
    try:
        while True:
            while len(busy) < workers and (job := next_job(len(busy))) is not None:
                busy.add(pool.submit(function, job))
            if not busy:
                return
            done, busy = wait(busy, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise EpisodeError(
            "a collecting process was killed: run the same command again to go on"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
