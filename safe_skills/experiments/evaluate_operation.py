"""`safe-skills evaluate operation`: how often a prior, or a policy over it, succeeds and touches.

Without a policy, z is drawn from N(0, I) within each eta that the prior holds: whether the share of
unsafe steps stays below what eta promises on tasks that nothing was trained on (SAFER Fig. 4).
With `--watch` LS3's safe set and constraint estimator have a say in each action.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress

from safe_skills.data.episodes import FIRST_EVALUATION_SEED
from safe_skills.data.files import write_json
from safe_skills.envs.operation_tasks import FIRST_EVALUATION_TASK, TASKS
from safe_skills.experiments.arguments import natural, positive, share
from safe_skills.experiments.benchmark import print_table
from safe_skills.experiments.skill_rollout import SkillEpisode, SkillJob, run_jobs, summarize
from safe_skills.experiments.watched_skills import (
    GATES,
    RESPONSES,
    STATES,
    WIDE_BOUND,
    Watching,
)
from safe_skills.ls3.watcher import Watcher
from safe_skills.safer.policy import SkillPolicy
from safe_skills.safer.prior import SkillPrior

HELP = (
    "Measure a skill prior on the Operation tasks: the share of unsafe steps of z drawn within "
    "each eta, against what it allows; or success and contacts of a policy over it; with or "
    "without LS3's safe set as a second opinion."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--prior", type=Path, required=True, help="checkpoint of a skill prior")
    parser.add_argument("--policy", type=Path, help="checkpoint of a policy over it")
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument(
        "--allowed",
        type=share,
        nargs="+",
        help="unsafe shares whose eta is tried (default: all that the prior has)",
    )
    bound.add_argument("--eta", type=float, nargs="+", help="bounds to try instead")
    parser.add_argument("--watch", type=Path, help="checkpoint of a safe set over the prior")
    parser.add_argument(
        "--gate",
        choices=GATES,
        help=f"what counts; without eta z may go up to {WIDE_BOUND:g} (default: both with --watch)",
    )
    parser.add_argument(
        "--response",
        choices=RESPONSES,
        default="plan",
        help="to an action that the safe set objects to: hold; redraw z until one passes; or plan: "
        "always take the best of some z (plan)",
    )
    parser.add_argument(
        "--state",
        choices=STATES,
        default="next",
        help="that delta_S is asked of, for hold and redraw (next)",
    )
    parser.add_argument(
        "--levels",
        type=share,
        nargs=2,
        metavar=("DELTA_C", "DELTA_S"),
        help="in place of the calibrated ones",
    )
    parser.add_argument(
        "--tasks",
        type=natural,
        nargs="+",
        default=list(range(FIRST_EVALUATION_TASK, TASKS)),
        help="numbers of tasks (default: the six held out)",
    )
    parser.add_argument("--episodes", type=positive, default=50, help="a task and bound (50)")
    parser.add_argument(
        "--seed", type=natural, default=FIRST_EVALUATION_SEED, help="of the first scene"
    )
    parser.add_argument("--workers", type=positive, default=2, help="processes (2)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def bounds_of(prior: SkillPrior, args: argparse.Namespace) -> dict[float, float | None]:
    """The bounds that are tried, each with the unsafe share that it allows, None where unknown."""
    if args.eta is not None:
        if min(args.eta) <= 0:
            raise ValueError(f"--eta: expected bounds above 0, got {min(args.eta):g}")
        return dict.fromkeys(args.eta)
    levels = prior.metrics.get("assurance", [])
    shares = args.allowed or [row["allowed"] for row in levels if row["eta"] is not None]
    if not shares:
        raise ValueError(f"{args.prior}: holds no eta; name bounds with --eta")
    return {prior.eta(allowed): allowed for allowed in shares}


def watching_of(prior: SkillPrior, args: argparse.Namespace) -> Watching | None:
    """What a watcher asks for; None without one.

    Raises:
        ValueError: in one line, where gate and watcher do not go together, or there is no level.
    """
    gate = gate_of(args)
    if (gate == "eta") != (args.watch is None):
        expected = "no --watch" if gate == "eta" else "--watch CHECKPOINT"
        raise ValueError(f"--gate {gate}: expected {expected}")
    if args.watch is None:
        return None
    watcher = Watcher.load(args.watch, task="operation", encoder_id=prior.model_id)
    levels = args.levels or [level.value for level in watcher.thresholds()]
    return Watching(*levels, response=args.response, state=args.state)


def gate_of(args: argparse.Namespace) -> str:
    """The gate that was asked for, or the one that the other options mean."""
    return args.gate or ("both" if args.watch else "eta")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    prior = SkillPrior.load(args.prior, task="operation")
    watching, gate = watching_of(prior, args), gate_of(args)
    if args.policy:
        policy = SkillPolicy.load(args.policy, prior_id=prior.model_id)
        if watching and policy.actions != "skill":
            raise ValueError(f"{args.policy}: expected a policy of abstract actions for --watch")
        bounds: dict[float, float | None] = {policy.bound: None}
    elif gate != "safe-set":
        bounds = bounds_of(prior, args)
    if gate == "safe-set":
        bounds = {WIDE_BOUND: None}
    seeds = tuple(range(args.seed, args.seed + args.episodes))
    found: dict[tuple[float, int], list[SkillEpisode]] = {}
    with Progress() as progress:
        bar = progress.add_task("episodes", total=len(bounds) * len(args.tasks) * len(seeds))
        for bound in bounds:
            jobs = [
                SkillJob(args.prior, args.policy, bound, task, seeds, gate, args.watch, watching)
                for task in args.tasks
            ]
            for part in run_jobs(jobs, args.workers):
                for episode in part:
                    found.setdefault((bound, episode.task), []).append(episode)
                progress.advance(bar, len(part))
    rows = []
    for bound, allowed in bounds.items():
        every = []
        for task in args.tasks:
            episodes = sorted(found[bound, task], key=lambda episode: episode.seed)
            every += episodes
            rows.append({"eta": bound, "allowed": allowed, "task": task, **summarize(episodes)})
        rows.append({"eta": bound, "allowed": allowed, "task": None, **summarize(every)})
    _print(f"{prior.method}, {prior.model_id}, gate {gate}", rows)
    if args.json:
        episodes = [
            {"eta": bound, **asdict(episode)}
            for (bound, _), part in found.items()
            for episode in part
        ]
        written = {
            "prior": str(args.prior),
            "model_id": prior.model_id,
            "gate": gate,
            "watch": str(args.watch) if args.watch else None,
            "watching": asdict(watching) if watching else None,
            "rows": rows,
        }
        if args.policy:
            written["policy"] = str(args.policy)
        write_json(args.json, {**written, "episodes": episodes})
    return 0


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    headings = ("eta", "allowed", "task", "episodes", "success", "unsafe steps", "contact")
    headings += ("clean", "held", "replaced")
    print_table(title, headings, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["unsafe_interval_95"]
    return (
        f"{row['eta']:.2f}",
        "-" if row["allowed"] is None else f"{row['allowed']:g}",
        "all" if row["task"] is None else str(row["task"]),
        str(row["episodes"]),
        f"{row['success_rate']:.3f}",
        f"{row['unsafe_steps']:.3f} [{low:.3f}, {high:.3f}]",
        f"{row['contact_rate']:.3f}",
        f"{row['clean_success_rate']:.3f}",
        f"{row['held_steps']:.3f}",
        f"{row['replaced_steps']:.3f}",
    )
