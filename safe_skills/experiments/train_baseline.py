"""`safe-skills train sacfd`, `recovery` and `awac`: LS3's baselines on LS3's tasks."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from safe_skills.baselines.config import BaselineConfig
from safe_skills.baselines.methods import METHODS
from safe_skills.baselines.pixels import PixelSpaces
from safe_skills.baselines.replay import PixelReplay
from safe_skills.baselines.rollout import View, evaluate
from safe_skills.baselines.run import BaselineRun
from safe_skills.data.episodes import FIRST_EVALUATION_SEED, EpisodeError, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.data.provenance import revision
from safe_skills.data.run_table import LAST, figures
from safe_skills.data.settings import from_mapping
from safe_skills.data.vision import MaskConfig, cable_mask
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.tasks import TASKS, Task, find_task
from safe_skills.experiments.arguments import natural, positive
from safe_skills.experiments.collect_cable import collect_cable
from safe_skills.experiments.collect_task import collect_task
from safe_skills.experiments.learning_curves import write_curve
from safe_skills.experiments.ls3_settings import layout_of
from safe_skills.experiments.rollout import print_summaries
from safe_skills.experiments.training_runs import PhaseReporter, load_section, print_seconds, timed

HELP = (
    "Train one of LS3's baselines on one of its tasks, from frames: offline on the episodes that "
    "LS3 learns from, then online. Interrupt it at any time; the same command goes on."
)
FILE = "ls3_baselines.yaml"
SCALES = ("cpu", "paper")
SETTINGS = (*SCALES, "small")
PARTS = ("vision", "online", "sacfd", "recovery", "awac")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--layout", choices=sorted(LAYOUTS), help="of the cable task (open)")
    parser.add_argument(
        "--setting", choices=SETTINGS, default="cpu", help=f"scale in config/training/{FILE} (cpu)"
    )
    parser.add_argument("--seed", type=natural, default=0, help="of data, weights and scenes (0)")
    parser.add_argument(
        "--out", type=Path, help="run folder (default: outputs/train/METHOD_TASK_SETTING_SEED)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of episodes, taken as it is (default: OUT/data, made where missing)",
    )
    parser.add_argument("--updates", type=natural, help="online updates, in place of the setting's")
    parser.add_argument("--workers", type=positive, default=2, help="processes that collect (2)")
    parser.add_argument("--episodes", type=positive, default=50, help="of the evaluation (50)")
    parser.add_argument("--json", type=Path, help="write the metrics to this file")


def load_setting(task: str, scale: str) -> BaselineConfig:
    """Reads a scale of the training configuration, with a task's own values over it.

    Raises:
        ConfigError: for an unknown section, key or value.
    """
    common, own = (load_section(FILE, name, PARTS) for name in (scale, task))
    merged = {part: {**common.get(part, {}), **own.get(part, {})} for part in PARTS}
    return from_mapping(BaselineConfig, merged)


def view_of(task: Task) -> tuple[View, int]:
    """What LS3 and its baselines see of an image, and how many channels that has."""
    if task.masked:
        return partial(cable_mask, config=MaskConfig()), 1
    return lambda image: image, 3


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    began = time.monotonic()
    torch.set_num_threads(1)
    task = find_task(args.task)
    layout = layout_of(task.name, args.layout)
    config = load_setting(task.name, args.setting)
    named = [args.method, task.name, *([layout] if layout else []), args.setting, str(args.seed)]
    out = args.out or Path("outputs/train") / "_".join(named)
    seconds: dict[str, float] = {}
    with timed(seconds, "data"):
        store = _episodes(args, task, layout, out)
    env = task.make(**({"layout": layout} if layout else {}))
    view, colours = view_of(task)
    spaces = PixelSpaces(config.vision, colours, len(task.action_limit))
    with timed(seconds, "loading"):
        replay = load_replay(store, spaces, view, env.action_space.high, args.seed)
    agent = METHODS[args.method](spaces, config, replay, args.seed)
    reporter = PhaseReporter(out)
    training = BaselineRun(agent, env, out, args.seed, task=task.name, view=view, report=reporter)
    updates = config.online.updates if args.updates is None else args.updates
    with reporter.progress:
        with timed(seconds, "offline"):
            training.train_offline()
        with timed(seconds, "online"):
            for update, summary in training.train_online(updates):
                reporter.episode_scalars(update, summary)
                write_curve(out / "curve.png", training.episodes)
    with timed(seconds, "evaluation"):
        seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.episodes)
        evaluation = figures(list(evaluate(agent, env, view, seeds)))
    env.close()
    seconds["all"] = time.monotonic() - began
    metrics = {
        "method": args.method,
        "task": task.name,
        "layout": layout,
        "setting": args.setting,
        "seed": args.seed,
        "data": {kind: count for kind, count in store.count().items() if count},
        "updates": training.updates,
        "training": training_figures(training),
        "evaluation": evaluation,
        "seconds": {part: round(value, 1) for part, value in seconds.items()},
        "revision": revision(),
    }
    training.save_checkpoint(out / "checkpoint", metrics)
    if args.json:
        write_json(args.json, metrics)
    print_seconds(metrics["seconds"])
    rows = {name: row for name, row in metrics["training"].items() if isinstance(row, Mapping)}
    print_summaries(f"{args.method}, {task.name}", {**rows, "evaluation": evaluation})
    Console().print(f"checkpoint: {out / 'checkpoint'}, table: {out / 'episodes.csv'}")
    return 0


def load_replay(
    store: EpisodeStore, spaces: PixelSpaces, view: View, action_limit: np.ndarray, seed: int
) -> PixelReplay:
    """Loads all episodes of a store.

    Raises:
        EpisodeError: one is damaged or of a task with smaller actions or another number of them, or
            there is no demonstration.
    """
    replay = PixelReplay(spaces, seed)
    for episode in store:
        largest = np.abs(episode.actions).max(axis=0)
        if largest.shape != action_limit.shape or (largest > 1.001 * action_limit).any():
            raise EpisodeError(
                f"{store.folder}: expected actions of this task, at most {_listed(action_limit)}, "
                f"got {_listed(largest)} in a {episode.kind} episode"
            )
        replay.add_episode(episode, view, action_limit)
    if replay.count(("demo",)) == 0:
        raise EpisodeError(f"{store.folder}: expected demonstrations, found none")
    return replay


def training_figures(training: BaselineRun) -> dict[str, Any]:
    """Figures of the online episodes, as in LS3 Tables 1 and 2; empty where there are none."""
    rows = training.episodes
    if not rows:
        return {}
    steps = sum(row.steps for row in rows)
    return {
        "all of training": figures(rows),
        f"last {min(LAST, len(rows))} episodes": figures(rows[-LAST:]),
        "recovery_share": sum(training.recoveries) / steps,
    }


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _episodes(args: argparse.Namespace, task: Task, layout: str, out: Path) -> EpisodeStore:
    if args.data:
        return EpisodeStore(args.data)
    folder, counts = out / "data", task.episodes
    options = {"seed": args.seed, "workers": args.workers, "progress": True}
    if layout:
        return collect_cable(
            folder,
            layout,
            demos=counts["demo"],
            random=counts["random"],
            constraint=counts["constraint"],
            **options,
        )
    return collect_task(folder, task.name, **options)
