"""`safe-skills collect`: episodes of scripted policies, into a folder."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

HELP = "Collect training episodes of a task with scripted policies, or draw the tasks themselves."
COLLECTIONS: dict[str, str] = {
    "cable": "demonstrations, random and constraint-violating episodes of the cable task",
    "operation": "noisy scripted episodes of the Operation tasks",
    "operation-tasks": "draw the 40 Operation tasks and measure how hard they are",
}


def module_of(collection: str) -> ModuleType:
    """The module that configures and runs a collection."""
    return importlib.import_module(
        f"safe_skills.experiments.collect_{collection.replace('-', '_')}"
    )


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the collections and their options."""
    parsers = parser.add_subparsers(dest="collection", metavar="WHAT", required=True)
    for name, summary in COLLECTIONS.items():
        module = module_of(name)
        module.configure(parsers.add_parser(name, help=summary, description=module.HELP))


def run(args: argparse.Namespace) -> int:
    """Collects; returns the exit status."""
    return module_of(args.collection).run(args)
