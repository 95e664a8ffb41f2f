"""`safe-skills train safer|parrot|context-parrot`: train a skill prior, certify it, save it."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from safe_skills.data.checkpoint import load_checkpoint
from safe_skills.data.episodes import EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.data.provenance import revision
from safe_skills.data.segments import read_steps, split
from safe_skills.data.settings import ConfigError
from safe_skills.data.surprise import SurpriseError, calibrate_held_out, save_surprise
from safe_skills.experiments.arguments import natural, positive
from safe_skills.experiments.benchmark import print_table
from safe_skills.experiments.training_runs import load_section, print_seconds, timed
from safe_skills.safer.config import METHODS, SaferConfig, for_method
from safe_skills.safer.evaluation import evaluate
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.surprise import encoded_steps
from safe_skills.safer.training import SkillPriorTrainer

HELP = (
    "Train a skill prior on recorded episodes, choose and certify eta on held-out ones, and save "
    "it. Interrupt it at any time; the same command goes on."
)
SECTION_KEYS = ("held_out_tasks", "model", *METHODS)


class Setting(NamedTuple):
    """A section of the training configuration, for one method."""

    held_out_tasks: tuple[int, ...]
    config: SaferConfig


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("task", choices=["operation"])
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="folders of episodes (safe-skills collect)",
    )
    parser.add_argument(
        "--setting", default="default", help="section of config/training/operation.yaml"
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="changes a setting, as in objective.rho=2; may be given several times",
    )
    parser.add_argument("--seed", type=natural, default=0, help="of split, weights and draws (0)")
    parser.add_argument(
        "--out", type=Path, help="run folder (default: outputs/train/METHOD_TASK_SETTING_SEED)"
    )
    parser.add_argument(
        "--start", type=Path, help="checkpoint of a prior to go on from, instead of anew"
    )
    parser.add_argument("--threads", type=positive, default=1, help="of torch (1)")
    parser.add_argument("--json", type=Path, help="write the metrics to this file")


def load_setting(
    name: str, method: str, changes: Sequence[str] = (), task: str = "operation"
) -> Setting:
    """Reads a section of the training configuration for a method.

    Args:
        name: of the section; its `model` is for all methods, and a key named like the method
            holds what that method has otherwise.
        method: one of `METHODS`.
        changes: "part.name=value" each, read as YAML.
        task: names the file.

    Raises:
        ConfigError: for an unknown section, key or value.
    """
    section = load_section(f"{task}.yaml", name, SECTION_KEYS)
    model = merged(section.get("model") or {}, section.get(method) or {})
    for change in changes:
        key, equals, value = change.partition("=")
        part, dot, item = key.partition(".")
        if not (equals and dot):
            raise ConfigError(f"--set: expected PART.NAME=VALUE, got {change!r}")
        model = merged(model, {part: {item: yaml.safe_load(value)}})
    config = for_method(SaferConfig.from_dict(model), method)
    return Setting(tuple(section.get("held_out_tasks") or ()), config)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of mappings with some inner values changed."""
    return {part: {**base.get(part, {}), **changes.get(part, {})} for part in {**base, **changes}}


class Reporter:
    """Shows the progress, writes TensorBoard scalars, and says when the freeze rule acts."""

    def __init__(self, folder: Path) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("log p safe {task.fields[safe]:.2f} unsafe {task.fields[unsafe]:.2f}"),
            TimeRemainingColumn(),
        )
        self.bar: Any = None
        self.writer = SummaryWriter(folder / "tensorboard")
        self.frozen = False

    def __call__(self, done: int, total: int, means: dict[str, float]) -> None:
        """Reports means since the last call."""
        if self.bar is None:
            self.bar = self.progress.add_task("prior", total=total, safe=0.0, unsafe=0.0)
        safe, unsafe = means["safe"], means["unsafe"]
        self.progress.update(self.bar, completed=done, safe=safe, unsafe=unsafe)
        for name, value in means.items():
            self.writer.add_scalar(f"objective/{name}", value, done)
        frozen = means["frozen"] > 0
        if frozen != self.frozen:
            self.frozen = frozen
            self.progress.console.print(
                f"iteration {done}: unsafe term frozen for {100 * means['frozen']:.1f} % of the "
                f"unsafe steps"
                if frozen
                else f"iteration {done}: unsafe term free again"
            )


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    began = time.monotonic()
    setting = load_setting(args.setting, args.method, args.set, args.task)
    config = setting.config
    name = f"{args.method}_{args.task}_{args.setting}_{args.seed}"
    out = args.out or Path("outputs/train") / name
    seconds: dict[str, float] = {}
    with timed(seconds, "loading"):
        for folder in args.data:
            if not folder.is_dir():
                raise ConfigError(
                    f"{folder}: no such folder; collect episodes with safe-skills collect "
                    f"{args.task} --out {folder}"
                )
        steps = read_steps(
            itertools.chain.from_iterable(map(EpisodeStore, args.data)),
            config.objective.label,
            image_size=config.encoder.image_size,
        )
        steps.require_both()
        parts = split(
            steps,
            hold_out=config.assurance.hold_out,
            seed=args.seed,
            held_out_tasks=setting.held_out_tasks,
        )
    prior = SkillPrior(config, method=args.method, task=args.task, action_dim=steps.action_dim)
    start = None
    if args.start is not None:
        start = SkillPrior.load(args.start, task=args.task, action_dim=steps.action_dim)
    reporter = Reporter(out)
    with reporter.progress:
        trainer = SkillPriorTrainer(
            prior, parts.train, out, args.seed, reporter, threads=args.threads, start=start
        )
        trainer.train()
    seconds["training"] = trainer.seconds
    with timed(seconds, "evaluation"):
        evaluation = evaluate(prior.models, parts, config.assurance, args.seed)
    seconds["all"] = time.monotonic() - began
    metrics = {
        **evaluation,
        "setting": args.setting,
        "changes": list(args.set),
        "seed": args.seed,
        "start": start.model_id if start else None,
        "lambda": trainer.lambda_,
        "data": parts.train.summary(),
        "iterations_per_s": trainer.iteration / trainer.seconds,
        "seconds": {part: round(value, 1) for part, value in seconds.items()},
        "revision": revision(),
    }
    checkpoint = out / "checkpoint"
    prior.save(checkpoint, metrics)
    model_id = load_checkpoint(checkpoint).model_id
    try:
        surprise = calibrate_held_out(encoded_steps(prior, parts.held_out), args.seed)
        save_surprise(surprise, checkpoint, model_id, {"data": "held out in training"})
    except SurpriseError as error:
        Console().print(f"without limits of surprise: {error}")
    if args.json:
        write_json(args.json, metrics)
    print_metrics(args.method, metrics)
    Console().print(f"checkpoint: {checkpoint}")
    return 0


def print_metrics(method: str, metrics: Mapping[str, Any]) -> None:
    """Prints times, rankings and assurances."""
    print_seconds(metrics["seconds"])
    rows = []
    for name in ("held_out_episodes", "held_out_tasks"):
        if name in metrics:
            rows.append((name.replace("_", " "), *_ranking_cells(metrics[name])))
    print_table(
        f"{method}: steps rated by log p(a | s, c)",
        ("hold-out", "safe", "unsafe", "AUC", "AUC first", "base", "top 10 %"),
        rows,
    )
    print_table(
        "eta",
        ("allowed", "eta", "chosen on", "certified on", "upper bound"),
        [_assurance_cells(level) for level in metrics["assurance"]],
    )


def _ranking_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    pairs, first = row["pairs"], row["first_contacts"]
    return (
        _number(row["median_log_prob_safe"]),
        _number(row["median_log_prob_unsafe"]),
        _number(pairs["auc"], 3),
        _number(first["auc"], 3),
        _number(pairs["unsafe_share"], 3),
        _number(pairs["unsafe_in_top_10_percent"], 3),
    )


def _assurance_cells(level: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("eta", "unsafe_share", "certified_share", "certified_bound")
    return (f"{level['allowed']:g}", *(_number(level.get(name), 3) for name in names))


def _number(value: float | None, digits: int = 2) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
