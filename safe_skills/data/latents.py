"""Replay in latent space: every frame is encoded once, every sample draws its latent anew.

An episode of n steps has n + 1 frames. After a violation the state is frozen, so that the frames
that follow repeat it: they are dropped, and what they would have cost is kept as a known value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class EpisodeLabels:
    """What is known of an episode's n steps besides its frames.

    Attributes:
        actions: (n, A) scaled to [-1, 1].
        rewards: (n,) 0 in the goal, else -1.
        costs: (n,) 1 in violation, else 0.
        on_policy: whether the value function learns from it (demonstrations and online episodes).
    """

    actions: np.ndarray
    rewards: np.ndarray
    costs: np.ndarray
    on_policy: bool


@dataclass(frozen=True)
class Transitions:
    """A batch of B transitions with fresh latents, for the dynamics."""

    latents: Tensor
    next_latents: Tensor
    actions: Tensor


@dataclass(frozen=True)
class ValueTargets:
    """A batch of B steps with what is known of their value; NaN where the next value is unknown."""

    latents: Tensor
    next_latents: Tensor
    rewards: Tensor
    returns: Tensor
    known_next_values: Tensor


@dataclass(frozen=True)
class Frames:
    """A batch of B frames, each with the frame that followed (itself at the end of an episode)."""

    latents: Tensor
    next_latents: Tensor
    label: Tensor


class LatentReplay:
    """Beliefs and labels of all frames seen so far.

    Labels of frames: `goal` (reached), `violation`, and `in_set`: on an episode that reached the
    goal, up to and including that frame (the sampled safe set S of LS3 sec. 4.2).

    Args:
        latent_dim: d.
        action_dim: A.
        discount: gamma, for returns to go.
        own_reward: whether a step's return counts its own reward (see `ValueConfig`).
    """

    def __init__(
        self, latent_dim: int, action_dim: int, discount: float, own_reward: bool = True
    ) -> None:
        self.discount, self.own_reward = discount, own_reward
        self.mean = torch.empty(0, latent_dim)
        self.stddev = torch.empty(0, latent_dim)
        self.actions = torch.empty(0, action_dim)
        self.frame_labels = {
            name: torch.empty(0, dtype=torch.bool) for name in ("goal", "violation", "in_set")
        }
        self.successor = torch.empty(0, dtype=torch.long)  # of each frame
        self.step_frame = torch.empty(0, dtype=torch.long)  # frame at the start of each step
        self.value_frame = torch.empty(0, dtype=torch.long)  # frame of each value target
        self.rewards = torch.empty(0)
        self.returns = torch.empty(0)
        self.known_next_values = torch.empty(0)
        self.episodes = 0

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.mean)

    @property
    def steps(self) -> int:
        """Number of transitions."""
        return len(self.step_frame)

    def add(self, mean: np.ndarray, stddev: np.ndarray, labels: EpisodeLabels) -> None:
        """Adds an episode.

        Args:
            mean: (n + 1, d) beliefs of its frames; stddev likewise.
            stddev: (n + 1, d).
            labels: of its n steps.

        Raises:
            ValueError: where the lengths do not fit together.
        """
        n = len(labels.rewards)
        if not (
            len(mean) == len(stddev) == n + 1 and len(labels.actions) == len(labels.costs) == n
        ):
            raise ValueError(
                f"an episode of {n} steps needs {n + 1} frames and {n} actions and costs, got "
                f"{len(mean)} frames, {len(labels.actions)} actions, {len(labels.costs)} costs"
            )
        rewards = torch.as_tensor(labels.rewards, dtype=torch.float32)
        returns = returns_to_go(rewards, self.discount, self.own_reward)
        goal, violation = labels.rewards == 0, labels.costs > 0
        kept = int(violation.argmax()) + 1 if violation.any() else n
        known = torch.full((kept,), float("nan"))
        known[torch.from_numpy(goal[:kept])] = 0.0
        if violation.any():
            known[-1] = -float((self.discount ** torch.arange(n - kept)).sum())
        reached = np.flatnonzero(goal[:kept])
        in_set = np.zeros(kept + 1, dtype=bool)
        if len(reached):
            in_set[: reached[-1] + 2] = True

        first = len(self)
        frames = torch.arange(first, first + kept + 1)
        labelled = {
            "goal": np.concatenate(([False], goal[:kept])),
            "violation": np.concatenate(([False], violation[:kept])),
            "in_set": in_set,
        }
        self.mean = torch.cat((self.mean, torch.from_numpy(mean[: kept + 1])))
        self.stddev = torch.cat((self.stddev, torch.from_numpy(stddev[: kept + 1])))
        for name, values in labelled.items():
            self.frame_labels[name] = torch.cat((self.frame_labels[name], torch.from_numpy(values)))
        self.successor = torch.cat((self.successor, frames[1:], frames[-1:]))
        self.step_frame = torch.cat((self.step_frame, frames[:-1]))
        actions = torch.as_tensor(labels.actions[:kept], dtype=torch.float32)
        self.actions = torch.cat((self.actions, actions))
        if labels.on_policy:
            self._add_values(frames, rewards[:kept], returns[:kept], known, goal[kept - 1])
        self.episodes += 1

    def _add_values(
        self, frames: Tensor, rewards: Tensor, returns: Tensor, known: Tensor, at_goal: bool
    ) -> None:
        """Adds value targets; an episode that ends in the goal stays there, at no cost."""
        if at_goal:
            zero = torch.zeros(1)
            rewards, returns, known = (
                torch.cat((part, zero)) for part in (rewards, returns, known)
            )
        else:
            frames = frames[:-1]
        self.value_frame = torch.cat((self.value_frame, frames))
        self.rewards = torch.cat((self.rewards, rewards))
        self.returns = torch.cat((self.returns, returns))
        self.known_next_values = torch.cat((self.known_next_values, known))

    def transitions(self, batch_size: int, generator: torch.Generator) -> Transitions:
        """Samples steps of all episodes uniformly; latents are redrawn every time."""
        index = torch.randint(self.steps, (batch_size,), generator=generator)
        frame = self.step_frame[index]
        return Transitions(
            latents=self._draw(frame, generator),
            next_latents=self._draw(frame + 1, generator),
            actions=self.actions[index],
        )

    def value_targets(self, batch_size: int, generator: torch.Generator) -> ValueTargets:
        """Samples steps of demonstrations and online episodes uniformly."""
        if len(self.value_frame) == 0:
            raise ValueError("the replay has no demonstrations or online episodes to learn from")
        index = torch.randint(len(self.value_frame), (batch_size,), generator=generator)
        frame = self.value_frame[index]
        return ValueTargets(
            latents=self._draw(frame, generator),
            next_latents=self._draw(self.successor[frame], generator),
            rewards=self.rewards[index],
            returns=self.returns[index],
            known_next_values=self.known_next_values[index],
        )

    def frames(
        self, label: str, batch_size: int, generator: torch.Generator, balanced: bool = False
    ) -> Frames:
        """Samples frames with one of their labels, half of them positive where `balanced`."""
        labels = self.frame_labels[label]
        index = torch.randint(len(self), (batch_size,), generator=generator)
        if balanced:
            half = batch_size // 2
            for part, wanted in ((slice(0, half), True), (slice(half, None), False)):
                pool = (labels == wanted).nonzero().squeeze(1)
                if len(pool):
                    drawn = torch.randint(len(pool), (len(index[part]),), generator=generator)
                    index[part] = pool[drawn]
        return Frames(
            latents=self._draw(index, generator),
            next_latents=self._draw(self.successor[index], generator),
            label=labels[index].float(),
        )

    def _draw(self, frame: Tensor, generator: torch.Generator) -> Tensor:
        mean = self.mean[frame]
        return mean + self.stddev[frame] * torch.randn(mean.shape, generator=generator)


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
