"""`safe-skills train safe-set`: LS3's safe set and constraint over a SAFER prior's features."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from safe_skills.data.episodes import Episode, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.data.latents import EpisodeLabels
from safe_skills.data.provenance import revision
from safe_skills.data.segments import split_episodes
from safe_skills.data.settings import ConfigError, from_mapping
from safe_skills.data.threads import torch_threads
from safe_skills.experiments.arguments import natural
from safe_skills.experiments.benchmark import print_table
from safe_skills.experiments.training_runs import PhaseReporter, load_section, print_seconds, timed
from safe_skills.experiments.watcher_scores import calibrated, held_out, scores
from safe_skills.ls3.calibration import CalibrationError
from safe_skills.ls3.watcher import Thresholds, Watcher
from safe_skills.ls3.watcher_config import WatcherConfig
from safe_skills.ls3.watcher_training import LatentEpisode, WatcherTrainer
from safe_skills.safer.prior import SkillPrior

HELP = (
    "Train LS3's dynamics, constraint estimator and safe set on recorded episodes, seen through a "
    "SAFER prior's encoder, and calibrate their levels on held-out ones: a second opinion on the "
    "prior's actions. Interrupt it at any time; the same command goes on."
)


class Setting(NamedTuple):
    """A section of the training configuration."""

    held_out_tasks: tuple[int, ...]
    config: WatcherConfig


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("task", choices=["operation"])
    parser.add_argument("--prior", type=Path, required=True, help="checkpoint whose encoder sees")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="folders of episodes, those of the prior, so that what it did not see is held out",
    )
    parser.add_argument(
        "--setting", default="default", help="section of config/training/ls3_operation.yaml"
    )
    parser.add_argument(
        "--seed", type=natural, default=0, help="of split (take the prior's), weights, draws (0)"
    )
    parser.add_argument(
        "--out", type=Path, help="run folder (default: outputs/train/safe-set_TASK_SETTING_SEED)"
    )
    parser.add_argument("--json", type=Path, help="write the metrics to this file")


def load_setting(name: str) -> Setting:
    """Reads a section of the training configuration.

    Raises:
        ConfigError: for an unknown section, key or value.
    """
    section = load_section("ls3_operation.yaml", name, ("held_out_tasks", "model"))
    tasks = tuple(section.get("held_out_tasks") or ())
    return Setting(tasks, from_mapping(WatcherConfig, section.get("model")))


def latent_episode(episode: Episode, prior: SkillPrior) -> LatentEpisode:
    """Features of an episode's frames, with labels as LS3 has them.

    The goal is reached in the last step of a successful episode; a contact does not freeze.
    """
    rewards = np.full(len(episode), -1.0, np.float32)
    if episode.success:
        rewards[-1] = 0.0
    labels = EpisodeLabels(
        actions=episode.actions,
        rewards=rewards,
        costs=episode.costs,
        on_policy=False,
        freezes=False,
    )
    return LatentEpisode(prior.features(episode.images), labels)


class Parts(NamedTuple):
    """Episodes by what they are for."""

    train: list[LatentEpisode]
    held_out: list[LatentEpisode]
    unseen: list[LatentEpisode]


def read_parts(folders: Sequence[Path], prior: SkillPrior, setting: Setting, seed: int) -> Parts:
    """Reads and encodes all episodes; what the prior's training held out is held out here.

    Raises:
        ConfigError: a folder is missing.
        SegmentError: there are too few episodes.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(
                f"{folder}: no such folder; collect episodes with safe-skills collect operation "
                f"--out {folder}"
            )
    tasks, episodes = [], []
    for episode in itertools.chain.from_iterable(map(EpisodeStore, folders)):
        tasks.append(episode.task or 0)
        episodes.append(latent_episode(episode, prior))
    apart = np.isin(tasks, setting.held_out_tasks)
    hold_out = setting.config.calibration.hold_out
    train, *rest = split_episodes(np.flatnonzero(~apart), hold_out=hold_out, seed=seed)
    chosen = np.sort(train), np.sort(np.concatenate(rest)), np.flatnonzero(apart)
    return Parts(*([episodes[number] for number in part] for part in chosen))


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    # Small networks: threads within an operation gain nothing, and wait for busy cores.
    with torch_threads(1):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    setting = load_setting(args.setting)
    prior = SkillPrior.load(args.prior, task=args.task)
    out = args.out or Path("outputs/train") / f"safe-set_{args.task}_{args.setting}_{args.seed}"
    seconds: dict[str, float] = {}
    with timed(seconds, "loading"):
        parts = read_parts(args.data, prior, setting, args.seed)
    watcher = Watcher(
        setting.config,
        task=args.task,
        encoder_id=prior.model_id,
        latent_dim=prior.config.encoder.features,
        action_dim=prior.action_dim,
    )
    reporter = PhaseReporter(out)
    with reporter.progress:
        trainer = WatcherTrainer(watcher, parts.train, out, args.seed, reporter)
        trainer.train()
    seconds |= trainer.seconds
    with timed(seconds, "evaluation"):
        rng = np.random.default_rng(args.seed)
        seen = {"held_out_episodes": held_out(watcher, parts.held_out)}
        if parts.unseen:
            seen["held_out_tasks"] = held_out(watcher, parts.unseen)
        watcher.metrics["calibration"] = calibrated(seen["held_out_episodes"], rng)
        levels, reason = _levels(watcher)
        rows = {name: scores(part, levels) for name, part in seen.items()}
    seconds["all"] = time.monotonic() - began
    metrics = {
        **rows,
        "calibration": watcher.metrics["calibration"],
        "levels": {name: asdict(level) for name, level in levels._asdict().items()}
        if levels
        else {},
        "no_levels_because": reason,
        "prior": str(args.prior),
        "data": _counts(parts),
        "setting": args.setting,
        "seed": args.seed,
        "seconds": {part: round(value, 1) for part, value in seconds.items()},
        "revision": revision(),
    }
    checkpoint = out / "checkpoint"
    watcher.save(checkpoint, metrics)
    if args.json:
        write_json(args.json, metrics)
    print_metrics(metrics)
    Console().print(f"checkpoint: {checkpoint}")
    return 0


def _levels(watcher: Watcher) -> tuple[Thresholds | None, str | None]:
    """The calibrated levels, or why there are none: what was trained is kept either way."""
    try:
        return watcher.thresholds(), None
    except CalibrationError as error:
        return None, str(error)


def _counts(parts: Parts) -> dict[str, int]:
    return {
        "train_episodes": len(parts.train),
        "train_steps": sum(len(item.labels.actions) for item in parts.train),
        "held_out_episodes": len(parts.held_out),
        "unseen_episodes": len(parts.unseen),
    }


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """Prints times, areas under the curve and levels."""
    print_seconds(metrics["seconds"])
    headings = {
        "constraint_auc": "f_C AUC",
        "first_contact_auc": "first",
        "safe_set_auc": "f_S AUC",
        "let_through": "through",
        "unsafe_let_through": "unsafe",
        "safe_set_refused": "refused",
    }
    rows = [
        (name.replace("_", " "), *(_number(metrics[name][key]) for key in headings))
        for name in ("held_out_episodes", "held_out_tasks")
        if name in metrics
    ]
    print_table("one step ahead", ("hold-out", *headings.values()), rows)
    cells = [
        (
            name,
            f"{level['value']:g}",
            f"{level['count']} of {level['trials']}",
            _number(level["bound"]),
        )
        for name, level in metrics["levels"].items()
    ]
    print_table("levels", ("", "level", "wrong", "upper bound"), cells)
    if metrics["no_levels_because"]:
        Console().print(metrics["no_levels_because"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
