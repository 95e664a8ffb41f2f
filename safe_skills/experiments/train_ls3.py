"""`safe-skills train ls3`: collect what is missing, train offline and online, measure, save."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from safe_skills.data.episodes import FIRST_EVALUATION_SEED, Episode
from safe_skills.data.files import write_json
from safe_skills.data.provenance import revision
from safe_skills.data.run_table import EPISODES, LAST, EpisodeRow, figures, write_episodes
from safe_skills.data.surprise import SurpriseError
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.tasks import TASKS, find_task
from safe_skills.experiments.arguments import natural, positive, share
from safe_skills.experiments.calibrate_surprise import calibrate_checkpoint
from safe_skills.experiments.episodes_gif import write_episodes_gif
from safe_skills.experiments.learning_curves import write_curve
from safe_skills.experiments.ls3_settings import (
    ABLATIONS,
    ablated,
    collect,
    layout_of,
    load_setting,
    new_agent,
)
from safe_skills.experiments.navigation_maps import map_figures, navigation_maps, write_maps
from safe_skills.experiments.online_episodes import OnlineEpisodes
from safe_skills.experiments.rollout import (
    EpisodeRunner,
    evaluate_checkpoint,
    print_summaries,
    steps_to_goal,
)
from safe_skills.experiments.selection import Selected, select
from safe_skills.experiments.training_runs import PhaseReporter, print_seconds, timed
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.online import training_episode
from safe_skills.ls3.training import Trainer, TrainingEpisode

HELP = (
    "Train LS3 on one of its tasks: offline on demonstrations, random and violating episodes, "
    "then online (Algorithm 1). Interrupt it at any time; the same command goes on."
)
PARTS = (
    *("data", "loading", "encoder", "latents", "dynamics", "value", "safe_set", "constraint"),
    *("goal", "online episodes", "online updates", "selection", "evaluation", "calibration"),
    *("pictures", "all"),
)  # of a run's time; the learners from dynamics to goal run side by side
EVALUATION_PROFILE = "realtime"
SHOWN = 3  # episodes in the GIF


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--layout", choices=sorted(LAYOUTS), help="of the cable task (open)")
    parser.add_argument(
        "--setting", default="default", help="section of config/training/ls3_TASK.yaml"
    )
    parser.add_argument(
        "--ablation",
        choices=ABLATIONS,
        default="none",
        help="plan without the safe set or without the constraint, or learn the safe set by plain "
        "classification (none)",
    )
    parser.add_argument("--horizon", type=positive, help="H of the planner, for the setting's")
    parser.add_argument("--delta_c", type=share, help="for the setting's")
    parser.add_argument("--delta_s", type=share, help="for the setting's")
    parser.add_argument("--seed", type=natural, default=0, help="of data, weights and scenes (0)")
    parser.add_argument(
        "--out", type=Path, help="run folder (default: outputs/train/ls3_TASK_..._SEED)"
    )
    parser.add_argument(
        "--data", type=Path, help="folder of episodes, made where missing (default: OUT/data)"
    )
    parser.add_argument(
        "--data-seed", type=natural, help="of the data, where runs of other seeds share it (--seed)"
    )
    parser.add_argument(
        "--offline",
        type=Path,
        metavar="RUN",
        help="folder of a run that differs in how it plans at most (horizon, delta_c, delta_s, no "
        "safe set): go on from what it has trained offline, in place of training that again",
    )
    parser.add_argument("--updates", type=natural, help="online updates, in place of the setting's")
    parser.add_argument("--workers", type=positive, default=2, help="processes (2)")
    parser.add_argument("--episodes", type=positive, default=50, help="of the evaluation (50)")
    parser.add_argument(
        "--keep",
        choices=("best", "last"),
        default="best",
        help="the last agent, or the best one on scenes of their own, a comparison that takes as "
        "long as a hundred online episodes or more (best)",
    )
    parser.add_argument("--json", type=Path, help="write the metrics to this file")


class Demonstrations(NamedTuple):
    """What the successful demonstrations come to: mean steps to the goal, and mean return."""

    steps: float
    episode_return: float

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> Demonstrations:
        """Measures them; there is at least one."""
        rows = [(steps_to_goal(e), e.episode_return) for e in episodes if e.success]
        return cls(*np.mean(rows, axis=0).tolist())


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    began = time.monotonic()
    layout = layout_of(args.task, args.layout)
    changes = {name: getattr(args, name) for name in ("horizon", "delta_c", "delta_s")}
    counts, config = load_setting(args.task, args.setting)
    config = ablated(config, args.ablation, **changes)
    out = args.out or Path("outputs/train") / _run_name(args, layout, changes)
    seconds: dict[str, float] = {}

    agent = new_agent(find_task(args.task), layout, config)
    with timed(seconds, "data"):
        data_seed = args.seed if args.data_seed is None else args.data_seed
        options = {"seed": data_seed, "workers": args.workers, "progress": True}
        store = collect(args.data or out / "data", args.task, layout, counts, **options)
    with timed(seconds, "loading"):
        offline = [training_episode(episode, agent) for episode in store]
        demonstrations = Demonstrations.of(store.episodes("demo"))
    updates = config.online.updates if args.updates is None else args.updates
    with EpisodeRunner(args.workers, args.task) as runner:
        gather = OnlineEpisodes(agent, out / "online", args.seed, runner)
        trainer = _trained(agent, offline, out, args, updates, gather, demonstrations)
        rows = gather.table(trainer.progress.update_seconds)
        seconds |= trainer.progress.seconds

        checkpoint = out / "checkpoint"
        agent.save(out / "last", {})
        with timed(seconds, "selection"):
            selected = Selected(out / "last", updates, {})
            if args.keep == "best":
                selected = select(
                    selected.checkpoint,
                    gather.folder,
                    updates,
                    layout=layout,
                    profile=EVALUATION_PROFILE,
                    seed=args.seed,
                    used=updates * config.online.episodes_per_update,
                    runner=runner,
                )
        agent = LS3Agent.load(selected.checkpoint, task=args.task)
        agent.save(checkpoint, {})
        seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.episodes)
        with timed(seconds, "evaluation"):
            summary, _ = evaluate_checkpoint(checkpoint, layout, EVALUATION_PROFILE, seeds, runner)
    with timed(seconds, "calibration"):
        _calibrate(checkpoint, out / "held_out", args)
    with timed(seconds, "pictures"):
        write_episodes_gif(out / "episodes.gif", agent, EVALUATION_PROFILE, seeds[:SHOWN])
        maps = _maps(agent, out)
    seconds["all"] = time.monotonic() - began
    metrics = {
        "evaluation": summary,
        "profile": EVALUATION_PROFILE,
        "demonstrator_steps": demonstrations.steps,
        "demonstrator_return": demonstrations.episode_return,
        "setting": args.setting,
        "ablation": args.ablation,
        "planner": config.online.planner,
        "data": counts,
        "updates": updates,
        "training": training_figures(rows),
        "selected_update": selected.updates,
        "selection": {str(update): row for update, row in selected.comparison.items()},
        **maps,
        "seed": args.seed,
        "revision": revision(),
        "seconds": {part: round(seconds[part], 1) for part in PARTS if part in seconds},
    }
    agent.save(checkpoint, metrics)
    if args.json:
        write_json(args.json, metrics)
    print_seconds(metrics["seconds"])
    title = (
        f"{args.task}{f' ({layout})' if layout else ''}, demonstrations: "
        f"{demonstrations.steps:.1f} steps, return {demonstrations.episode_return:.1f}"
    )
    print_summaries(title, {**metrics["training"], "evaluation": summary})
    Console().print(f"checkpoint: {checkpoint}, after {selected.updates} of {updates} updates")
    return 0


def _run_name(args: argparse.Namespace, layout: str, changes: Mapping[str, Any]) -> str:
    words = ["ls3", args.task, *([layout] if layout else []), args.setting]
    words += [args.ablation] if args.ablation != "none" else []
    words += [f"{name}-{value:g}" for name, value in changes.items() if value is not None]
    return "_".join([*words, str(args.seed)])


def _trained(
    agent: LS3Agent,
    offline: list[TrainingEpisode],
    out: Path,
    args: argparse.Namespace,
    updates: int,
    gather: OnlineEpisodes,
    demonstrations: Demonstrations,
) -> Trainer:
    """Trains the agent, and keeps the table and the learning curve up to date meanwhile."""
    reporter = PhaseReporter(out)
    with reporter.progress:
        trainer = Trainer(
            agent, offline, out, args.seed, reporter, threads=args.workers, start=args.offline
        )
        trainer.train_offline()
        for update in trainer.train_online(updates, gather):
            if update in gather.summaries:
                reporter.episode_scalars(update, gather.summaries[update])
            rows = gather.table(trainer.progress.update_seconds)
            write_episodes(out / EPISODES, rows)
            write_curve(out / "curve.png", rows, demonstrations.episode_return)
    return trainer


def training_figures(rows: list[EpisodeRow]) -> dict[str, Any]:
    """Figures of the online episodes, as in LS3 Tables 1 and 2; empty where there are none."""
    if not rows:
        return {}
    last = rows[-LAST:]
    return {"all of training": figures(rows), f"last {len(last)} episodes": figures(last)}


def _calibrate(checkpoint: Path, collected: Path, args: argparse.Namespace) -> None:
    """Has the checkpoint of a task that robots run know when a frame surprises it."""
    if args.task != "cable":
        return
    try:
        calibrate_checkpoint(checkpoint, collected, 4 * args.episodes, args.workers)
    except SurpriseError as error:
        Console().print(f"without limits of surprise: {error}")


def _maps(agent: LS3Agent, out: Path) -> dict[str, Any]:
    """Draws what was learned of the navigation task, and measures it."""
    if agent.task != "navigation":
        return {}
    maps = navigation_maps(agent)
    write_maps(out / "maps.png", maps)
    return {"maps": map_figures(maps)}
