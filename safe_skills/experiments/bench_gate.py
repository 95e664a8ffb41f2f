"""`safe-skills bench gate`: what all checks of the gate cost beside those of its first version.

A judgement is everything between a command's arrival and its answer, but for the messages: the
evidence is gathered, the networks predict, the rules judge, the counts are made.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from safe_skills.data.files import write_json
from safe_skills.data.surprise import load_surprise
from safe_skills.experiments.arguments import positive
from safe_skills.experiments.benchmark import machine, print_table
from safe_skills.ls3.agent import LS3Agent
from safe_skills.nodes.gate_models import GateModels
from safe_skills.nodes.supervision import Judgement, Supervisor
from safe_skills.paths import checkpoint_dir
from safe_skills.safety import FORMS, EmergencyStop, GateCommand, GateLimits, parse_rules

HELP = (
    "Time of a judgement with every check of the gate switched on, in turns with one by the checks "
    "of the gate's first version."
)
FIRST = (
    *("emergency_stop", "form", "image", "latent", "robot", "latent_match", "constraint"),
    *("step", "safe_set", "workspace", "change"),
)
"""Checks of the gate's first version."""

WORKSPACE = ((-0.15, 0.18), (-0.14, 0.085))
PERIOD = 0.1
WARM_UP = 100
ZONE = ((0.3, 0.4), (0.3, 0.4))
"""Out of reach: it is looked at, and never in the way."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--commands", type=positive, default=5000, help="judged by each (5000)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    agent = LS3Agent.load(checkpoint_dir("cable_open"))
    limits = {"first": first_limits(), "all": all_limits(agent.model_id)}
    streams = {name: Stream(agent, made) for name, made in limits.items()}
    times = judged_in_turns(streams, args.commands)
    figures: dict[str, Any] = {
        name: {
            "checks": streams[name].checks,
            "p50_us": float(np.percentile(found, 50)),
            "p99_us": float(np.percentile(found, 99)),
            "max_us": float(np.max(found)),
        }
        for name, found in times.items()
    }
    added = np.asarray(times["all"]) - np.asarray(times["first"])
    figures["added"] = {
        "p50_us": float(np.percentile(added, 50)),
        "p99_us": float(np.percentile(added, 99)),
    }
    print_table(
        f"gate: microseconds of a judgement, {args.commands} commands each",
        ("checks", "number", "p50", "p99", "max"),
        [
            *(
                (name, str(row["checks"]), *(f"{row[key]:.0f}" for key in _COLUMNS))
                for name, row in figures.items()
                if "checks" in row
            ),
            ("added", "", *(f"{figures['added'][key]:.0f}" for key in _COLUMNS[:2]), ""),
        ],
    )
    if args.json:
        write_json(args.json, {"machine": machine(), "commands": args.commands, "gate": figures})
    return 0


_COLUMNS = ("p50_us", "p99_us", "max_us")


def first_limits() -> GateLimits:
    """The limits and checks of the gate's first version, safe set included."""
    rules = parse_rules(FIRST, FORMS)
    return GateLimits(WORKSPACE, rules=rules, constraint_limit=0.5, safe_set_limit=0.5)


def all_limits(model_id: str) -> GateLimits:
    """Limits that switch every check for a CRTK arm on."""
    model = load_surprise(checkpoint_dir("cable_open"), model_id)
    return GateLimits(
        WORKSPACE,
        constraint_limit=0.5,
        safe_set_limit=0.5,
        velocity_limit=0.45,
        acceleration_limit=12.0,
        rate_limit=25.0,
        tracking_limit=0.05,
        reconstruction_limit=None if model is None else model.reconstruction_limit,
        latent_distance_limit=None if model is None else model.latent_distance_limit,
        frozen_limit=0.05,
        slow_from=0.7,
        violation_budget=1e6,
        plan_timeout=0.5,
        bridge_timeout=0.5,
        keep_out=(ZONE,),
    )


class Stream:
    """Frames and commands as a run has them, ten a second, by a clock of its own.

    Args:
        agent: whose models judge.
        limits: of the gate.
    """

    def __init__(self, agent: LS3Agent, limits: GateLimits) -> None:
        self._supervisor = Supervisor(limits, GateModels(agent), EmergencyStop())
        rng = np.random.default_rng(0)
        self._latents = rng.standard_normal((256, agent.latent_dim)).astype(np.float32)
        angles = np.linspace(0.0, 2.0 * np.pi, 256, endpoint=False)
        self._steps = 0.02 * np.column_stack((np.cos(angles), np.sin(angles)))
        self._frame = 0

    @property
    def checks(self) -> int:
        """Number of checks that are made."""
        return self._supervisor.checks

    def tell(self) -> None:
        """Tells the evidence of the next frame, which comes before its command."""
        self._frame += 1
        k, now, seen = self._frame % 256, PERIOD * self._frame, self._supervisor.seen
        seen.image(now, 0, 0)
        seen.robot(now, (0.0, 0.0))
        seen.bridge(now, "moving", (0.0, 0.0), self._steps[k])
        seen.plan(now, True)
        seen.latent(now, self._frame, self._latents[k])

    def judge(self) -> Judgement:
        """Judges its command."""
        command = GateCommand(self._steps[self._frame % 256], "task")
        return self._supervisor.judge(PERIOD * self._frame, self._frame, command)


def judged_in_turns(streams: Mapping[str, Stream], commands: int) -> dict[str, list[float]]:
    """Times of `commands` judgements of each stream [us], in turns."""
    times: dict[str, list[float]] = {name: [] for name in streams}
    for round_ in range(WARM_UP + commands):
        for name, stream in streams.items():
            stream.tell()
            began = time.perf_counter()
            stream.judge()
            if round_ >= WARM_UP:
                times[name].append(1e6 * (time.perf_counter() - began))
    return times
