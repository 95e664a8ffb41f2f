"""`safe-skills data`: recordings to training episodes, and back."""

from __future__ import annotations

import argparse

from safe_skills.experiments.subcommands import Part, add_parts, run_part

HELP = "Turn recordings (MCAP, rosbag2) into training episodes, and episodes into a recording."
DIRECTIONS = {
    "from-bag": Part("data_from_bag", "training episodes out of recordings"),
    "to-bag": Part("data_to_bag", "a recording out of training episodes"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the directions and their options."""
    add_parts(parser, "direction", DIRECTIONS)


def run(args: argparse.Namespace) -> int:
    """Converts; returns the exit status."""
    return run_part(args, "direction", DIRECTIONS)
