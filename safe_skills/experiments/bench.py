"""`safe-skills bench`: how fast the parts are, each beside its baseline, in one run."""

from __future__ import annotations

import argparse

from safe_skills.experiments.subcommands import Part, add_parts, run_part

HELP = (
    "Measure the speed of a part of the package, in turns with its baseline; "
    "docs/performance.md has the figures and says what they mean."
)
BENCHMARKS = {
    "planner": Part("bench_planner", "LS3's planner against a straightforward rendering of it"),
    "training": Part(
        "bench_training", "the learners against the same steps written member by member"
    ),
    "prior": Part("bench_prior", "SAFER's training against frames encoded a window at a time"),
    "envs": Part("bench_envs", "steps per second of the environments"),
    "gate": Part("bench_gate", "a judgement by all checks of the safety gate, and by its first"),
    "loop": Part("bench_loop", "every hop of the graph from camera image to robot"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the benchmarks and their options."""
    add_parts(parser, "benchmark", BENCHMARKS)


def run(args: argparse.Namespace) -> int:
    """Runs a benchmark; returns the exit status."""
    return run_part(args, "benchmark", BENCHMARKS)
