"""Where the checkpoints of updates beside a running robot lie."""

from __future__ import annotations

from pathlib import Path

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
