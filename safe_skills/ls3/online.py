"""Algorithm 1's updates where somebody else runs the robot and gathers the episodes.

Run as a module it is the worker of a `data.background.Worker`: the updates take place in a process
of their own, beside the robot that acts.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safe_skills.data.background import serve
from safe_skills.data.checkpoint import CheckpointError
from safe_skills.data.episodes import Episode, EpisodeStore, read_shard
from safe_skills.data.latents import EpisodeLabels, LatentReplay
from safe_skills.data.provenance import revision
from safe_skills.data.settings import from_mapping
from safe_skills.data.surprise import load_surprise, save_surprise
from safe_skills.data.updates import answers_of, newest_update, update_folder
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.training import Trainer, TrainingEpisode

ON_POLICY = ("demo", "online")  # kinds of episodes that the value function learns from
HELD_OUT = 10  # every so many-th gathered episode is not learned from
FOREVER = sys.maxsize  # updates: as many as are asked for


def training_episode(episode: Episode, agent: LS3Agent) -> TrainingEpisode:
    """Turns a recorded episode into views, as the camera node would make them, and labels."""
    views = np.stack([agent.view(image) for image in episode.images])
    labels = EpisodeLabels(
        actions=(episode.actions / agent.action_limit).astype(np.float32),
        rewards=episode.rewards,
        costs=episode.costs,
        on_policy=episode.kind in ON_POLICY,
        online=episode.kind == "online",
    )
    return TrainingEpisode(views, labels)


@dataclass(frozen=True)
class UpdateSettings:
    """What the updates work on.

    Attributes:
        checkpoint: folder of the agent that the first update starts from.
        gathered: store of the gathered episodes, one a shard, in their order.
        out: folder for the state of the training and for `checkpoints/update-0001` and so on.
        data: store of the offline episodes, or "" where there are none.
        episodes_per_update: K.
        seed: of all random draws.
        threads: learners side by side.
        tolerance: how much worse a new agent may be on episodes that it has not seen; see `judge`.
    """

    checkpoint: str
    gathered: str
    out: str
    data: str = ""
    episodes_per_update: int = 5
    seed: int = 0
    threads: int = 1
    tolerance: float = 0.1


class OnlineUpdates:
    """Updates an agent with gathered episodes, five or so at a time (Algorithm 1, lines 3 to 10).

    The training is `Trainer`'s: a killed one goes on from its state to the same weights. Every
    tenth gathered episode is left out; new agents are judged by these.

    Args:
        settings: what it works on.

    Raises:
        CheckpointError: the agent cannot be used.
        EpisodeError: an episode cannot be read.
        ResumeError: the state in `out` is that of another training.
    """

    def __init__(self, settings: UpdateSettings) -> None:
        self.settings, self.out = settings, Path(settings.out)
        self.agent = LS3Agent.load(settings.checkpoint)
        self._surprise = load_surprise(settings.checkpoint, self.agent.model_id)
        newest = newest_update(self.out)
        self.accepted = LS3Agent.load(
            update_folder(self.out, newest) if newest else settings.checkpoint
        )
        offline: list[TrainingEpisode] = []
        if settings.data:
            offline = [training_episode(e, self.agent) for e in EpisodeStore(settings.data)]
        self._losses: dict[str, float | None] = {}
        self.trainer = Trainer(
            self.agent,
            offline,
            self.out,
            settings.seed,
            self._note_loss,
            threads=settings.threads,
            pretrained=True,
        )
        self.trainer.train_offline()
        self._updates: Iterator[int] = self.trainer.train_online(FOREVER, self._gather)

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.trainer.progress.update

    def run(self) -> dict[str, Any]:
        """Makes the next update, writes the new agent and judges it.

        Its K episodes must have been gathered.

        Returns:
            "update", "checkpoint" (a folder), "accepted", "reason" (why not), "losses" by model,
            and the figures of `judge`.
        """
        self._losses.clear()
        next(self._updates)
        return self.conclude()

    def conclude(self) -> dict[str, Any]:
        """Writes and judges the agent of the last update; what `run` does at its end."""
        update = self.updates
        held_out = [
            training_episode(episode, self.agent)
            for k in range(HELD_OUT - 1, update * self.settings.episodes_per_update, HELD_OUT)
            for episode in self._episode(k)
        ]
        candidate = self.out / ".candidate"
        shutil.rmtree(candidate, ignore_errors=True)
        metrics = {
            "update": update,
            "episodes": update * self.settings.episodes_per_update,
            "start": self.trainer.started_from,
            "offline_episodes": len(self.trainer.offline),
            "revision": revision(),
            "losses": dict(self._losses),
        }
        self.agent.save(candidate, metrics)
        try:
            new = LS3Agent.load(candidate)
            figures, reason = judge(self.accepted, new, held_out, self.settings.tolerance)
        except CheckpointError as error:
            new, figures, reason = None, {}, str(error)
        folder = update_folder(self.out, update, accepted=not reason)
        if not reason:
            new.save(candidate, {**metrics, **figures})
            if self._surprise is not None:
                # The encoder is the one that it started from.
                about = {"encoder_of": self.trainer.started_from}
                save_surprise(self._surprise, candidate, new.model_id, about)
            self.accepted = new
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        candidate.rename(folder)
        return {
            "update": update,
            "checkpoint": str(folder),
            "accepted": not reason,
            "reason": reason,
            "losses": metrics["losses"],
            **figures,
        }

    def _gather(self, update: int) -> list[TrainingEpisode]:
        size = self.settings.episodes_per_update
        numbers = range(update * size, (update + 1) * size)
        return [
            training_episode(episode, self.agent)
            for number in numbers
            if number % HELD_OUT != HELD_OUT - 1
            for episode in self._episode(number)
        ]

    def _episode(self, number: int) -> list[Episode]:
        return read_shard(EpisodeStore(self.settings.gathered).shard_path("online", number))

    def _note_loss(self, phase: str, _done: int, _total: int, loss: float) -> None:
        # JSON has no NaN.
        self._losses[phase.split()[-1]] = loss if math.isfinite(loss) else None


def judge(
    old: LS3Agent, new: LS3Agent, episodes: Sequence[TrainingEpisode], tolerance: float
) -> tuple[dict[str, Any], str]:
    """Whether a new agent may take the place of the old one.

    It must give probabilities, and on episodes that neither has learned from it must not be worse:
    the share of frames that the goal or the constraint estimator gets wrong (both labels weigh the
    same where both are there) may grow by no more than `tolerance`, and the error of the dynamics,
    the mean square of what the next latent is off, by no more than that share of itself. A share of
    wrong frames, not a log-loss: while no held-out episode has a violation, an agent that has
    learned of its first ones is less sure than one that knows of none, and better.

    Args:
        old: the agent in use.
        new: the one that is to follow.
        episodes: held out; with none of them, only weights and probabilities are looked at.
        tolerance: see above.

    Returns:
        Figures of both by name, and one line why the new one is refused, "" where it is not.
    """
    figures: dict[str, Any] = {"held_out_episodes": len(episodes)}
    if not episodes:
        return figures, ""
    before, after = (held_out_errors(agent, episodes) for agent in (old, new))
    figures |= {"held_out_before": before, "held_out_after": after}
    for name, value in after.items():
        allowed = before[name] + tolerance * (before[name] if name == "dynamics" else 1.0)
        if not value <= allowed:
            return figures, (
                f"held-out error of {name}: expected at most {allowed:.4g} "
                f"(now {before[name]:.4g}), got {value:.4g}"
            )
    return figures, ""


@torch.inference_mode()
def held_out_errors(agent: LS3Agent, episodes: Sequence[TrainingEpisode]) -> dict[str, float]:
    """Errors of an agent's goal, constraint and dynamics on episodes; see `judge`."""
    replay = LatentReplay(agent.latent_dim, agent.action_dim, agent.config.value.discount)
    replay.extend((*agent.encode_views(item.views), item.labels) for item in episodes)
    models = agent.models
    errors = {
        name: _share_wrong(getattr(models, name)(replay.mean), replay.frame_labels[label])
        for name, label in (("goal", "goal"), ("constraint", "violation"))
    }
    first = replay.step_frame
    predicted, _ = models.dynamics(replay.mean[first], replay.actions)
    errors["dynamics"] = float((predicted - replay.mean[first + 1]).square().mean())
    return errors


def _share_wrong(probability: Tensor, label: Tensor) -> float:
    """Infinite for what is no probability."""
    if not ((probability >= 0.0) & (probability <= 1.0)).all():
        return float("inf")
    wrong = (probability > 0.5) != label
    sides = [wrong[label == side].float().mean() for side in (False, True) if (label == side).any()]
    return float(torch.stack(sides).mean())


def start(settings: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Prepares the updates; what is returned answers requests of a `Worker`."""
    torch.set_num_threads(1)
    return answers_of(OnlineUpdates(from_mapping(UpdateSettings, settings)))


if __name__ == "__main__":
    sys.exit(serve(start))
