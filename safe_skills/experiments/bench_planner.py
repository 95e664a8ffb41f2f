"""`safe-skills bench planner`: plans at the paper's settings and at camera rate."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from safe_skills.data.episodes import FIRST_EVALUATION_SEED
from safe_skills.data.files import replacing, write_json
from safe_skills.data.statistics import percentiles
from safe_skills.envs.cable import CableEnv
from safe_skills.experiments.arguments import add_device, positive
from safe_skills.experiments.benchmark import (
    gemm_peak,
    in_turns,
    machine,
    median_ratio,
    print_table,
)
from safe_skills.experiments.reference_scoring import ReferenceScorer
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.planner import Plan, Planner, WarmStart
from safe_skills.ls3.planner_config import PROFILES, TABLE_3, PlannerConfig
from safe_skills.paths import checkpoint_dir

HELP = (
    "Time of a plan at the settings of LS3 Table 3, in turns with a straightforward rendering of "
    "the same search (whole populations, every head on every particle, float32), and at the "
    "realtime profile; over latents of recorded episodes."
)
SETTINGS = {name: TABLE_3[name] for name in ("navigation", "reacher", "cable")}
SWEEPS = {
    "candidates": (64, 100, 200, 500, 1000, 2000),
    "particles": (1, 5, 10, 20),
    "horizon": (1, 3, 5, 8),
}
SEED = 7


@dataclass(frozen=True)
class Moment:
    """A recorded step: the belief (d,) mean and stddev, and what the last plan left."""

    mean: np.ndarray
    stddev: np.ndarray
    warm_start: WarmStart | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "--checkpoint", type=Path, help="folder of a checkpoint; default: the shipped cable_tight"
    )
    parser.add_argument(
        "--settings", nargs="*", choices=sorted(SETTINGS), default=list(SETTINGS), help="of Table 3"
    )
    parser.add_argument("--rounds", type=positive, default=3, help="plans a state and setting (3)")
    parser.add_argument("--episodes", type=positive, default=5, help="for the realtime profile (5)")
    add_device(parser)
    parser.add_argument("--threads", type=positive, help="of PyTorch; default: one a core")
    parser.add_argument("--sweep", type=Path, help="plot times over sizes to this PNG file")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = args.checkpoint or checkpoint_dir("cable_tight")
    agent = LS3Agent.load(folder, device=args.device)
    episodes = list(recorded(agent, args.episodes))
    states = chosen_states(episodes[0])
    peaks = {
        name: gemm_peak(getattr(torch, name), agent.device) for name in ("float32", "bfloat16")
    }
    figures: dict[str, Any] = {
        "machine": machine(agent.device),
        "checkpoint": agent.model_id,
        "hidden": list(agent.config.constraint.hidden),
        "gemm_peak_gmacs": peaks,
        "settings": {
            name: compare(agent, SETTINGS[name], states, args.rounds)
            for name in track(args.settings, "settings")
        },
        "realtime": realtime(agent, episodes),
    }
    _print(figures)
    if args.sweep:
        figures["sweep"] = sweep(agent, states)
        plot_sweep(figures["sweep"], args.sweep)
        print(f"wrote {args.sweep}")
    if args.json:
        write_json(args.json, figures)
    return 0


def recorded(agent: LS3Agent, episodes: int) -> Iterator[list[Moment]]:
    """Runs episodes with the realtime profile and yields the moments of each."""
    env = CableEnv(agent.layout)
    for index in range(episodes):
        planner = agent.planner("realtime", seed=index)
        observation, _ = env.reset(seed=FIRST_EVALUATION_SEED + index)
        moments, over = [], False
        while not over:
            belief = agent.encode(observation["image"])
            moments.append(Moment(*belief, planner.warm_start))
            action = planner.plan(*belief).actions[0]
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated or bool(info["violation"])
        yield moments
    env.close()


def chosen_states(moments: Sequence[Moment]) -> list[Moment]:
    """The second step (the first has no warm start), the middle, and the last before the goal."""
    return [moments[1], moments[len(moments) // 2], moments[-1]]


def compare(
    agent: LS3Agent, config: PlannerConfig, states: Sequence[Moment], rounds: int
) -> dict[str, Any]:
    """Times both renderings from the same states, warm starts and seeds."""
    planners = {
        "baseline": agent.planner(config, SEED, ReferenceScorer(agent.models)),
        "ours": agent.planner(config, SEED),
    }
    times: dict[str, list[float]] = {name: [] for name in planners}
    apart, evaluated = [], 0
    for state in states:
        plans: dict[str, Plan] = {}
        calls = {name: _planning(planners[name], state, plans, name) for name in planners}
        for name, taken in in_turns(calls, rounds, warm_up=0).items():
            times[name] += taken
        evaluated += plans["baseline"].iterations
        apart.append(np.abs(plans["baseline"].actions - plans["ours"].actions).max())
    ratio, low, high = median_ratio(times["baseline"], times["ours"])
    multiplications = gigamacs(agent, config) * evaluated / len(states)
    return {
        "baseline_ms": float(np.median(times["baseline"])),
        "ours_ms": float(np.median(times["ours"])),
        "ratio": ratio,
        "ratio_quartiles": [low, high],
        "ours_plans_per_s": 1e3 / float(np.mean(times["ours"])),
        "gmac_a_plan": multiplications,
        "action_apart_m": float(np.max(apart)),
    }


def _planning(
    planner: Planner, state: Moment, plans: dict[str, Plan], name: str
) -> Callable[[], None]:
    def plan() -> None:
        planner.warm_start = _cut(state.warm_start, planner.config.horizon)
        plans[name] = planner.plan(state.mean, state.stddev)

    return plan


def _cut(warm_start: WarmStart | None, horizon: int) -> WarmStart | None:
    """The first steps of a warm start, for a search that looks less far ahead."""
    if warm_start is None:
        return None
    mean, stddev, elites = warm_start
    return WarmStart(mean[:horizon], stddev[:horizon], elites[:, :horizon])


def realtime(agent: LS3Agent, episodes: Sequence[Sequence[Moment]]) -> dict[str, Any]:
    """Times of the realtime profile over whole episodes."""
    times = []
    planner = agent.planner("realtime", SEED)
    planner.plan(episodes[0][0].mean, episodes[0][0].stddev)
    for moments in episodes:
        planner.reset()
        times += [1e3 * planner.plan(m.mean, m.stddev).solve_time for m in moments]
    values = percentiles(times)
    return {
        "p50_ms": values["p50"],
        "p99_ms": values["p99"],
        "plans_per_s": 1e3 / float(np.mean(times)),
        "plans": len(times),
    }


def gigamacs(agent: LS3Agent, config: PlannerConfig) -> float:
    """Multiply-adds [1e9] of one population where every head sees every particle."""
    config_of = agent.config
    d, a = agent.latent_dim, agent.action_dim

    def network(inputs: int, hidden: Sequence[int], outputs: int) -> int:
        sizes = (inputs, *hidden, outputs)
        return sum(x * y for x, y in zip(sizes[:-1], sizes[1:], strict=True))

    per_step = network(d + a, config_of.dynamics.hidden, 2 * d)
    per_step += network(d, config_of.constraint.hidden, 1)
    goal = network(d, config_of.goal.hidden, 1)
    last = network(d, config_of.safe_set.hidden, 1)
    value = config_of.value.members * network(d, config_of.value.hidden, 1)
    shared = 1 if config.objective_on == "mean_latent" else config.particles
    rows = config.particles * (config.horizon * per_step + last)
    rows += shared * ((config.horizon - 1) * goal + value)
    return 1e-9 * config.candidates * rows


def sweep(agent: LS3Agent, states: Sequence[Moment]) -> dict[str, dict[str, list[float]]]:
    """Median times [ms] of a plan around the realtime profile and around the paper's."""
    result: dict[str, dict[str, list[float]]] = {}
    for profile, config in PROFILES.items():
        for name, sizes in SWEEPS.items():
            row = []
            for size in track(sizes, f"{profile}: {name}"):
                candidates = size if name == "candidates" else config.candidates
                elites = min(config.elites, candidates // 2)
                changed = replace(config, **{name: size, "elites": elites})
                planner = agent.planner(changed, SEED)
                calls = {
                    str(k): _planning(planner, replace(s, warm_start=None), {}, "")
                    for k, s in enumerate(states)
                }
                times = in_turns(calls, rounds=2, warm_up=0)
                row.append(float(np.median([t for taken in times.values() for t in taken])))
            result.setdefault(profile, {})[name] = row
    return result


def plot_sweep(times: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Plots the sweep, a panel a size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, (name, sizes) in zip(figure.subplots(1, len(SWEEPS)), SWEEPS.items(), strict=True):
        for profile, rows in times.items():
            axes.plot(sizes, rows[name], marker="o", label=profile)
        axes.set(xlabel=name, ylabel="time of a plan [ms]", xscale="log", yscale="log")
        axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _print(figures: Mapping[str, Any]) -> None:
    peak = figures["gemm_peak_gmacs"]["float32"]
    rows = []
    for name, row in figures["settings"].items():
        shares = [row["gmac_a_plan"] / (1e-3 * row[f"{who}_ms"] * peak) for who in _WHO]
        low, high = row["ratio_quartiles"]
        rows.append(
            (
                name,
                *(f"{row[f'{who}_ms']:.0f}" for who in _WHO),
                f"{row['ratio']:.2f}",
                f"{low:.2f} to {high:.2f}",
                f"{row['ours_plans_per_s']:.2f}",
                *(f"{100 * share:.0f} %" for share in shares),
            )
        )
    headings = ("setting", "baseline [ms]", "ours [ms]", "ratio", "quartiles", "ours [1/s]")
    print_table(
        f"a plan, {figures['checkpoint']}, heads {figures['hidden']}",
        (*headings, "baseline of peak", "ours of peak"),
        rows,
    )
    print(f"peak: {peak:.0f} GMAC/s in float32; what ours leaves out counts as done")
    live = figures["realtime"]
    print(
        f"realtime profile: p50 {live['p50_ms']:.1f} ms, p99 {live['p99_ms']:.1f} ms, "
        f"{live['plans_per_s']:.0f} plans/s over {live['plans']} plans"
    )


_WHO = ("baseline", "ours")
