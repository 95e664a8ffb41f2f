"""Episodes of a simulated task, one after the other, without ROS: what all tasks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from gymnasium.utils import seeding

Contacts = TypeVar("Contacts", bound=tuple)


@dataclass(frozen=True)
class StepOutcome:
    """Ground truth of one step; the fields of EpisodeStatus.msg."""

    episode: int
    seed: int
    step: int
    reward: float
    cost: float
    success: bool
    violation_kind: str
    done: bool
    episode_return: float
    episode_cost: float
    finished: bool


class Judgement(NamedTuple):
    """What a task says of one step.

    Attributes:
        reward: of the step.
        violation_kind: what was touched, empty where nothing was.
        success: whether the task is done.
        ends: whether the episode ends here, whatever its horizon.
        repeats: how many steps with this reward and cost the step stands for.
    """

    reward: float
    violation_kind: str
    success: bool
    ends: bool
    repeats: int = 1


class TaskRun(ABC, Generic[Contacts]):
    """Runs `episodes` episodes; episode k starts as the environment's `reset(seed=seed + k)` does.

    Args:
        seed: of the first episode.
        episodes: number of episodes; 0: no end.
        rate: physics steps, substeps, in a second.
        substeps: of one control period.
        horizon: steps of an episode.

    Raises:
        ValueError: a negative seed or number of episodes.
    """

    def __init__(
        self, seed: int, episodes: int, *, rate: float, substeps: int, horizon: int
    ) -> None:
        if seed < 0 or episodes < 0:
            raise ValueError(
                f"seed and episodes: expected 0 or more, got {seed!r} and {episodes!r}"
            )
        self.episodes = episodes
        self.rate = rate
        self.substeps = substeps
        self.horizon = horizon
        self._first_seed = seed
        self._start_episode(0)

    @abstractmethod
    def _reset(self, rng: np.random.Generator) -> None:
        """Puts the scene of a new episode down."""

    @abstractmethod
    def _simulate(self, substeps: int) -> Contacts:
        """Simulates some substeps; returns flags of what touched, one a kind."""

    @abstractmethod
    def _judge(self, contacts: Contacts, step: int) -> Judgement:
        """Judges step `step`, from 1, at its end by all contacts in it."""

    @property
    def episode(self) -> int:
        """Number of the present episode, from 0."""
        return self._episode

    @property
    def seed(self) -> int:
        """Seed of the present episode's scene."""
        return self._first_seed + self._episode

    @property
    def done(self) -> bool:
        """Whether the present episode is over."""
        return self._done

    @property
    def finished(self) -> bool:
        """Whether the last episode of the run is over."""
        return self._done and self._episode + 1 == self.episodes

    def advance(self, substeps: int, *, counting: bool = True) -> list[StepOutcome]:
        """Simulates some substeps; a control period that is complete is a step of the episode.

        Args:
            substeps: how many.
            counting: False lets time pass without steps, as before a run has begun.

        Returns:
            The outcome of each step that was completed; after the episode's last there are none.
        """
        outcomes = []
        while substeps > 0:
            part = min(substeps, self.substeps - self._substep)
            contacts = self._simulate(part)
            substeps -= part
            if not counting or self._done:
                continue
            self._substep += part
            self._contacts.append(contacts)
            if self._substep == self.substeps:
                outcomes.append(self._complete_step())
        return outcomes

    def step(self) -> StepOutcome:
        """Simulates one whole control period, a step of the episode.

        Raises:
            RuntimeError: the episode is over.
        """
        if self._done:
            raise RuntimeError("the episode is over: call next_episode")
        return self.advance(self.substeps - self._substep)[0]

    def next_episode(self) -> None:
        """Resets the scene for the next episode.

        Raises:
            RuntimeError: the present episode is not over, or it was the last.
        """
        if not self._done or self.finished:
            raise RuntimeError("expected an episode that is over and has a successor")
        self._start_episode(self._episode + 1)

    def _start_episode(self, episode: int) -> None:
        self._episode = episode
        rng, _ = seeding.np_random(self.seed)
        self._reset(rng)
        self._step = self._substep = 0
        self._contacts: list[Contacts] = []
        self._done = False
        self._return = self._cost = 0.0

    def _complete_step(self) -> StepOutcome:
        contacts = type(self._contacts[0])(*map(any, zip(*self._contacts, strict=True)))
        self._step += 1
        self._substep, self._contacts = 0, []
        judged = self._judge(contacts, self._step)
        cost = float(bool(judged.violation_kind))
        self._done = judged.ends or self._step >= self.horizon
        self._return += judged.reward * judged.repeats
        self._cost += cost * judged.repeats
        return StepOutcome(
            episode=self._episode,
            seed=self.seed,
            step=self._step,
            reward=judged.reward,
            cost=cost,
            success=judged.success,
            violation_kind=judged.violation_kind,
            done=self._done,
            episode_return=self._return,
            episode_cost=self._cost,
            finished=self.finished,
        )
