"""`safe-skills bench`: how fast the parts are, each beside its baseline, in one run."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

HELP = (
    "Measure the speed of a part of the package, in turns with its baseline; "
    "docs/performance.md has the figures and says what they mean."
)
BENCHMARKS: dict[str, str] = {
    "planner": "LS3's planner against a straightforward rendering of it",
    "training": "the learners against the same steps written member by member",
    "prior": "SAFER's training against frames encoded a window at a time",
    "envs": "steps per second of the environments",
    "loop": "every hop of the graph from camera image to robot",
}


def module_of(benchmark: str) -> ModuleType:
    """The module that configures and runs a benchmark."""
    return importlib.import_module(f"safe_skills.experiments.bench_{benchmark}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the benchmarks and their options."""
    parsers = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    for name, summary in BENCHMARKS.items():
        module = module_of(name)
        module.configure(parsers.add_parser(name, help=summary, description=module.HELP))


def run(args: argparse.Namespace) -> int:
    """Runs a benchmark; returns the exit status."""
    return module_of(args.benchmark).run(args)
