"""`safe-skills data to-bag`: a recording out of training episodes."""

from __future__ import annotations

import argparse
from pathlib import Path

from safe_skills.data.episodes import EpisodeStore
from safe_skills.nodes.stored_bag import write_episodes

HELP = (
    "Write all episodes of a folder into one MCAP file, for Foxglove or another program; "
    "data from-bag makes the same episodes of it, bit by bit. Topics are below stored/, so that "
    "no robot listens."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the episodes")
    parser.add_argument("--out", type=Path, required=True, help="MCAP file to write")


def run(args: argparse.Namespace) -> int:
    """Converts and says what was written.

    Raises:
        ValueError: in one line: no episodes, or a file that is there already or cannot be written.
    """
    if not args.folder.is_dir():
        raise ValueError(f"{args.folder}: expected a folder of episodes, there is none")
    store = EpisodeStore(args.folder)
    if not len(store):
        raise ValueError(f"{args.folder}: expected a folder of episodes, it has none")
    if args.out.exists():
        raise ValueError(f"--out: {args.out} is there already")
    try:
        count = write_episodes(store, args.out)
    except OSError as error:
        raise ValueError(f"--out: cannot write {args.out}: {error.strerror}") from None
    size = args.out.stat().st_size
    print(f"wrote {args.out}: {count} episodes, {size / 1e6:.1f} MB")
    return 0
