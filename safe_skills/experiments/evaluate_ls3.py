"""`safe-skills evaluate cable` and others: a checkpoint of LS3 and its ablations."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress

from safe_skills.data.episodes import FIRST_EVALUATION_SEED
from safe_skills.data.files import write_json
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.tasks import find_task
from safe_skills.experiments.arguments import add_device, natural, positive
from safe_skills.experiments.rollout import EpisodeRunner, evaluate_checkpoint, print_summaries
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.planner_config import PROFILES
from safe_skills.paths import checkpoint_dir

# Ablations of the planner; the models stay the same (LS3 sec. 5.1).
ABLATIONS: dict[str, dict[str, Any]] = {
    "LS3": {},
    "without safe set": {"use_safe_set": False},
    "without constraint": {"use_constraint": False},
    "without both": {"use_safe_set": False, "use_constraint": False},
}

# Ideas for a quick search, one at a time, as changes of the profile that is measured.
OPTIONS: dict[str, dict[str, Any]] = {
    "the profile": {},
    "white noise": {"noise_exponent": 0.0},
    "common draws": {"noise": "common"},
    "half of the elites kept": {"kept_elites": 0.5},
    "3 populations": {"iterations": 3},
    "3 populations, shrinking by 1.5": {"iterations": 3, "decay": 1.5},
    "3 populations, ending at stddev .25": {"iterations": 3, "stop_stddev": 0.25},
    "200 candidates, 20 elites": {"candidates": 200, "elites": 20},
    "20 particles": {"particles": 20, "verify_particles": 20},
    "plans verified with 20 particles": {"verify_particles": 20},
    "one member a step": {"ensemble_sampling": "step"},
    "objective on every particle": {"objective_on": "particles"},
    "warm start not shifted": {"warm_start": "unshifted"},
    "best sequence, not verified": {"returned": "best"},
    "bfloat16": {"precision": "bfloat16"},
}


class Command:
    """The command that measures checkpoints of a task.

    Args:
        task: name of the task.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self.HELP = (
            f"Measure an LS3 checkpoint on the simulated {task} task: success, violations, steps, "
            "plan times."
        )

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Adds the command's options."""
        layouts = find_task(self.task).masked
        if layouts:
            parser.add_argument(
                "--layout", choices=sorted(LAYOUTS), help="default: the checkpoint's"
            )
        parser.add_argument(
            "--checkpoint", type=Path, help="folder of a checkpoint; default: the shipped one"
        )
        parser.add_argument("--profile", choices=sorted(PROFILES), default="realtime")
        parser.add_argument("--episodes", type=positive, default=50, help="to run (50)")
        parser.add_argument(
            "--seed",
            type=natural,
            default=FIRST_EVALUATION_SEED,
            help="of the first scene",
        )
        parser.add_argument("--workers", type=positive, default=2, help="processes (2)")
        add_device(parser)
        variants = parser.add_mutually_exclusive_group()
        variants.add_argument(
            "--ablations", action="store_true", help="also plan without safe set and constraint"
        )
        variants.add_argument(
            "--options", action="store_true", help="also plan with the search's options, one by one"
        )
        parser.add_argument("--json", type=Path, help="write the figures to this file")

    def run(self, args: argparse.Namespace) -> int:
        """Runs the command; returns the exit status."""
        asked = getattr(args, "layout", None)
        shipped = f"{self.task}_{asked or 'open'}" if find_task(self.task).masked else self.task
        folder = args.checkpoint or checkpoint_dir(shipped)
        agent = LS3Agent.load(folder, task=self.task, device=args.device)
        layout = asked or agent.layout
        seeds = range(args.seed, args.seed + args.episodes)
        variants = ABLATIONS if args.ablations else OPTIONS if args.options else {"LS3": {}}
        summaries, episodes = {}, {}
        runner = EpisodeRunner(args.workers, self.task, args.device)
        with Progress() as progress, runner:
            for name, changes in variants.items():
                bar = progress.add_task(name, total=args.episodes)
                summaries[name], results = evaluate_checkpoint(
                    folder,
                    layout,
                    agent.planner_config(args.profile, **changes),
                    seeds,
                    runner,
                    lambda count, bar=bar: progress.advance(bar, count),
                )
                episodes[name] = [asdict(result) for result in results]
        place = f"{self.task} ({layout})" if layout else self.task
        print_summaries(f"{place}, {args.profile}, {agent.model_id}", summaries)
        if args.json:
            written = {
                "checkpoint": str(folder),
                "model_id": agent.model_id,
                "layout": layout,
                "profile": args.profile,
                "seed": args.seed,
                "summaries": summaries,
                "episodes": episodes,
            }
            write_json(args.json, written)
        return 0
