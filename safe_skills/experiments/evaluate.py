"""`safe-skills evaluate TASK`: checkpoints in their environments, without ROS."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

HELP = "Measure a checkpoint in its environment, without ROS."
TASKS = {
    "cable": "LS3 on cable routing, with its ablations and search options",
    "operation": "a skill prior within its bounds, or a policy over it, on the Operation tasks",
}


def module_of(task: str) -> ModuleType:
    """The module that configures and runs a task's evaluation."""
    return importlib.import_module(f"safe_skills.experiments.evaluate_{task}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the tasks and their options."""
    parsers = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    for task, summary in TASKS.items():
        module = module_of(task)
        module.configure(parsers.add_parser(task, help=summary, description=module.HELP))


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns the exit status."""
    return module_of(args.task).run(args)
