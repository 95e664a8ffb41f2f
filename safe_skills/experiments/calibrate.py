"""`safe-skills calibrate`: numbers that a robot or a checkpoint needs before it is trusted."""

from __future__ import annotations

import argparse

from safe_skills.experiments.subcommands import Part, add_parts, run_part

HELP = "Measure what the safety gate and the robot have to know of a checkpoint or a setup."
PARTS = {
    "surprise": Part("calibrate_surprise", "when a camera frame surprises a checkpoint's encoder"),
    "frame": Part("calibrate_frame", "the pose of the task frame, from points that an arm touched"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the parts and their options."""
    add_parts(parser, "part", PARTS)


def run(args: argparse.Namespace) -> int:
    """Runs a part; returns the exit status."""
    return run_part(args, "part", PARTS)
