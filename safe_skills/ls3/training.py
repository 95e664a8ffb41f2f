"""Training of LS3: offline on a data set, then Algorithm 1's loop; stopped and resumed anywhere.

The trainer knows neither environments nor files of episodes: it is given views and labels, and a
function that gathers new episodes.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safe_skills.data.latents import EpisodeLabels, LatentReplay
from safe_skills.data.run_state import (
    ResumeError,
    optimizer_tensors,
    part,
    read_state,
    restore_optimizer,
    write_state,
)
from safe_skills.data.threads import torch_threads
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.learners import EncoderLearner, Learner, generator_of, latent_learners

STATE = "state.safetensors"
OFFLINE_STATE = "offline.safetensors"
"""As it was when everything was trained offline."""
SAVE_PERIOD = 20.0  # s between snapshots within a phase


@dataclass(frozen=True)
class TrainingEpisode:
    """An episode as the trainer sees it: views of its n + 1 frames and labels of its n steps."""

    views: np.ndarray
    labels: EpisodeLabels


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        finished: phases that are done; those of an online update are forgotten after it.
        iterations: done of the phases under way.
        update: online updates done.
        seconds: by offline phase, and all "online episodes" and "online updates". Phases run
            side by side, so their sum exceeds the time that has passed.
        update_seconds: that each online update took with its episodes, since the run was last
            resumed.
    """

    finished: list[str] = field(default_factory=list)
    iterations: dict[str, int] = field(default_factory=dict)
    update: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    update_seconds: list[float] = field(default_factory=list)


# Called with the phase, iterations done, iterations in all, and the mean loss since the last call.
Report = Callable[[str, int, int, float], None]


class Trainer:
    """Trains an agent in place.

    Args:
        agent: what is trained.
        offline: the data set's episodes.
        folder: where the state is kept; a state found there is resumed.
        seed: of all random draws in training.
        report: called every `report_every` iterations, for progress bars and TensorBoard; by one
            thread at a time.
        report_every: iterations between calls.
        threads: learners over latents that are trained side by side, each on one core. They do not
            depend on each other, nor do the results on this number.
        pretrained: the agent was trained offline before: its weights stay, and only the online loop
            is run. `offline` may then be empty; a classifier of whose two labels the replay has but
            one is then left as it is, as it would learn to say that one of everything.
        start: folder of a run that has trained offline what this one would, whose agent differs in
            how it plans at most; this run goes on from there, to the results that it would have.

    Raises:
        ResumeError: in one line, for a state that is damaged or of another run, or where `start`
            has none.
    """

    def __init__(
        self,
        agent: LS3Agent,
        offline: Iterable[TrainingEpisode],
        folder: Path | str,
        seed: int,
        report: Report = lambda *_: None,
        report_every: int = 25,
        threads: int = 2,
        pretrained: bool = False,
        start: Path | None = None,
    ) -> None:
        self.agent, self.folder, self.seed = agent, Path(folder), seed
        self.report, self.report_every = report, report_every
        self.threads = threads
        self.pretrained = pretrained
        self.offline = list(offline)
        self.progress = Progress()
        self.started_from = agent.model_id
        if pretrained:
            agent.models.requires_grad_(True)
        else:
            self._reset_weights(seed)
        config, models = agent.config, agent.models
        self.replay = LatentReplay(
            agent.latent_dim,
            agent.action_dim,
            config.value.discount,
            config.value.own_reward,
            config.online.share,
            config.value.steps,
            config.goal.frames,
        )
        self.images = self._encoder_images()
        self.encoder = EncoderLearner(models, config, self.images, generator_of(seed, 0))
        self.learners = latent_learners(models, config, self.replay, seed)
        # Held during an update of the learner: who holds all sees a state between updates.
        self._locks = {learner.name: threading.Lock() for learner in self._all}
        self._reporting = threading.Lock()
        self._saving = threading.Lock()
        self._saved = time.monotonic()
        if pretrained:
            self._skip_offline_phases()
        self._resume(start)

    @property
    def _all(self) -> list[Learner]:
        return [self.encoder, *self.learners]

    def _reset_weights(self, seed: int) -> None:
        """Draws the first weights from the seed, whatever was drawn before in this process."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            models = self.agent.models
            fresh = type(models)(self.agent.config, models.action_dim, models.channels)
        self.agent.models.load_state_dict(fresh.state_dict())

    def _encoder_images(self) -> Tensor:
        """What the encoder learns from, bytes (frames, C, s, s); nothing where it is trained."""
        channels, side = self.agent.models.channels, self.agent.config.encoder.image_size
        episodes = [] if self.pretrained else self.offline
        images = [_as_bytes(self.agent.inputs(item.views)) for item in episodes]
        nothing = np.empty((0, channels, side, side), np.uint8)
        return torch.from_numpy(np.concatenate([nothing, *images]))

    def _skip_offline_phases(self) -> None:
        for learner in self._all:
            learner.steps = learner.iterations
        self.progress.finished = [learner.name for learner in self._all] + ["normalization"]

    def train_offline(self) -> None:
        """Algorithm 1, lines 1 and 2: the encoder, then everything over its latents."""
        with self._cores() as self.encoder.executor:
            self._phase("encoder", self.encoder, self.encoder.iterations, threading.Event())
        with self._timed("latents"):
            if "normalization" not in self.progress.finished:
                self.agent.models.fit_normalization(*self._raw_beliefs())
                self.progress.finished.append("normalization")
            self._fill_replay()
        self._side_by_side([(item.name, item, item.iterations) for item in self.learners])
        kept = self.pretrained or (self.folder / OFFLINE_STATE).exists()
        if not kept and not self.progress.update:
            self._write(OFFLINE_STATE, self._offline_identity())

    def train_online(
        self,
        updates: int,
        gather: Callable[[int], list[TrainingEpisode]],
    ) -> Iterator[int]:
        """Algorithm 1, lines 3 to 10; yields after each update.

        Args:
            updates: U, in all; those that a resumed run has made are not repeated.
            gather: runs the K episodes of an update and returns them; called again with the same
                number after an interruption, it must return the same episodes.
        """
        past = [gather(update) for update in range(self.progress.update)]
        self._add(itertools.chain.from_iterable(past))
        while self.progress.update < updates:
            update = self.progress.update
            began = time.monotonic()
            with self._timed("online episodes"):
                episodes = gather(update)
            with self._timed("online updates"):
                self._add(episodes)
                self._side_by_side(
                    [
                        (f"update {update + 1} {item.name}", item, item.iterations_per_update)
                        for item in self.learners
                        if item.can_learn or not self.pretrained
                    ]
                )
            self.progress.update += 1
            self.progress.update_seconds.append(time.monotonic() - began)
            self.progress.finished = [
                name for name in self.progress.finished if not name.startswith("update")
            ]
            self.save()
            yield update

    def _side_by_side(self, phases: Sequence[tuple[str, Learner, int]]) -> None:
        """Runs phases of different learners at a time; the first error stops all of them."""
        stop = threading.Event()
        with self._cores() as pool:
            futures = [pool.submit(self._phase, *phase, stop) for phase in phases]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    @contextmanager
    def _cores(self) -> Iterator[ThreadPoolExecutor]:
        """Threads of one core each; torch frees the GIL while it computes.

        Threads within an operation wait for each other at every one of them, which gains less, and
        nothing while the cores are busy otherwise.
        """
        one_core = partial(torch.set_num_threads, 1)
        with torch_threads(1), ThreadPoolExecutor(self.threads, initializer=one_core) as pool:
            yield pool

    def _phase(self, name: str, learner: Learner, iterations: int, stop: threading.Event) -> None:
        progress = self.progress
        if name in progress.finished:
            return
        done = progress.iterations.get(name, 0)
        began = time.monotonic()
        before = progress.seconds.get(name, 0.0)
        total, count = torch.zeros(()), 0
        while done < iterations and not stop.is_set():
            with self._locks[learner.name]:
                total += learner.step()
                done += 1
                progress.iterations[name] = done
                if name == learner.name:
                    progress.seconds[name] = before + time.monotonic() - began
            count += 1
            last = done == iterations
            if last or done % self.report_every == 0:
                with self._reporting:
                    self.report(name, done, iterations, float(total) / count)
                total, count = torch.zeros(()), 0
            if not last and time.monotonic() - self._saved > SAVE_PERIOD:
                self.save()
        if stop.is_set():
            return
        with self._locks[learner.name]:
            progress.finished.append(name)
            progress.iterations.pop(name, None)
        self.save()

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds = self.progress.seconds
        seconds[part] = seconds.get(part, 0.0) + time.monotonic() - began

    def _raw_beliefs(self) -> tuple[Tensor, Tensor]:
        @torch.inference_mode()
        def encode(images: Tensor) -> tuple[Tensor, Tensor]:
            return self.agent.models.vae.encode(images.float() / 255.0)

        with self._cores() as pool:
            parts = list(pool.map(encode, self.images.split(512)))
        mean, stddev = (torch.cat(part) for part in zip(*parts, strict=True))
        return mean, stddev

    def _fill_replay(self) -> None:
        if self.replay.episodes == 0:
            self._add(self.offline)

    def _add(self, episodes: Iterable[TrainingEpisode]) -> None:
        episodes = list(episodes)
        with self._cores() as pool:
            beliefs = pool.map(self.agent.encode_views, [item.views for item in episodes])
            self.replay.extend(
                (*belief, item.labels) for belief, item in zip(beliefs, episodes, strict=True)
            )

    def save(self) -> None:
        """Writes the whole state, atomically, so that a killed run goes on from here."""
        with self._saving, ExitStack() as held:
            for lock in self._locks.values():
                held.enter_context(lock)
            self._write(STATE, self._identity())
            self._saved = time.monotonic()

    def _write(self, name: str, identity: str) -> None:
        tensors = {f"model.{name}": t for name, t in self.agent.models.state_dict().items()}
        for learner in self._all:
            tensors |= learner_tensors(learner)
        steps = {learner.name: learner.steps for learner in self._all}
        metadata = {
            "progress": json.dumps(asdict(self.progress)),
            "steps": json.dumps(steps),
        }
        write_state(self.folder / name, tensors, metadata, identity)

    def _identity(self) -> str:
        """What a state must share with this run: seed, model and size of the data set."""
        planner = self.agent.config.online.planner
        return self._offline_identity({"planner": planner} if planner else None)

    def _offline_identity(self, online: dict[str, Any] | None = None) -> str:
        """The same for a state before the first online episode, however the agent plans."""
        model = {**self.agent.config.to_dict(), "online": online}
        frames = sum(len(item.views) for item in self.offline)
        start = {"start": self.started_from} if self.pretrained else {}
        return json.dumps({"seed": self.seed, "frames": frames, "model": model, **start})

    def _resume(self, start: Path | None) -> None:
        tensors, metadata = read_state(self.folder / STATE, self._identity(), _of_today)
        if tensors is None and start is not None:
            tensors, metadata = read_state(
                start / OFFLINE_STATE, self._offline_identity(), _of_today
            )
            if tensors is None:
                raise ResumeError(
                    f"expected a run that was trained offline, {start} has no {OFFLINE_STATE}"
                )
        if tensors is None:
            return
        self.progress = Progress(**json.loads(metadata["progress"]))
        steps = json.loads(metadata["steps"])
        self.agent.models.load_state_dict(part(tensors, "model."))
        for learner in self._all:
            learner.steps = steps[learner.name]
            restore_learner(learner, part(tensors, f"{learner.name}."))
        if "normalization" in self.progress.finished:
            self._fill_replay()


def _of_today(identity: str) -> str:
    """An identity whose settings are all there: those that came later had their defaults."""
    try:
        told = json.loads(identity)
        known = LS3Config.from_dict({**told["model"], "online": {}}).to_dict()
        return json.dumps({**told, "model": {**known, "online": told["model"]["online"]}})
    except (ValueError, KeyError, TypeError):
        return identity


def _as_bytes(images: np.ndarray) -> np.ndarray:
    return np.round(images * 255.0).astype(np.uint8)


def learner_tensors(learner: Learner) -> dict[str, Tensor]:
    """What a learner has besides its module: generator, optimizer, target network."""
    tensors = {f"{learner.name}.generator": learner.generator.get_state()}
    for name, value in optimizer_tensors(learner.optimizer).items():
        tensors[f"{learner.name}.adam.{name}"] = value
    if learner.target is not None:
        for name, value in learner.target.state_dict().items():
            tensors[f"{learner.name}.target.{name}"] = value
    return tensors


def restore_learner(learner: Learner, tensors: dict[str, Tensor]) -> None:
    """Gives a learner the tensors of `learner_tensors`."""
    learner.generator.set_state(tensors["generator"])
    restore_optimizer(learner.optimizer, part(tensors, "adam."))
    if learner.target is not None:
        learner.target.load_state_dict(part(tensors, "target."))
