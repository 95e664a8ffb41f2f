"""Updates beside a robot: where their checkpoints lie, and how a worker answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

ACCEPTED, REJECTED = "checkpoints", "rejected"


def update_folder(out: Path | str, update: int, *, accepted: bool = True) -> Path:
    """Checkpoint after so many updates, from 1: `checkpoints/update-0001`, or `rejected/...`."""
    return Path(out) / (ACCEPTED if accepted else REJECTED) / f"update-{update:04d}"


def newest_update(out: Path | str, *, accepted: bool | None = True) -> int:
    """Number of the last update whose checkpoint is there; 0 where there is none.

    Args:
        out: folder of the updates.
        accepted: only those that were accepted, or rejected; None: any.
    """
    places = {True: (ACCEPTED,), False: (REJECTED,), None: (ACCEPTED, REJECTED)}[accepted]
    found = (folder for place in places for folder in (Path(out) / place).glob("update-????"))
    return max((int(folder.name[-4:]) for folder in found), default=0)


class Updates(Protocol):
    """Updates of one method.

    Attributes:
        updates: made so far.
        out: folder of their checkpoints.
    """

    updates: int
    out: Path

    def run(self) -> dict[str, Any]:
        """Makes the next update; what came of it."""

    def conclude(self) -> dict[str, Any]:
        """Writes and judges what the last update came to; what `run` does at its end."""


def answers_of(updates: Updates) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The function that answers requests of a `data.background.Worker`.

    An empty request is answered by "updates", those made so far, and by what `run` returns where
    the last one's checkpoint had not been written yet; any other by an update.
    """

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request:
            return {"updates": updates.updates + 1, **updates.run()}
        unwritten = updates.updates > newest_update(updates.out, accepted=None)
        return {"updates": updates.updates, **(updates.conclude() if unwritten else {})}

    return answer
