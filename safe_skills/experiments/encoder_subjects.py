"""Encoders whose surprise can be calibrated, and clean episodes that they did not learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from safe_skills.data.checkpoint import CheckpointError, load_checkpoint
from safe_skills.data.episodes import Episode, EpisodeStore, training_seed
from safe_skills.data.surprise import EncodedFrames
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.experiments.collect_cable import collect_cable
from safe_skills.experiments.collect_operation import TASK_SETS, collect_operation
from safe_skills.experiments.rollout import EpisodeRunner
from safe_skills.ls3 import surprise as ls3_surprise
from safe_skills.ls3.agent import LS3Agent
from safe_skills.safer import surprise as safer_surprise
from safe_skills.safer.config import METHODS
from safe_skills.safer.prior import SkillPrior

HELD_OUT = 9
"""From the seed of a training's data to that of the held-out data: their scenes never meet."""

CABLE_SHARES = {"demos": 3 / 7, "random": 3 / 7, "constraint": 1 / 7}
"""Kinds of episodes, as `safe-skills train ls3 cable` learns from them."""

OWN_SHARE = 0.25
"""Of the episodes the agent's own."""

OWN_PROFILE = "realtime"

OPERATION_STEPS = 17
"""Of an episode, about."""

FOREIGN_DEMOS = 20


@dataclass(frozen=True)
class Subject:
    """An encoder, and where clean frames for it come from.

    Attributes:
        model_id: of its weights.
        encode: makes latents of the frames (n, H, W, 3) uint8 of whole episodes.
        collect: `collect(folder, episodes, seed, workers)` makes held-out episodes.
        foreign: `foreign(folder, seed, workers)` makes episodes of other scenes, by their name.
        seed: of the held-out episodes, where none is asked for.
    """

    model_id: str
    encode: Callable[[Iterable[np.ndarray]], EncodedFrames]
    collect: Callable[[Path, int, int, int], Iterator[Episode]]
    foreign: Callable[[Path, int, int], dict[str, Iterator[Episode]]]
    seed: int


def subject_of(folder: Path | str) -> Subject:
    """The encoder of a checkpoint.

    Raises:
        CheckpointError: in one line: it cannot be used, or is of a method or task without one here.
    """
    checkpoint = load_checkpoint(folder)
    method, task = checkpoint.config["method"], checkpoint.config["task"]
    seed = int(checkpoint.metrics.get("seed", 0)) + HELD_OUT
    if (method, task) == ("ls3", "cable"):
        agent = LS3Agent.load(folder)
        return Subject(
            agent.model_id,
            partial(ls3_surprise.encoded_frames, agent),
            partial(_cable, Path(folder), agent.layout),
            partial(_other_layouts, agent.layout),
            seed,
        )
    if method in METHODS and task == "operation":
        prior = SkillPrior.load(folder)
        return Subject(
            prior.model_id,
            partial(safer_surprise.encoded_frames, prior),
            _operation,
            lambda *_: {},
            seed,
        )
    raise CheckpointError(
        f"checkpoint {folder}: expected an encoder of method ls3 for the cable, or of "
        f"{', '.join(METHODS)} for operation; found {method!r} for {task!r}"
    )


def _cable(
    checkpoint: Path, layout: str, folder: Path, episodes: int, seed: int, workers: int
) -> Iterator[Episode]:
    """Scripted episodes, and some of the agent's own, which goes where no script does."""
    own = max(1, round(OWN_SHARE * episodes))
    counts = {kind: round(share * (episodes - own)) for kind, share in CABLE_SHARES.items()}
    scripted = collect_cable(folder, layout, **counts, seed=seed, workers=workers, progress=True)
    store = EpisodeStore(folder / load_checkpoint(checkpoint).model_id)
    if len(store) < own:
        seeds = [training_seed(seed, "online", index) for index in range(len(store), own)]
        with EpisodeRunner(workers) as runner:
            recorded = runner.record(checkpoint, layout, OWN_PROFILE, seeds)
        store.append([episode for episode, _ in recorded])
    return chain(scripted, store)


def _other_layouts(
    layout: str, folder: Path, seed: int, workers: int
) -> dict[str, Iterator[Episode]]:
    return {
        f"layout {name}": iter(
            collect_cable(
                folder / name, name, FOREIGN_DEMOS, 0, 0, seed=seed, workers=workers, progress=True
            )
        )
        for name in sorted(LAYOUTS)
        if name != layout
    }


def _operation(folder: Path, episodes: int, seed: int, workers: int) -> Iterator[Episode]:
    """Of all tasks: the graph runs those of the evaluation, too."""
    stores: list[EpisodeStore] = [
        collect_operation(
            folder / tasks,
            steps=OPERATION_STEPS * episodes // len(TASK_SETS),
            tasks=tasks,
            seed=seed,
            workers=workers,
            progress=True,
        )
        for tasks in sorted(TASK_SETS)
    ]
    return chain.from_iterable(stores)
