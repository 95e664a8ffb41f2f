"""Replay in latent space: every frame is encoded once, every sample draws its latent anew.

An episode of n steps has n + 1 frames. Where a violation freezes the state the frames that follow
repeat it: they are dropped, and what they would have cost is kept as a known value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FRAME_LABELS = ("goal", "violation", "in_set")


@dataclass(frozen=True)
class EpisodeLabels:
    """What is known of an episode's n steps besides its frames.

    Attributes:
        actions: (n, A) scaled to [-1, 1].
        rewards: (n,) 0 in the goal, else -1.
        costs: (n,) 1 in violation, else 0.
        on_policy: whether the value function learns from it (demonstrations and online episodes).
        online: whether it is an online episode; these are added after all others.
        freezes: a violation freezes the state. False: the episode goes on after it, and of a
            successful one what follows the last violation is in the safe set.
    """

    actions: np.ndarray
    rewards: np.ndarray
    costs: np.ndarray
    on_policy: bool
    online: bool = False
    freezes: bool = True


@dataclass(frozen=True)
class Transitions:
    """A batch of B transitions with fresh latents, for the dynamics."""

    latents: Tensor
    next_latents: Tensor
    actions: Tensor


@dataclass(frozen=True)
class ValueTargets:
    """A batch of B steps with what is known of their value.

    Attributes:
        latents: (B, d) at the beginning of each.
        next_latents: (B, d) k steps later.
        rewards: (B,) discounted sum of the k rewards between.
        discounts: (B,) gamma^k.
        returns: (B,) to go.
        floors: (B,) the same where the goal is reached, minus infinity elsewhere.
        known_next_values: (B,) value k steps later, NaN where it is unknown.
    """

    latents: Tensor
    next_latents: Tensor
    rewards: Tensor
    discounts: Tensor
    returns: Tensor
    floors: Tensor
    known_next_values: Tensor


@dataclass(frozen=True)
class Frames:
    """A batch of B frames with a label.

    Attributes:
        latents: (B, d).
        label: (B,) 1 or 0.
        next_latents: (B, d) of the frames that followed (of the same frame at the end of an
            episode), where asked for.
    """

    latents: Tensor
    label: Tensor
    next_latents: Tensor | None = None


class LatentReplay:
    """Beliefs and labels of all frames seen so far.

    Labels of frames: `goal` (reached), `violation`, and `in_set`: on an episode that reached the
    goal, up to and including that frame (the sampled safe set S of LS3 sec. 4.2); where violations
    do not freeze the state, from the frame after the last of them on. The `in_set` of an online
    episode that neither reached the goal nor violated the constraint is undecided: it ran out of
    time.

    Args:
        latent_dim: d.
        action_dim: A.
        discount: gamma, for returns to go.
        own_reward: whether a step's return counts its own reward (see `ValueConfig`).
        online_share: share of every batch that is drawn from the online episodes, once there are
            any; the rest is drawn from everything.
        value_steps: n, steps from a value to the next one; fewer at the end of an episode and where
            the next value is known.
        goal_frames: how many of the frames in the goal with which an episode ends are kept; 0: all.
    """

    def __init__(
        self,
        latent_dim: int,
        action_dim: int,
        discount: float,
        own_reward: bool = True,
        online_share: float = 0.0,
        value_steps: int = 1,
        goal_frames: int = 0,
    ) -> None:
        self.discount, self.own_reward, self.online_share = discount, own_reward, online_share
        self.value_steps, self.goal_frames = value_steps, goal_frames
        # Mean and stddev side by side, so that drawing a latent reads one row.
        self.beliefs = torch.empty(0, 2 * latent_dim)
        self.actions = torch.empty(0, action_dim)
        self.frame_labels = {name: torch.empty(0, dtype=torch.bool) for name in FRAME_LABELS}
        self.decided = torch.empty(0, dtype=torch.long)  # frames whose `in_set` is
        self.successor = torch.empty(0, dtype=torch.long)  # of each frame
        self.step_frame = torch.empty(0, dtype=torch.long)  # frame at the start of each step
        self.value_frame = torch.empty(0, dtype=torch.long)  # frame of each value target
        self.next_value_frame = torch.empty(0, dtype=torch.long)  # and of the value it leads to
        self.rewards = torch.empty(0)
        self.discounts = torch.empty(0)
        self.returns = torch.empty(0)
        self.floors = torch.empty(0)
        self.known_next_values = torch.empty(0)
        self.episodes = 0
        self._pools: dict[str, tuple[Tensor, Tensor]] = {}
        self._first_online: int | None = None  # frame
        self._frames = torch.empty(0, dtype=torch.long)  # their numbers

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.beliefs)

    @property
    def mean(self) -> Tensor:
        """(frames, d) means of the beliefs."""
        return self.beliefs.chunk(2, 1)[0]

    @property
    def stddev(self) -> Tensor:
        """(frames, d) standard deviations of the beliefs."""
        return self.beliefs.chunk(2, 1)[1]

    @property
    def steps(self) -> int:
        """Number of transitions."""
        return len(self.step_frame)

    def add(self, mean: np.ndarray, stddev: np.ndarray, labels: EpisodeLabels) -> None:
        """Adds one episode; see `extend`."""
        self.extend([(mean, stddev, labels)])

    def extend(self, episodes: Iterable[tuple[np.ndarray, np.ndarray, EpisodeLabels]]) -> None:
        """Adds episodes; every table grows once, however many they are.

        Args:
            episodes: for each episode of n steps the mean (n + 1, d) and stddev (n + 1, d) of the
                beliefs of its frames, and the labels of its steps.

        Raises:
            ValueError: where the lengths do not fit together; nothing is added then.
        """
        first, rows = len(self), []
        first_online = self._first_online
        for mean, stddev, labels in episodes:
            if labels.online and first_online is None:
                first_online = first
            rows.append(self._rows(first, mean, stddev, labels))
            first += len(rows[-1]["beliefs"])
        for name in rows[0] if rows else ():
            table = self.frame_labels[name] if name in FRAME_LABELS else getattr(self, name)
            grown = torch.cat((table, *(row[name] for row in rows)))
            if name in FRAME_LABELS:
                self.frame_labels[name] = grown
                self._pools[name] = tuple(
                    (grown == wanted).nonzero().squeeze(1) for wanted in (True, False)
                )
            else:
                setattr(self, name, grown)
        self._frames = torch.arange(len(self))
        self.episodes += len(rows)
        self._first_online = first_online

    def _rows(
        self, first: int, mean: np.ndarray, stddev: np.ndarray, labels: EpisodeLabels
    ) -> dict[str, Tensor]:
        """What one episode, whose first frame gets the number `first`, adds to each table."""
        n = len(labels.rewards)
        if not (
            len(mean) == len(stddev) == n + 1 and len(labels.actions) == len(labels.costs) == n
        ):
            raise ValueError(
                f"an episode of {n} steps needs {n + 1} frames and {n} actions and costs, got "
                f"{len(mean)} frames, {len(labels.actions)} actions, {len(labels.costs)} costs"
            )
        goal, violation = labels.rewards == 0, labels.costs > 0
        frozen = labels.freezes and violation.any()
        kept = int(violation.argmax()) + 1 if frozen else n
        if self.goal_frames:
            kept = min(kept, _up_to_last(~goal[:kept]) + self.goal_frames)
        reached = _up_to_last(goal[:kept])
        in_set = np.zeros(kept + 1, dtype=bool)
        if reached:
            begin = 0 if labels.freezes else _up_to_last(violation[:reached])
            in_set[begin : reached + 1] = True
        frames = torch.arange(first, first + kept + 1)
        timed_out = labels.online and not reached and not violation.any()
        beliefs = np.concatenate((mean[: kept + 1], stddev[: kept + 1]), axis=1)
        return {
            "beliefs": torch.from_numpy(beliefs),
            "goal": torch.from_numpy(np.concatenate(([False], goal[:kept]))),
            "violation": torch.from_numpy(np.concatenate(([False], violation[:kept]))),
            "in_set": torch.from_numpy(in_set),
            "decided": frames[:0] if timed_out else frames,
            "successor": torch.cat((frames[1:], frames[-1:])),
            "step_frame": frames[:-1],
            "actions": torch.as_tensor(labels.actions[:kept], dtype=torch.float32),
            **self._value_rows(frames, labels, goal, violation, reached),
        }

    def _value_rows(
        self,
        frames: Tensor,
        labels: EpisodeLabels,
        goal: np.ndarray,
        violation: np.ndarray,
        reached: int,
    ) -> dict[str, Tensor]:
        """Value targets of an episode; one that ends in the goal stays there, at no cost.

        `reached` steps lead up to its last one in the goal; 0: it never was there.
        """
        kept, end = len(frames) - 1, frames[-1]
        rewards = torch.as_tensor(labels.rewards, dtype=torch.float32)
        returns = returns_to_go(rewards, self.discount, self.own_reward)[:kept]
        known = torch.full((kept,), float("nan"))
        known[torch.from_numpy(goal[:kept])] = 0.0
        if labels.freezes and violation.any():
            left = len(rewards) - kept
            known[-1] = -float((self.discount ** torch.arange(left)).sum())
        rewards = rewards[:kept]
        if goal[kept - 1]:
            rewards, returns, known = (F.pad(part, (0, 1)) for part in (rewards, returns, known))
        else:
            frames = frames[:-1]
        floors = returns.clone()
        floors[reached:kept] = -torch.inf
        last = self._last_steps(known)
        lengths = last - torch.arange(len(last)) + 1
        powers = self.discount ** torch.arange(self.value_steps + 1, dtype=torch.float64)
        ahead = F.pad(rewards, (0, self.value_steps - 1)).unfold(0, self.value_steps, 1)
        taken = torch.arange(self.value_steps) < lengths[:, None]
        used = len(frames) if labels.on_policy else 0
        return {
            "value_frame": frames[:used],
            # A goal's frame that ends the episode leads to itself.
            "next_value_frame": torch.minimum(frames[0] + last + 1, end)[:used],
            "rewards": (ahead * taken * powers[:-1].float()).sum(1)[:used],
            "discounts": powers[lengths].float()[:used],
            "returns": returns[:used],
            "floors": floors[:used],
            "known_next_values": known[last][:used],
        }

    def _last_steps(self, known: Tensor) -> Tensor:
        """The last of the `value_steps` steps from each on; none follows a known next value."""
        count = len(known)
        ends = torch.arange(count)
        first_known = torch.where(known.isnan(), count - 1, ends).flip(0).cummin(0).values.flip(0)
        return torch.minimum(ends + self.value_steps - 1, first_known)

    def has_both(self, label: str) -> bool:
        """Whether there are frames with and without one of `FRAME_LABELS`."""
        return all(len(pool) for pool in self._pools.get(label, ((),)))

    def transitions(self, batch_size: int, generator: torch.Generator) -> Transitions:
        """Samples steps of all episodes uniformly; latents are redrawn every time."""
        index = self._drawn(self.step_frame, batch_size, generator)
        frame = self.step_frame[index]
        latents, next_latents = self._draw_pairs(frame, frame + 1, generator)
        return Transitions(latents, next_latents, self.actions.index_select(0, index))

    def value_targets(self, batch_size: int, generator: torch.Generator) -> ValueTargets:
        """Samples steps of demonstrations and online episodes uniformly."""
        if len(self.value_frame) == 0:
            raise ValueError("the replay has no demonstrations or online episodes to learn from")
        index = self._drawn(self.value_frame, batch_size, generator)
        frame = self.value_frame[index]
        following = self.next_value_frame[index]
        latents, next_latents = self._draw_pairs(frame, following, generator)
        return ValueTargets(
            latents=latents,
            next_latents=next_latents,
            rewards=self.rewards[index],
            discounts=self.discounts[index],
            returns=self.returns[index],
            floors=self.floors[index],
            known_next_values=self.known_next_values[index],
        )

    def frames(
        self,
        label: str,
        batch_size: int,
        generator: torch.Generator,
        balanced: bool = False,
        with_next: bool = False,
        decided: bool = False,
    ) -> Frames:
        """Samples frames with one of their labels.

        Args:
            label: one of `FRAME_LABELS`.
            batch_size: B.
            generator: of all draws.
            balanced: half of the batch is positive (while there are positives and negatives).
            with_next: draw the frames that followed, too.
            decided: none whose `in_set` is undecided.
        """
        index = self._frame_index(label, batch_size, generator, balanced, decided)
        labels = self.frame_labels[label][index].float()
        if not with_next:
            return Frames(self._draw(index, generator), labels)
        latents, next_latents = self._draw_pairs(index, self.successor[index], generator)
        return Frames(latents, labels, next_latents)

    def _frame_index(
        self,
        label: str,
        batch_size: int,
        generator: torch.Generator,
        balanced: bool,
        decided: bool,
    ) -> Tensor:
        every = self.decided if decided else self._frames
        pools = self._filled_pools(label, decided) if balanced else []
        if len(pools) < 2:
            return every[self._drawn(every, batch_size, generator)]
        sizes = (batch_size // 2, batch_size - batch_size // 2)
        return torch.cat(
            [
                pool[self._drawn(pool, size, generator)]
                for pool, size in zip(pools, sizes, strict=True)
            ]
        )

    def _filled_pools(self, label: str, decided: bool) -> list[Tensor]:
        """The frames with and without a label, each where there are any."""
        pools = self._pools[label]
        if decided:
            positive = self.frame_labels[label][self.decided]
            pools = self.decided[positive], self.decided[~positive]
        return [pool for pool in pools if len(pool)]

    def _drawn(self, frames: Tensor, size: int, generator: torch.Generator) -> Tensor:
        """Random places (size,) in ascending `frames`, the wanted share in the online ones."""
        index = torch.randint(len(frames), (size,), generator=generator)
        if self.online_share == 0.0 or self._first_online is None:
            return index
        first = int(torch.searchsorted(frames, self._first_online))
        if first == len(frames):
            return index
        online = torch.randint(first, len(frames), (size,), generator=generator)
        return torch.where(torch.rand(size, generator=generator) < self.online_share, online, index)

    def _draw(self, frame: Tensor, generator: torch.Generator) -> Tensor:
        mean, stddev = self.beliefs.index_select(0, frame).chunk(2, 1)
        return torch.addcmul(mean, stddev, torch.randn(mean.shape, generator=generator))

    def _draw_pairs(
        self, frame: Tensor, following: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        latents, next_latents = self._draw(torch.cat((frame, following)), generator).chunk(2)
        return latents, next_latents


def _up_to_last(steps: np.ndarray) -> int:
    """How many steps there are up to the last marked one, which counts; 0 where none is."""
    marked = np.flatnonzero(steps)
    return int(marked[-1]) + 1 if len(marked) else 0


def returns_to_go(rewards: Tensor, discount: float, own_reward: bool = True) -> Tensor:
    """Discounted cost-to-go of one episode (LS3 eq. 9).

    Args:
        rewards: (T,) r_t.
        discount: gamma.
        own_reward: True sums gamma^i r_{t+i} from i = 0, which is what the one-step target
            converges to; False from i = 1, as the paper writes it.

    Returns:
        (T,) return from each step on.
    """
    running = rewards.new_zeros(())
    result = torch.empty_like(rewards)
    for t in range(len(rewards) - 1, -1, -1):
        result[t] = discount * running
        running = rewards[t] + discount * running
        if own_reward:
            result[t] = running
    return result
