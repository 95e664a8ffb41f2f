"""`safe-skills faults`: faults injected into the running graph, and what came of them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from safe_skills.data.files import write_json
from safe_skills.experiments.arguments import natural, positive
from safe_skills.experiments.benchmark import machine, print_table
from safe_skills.experiments.faults_campaign import Campaign, Outcome
from safe_skills.experiments.faults_report import (
    HEADINGS,
    draw,
    label,
    rows,
    summarize,
    write_markdown,
)
from safe_skills.experiments.faults_rig import Rig
from safe_skills.experiments.faults_schedule import SURFACES, make_schedule
from safe_skills.experiments.faults_soak import soak
from safe_skills.nodes.composed import add_parameters_option, parse_overrides

HELP = (
    "Inject faults into the running graph, a process a node, in realtime: spoiled, late and absent "
    "messages and images, second publishers, killed and stopped nodes, wrong parameters, a full "
    "disk. A judge of its own asks of every command and set-point whether it kept the limits."
)

WIDTH = 120
INTERRUPTED = 130
FAILED = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--system", choices=sorted(SURFACES), default="ls3_cable", help="which graph (ls3_cable)"
    )
    parser.add_argument("--count", type=positive, default=10_000, help="faults (10000)")
    parser.add_argument("--seed", type=natural, default=0, help="of the faults (0)")
    parser.add_argument(
        "--soak",
        type=positive,
        nargs="?",
        const=60,
        metavar="MINUTES",
        help="instead of faults: run so long (60) and sample memory and latencies",
    )
    parser.add_argument(
        "--rain", action="store_true", help="with --soak: a spoiled message every second"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for NAME.json, NAME.md and NAME.png (none)"
    )
    parser.add_argument("--logs", type=Path, help="folder for the nodes' logs (a temporary one)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    add_parameters_option(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status.

    Raises:
        ValueError: in one line: what cannot be used, or a graph that does not start.
    """
    schedule = make_schedule(args.seed, args.count, args.system)
    overrides = parse_overrides(args.parameters, SURFACES[args.system].nodes)
    with tempfile.TemporaryDirectory(prefix="faults_") as temporary:
        folder = args.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rig = Rig(args.system, folder, overrides=overrides)
        try:
            rig.start()
            if args.soak:
                return soak(rig, args)
            return _inject(rig, schedule, args)
        except TimeoutError as error:
            raise ValueError(f"{error}; see the logs with --logs FOLDER") from None
        finally:
            rig.close()


def _inject(rig: Rig, schedule: Sequence[Any], args: argparse.Namespace) -> int:
    campaign = Campaign(rig)
    interrupted = False
    with _progress() as progress:
        task = progress.add_task("faults", total=args.count, log="")

        def told(outcome: Outcome) -> None:
            progress.update(task, advance=outcome.burst.count, log=label(outcome))

        try:
            campaign.run(schedule, told)
        except KeyboardInterrupt:
            interrupted = True
    summary = summarize(campaign.outcomes, rig.tape, rig.bounds, rig.period)
    report(args, summary)
    if interrupted:
        return INTERRUPTED
    return FAILED if summary["unsafe_passed"] or summary["crashes"] else 0


def report(args: argparse.Namespace, summary: dict[str, Any]) -> None:
    """Prints the table, and writes what was asked for."""
    title = f"{args.system}: {summary['injected']} faults, seed {args.seed}; holds in periods"
    print_table(title, HEADINGS, rows(summary), WIDTH)
    for key in ("breaches", "accepted", "crash_lines", "not_recovered"):
        for line in summary[key]:
            Console().print(f"{key}: {line}", highlight=False)
    written = {
        "system": args.system,
        "seed": args.seed,
        "machine": machine(),
        "parameters": args.parameters,
        **summary,
    }
    if args.json:
        write_json(args.json, written)
    if args.out:
        name = "faults" if args.system == "ls3_cable" else f"faults-{args.system}"
        write_json(args.out / f"{name}.json", written)
        write_markdown(args.out / f"{name}.md", title, summary)
        draw(args.out / f"{name}.png", summary)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[log]}"),
        refresh_per_second=2,
        console=Console(stderr=True),
    )
