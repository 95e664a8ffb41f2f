"""`safe-skills evaluate TASK` and `evaluate run`: checkpoints in their environments, no ROS."""

from __future__ import annotations

import argparse

from safe_skills.experiments.subcommands import Part, add_parts, run_part

HELP = "Measure a checkpoint in its environment, without ROS."
TASKS = {
    **{
        task: Part("evaluate_ls3", f"LS3 on the {task} task, with its ablations", task)
        for task in ("cable", "navigation", "pushing", "reacher")
    },
    "operation": Part(
        "evaluate_operation",
        "a skill prior within its bounds, or a policy over it, on the Operation tasks",
    ),
    "run": Part("evaluate_run", "the checkpoints of a training run of LS3 or a baseline of it"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the tasks and their options."""
    add_parts(parser, "task", TASKS)


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns the exit status."""
    return run_part(args, "task", TASKS)
