"""`safe-skills data from-bag`: training episodes out of recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from safe_skills.data.episodes import SHARD_EPISODES, Episode, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.experiments.arguments import natural
from safe_skills.experiments.benchmark import print_table
from safe_skills.nodes.bag_episodes import TASKS, BagEpisodes, BagSettings, parameters_of

HELP = (
    "Make training episodes of recordings: MCAP files of this package, whole or cut off, and "
    "folders that ros2 bag record -s mcap has made. A recording of a graph yields what its trainer "
    "would have gathered, one of data to-bag yields the episodes that it was made from."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="file or folder")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the episodes")
    parser.add_argument("--task", choices=TASKS, default="", help="default: by the topics")
    parser.add_argument(
        "--number", type=natural, default=0, help="of the Operation task; it is not recorded (0)"
    )
    parser.add_argument("--namespace", default="", help="of the robot, such as /left (none)")
    parser.add_argument("--arm", help="of the cable task, as in its topics (PSM1)")
    parser.add_argument(
        "--size", type=natural, default=0, help="side of the frames (cable 64, operation 48)"
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="parameter file of the recorded graph, for frames and crop of a real robot",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Converts and prints what came of each recording.

    Raises:
        ValueError: in one line: a recording that cannot be used, or no episode in any.
    """
    store = EpisodeStore(args.out)
    if len(store):
        raise ValueError(f"--out: expected a new or an empty folder, {args.out} has episodes")
    overrides = {"arm": args.arm} if args.arm else {}
    settings = BagSettings(
        task=args.task,
        number=args.number,
        namespace=args.namespace,
        size=args.size,
        parameters=parameters_of(args.config, overrides),
    )
    # What cannot be used at all is said before anything is written.
    bags = [BagEpisodes(path, settings) for path in args.files]
    shards = _Shards(store)
    rows = [_convert(bag, path, shards) for bag, path in zip(bags, args.files, strict=True)]
    shards.close()
    _print(rows)
    if args.json:
        write_json(args.json, {"recordings": rows})
    if not any(row["episodes"] for row in rows):
        raise ValueError("no complete episode in what was given")
    return 0


class _Shards:
    """Writes episodes as files of as many as is usual, kind by kind."""

    def __init__(self, store: EpisodeStore) -> None:
        self._store = store
        self._waiting: dict[str, list[Episode]] = {}

    def add(self, episode: Episode) -> None:
        """Take an episode."""
        waiting = self._waiting.setdefault(episode.kind, [])
        waiting.append(episode)
        if len(waiting) == SHARD_EPISODES:
            self._store.append(self._waiting.pop(episode.kind))

    def close(self) -> None:
        """Write the rest."""
        for episodes in self._waiting.values():
            self._store.append(episodes)
        self._waiting.clear()


def _convert(bag: BagEpisodes, path: Path, shards: _Shards) -> dict[str, Any]:
    row = {"recording": str(path), "episodes": 0, "steps": 0, "successes": 0, "violations": 0}
    for episode in bag:
        shards.add(episode)
        row["episodes"] += 1
        row["steps"] += len(episode)
        row["successes"] += episode.success
        row["violations"] += bool(episode.costs.any())
    for line in bag.problems:
        print(f"safe-skills data: {line}", file=sys.stderr)
    return {**row, "incomplete": bag.incomplete, "problems": list(bag.problems)}


def _print(rows: list[dict[str, Any]]) -> None:
    columns = ("recording", "episodes", "steps", "successes", "violations", "incomplete")
    print_table("Episodes", columns, [[str(row[name]) for name in columns] for row in rows])
