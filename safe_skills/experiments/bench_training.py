"""`safe-skills bench training`: updates a second of the learners, beside plain ones."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from safe_skills.data.episodes import SHARD_EPISODES, Episode, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.data.latents import LatentReplay
from safe_skills.data.threads import torch_threads
from safe_skills.experiments.arguments import positive
from safe_skills.experiments.benchmark import in_turns, machine, median_ratio, print_table
from safe_skills.experiments.plain_updates import plain
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.learners import EncoderLearner, Learner, generator_of, latent_learners
from safe_skills.ls3.online import training_episode

HELP = (
    "Updates a second of encoder, dynamics, value, safe set, constraint and goal at the default "
    "setting, in turns with the same updates written network by network; and the share of data."
)
STEPS = 36  # of an episode
SIDE_BY_SIDE = "over latents"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--rounds", type=positive, default=15, help="timed turns (15)")
    parser.add_argument("--iterations", type=positive, default=40, help="updates a turn (40)")
    parser.add_argument(
        "--episodes", type=positive, default=700, help="of the drawn data set, a tenth demos (700)"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns the exit status."""
    agent = LS3Agent(LS3Config(), task="cable", layout="open", action_limit=np.array([0.03, 0.03]))
    with torch_threads(1):
        learners, reading = _learners(agent, args.episodes)
    figures = {learner.name: _measure(learner, args) for learner in learners}
    figures[SIDE_BY_SIDE] = _side_by_side(learners[1:], args)
    training = sum(
        learner.iterations / figures[learner.name]["updates_per_s"] for learner in learners
    )
    share = reading / (reading + training)
    print_table(
        "updates a second",
        ("learner", "plain", "here", "ratio", "quartiles", "sampling"),
        [_row(name, row) for name, row in figures.items()],
    )
    print(f"reading {args.episodes} episodes: {reading:.1f} s, {100 * share:.1f} % of training")
    if args.json:
        data = {"read_s": reading, "offline_training_s": training, "share": share}
        write_json(args.json, {"machine": machine(), "learners": figures, "data": data})
    return 0


def _measure(learner: Learner, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of one learner on one core."""
    cases = {
        "plain": partial(_repeat, plain(learner).step, args.iterations),
        "here": partial(_repeat, learner.step, args.iterations),
        "sampling": partial(_repeat, learner.sample, args.iterations),
    }
    # Past the returns to go, which need no second network: most updates are of this kind.
    learner.steps = learner.iterations
    with torch_threads(1):
        times = in_turns(cases, args.rounds)
    share = np.median(np.asarray(times["sampling"]) / np.asarray(times["here"]))
    return {**_figures(times, args.iterations), "sampling_share": float(share)}


def _side_by_side(learners: Sequence[Learner], args: argparse.Namespace) -> dict[str, Any]:
    """Figures of an online update's mixture: two at a time, and plain ones one after the other.

    The plain ones run on one core, too: threads within operations of this size gain little.
    """
    largest = max(learner.iterations_per_update for learner in learners)
    counts = [max(1, args.iterations * item.iterations_per_update // largest) for item in learners]
    slow = [plain(learner) for learner in learners]

    def one_after_the_other() -> None:
        with torch_threads(1):
            for item, count in zip(slow, counts, strict=True):
                _repeat(item.step, count)

    with ThreadPoolExecutor(2, initializer=partial(torch.set_num_threads, 1)) as pool:

        def two_at_a_time() -> None:
            with torch_threads(1):
                list(pool.map(_repeat, [item.step for item in learners], counts))

        times = in_turns({"plain": one_after_the_other, "here": two_at_a_time}, args.rounds)
    return _figures(times, sum(counts))


def _figures(times: dict[str, list[float]], updates: int) -> dict[str, Any]:
    ratio, low, high = median_ratio(times["plain"], times["here"])
    return {
        "updates_per_s": 1e3 * updates / float(np.median(times["here"])),
        "plain_updates_per_s": 1e3 * updates / float(np.median(times["plain"])),
        "ratio": ratio,
        "ratio_quartiles": [low, high],
    }


def _repeat(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def _learners(agent: LS3Agent, episodes: int) -> tuple[list[Learner], float]:
    """The learners on a drawn data set, and the seconds that it took to read it."""
    config, models = agent.config, agent.models
    with tempfile.TemporaryDirectory() as folder:
        store = EpisodeStore(folder)
        rng = np.random.default_rng(0)
        for kind, count in (("demo", episodes // 10), ("random", episodes - episodes // 10)):
            for first in range(0, count, SHARD_EPISODES):
                size = min(SHARD_EPISODES, count - first)
                store.append([drawn_episode(rng, kind) for _ in range(size)])
        began = time.perf_counter()
        read = list(store)
        seconds = time.perf_counter() - began
    data = [training_episode(episode, agent) for episode in read]
    replay = LatentReplay(
        agent.latent_dim, agent.action_dim, config.value.discount, config.value.own_reward
    )
    replay.extend((*agent.encode_views(item.views), item.labels) for item in data)
    inputs = np.concatenate([agent.inputs(item.views) for item in data])
    images = torch.from_numpy(np.round(255.0 * inputs).astype(np.uint8))
    encoder = EncoderLearner(models, config, images, generator_of(0, 0))
    return [encoder, *latent_learners(models, config, replay, 0)], seconds


def drawn_episode(rng: np.random.Generator, kind: str) -> Episode:
    """An episode of the task's shapes: a red bar that wanders; demonstrations reach the goal."""
    images = np.full((STEPS + 1, 64, 64, 3), 200, np.uint8)
    corner = rng.integers(4, 40, 2)
    for image in images:
        corner = np.clip(corner + rng.integers(-2, 3, 2), 0, 44)
        row, column = corner
        image[row : row + 20, column : column + 3] = (200, 30, 30)
    rewards = np.full(STEPS, -1.0, np.float32)
    costs = np.zeros(STEPS, np.float32)
    if kind == "demo":
        rewards[-1] = 0.0
    elif rng.random() < 0.5:
        costs[STEPS // 2 :] = 1.0
    return Episode(
        images=images,
        masks=images[..., 0],
        actions=rng.uniform(-0.03, 0.03, (STEPS, 2)).astype(np.float32),
        rewards=rewards,
        costs=costs,
        terminated=kind == "demo",
        truncated=kind != "demo",
        success=kind == "demo",
        kind=kind,
        seed=0,
        policy="drawn",
        layout="open",
        revision="",
    )


def _row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["ratio_quartiles"]
    share = row.get("sampling_share")
    return (
        name.replace("_", " "),
        f"{row['plain_updates_per_s']:.0f}",
        f"{row['updates_per_s']:.0f}",
        f"{row['ratio']:.2f}",
        f"{low:.2f} to {high:.2f}",
        "" if share is None else f"{100 * share:.0f} %",
    )
