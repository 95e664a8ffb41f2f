"""`safe-skills bench envs`: steps a second of the environments, by number of processes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np

import safe_skills.envs  # noqa: F401  registers them
from safe_skills.data.files import write_json
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.cable_policies import Demonstrator
from safe_skills.envs.operation_tasks import FIRST_EVALUATION_TASK
from safe_skills.envs.tasks import TASKS
from safe_skills.experiments.arguments import positive
from safe_skills.experiments.benchmark import machine, print_table
from safe_skills.experiments.collect_task import SOURCES
from safe_skills.experiments.operation_rollout import play
from safe_skills.experiments.processes import worker_pool

HELP = (
    "Steps a second of the environments with frames and resets, under the scripted policies that "
    "collect data, by number of processes."
)


class Share(NamedTuple):
    """What one process did: steps, and its processor time [s]."""

    steps: int
    seconds: float


def cable_steps(layout: str, number: int, episodes: int) -> int:
    """Runs demonstrations with frames, as collecting them does; returns the steps."""
    env = gymnasium.make("safe_skills/Cable-v0", layout=layout).unwrapped
    steps = 0
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
    env.close()
    return steps


def operation_steps(_layout: str, number: int, episodes: int) -> int:
    """Runs noisy scripted episodes of the training tasks in turn; returns the steps."""
    env = gymnasium.make("safe_skills/Operation-v0").unwrapped
    steps = 0
    for episode in range(episodes):
        task = (episodes * number + episode) % FIRST_EVALUATION_TASK
        steps += len(play(env, task, seed=1000 * number + episode).rewards)
    env.close()
    return steps


def task_steps(task: str, _layout: str, number: int, episodes: int) -> int:
    """Runs demonstrations of one of LS3's simulated tasks with frames; returns the steps."""
    env = TASKS[task].make()
    source = SOURCES[task]["demo"]
    steps = 0
    for episode in range(episodes):
        seed = 1000 * number + episode
        policy = source.policy(np.random.default_rng([seed, 1]), noise=source.noise)
        env.reset(seed=seed)
        truncated = False
        while not truncated:
            truncated = env.step(policy(env.state))[3]
            steps += 1
    env.close()
    return steps


class Environment(NamedTuple):
    """What is measured, and steps a second of processor time that its prototype ran, if any."""

    steps: Callable[[str, int, int], int]
    reference: float | None = None


# The prototypes ran the same number of physics steps: 24, 16 and 500; pushing was not drawn.
ENVIRONMENTS = {
    "cable": Environment(cable_steps, 175.0),
    "navigation": Environment(partial(task_steps, "navigation")),
    "operation": Environment(operation_steps, 397.0),
    "pushing": Environment(partial(task_steps, "pushing"), 67.0),
    "reacher": Environment(partial(task_steps, "reacher")),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    names = list(ENVIRONMENTS)
    parser.add_argument("--envs", nargs="+", choices=names, default=names, help="which (all)")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="open", help="of the cable")
    parser.add_argument(
        "--processes", type=positive, nargs="+", default=[1, 2], help="numbers of them (1 2)"
    )
    parser.add_argument("--episodes", type=positive, default=10, help="a process and turn (10)")
    parser.add_argument("--rounds", type=positive, default=7, help="timed turns (7)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    cases = [(name, count) for name in args.envs for count in args.processes]
    rates: dict[tuple[str, int], list[tuple[float, float]]] = {case: [] for case in cases}
    with ExitStack() as stack:
        pools = {count: stack.enter_context(worker_pool(count)) for count in args.processes}
        for name, count in cases:
            _turn(pools[count], name, count, args.layout, 1)  # starts the processes
        for _ in range(args.rounds):
            for name, count in cases:
                turn = _turn(pools[count], name, count, args.layout, args.episodes)
                rates[name, count].append(turn)
    figures: dict[str, Any] = {
        name: {"reference": ENVIRONMENTS[name].reference, "processes": {}} for name in args.envs
    }
    for (name, count), turns in rates.items():
        figures[name]["processes"][count] = _figures(turns, ENVIRONMENTS[name].reference)
    headings = ("environment", "processes", "together", "quartiles", "of processor time", "ratio")
    print_table(
        "Steps a second; ratio of those of processor time to the prototype's",
        headings,
        [_row(name, count, figures[name]["processes"][count]) for name, count in cases],
    )
    if args.json:
        found = {"machine": machine(), "layout": args.layout}
        write_json(args.json, {**found, "environments": figures})
    return 0


def _turn(
    pool: ProcessPoolExecutor, name: str, count: int, layout: str, episodes: int
) -> tuple[float, float]:
    """Steps a second of `count` processes together, and those of processor time."""
    began = time.perf_counter()
    work = [name] * count, [layout] * count, range(count), [episodes] * count
    shares = list(pool.map(steps_of, *work))
    passed = time.perf_counter() - began
    steps = sum(share.steps for share in shares)
    return steps / passed, steps / sum(share.seconds for share in shares)


def steps_of(name: str, layout: str, number: int, episodes: int) -> Share:
    """Runs whole episodes of an environment, without writing them."""
    began = time.process_time()
    steps = ENVIRONMENTS[name].steps(layout, number, episodes)
    return Share(steps, time.process_time() - began)


def _figures(turns: list[tuple[float, float]], reference: float | None) -> dict[str, Any]:
    together, of_processor = np.asarray(turns).T
    low, middle, high = np.percentile(together, (25, 50, 75)).tolist()
    median = float(np.median(of_processor))
    return {
        "steps_per_s": middle,
        "steps_per_s_quartiles": [low, high],
        "steps_per_processor_s": median,
        "to_reference": median / reference if reference else None,
    }


def _row(name: str, count: int, row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["steps_per_s_quartiles"]
    return (
        name,
        str(count),
        f"{row['steps_per_s']:.0f}",
        f"{low:.0f} to {high:.0f}",
        f"{row['steps_per_processor_s']:.0f}",
        f"{row['to_reference']:.2f}" if row["to_reference"] else "-",
    )
