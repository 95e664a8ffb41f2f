"""Replay of transitions between frames, each of which is kept once, as uint8."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBufferSamples
from torch import Tensor

from safe_skills.baselines.pixels import PixelSpaces
from safe_skills.data.episodes import KINDS, Episode


class Batch(NamedTuple):
    """B transitions.

    Attributes:
        observations: (B, kC, S, S) uint8.
        actions: (B, A) in [-1, 1].
        next_observations: (B, kC, S, S) uint8.
        terminated: (B, 1) 1 where the task came to its end; a time limit is none.
        rewards: (B, 1).
        costs: (B, 1) 1 where the step led into a violation.
    """

    observations: Tensor
    actions: Tensor
    next_observations: Tensor
    terminated: Tensor
    rewards: Tensor
    costs: Tensor


class _Rows:
    """An array that grows at its end."""

    def __init__(self, shape: tuple[int, ...], dtype: type) -> None:
        self._store = np.zeros((64, *shape), dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> np.ndarray:
        return self._store[: self._size]

    def append(self, value: Any) -> None:
        if self._size == len(self._store):
            self._store = np.concatenate([self._store, np.zeros_like(self._store)])
        self._store[self._size] = value
        self._size += 1


class PixelReplay:
    """Transitions of all episodes, by kind ("demo", "constraint", "random", "online").

    A frame that equals the one before it, as after a violation, is not stored again. Transitions
    have two actions: that which was executed, and that which the task policy proposed; they differ
    where a recovery policy stepped in (Recovery RL).

    Args:
        spaces: of the agent.
        seed: of the draws.
    """

    def __init__(self, spaces: PixelSpaces, seed: int) -> None:
        self.spaces = spaces
        self.rng = np.random.default_rng(seed)
        self._frames = _Rows(spaces.frame_shape, np.uint8)
        # A place is a moment of an episode; the last one of an episode starts no transition.
        self._frame_at = _Rows((), np.int64)
        self._first_place = _Rows((), np.int64)
        self._place = _Rows((), np.int64)  # where each transition starts
        self._executed = _Rows((spaces.action_dim,), np.float32)
        self._proposed = _Rows((spaces.action_dim,), np.float32)
        self._rewards, self._costs = _Rows((), np.float32), _Rows((), np.float32)
        self._terminated = _Rows((), np.float32)
        self._of_kind = {kind: _Rows((), np.int64) for kind in KINDS}

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self._place)

    @property
    def frames(self) -> int:
        """Number of frames that are stored."""
        return len(self._frames)

    def count(self, kinds: Sequence[str] = KINDS) -> int:
        """Number of transitions of some kinds."""
        return sum(len(self._of_kind[kind]) for kind in kinds)

    def start(self, frame: np.ndarray) -> None:
        """Begins an episode with its first frame (C, S, S)."""
        self._append_place(frame, len(self._frame_at))

    def add(
        self,
        frame: np.ndarray,
        executed: np.ndarray,
        reward: float,
        cost: float,
        *,
        kind: str,
        terminated: bool = False,
        proposed: np.ndarray | None = None,
    ) -> None:
        """Adds the step that led to a frame.

        Args:
            frame: (C, S, S) that followed.
            executed: (A,) action, in [-1, 1].
            reward: of the step, without a penalty.
            cost: of the step.
            kind: of the episode.
            terminated: the task came to its end here.
            proposed: (A,) what the task policy would have done; None: what was executed.
        """
        self._of_kind[kind].append(len(self._place))
        self._place.append(len(self._frame_at) - 1)
        self._executed.append(executed)
        self._proposed.append(executed if proposed is None else proposed)
        self._rewards.append(reward)
        self._costs.append(cost)
        self._terminated.append(float(terminated))
        self._append_place(frame, self._first_place.values[-1])

    def add_episode(
        self,
        episode: Episode,
        view: Callable[[np.ndarray], np.ndarray],
        scale: np.ndarray,
        choices: np.ndarray | None = None,
    ) -> None:
        """Adds a recorded episode.

        Args:
            episode: of n steps.
            view: what the agent sees of an image.
            scale: (A,) action of the environment that is 1 to the agent.
            choices: (n, 2, A) as `choices` returned them; None: the episode's actions are both.
        """
        if choices is None:
            actions = np.clip(episode.actions / scale, -1.0, 1.0)
            choices = np.stack([actions, actions], axis=1)
        self.start(self.spaces.frame(view(episode.images[0])))
        last = len(episode) - 1
        for step, (executed, proposed) in enumerate(choices):
            self.add(
                self.spaces.frame(view(episode.images[step + 1])),
                executed,
                episode.rewards[step],
                episode.costs[step],
                kind=episode.kind,
                terminated=episode.terminated and step == last,
                proposed=proposed,
            )

    def choices(self, kind: str) -> np.ndarray:
        """(n, 2, A) executed and proposed actions of a kind, in their order."""
        rows = self._of_kind[kind].values
        return np.stack([self._executed.values[rows], self._proposed.values[rows]], axis=1)

    def digest(self) -> str:
        """SHA-256 of all frames, actions, rewards and costs."""
        found = hashlib.sha256()
        for rows in (self._frames, self._executed, self._rewards, self._costs):
            found.update(rows.values.tobytes())
        return found.hexdigest()

    def sample(self, size: int, kinds: Sequence[str], *, executed: bool = False) -> Batch:
        """Draws transitions of some kinds, uniformly and with repetition.

        Args:
            size: B.
            kinds: at least one of them must have a transition.
            executed: with the executed actions instead of the proposed ones.

        Raises:
            ValueError: there is none.
        """
        pool = [self._of_kind[kind].values for kind in kinds]
        ends = np.cumsum([len(numbers) for numbers in pool])
        if ends[-1] == 0:
            raise ValueError(f"expected transitions of {' or '.join(kinds)} episodes, got none")
        drawn = self.rng.integers(ends[-1], size=size)
        which = np.searchsorted(ends, drawn, side="right")
        starts = np.concatenate(([0], ends[:-1]))
        rows = np.empty(size, np.int64)
        for index, numbers in enumerate(pool):
            mine = which == index
            rows[mine] = numbers[drawn[mine] - starts[index]]
        actions = (self._executed if executed else self._proposed).values[rows]
        place = self._place.values[rows]
        columns = (self._terminated, self._rewards, self._costs)
        return Batch(
            self._stacked(place),
            torch.from_numpy(actions),
            self._stacked(place + 1),
            *(torch.from_numpy(column.values[rows][:, None]) for column in columns),
        )

    def _append_place(self, frame: np.ndarray, first: int) -> None:
        repeats = len(self._frame_at) > first and np.array_equal(frame, self._frames.values[-1])
        if not repeats:
            self._frames.append(frame)
        self._frame_at.append(len(self._frames) - 1)
        self._first_place.append(first)

    def _stacked(self, place: np.ndarray) -> Tensor:
        back = np.arange(self.spaces.vision.frames - 1, -1, -1)
        places = np.maximum(place[:, None] - back, self._first_place.values[place][:, None])
        frames = self._frames.values[self._frame_at.values[places]]
        return torch.from_numpy(frames.reshape(len(place), -1, *frames.shape[-2:]))


class PenalizedReplay:
    """What Stable-Baselines3 samples from: some kinds, proposed actions, a penalty for costs.

    Args:
        replay: holds the transitions.
        kinds: to draw from.
        penalty: taken off the reward of a step with a cost.
    """

    def __init__(self, replay: PixelReplay, kinds: Sequence[str], penalty: float) -> None:
        self.replay, self.kinds, self.penalty = replay, tuple(kinds), penalty

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Draws a batch; `env` is there for Stable-Baselines3 and not used."""
        batch = self.replay.sample(batch_size, self.kinds)
        return ReplayBufferSamples(
            observations=batch.observations,
            actions=batch.actions,
            next_observations=batch.next_observations,
            dones=batch.terminated,
            rewards=batch.rewards - self.penalty * batch.costs,
        )
