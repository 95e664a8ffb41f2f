"""`safe-skills train ls3`: collect what is missing, train offline and online, measure, save."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from safe_skills.data.episodes import (
    FIRST_EVALUATION_SEED,
    Episode,
    EpisodeStore,
    training_seed,
)
from safe_skills.data.provenance import revision
from safe_skills.data.settings import from_mapping
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.experiments.arguments import natural, positive
from safe_skills.experiments.collect_cable import collect_cable
from safe_skills.experiments.rollout import (
    EpisodeRunner,
    evaluate_checkpoint,
    print_summaries,
    summarize,
)
from safe_skills.experiments.selection import actor_folder, episodes_folder, select
from safe_skills.experiments.training_runs import PhaseReporter, load_section, print_seconds, timed
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config, planner_profile
from safe_skills.ls3.online import training_episode
from safe_skills.ls3.training import Trainer, TrainingEpisode

HELP = (
    "Train LS3 on the simulated cable: offline on demonstrations, random and violating episodes, "
    "then online (Algorithm 1). Interrupt it at any time; the same command goes on."
)
PARTS = (
    *("data", "loading", "encoder", "latents", "dynamics", "value", "safe_set", "constraint"),
    *("goal", "online episodes", "online updates", "selection", "evaluation", "all"),
)  # of a run's time; the learners from dynamics to goal run side by side
EVALUATION_PROFILE = "realtime"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("task", choices=["cable"])
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="open")
    parser.add_argument(
        "--setting", default="default", help="section of config/training/ls3_cable.yaml"
    )
    parser.add_argument("--seed", type=natural, default=0, help="of data, weights and scenes (0)")
    parser.add_argument(
        "--out", type=Path, help="run folder (default: outputs/train/ls3_cable_LAYOUT_SETTING_SEED)"
    )
    parser.add_argument(
        "--data", type=Path, help="folder of episodes, made where missing (default: OUT/data)"
    )
    parser.add_argument("--updates", type=natural, help="online updates, in place of the setting's")
    parser.add_argument("--workers", type=positive, default=2, help="processes (2)")
    parser.add_argument("--episodes", type=positive, default=50, help="of the evaluation (50)")


def load_setting(name: str) -> tuple[dict[str, int], LS3Config]:
    """Reads a section of the training configuration: numbers of episodes, and the model.

    Raises:
        ConfigError: for an unknown section or key.
    """
    section = load_section("ls3_cable.yaml", name, ("data", "model"))
    return dict(section["data"]), from_mapping(LS3Config, section["model"])


class OnlineEpisodes:
    """Gathers the K episodes of each update with the present agent; both are kept on disk.

    Args:
        agent: acts; its planner's profile comes from the configuration.
        folder: one store of episodes, and one checkpoint of the agent that acted, an update.
        seed: of scenes and planner.
        runner: runs the episodes; each has a planner seeded by its scene.
    """

    def __init__(self, agent: LS3Agent, folder: Path, seed: int, runner: EpisodeRunner) -> None:
        self.agent, self.folder, self.seed, self.runner = agent, folder, seed, runner
        self.config = agent.config.online
        self.summaries: dict[int, dict[str, Any]] = {}

    def __call__(self, update: int) -> list[TrainingEpisode]:
        """Runs, or reads back, the episodes of an update."""
        store = EpisodeStore(episodes_folder(self.folder, update))
        count = self.config.episodes_per_update
        if len(store) < count:
            first = update * count
            seeds = [training_seed(self.seed, "online", first + k) for k in range(count)]
            actor = actor_folder(self.folder, update)
            self.agent.save(actor, {})
            profile = planner_profile(
                self.config.profile, verify_particles=self.config.verify_particles
            )
            recorded = self.runner.record(actor, self.agent.layout, profile, seeds)
            episodes, results = zip(*recorded, strict=True)
            store.append(episodes)
            self.summaries[update] = summarize(results)
        return [training_episode(episode, self.agent) for episode in store]


def demonstrator_steps(episodes: list[Episode]) -> float:
    """Mean steps to the goal of the successful demonstrations."""
    return float(np.mean([len(e.actions) for e in episodes if e.kind == "demo" and e.success]))


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    began = time.monotonic()
    counts, config = load_setting(args.setting)
    name = f"ls3_cable_{args.layout}_{args.setting}_{args.seed}"
    out = args.out or Path("outputs/train") / name
    seconds: dict[str, float] = {}

    limit = np.full(2, LAYOUTS[args.layout].step_limit)
    agent = LS3Agent(config, task="cable", layout=args.layout, action_limit=limit)
    with timed(seconds, "data"):
        store = collect_cable(
            args.data or out / "data",
            args.layout,
            **counts,
            seed=args.seed,
            workers=args.workers,
            progress=True,
        )
    with timed(seconds, "loading"):
        episodes = list(store)
        offline = [training_episode(episode, agent) for episode in episodes]
    updates = config.online.updates if args.updates is None else args.updates
    reporter = PhaseReporter(out)
    with EpisodeRunner(args.workers) as runner:
        with reporter.progress:
            trainer = Trainer(agent, offline, out, args.seed, reporter, threads=args.workers)
            trainer.train_offline()
            gather = OnlineEpisodes(agent, out / "online", args.seed, runner)
            for update in trainer.train_online(updates, gather):
                if update in gather.summaries:
                    reporter.episode_scalars(update, gather.summaries[update])
        seconds |= trainer.progress.seconds

        checkpoint = out / "checkpoint"
        agent.save(out / "last", {})
        with timed(seconds, "selection"):
            selected = select(
                out / "last",
                gather.folder,
                updates,
                layout=args.layout,
                profile=EVALUATION_PROFILE,
                seed=args.seed,
                used=updates * config.online.episodes_per_update,
                runner=runner,
            )
        agent = LS3Agent.load(selected.checkpoint)
        agent.save(checkpoint, {})
        seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.episodes)
        with timed(seconds, "evaluation"):
            summary, _ = evaluate_checkpoint(
                checkpoint, args.layout, planner_profile(EVALUATION_PROFILE), seeds, runner
            )
    seconds["all"] = time.monotonic() - began
    demo_steps = demonstrator_steps(episodes)
    metrics = {
        "evaluation": summary,
        "profile": EVALUATION_PROFILE,
        "demonstrator_steps": demo_steps,
        "setting": args.setting,
        "data": counts,
        "updates": updates,
        "selected_update": selected.updates,
        "selection": {str(update): row for update, row in selected.comparison.items()},
        "seed": args.seed,
        "revision": revision(),
        "seconds": {part: round(seconds[part], 1) for part in PARTS if part in seconds},
    }
    agent.save(checkpoint, metrics)
    print_seconds(metrics["seconds"])
    print_summaries(f"cable ({args.layout}), demonstrator {demo_steps:.1f} steps", {"LS3": summary})
    Console().print(f"checkpoint: {checkpoint}, after {selected.updates} of {updates} updates")
    return 0
