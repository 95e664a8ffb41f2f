"""Episodes of a baseline in its environment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import gymnasium
import numpy as np

from safe_skills.baselines.agent import PixelAgent
from safe_skills.baselines.pixels import FrameStack, PixelSpaces
from safe_skills.data.episodes import Episode
from safe_skills.data.provenance import revision
from safe_skills.data.run_table import EpisodeRow

# Turns an image (H, W, 3) uint8 into what an agent sees of it: a picture (H, W) or (H, W, C).
View = Callable[[np.ndarray], np.ndarray]


class Rollout:
    """One episode, step by step, and its record.

    Args:
        env: with a Dict observation that has an "image", info["cost"], ["success"], ["violation"].
        view: what the agent sees of an image.
        spaces: of the agent.
        seed: of the scene.

    Attributes:
        frame: (C, S, S) the newest.
        observation: (kC, S, S) stacked frames, for the agent.
        reward: of the last step.
        cost: of the last step.
        terminated: the task came to its end.
        done: the episode is over.
    """

    def __init__(self, env: gymnasium.Env, view: View, spaces: PixelSpaces, seed: int) -> None:
        self._env, self._view, self._spaces, self.seed = env, view, spaces, seed
        self._limit = env.action_space.high.astype(np.float32)
        self._stack = FrameStack(spaces.vision.frames)
        observed, self._info = env.reset(seed=seed)
        self._observed = [observed]
        self._actions: list[np.ndarray] = []
        self._rewards: list[float] = []
        self._costs: list[float] = []
        self.terminated = self._truncated = False
        self._began = time.monotonic()
        self.frame = spaces.frame(view(observed["image"]))
        self.observation = self._stack.start(self.frame)

    @property
    def reward(self) -> float:
        """Of the last step."""
        return self._rewards[-1]

    @property
    def cost(self) -> float:
        """Of the last step."""
        return self._costs[-1]

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self._truncated

    def step(self, action: np.ndarray) -> None:
        """Executes an action (A,) in [-1, 1]."""
        scaled = (action * self._limit).astype(np.float32)
        observed, reward, self.terminated, self._truncated, self._info = self._env.step(scaled)
        self._observed.append(observed)
        self._actions.append(scaled)
        self._rewards.append(float(reward))
        self._costs.append(float(self._info["cost"]))
        self.frame = self._spaces.frame(self._view(observed["image"]))
        self.observation = self._stack.push(self.frame)

    def row(self, number: int) -> EpisodeRow:
        """The episode's row in a table."""
        return EpisodeRow(
            episode=number,
            steps=len(self._actions),
            episode_return=float(np.sum(self._rewards)),
            success=bool(self._info["success"]),
            violation=any(self._costs),
            seconds=time.monotonic() - self._began,
        )

    def record(self, kind: str, policy: str) -> Episode:
        """The episode as it is stored."""
        masks = [seen["mask"] for seen in self._observed if "mask" in seen]
        layout = getattr(self._env.unwrapped, "layout", None)
        return Episode(
            images=np.stack([seen["image"] for seen in self._observed]),
            masks=np.stack(masks) if masks else None,
            actions=np.stack(self._actions),
            rewards=np.array(self._rewards, np.float32),
            costs=np.array(self._costs, np.float32),
            terminated=self.terminated,
            truncated=self._truncated,
            success=bool(self._info["success"]),
            kind=kind,
            seed=self.seed,
            policy=policy,
            layout="" if layout is None else layout.name,
            revision=revision(),
            violation=self._info["violation"],
        )


def evaluate(
    agent: PixelAgent, env: gymnasium.Env, view: View, seeds: Sequence[int]
) -> Iterator[EpisodeRow]:
    """Runs one episode a seed with the agent's mode, and yields its row."""
    for number, seed in enumerate(seeds):
        rollout = Rollout(env, view, agent.spaces, seed)
        while not rollout.done:
            rollout.step(agent.choose(rollout.observation, explore=False).executed)
        yield rollout.row(number)
