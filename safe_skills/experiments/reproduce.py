"""`safe-skills reproduce NAME`: a table or figure of a paper, made anew, beside the paper's."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from safe_skills.experiments import (
    ls3_runs,
    reproduce_ls3,
    reproduce_safer,
    reproduce_watch,
    safer_runs,
)
from safe_skills.experiments.arguments import positive
from safe_skills.experiments.ray_stages import RETRIES, ray_cluster
from safe_skills.experiments.results import SCALES, Family
from safe_skills.experiments.stages import run_stages

SAFER = Family(
    {**reproduce_safer.RESULTS, **reproduce_watch.RESULTS},
    lambda scale, folder: safer_runs.Run(safer_runs.load_scale(scale), folder),
    Path("outputs/reproduce"),
)
LS3 = Family(
    reproduce_ls3.RESULTS,
    lambda scale, folder: ls3_runs.Run(ls3_runs.load_scale(scale), folder),
    Path("outputs/reproduce/ls3"),
)
FAMILIES = {name: family for family in (SAFER, LS3) for name in family.results}
WORKERS = 2  # commands at a time on this machine
HELP = (
    "Make a table or figure of a paper anew: what is missing is collected, trained and measured, "
    "what is there is used, and an interrupted run goes on. Ends with NAME.json, NAME.csv and "
    "NAME.png, beside the paper's numbers."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    names = "; ".join(
        f"{name}: {family.results[name].summary}" for name, family in FAMILIES.items()
    )
    parser.add_argument("name", choices=list(FAMILIES), metavar="NAME", help=names)
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="how large (cpu)")
    parser.add_argument(
        "--runs",
        type=Path,
        help="folder of data, checkpoints and measurements (default: outputs/reproduce/SCALE, of "
        "LS3's results outputs/reproduce/ls3/SCALE)",
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="of the result (results)")
    parser.add_argument(
        "--workers",
        type=positive,
        help=f"commands at a time ({WORKERS}, on a cluster as many as it has cores)",
    )
    parser.add_argument(
        "--available",
        action="store_true",
        help="run nothing: put the result of LS3 together from what has been run so far, and name "
        "in the JSON what has not",
    )
    parser.add_argument(
        "--ray-address",
        help="run each command as a task of the Ray cluster at this address (HOST:6379, or auto), "
        f"which tries {RETRIES} times again when it loses one; the folder that this command runs "
        "in, and that of --runs, must be the same on all its machines (default: run them here)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    family = FAMILIES[args.name]
    result = family.results[args.name]
    made = family.load(args.scale, args.runs or family.folder / args.scale)
    if not args.available:
        cluster = ray_cluster(args.ray_address) if args.ray_address else nullcontext()
        with cluster as runner:
            workers = args.workers or (runner.cores if runner else WORKERS)
            run_stages(result.stages(made), workers, runner)
    result.write(made, args.out / args.name, args.scale)
    return 0
