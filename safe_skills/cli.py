"""The `safe-skills` command."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "run": "safe_skills.nodes.composed",
    "collect": "safe_skills.experiments.collect",
    "train": "safe_skills.experiments.train",
    "evaluate": "safe_skills.experiments.evaluate",
    "reproduce": "safe_skills.experiments.reproduce",
    "data": "safe_skills.experiments.data",
    "bench": "safe_skills.experiments.bench",
    "calibrate": "safe_skills.experiments.calibrate",
    "faults": "safe_skills.experiments.faults",
}
SUMMARIES = {
    "run": "run a system: the ROS 2 graph of a launch file, composed in one process",
    "collect": "collect episodes of scripted policies, or draw the Operation tasks",
    "train": "train a method on a task, offline and online",
    "evaluate": "measure a checkpoint in its environment, without ROS",
    "reproduce": "make a table or figure of a paper anew, beside the paper's numbers",
    "data": "turn recordings into training episodes, and back",
    "bench": "measure the speed of planner, loop, training and environments",
    "calibrate": "measure what the safety gate has to know of a checkpoint",
    "faults": "inject faults into the running graph, and judge what passed",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the process's exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="safe-skills",
        description="Learn robot tasks from camera images without doing harm.",
        epilog="'safe-skills COMMAND --help' explains a command.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # Only the command that was asked for is imported: torch and rclpy take seconds to load.
    chosen = next((word for word in arguments if word in COMMANDS), None)
    module = importlib.import_module(COMMANDS[chosen]) if chosen else None
    for name, summary in SUMMARIES.items():
        description = module.HELP if name == chosen else summary
        command = commands.add_parser(name, help=summary, description=description)
        if name == chosen:
            module.configure(command)
    parsed = parser.parse_args(arguments)
    try:
        return module.run(parsed)
    except KeyboardInterrupt:
        print("safe-skills: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except (ValueError, FileNotFoundError) as error:
        print(f"safe-skills {chosen}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
