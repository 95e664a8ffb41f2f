"""`safe-skills bench loop`: every hop of the graph, from the stamp of an image to the set-point.

The graph is the one that `safe-skills run SYSTEM` runs, and the times are those that its
recorder keeps (`nodes.summary`): each is the time of a publication, taken by the publisher.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from safe_skills.data.checkpoint import load_checkpoint
from safe_skills.data.episodes import FIRST_EVALUATION_SEED
from safe_skills.data.files import write_json
from safe_skills.data.segments import shrink
from safe_skills.data.statistics import percentiles
from safe_skills.data.threads import torch_threads
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.operation_tasks import FIRST_EVALUATION_TASK
from safe_skills.experiments.arguments import natural, positive
from safe_skills.experiments.benchmark import in_turns, machine, print_table
from safe_skills.experiments.graph_processes import end_processes, node_command, start_process
from safe_skills.ls3.agent import LS3Agent
from safe_skills.nodes.composed import add_parameters_option, parse_overrides
from safe_skills.nodes.frames import task_area
from safe_skills.nodes.model import checkpoint_folder
from safe_skills.nodes.summary import HOPS
from safe_skills.safer.prior import SkillPrior
from safe_skills.systems import SYSTEMS, NodeSpec, System, find_system

HELP = (
    "Time every hop of the graph from the stamp of an image to the set-point of the robot, with "
    "its nodes in one process and in one each, in lockstep and in realtime; and the encoder alone."
)

MODES = {
    "composed-lockstep": (True, "lockstep"),
    "composed-realtime": (True, "realtime"),
    "separate-lockstep": (False, "lockstep"),
    "separate-realtime": (False, "realtime"),
}
HEADLINE = "composed-lockstep"
SECONDS_PER_EPISODE = 30.0
"""Longest that an episode may take: of 50 steps with 0.1 s each it takes 5 s in realtime."""

FRAMES = {"64x64": (64, 64), "640x480": (640, 480)}
"""Camera frames to encode: width and height."""


class RunFailedError(ValueError):
    """A run of the graph that did not end well; the message has the end of what it said."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the benchmark's options."""
    parser.add_argument(
        "--system", choices=sorted(SYSTEMS), default="ls3_cable", help="which graph (ls3_cable)"
    )
    parser.add_argument(
        "--layout", choices=sorted(LAYOUTS), default="open", help="scene of ls3_cable (open)"
    )
    parser.add_argument(
        "--task",
        type=natural,
        default=FIRST_EVALUATION_TASK,
        help=f"task of safer_grasp ({FIRST_EVALUATION_TASK})",
    )
    parser.add_argument("--episodes", type=positive, default=10, help="of each run (10)")
    parser.add_argument("--rounds", type=positive, default=3, help="runs of each mode (3)")
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument(
        "--seed", type=natural, default=FIRST_EVALUATION_SEED, help="of the first scene"
    )
    add_parameters_option(parser)
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Runs the benchmark; returns the exit status.

    Raises:
        ValueError: in one line, for a parameter that cannot be used.
        RunFailedError: a run of the graph failed.
    """
    system = find_system(args.system)
    specs = system.nodes(scene_of(args))
    parse_overrides(args.parameters, [spec.name for spec in specs])
    encoder = time_encoder(*load_encoder(specs))
    runs: dict[str, list[dict[str, Any]]] = {mode: [] for mode in args.modes}
    for _ in range(args.rounds):
        for mode in args.modes:
            runs[mode].append(measure(mode, args))
    modes = {mode: combine(summaries) for mode, summaries in runs.items()}
    headline = modes.get(HEADLINE, {})
    _print(args, modes, encoder)
    if args.json:
        written = {
            "machine": machine(),
            "system": args.system,
            **scene_of(args),
            "episodes": args.episodes,
            "rounds": args.rounds,
            "seed": args.seed,
            "parameters": args.parameters,
            "hops": headline.get("hops"),
            "overhead_p99_ms": headline.get("overhead_p99_ms"),
            "modes": modes,
            "encoder": encoder,
        }
        write_json(args.json, written)
    return 0


# ---- the encoder


def load_encoder(specs: Sequence[NodeSpec]) -> tuple[Callable[[np.ndarray], object], int]:
    """Loads the encoder of a graph: what it does with a task area, and the area's side."""
    name = next(spec for spec in specs if spec.name == "camera_encoder").parameters["checkpoint"]
    folder = checkpoint_folder(name)
    if load_checkpoint(folder).config["method"] == "ls3":
        agent = LS3Agent.load(folder)
        return agent.encode, agent.mask_config.size
    prior = SkillPrior.load(folder)
    return lambda area: prior.features(shrink(area, prior.frame_size)), prior.frame_size


def time_encoder(
    encode: Callable[[np.ndarray], object], size: int, rounds: int = 200
) -> dict[str, dict[str, float | None]]:
    """Times the encoder on one core, from a camera frame to a belief.

    Args:
        encode: takes a task area (size, size, 3) uint8 RGB.
        size: its side in pixels.
        rounds: frames of each size.

    Returns:
        Percentiles [ms] by size of the frame, of which a centred square is the task area.
    """
    rng = np.random.default_rng(0)
    cases: dict[str, Callable[[], object]] = {}
    for name, (width, height) in FRAMES.items():
        frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        share = height / width
        crop = (0.0, (1.0 - share) / 2.0, 1.0, share)
        cases[name] = lambda frame=frame, crop=crop: encode(task_area(frame, crop, size))
    with _one_thread():
        times = in_turns(cases, rounds, warm_up=5)
    return {name: percentiles(found) for name, found in times.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with torch_threads(1):
            yield
    finally:
        cv2.setNumThreads(before)


# ---- the graph


def scene_of(args: argparse.Namespace) -> dict[str, str]:
    """The option of the system that chooses the scene."""
    return {"layout": args.layout} if args.system == "ls3_cable" else {"task": str(args.task)}


def measure(mode: str, args: argparse.Namespace) -> dict[str, Any]:
    """Runs the graph once in a mode; returns its recorder's summary."""
    composed, clock = MODES[mode]
    with tempfile.TemporaryDirectory(prefix="bench_loop_") as folder:
        summary = Path(folder) / "run.json"
        options = {
            # What it costs is in docs/recording.md; here it would hide what else has changed.
            "black_box": "false",
            **scene_of(args),
            "clock": clock,
            "episodes": str(args.episodes),
            "seed": str(args.seed),
            "json": str(summary),
        }
        limit = 60.0 + SECONDS_PER_EPISODE * args.episodes
        start = _run_composed if composed else _run_separate
        start(find_system(args.system), options, args.parameters, Path(folder), limit)
        return json.loads(summary.read_text(encoding="utf-8"))


def _run_composed(
    system: System,
    options: Mapping[str, str],
    parameters: Sequence[str],
    folder: Path,
    limit: float,
) -> None:
    command = [sys.executable, "-m", "safe_skills.cli", "run", system.name]
    command += [f"--{name}={value}" for name, value in options.items()]
    command += [word for text in parameters for word in ("-p", text)]
    log = folder / "graph.log"
    _wait(start_process(command, log), limit, log)


def _run_separate(
    system: System,
    options: Mapping[str, str],
    parameters: Sequence[str],
    folder: Path,
    limit: float,
) -> None:
    specs = system.nodes(options)
    overrides = parse_overrides(parameters, [spec.name for spec in specs])
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for spec in specs:
            command = node_command(spec, system.config, overrides.get(spec.name, {}))
            children[spec.name] = start_process(command, folder / f"{spec.name}.log")
        last = next(spec.name for spec in specs if spec.ends_run)
        _wait(children[last], limit, folder / f"{last}.log")
    finally:
        end_processes(children.values())


def _wait(child: subprocess.Popen[bytes], limit: float, log: Path) -> None:
    try:
        status = child.wait(limit)
    except subprocess.TimeoutExpired:
        end_processes([child])
        status = f"no end within {limit:g} s"
    if status != 0:
        end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise RunFailedError(f"the graph did not end well ({status}): " + " | ".join(end))


# ---- figures


def combine(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of a mode from the summaries of its runs: medians, and the runs' own p99.

    Returns:
        `hops` ({name: {p50, p95, p99}} [ms]), `overhead_ms` and `plan_ms` likewise, all medians
        over the runs; `overhead_p99_ms`; `runs`, the p99 of each run; `frames`.
    """
    overhead = _median([summary["overhead_ms"] for summary in summaries])
    return {
        "hops": {
            name: _median([summary["hops_ms"][name] for summary in summaries]) for name in HOPS
        },
        "overhead_ms": overhead,
        "overhead_p99_ms": overhead["p99"],
        "plan_ms": _median([summary["plan_ms"] for summary in summaries]),
        "runs": {
            "overhead_p99_ms": [summary["overhead_ms"]["p99"] for summary in summaries],
            "command_to_servo_p99_ms": [
                summary["hops_ms"]["command_to_servo"]["p99"] for summary in summaries
            ],
        },
        "frames": sum(summary["plans"] for summary in summaries),
    }


def _median(runs: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    medians: dict[str, float | None] = {}
    for key in ("p50", "p95", "p99"):
        known = [run[key] for run in runs if run[key] is not None]
        medians[key] = statistics.median(known) if known else None
    return medians


def _print(
    args: argparse.Namespace,
    modes: Mapping[str, Mapping[str, Any]],
    encoder: Mapping[str, Mapping[str, float | None]],
) -> None:
    rows = [
        (name.replace("_", " "), *(_cell(figures["hops"][name]) for figures in modes.values()))
        for name in HOPS
    ]
    for label, key in (("planner itself", "plan_ms"), ("beyond both models", "overhead_ms")):
        rows.append((label, *(_cell(figures[key]) for figures in modes.values())))
    spread = [_spread(figures["runs"]["overhead_p99_ms"]) for figures in modes.values()]
    rows.append(("its p99 in each run", *spread))
    scene = " ".join((args.system, *scene_of(args).values()))
    title = f"{scene}, {args.episodes} episodes, {args.rounds} runs: p50 / p99 in ms"
    print_table(title, ["hop", *modes], rows)
    rows = [(name, _cell(times)) for name, times in encoder.items()]
    print_table("Encoder on one core", ["frame", "p50 / p99 in ms"], rows)


def _cell(values: Mapping[str, float | None]) -> str:
    if values["p50"] is None:
        return "unknown"
    return f"{values['p50']:.2f} / {values['p99']:.2f}"


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known):.2f} to {max(known):.2f}" if known else "unknown"
