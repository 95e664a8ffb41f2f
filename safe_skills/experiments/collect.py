"""`safe-skills collect`: episodes of scripted policies, into a folder."""

from __future__ import annotations

import argparse

from safe_skills.experiments.subcommands import Part, add_parts, run_part

HELP = "Collect training episodes of a task with scripted policies, or draw the tasks themselves."
COLLECTIONS = {
    "cable": Part(
        "collect_cable",
        "demonstrations, random and constraint-violating episodes of the cable task",
    ),
    "navigation": Part(
        "collect_task", "demonstrations and violating episodes of the navigation task", "navigation"
    ),
    "pushing": Part(
        "collect_task",
        "demonstrations, random and violating episodes of the pushing task",
        "pushing",
    ),
    "reacher": Part(
        "collect_task", "demonstrations, violating and random episodes of the reacher", "reacher"
    ),
    "operation": Part("collect_operation", "noisy scripted episodes of the Operation tasks"),
    "operation-tasks": Part(
        "collect_operation_tasks", "draw the 40 Operation tasks and measure how hard they are"
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the collections and their options."""
    add_parts(parser, "collection", COLLECTIONS, "WHAT")


def run(args: argparse.Namespace) -> int:
    """Collects; returns the exit status."""
    return run_part(args, "collection", COLLECTIONS)
