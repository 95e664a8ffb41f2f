"""`safe-skills reproduce NAME`: a table or figure of a paper, made anew, beside the paper's."""

from __future__ import annotations

import argparse
from pathlib import Path

from safe_skills.experiments import reproduce_safer, reproduce_watch
from safe_skills.experiments.arguments import positive
from safe_skills.experiments.safer_runs import SCALES, Run, load_scale
from safe_skills.experiments.stages import run_stages

RESULTS = {**reproduce_safer.RESULTS, **reproduce_watch.RESULTS}
HELP = (
    "Make a table or figure of a paper anew: what is missing is collected, trained and measured, "
    "what is there is used, and an interrupted run goes on. Ends with NAME.json, NAME.csv and "
    "NAME.png, beside the paper's numbers."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    names = "; ".join(f"{name}: {result.summary}" for name, result in RESULTS.items())
    parser.add_argument("name", choices=list(RESULTS), metavar="NAME", help=names)
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="how large (cpu)")
    parser.add_argument(
        "--runs",
        type=Path,
        help="folder of data, checkpoints and measurements (default: outputs/reproduce/SCALE)",
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="of the result (results)")
    parser.add_argument("--workers", type=positive, default=2, help="commands at a time (2)")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    made = Run(load_scale(args.scale), args.runs or Path("outputs/reproduce") / args.scale)
    result = RESULTS[args.name]
    run_stages(result.stages(made), args.workers)
    result.write(made, args.out / args.name, args.scale)
    return 0
