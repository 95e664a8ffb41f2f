"""`safe-skills bench envs`: steps a second of the environments, by number of processes."""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np

import safe_skills.envs  # noqa: F401  registers them
from safe_skills.data.files import write_json
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.cable_policies import Demonstrator
from safe_skills.experiments.arguments import positive
from safe_skills.experiments.benchmark import machine, print_table
from safe_skills.experiments.processes import worker_pool

HELP = (
    "Steps a second of safe_skills/Cable-v0 with frames and resets, under the demonstrator, by "
    "number of processes."
)
REFERENCE = 175.0
"""Steps a second of processor time that the prototype of this scene ran, at 24 substeps."""


class Share(NamedTuple):
    """What one process did: steps, and its processor time [s]."""

    steps: int
    seconds: float


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="open")
    parser.add_argument(
        "--processes", type=positive, nargs="+", default=[1, 2], help="numbers of them (1 2)"
    )
    parser.add_argument("--episodes", type=positive, default=10, help="a process and turn (10)")
    parser.add_argument("--rounds", type=positive, default=7, help="timed turns (7)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    rates: dict[int, list[tuple[float, float]]] = {count: [] for count in args.processes}
    with ExitStack() as stack:
        pools = {count: stack.enter_context(worker_pool(count)) for count in rates}
        for count, pool in pools.items():
            _turn(pool, count, args.layout, 1)  # starts the processes
        for _ in range(args.rounds):
            for count, pool in pools.items():
                rates[count].append(_turn(pool, count, args.layout, args.episodes))
    figures = {count: _figures(turns) for count, turns in rates.items()}
    print_table(
        f"safe_skills/Cable-v0 ({args.layout}), steps a second",
        ("processes", "together", "quartiles", "of processor time", "to the reference"),
        [_row(count, row) for count, row in figures.items()],
    )
    if args.json:
        found = {"machine": machine(), "layout": args.layout, "reference": REFERENCE}
        write_json(args.json, {**found, "processes": figures})
    return 0


def _turn(pool: ProcessPoolExecutor, count: int, layout: str, episodes: int) -> tuple[float, float]:
    """Steps a second of `count` processes together, and those of processor time."""
    began = time.perf_counter()
    shares = list(pool.map(steps_of, [layout] * count, range(count), [episodes] * count))
    passed = time.perf_counter() - began
    steps = sum(share.steps for share in shares)
    return steps / passed, steps / sum(share.seconds for share in shares)


def steps_of(layout: str, number: int, episodes: int) -> Share:
    """Runs whole episodes with frames, as collecting demonstrations does, without writing them."""
    env = gymnasium.make("safe_skills/Cable-v0", layout=layout).unwrapped
    began, steps = time.process_time(), 0
    for episode in range(episodes):
        seed = 1000 * number + episode
        policy = Demonstrator(env.layout, np.random.default_rng([seed, 1]))
        env.reset(seed=seed)
        done = False
        while not done:
            action = np.clip(policy(env.state), env.action_space.low, env.action_space.high)
            _, _, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
            steps += 1
    seconds = time.process_time() - began
    env.close()
    return Share(steps, seconds)


def _figures(turns: list[tuple[float, float]]) -> dict[str, Any]:
    together, of_processor = np.asarray(turns).T
    low, middle, high = np.percentile(together, (25, 50, 75)).tolist()
    median = float(np.median(of_processor))
    return {
        "steps_per_s": middle,
        "steps_per_s_quartiles": [low, high],
        "steps_per_processor_s": median,
        "to_reference": median / REFERENCE,
    }


def _row(count: int, row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["steps_per_s_quartiles"]
    return (
        str(count),
        f"{row['steps_per_s']:.0f}",
        f"{low:.0f} to {high:.0f}",
        f"{row['steps_per_processor_s']:.0f}",
        f"{row['to_reference']:.2f}",
    )
