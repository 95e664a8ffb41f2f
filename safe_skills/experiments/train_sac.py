"""`safe-skills train sac`: learn a task over a skill prior, or without one, and measure it."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from safe_skills.baselines.sac import EpisodeRecord, SacConfig, SacRun
from safe_skills.data.episodes import FIRST_EVALUATION_SEED, training_seed
from safe_skills.data.files import replacing, write_json, write_text
from safe_skills.data.provenance import revision
from safe_skills.experiments.arguments import natural, positive, share
from safe_skills.experiments.benchmark import print_table
from safe_skills.experiments.skill_rollout import SkillJob, run_jobs, skill_env, summarize
from safe_skills.experiments.training_runs import print_seconds, timed
from safe_skills.safer.encoder import StateEncoder
from safe_skills.safer.policy import SkillPolicy
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.skill_env import OBSERVATIONS

HELP = (
    "Learn an Operation task with soft actor-critic: over a skill prior's abstract actions (SAFER, "
    "PARROT, Context PARROT), over raw actions (SAC), or with the prior as an explorer "
    "(Prior-Explore). Interrupt it at any time; the same command goes on."
)
MODES = ("skill", "raw", "explore")
WIDE_BOUND = 3.0
"""|z|_inf of PARROT and Context PARROT, whose papers name no bound."""

LAST_SHARE = 0.1  # of the episodes, for the success rate at the end of training
LAST_STEPS = 1000  # for the violations at the end of training (SAFER Fig. 7)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--prior", type=Path, required=True, help="checkpoint of a skill prior")
    parser.add_argument("--task", type=natural, required=True, help="Operation task, 0 to 39")
    parser.add_argument(
        "--actions",
        choices=MODES,
        default="skill",
        help="what the agent chooses: abstract actions (default), raw ones, or raw ones while the "
        "prior explores",
    )
    parser.add_argument(
        "--observation",
        choices=OBSERVATIONS,
        default="features",
        help="what the agent sees: the prior's features (default), or frames",
    )
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument(
        "--allowed",
        type=share,
        help="unsafe share that eta stands for (default: .15 for safer, none for the others)",
    )
    bound.add_argument("--eta", type=float, help="the bound itself (default without one: 3)")
    parser.add_argument("--steps", type=positive, default=50_000, help="of training (50000)")
    parser.add_argument("--seed", type=natural, default=0, help="of weights, draws and scenes (0)")
    parser.add_argument(
        "--out", type=Path, help="run folder (default: outputs/train/sac_METHOD_ACTIONS_TASK_SEED)"
    )
    parser.add_argument("--episodes", type=positive, default=100, help="of the evaluation (100)")
    parser.add_argument("--workers", type=positive, default=1, help="evaluation processes (1)")
    parser.add_argument("--json", type=Path, help="write the metrics to this file")


class Scenes(gymnasium.Wrapper):
    """Seeds every episode of a run, apart from those of the evaluation."""

    def __init__(self, env: gymnasium.Env, seed: int) -> None:
        super().__init__(env)
        self._seed, self._episodes = seed, itertools.count()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Takes the run's next scene, whatever seed is asked for."""
        scene = training_seed(self._seed, "online", next(self._episodes) % 10_000)
        return self.env.reset(seed=scene, options=options)


def bound_of(prior: SkillPrior, args: argparse.Namespace) -> float:
    """Eta: as given, or the prior's for an unsafe share, or 3 for priors without assurance."""
    if args.actions != "skill":
        return 1.0
    if args.eta is not None:
        return args.eta
    if args.allowed is None and prior.method != "safer":
        return WIDE_BOUND
    return prior.eta(0.15 if args.allowed is None else args.allowed)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    began = time.monotonic()
    torch.set_num_threads(1)
    prior = SkillPrior.load(args.prior, task="operation")
    bound = bound_of(prior, args)
    name = f"sac_{prior.method}_{args.actions}_{args.task}_{args.seed}"
    out = args.out or Path("outputs/train") / name
    actions = "skill" if args.actions == "skill" else "raw"
    config = SacConfig(steps=args.steps)
    seconds: dict[str, float] = {}
    env = Scenes(skill_env(prior, args.task, actions, bound, args.observation), args.seed)
    seen = prior.config.encoder
    encoder = seen if args.observation == "pixels" else None
    with _progress() as progress, timed(seconds, "training"):
        bar = progress.add_task("steps", total=config.steps, log="")
        training = SacRun(
            env,
            config,
            out,
            args.seed,
            identity=f"{prior.model_id} {args.task} {args.actions} {args.observation} {bound:.6g}",
            explore_with_prior=args.actions == "explore",
            encoder=(lambda: StateEncoder(encoder), encoder.features) if encoder else None,
            report=lambda done, episodes: progress.update(bar, completed=done, log=_last(episodes)),
        )
        training.train()
    env.close()
    policy = SkillPolicy(
        features=seen.features,
        action_dim=prior.action_dim,
        bound=bound,
        hidden=config.hidden,
        actions=actions,
        prior_id=prior.model_id,
        task="operation",
        task_number=args.task,
        encoder=encoder,
    )
    policy.load_state_dict(training.actor_tensors())
    checkpoint = out / "checkpoint"
    policy.save(checkpoint, {})
    with timed(seconds, "evaluation"):
        seeds = tuple(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.episodes))
        job = SkillJob(args.prior, checkpoint, bound, args.task, seeds)
        episodes = [episode for part in run_jobs([job], args.workers) for episode in part]
    seconds["all"] = time.monotonic() - began
    metrics = {
        "method": prior.method,
        "actions": args.actions,
        "observation": args.observation,
        "task": args.task,
        "eta": bound,
        "seed": args.seed,
        "steps": config.steps,
        "training": training_figures(training),
        "evaluation": summarize(episodes),
        "seconds": {part: round(value, 1) for part, value in seconds.items()},
        "revision": revision(),
    }
    policy.save(checkpoint, metrics)
    write_curve(out, training)
    if args.json:
        write_json(args.json, metrics)
    _print(metrics)
    Console().print(f"checkpoint: {checkpoint}, learning curve: {out / 'curve.png'}")
    return 0


def training_figures(training: SacRun) -> dict[str, Any]:
    """Figures of the training itself, as in SAFER Table 1 and Fig. 7."""
    episodes, violations = training.episodes, training.violations_by_step
    last = episodes[-max(1, round(LAST_SHARE * len(episodes))) :]
    return {
        "episodes": len(episodes),
        "success_rate": float(np.mean([episode.success for episode in episodes])),
        "success_rate_at_end": float(np.mean([episode.success for episode in last])),
        "violations": int(sum(violations)),
        "violations_at_end": int(sum(violations[-LAST_STEPS:])),
    }


def write_curve(out: Path, training: SacRun) -> None:
    """Writes the episodes as curve.csv, and success and violations over steps as curve.png."""
    episodes = training.episodes
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(EpisodeRecord.__dataclass_fields__)
    table.writerows(vars(episode).values() for episode in episodes)
    write_text(out / "curve.csv", text.getvalue())
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [episode.last_step for episode in episodes]
    left.plot(steps, smoothed([float(episode.success) for episode in episodes], 50))
    left.set(ylabel="success (mean of 50 episodes)", xlabel="steps", ylim=(0, 1))
    right.plot(np.cumsum(training.violations_by_step))
    right.set(ylabel="violations so far", xlabel="steps")
    with replacing(out / "curve.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def smoothed(values: Sequence[float], window: int) -> np.ndarray:
    """The mean of the last `window` values, of fewer at the beginning."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _last(episodes: Sequence[EpisodeRecord]) -> str:
    last = episodes[-50:]
    if not last:
        return ""
    wins = np.mean([episode.success for episode in last])
    touched = np.mean([episode.violations > 0 for episode in last])
    return f"last {len(last)} episodes: success {wins:.2f}, contact {touched:.2f}"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[log]}"),
    )


def _print(metrics: dict[str, Any]) -> None:
    print_seconds(metrics["seconds"])
    training, measured = metrics["training"], metrics["evaluation"]
    low, high = measured["success_interval_95"]
    print_table(
        f"{metrics['method']}, {metrics['actions']} actions, task {metrics['task']}, "
        f"eta {metrics['eta']:.2f}",
        ("", "success", "violations"),
        [
            ("all of training", f"{training['success_rate']:.3f}", str(training["violations"])),
            (
                "its end",
                f"{training['success_rate_at_end']:.3f}",
                f"{training['violations_at_end']} in {LAST_STEPS} steps",
            ),
            (
                f"evaluation, {measured['episodes']} episodes",
                f"{measured['success_rate']:.3f} [{low:.3f}, {high:.3f}]",
                f"{measured['violations']} in {measured['steps']} steps",
            ),
        ],
    )
