"""Episodes of the cable task on the simulated table, one after the other, without ROS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.utils import seeding

from safe_skills.envs.cable import violation_kind
from safe_skills.envs.cable_layouts import CableLayout
from safe_skills.envs.cable_scene import CableScene, Contacts


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


class CableRun:
    """Runs `episodes` episodes; episode k starts as `CableEnv.reset(seed=seed + k)` does.

    The same set-points give the same physics, rewards and costs as `CableEnv`. The environment
    freezes after a violation until its horizon is over; here that tail, whose rewards (-1) and
    costs (1) are known, is skipped: the episode is done, and its return and cost are those of the
    whole horizon.

    Args:
        layout: the table.
        seed: of the first episode.
        episodes: number of episodes; 0: no end.

    Raises:
        ValueError: a negative seed or number of episodes.
    """

    def __init__(self, layout: CableLayout, seed: int, episodes: int) -> None:
        if seed < 0 or episodes < 0:
            raise ValueError(
                f"seed and episodes: expected 0 or more, got {seed!r} and {episodes!r}"
            )
        self.layout = layout
        self.episodes = episodes
        self.scene = CableScene(layout)
        self._first_seed = seed
        self._start_episode(0)

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
            part = min(substeps, self.layout.substeps - self._substep)
            contacts = self.scene.advance(part)
            substeps -= part
            if not counting or self._done:
                continue
            self._substep += part
            self._contacts = Contacts(
                self._contacts.gripper or contacts.gripper, self._contacts.cable or contacts.cable
            )
            if self._substep == self.layout.substeps:
                outcomes.append(self._complete_step())
        return outcomes

    def step(self) -> StepOutcome:
        """Simulates one whole control period, a step of the episode.

        Raises:
            RuntimeError: the episode is over.
        """
        if self._done:
            raise RuntimeError("the episode is over: call next_episode")
        return self.advance(self.layout.substeps - self._substep)[0]

    def next_episode(self) -> None:
        """Resets the scene for the next episode.

        Raises:
            RuntimeError: the present episode is not over, or it was the last.
        """
        if not self._done or self.finished:
            raise RuntimeError("expected an episode that is over and has a successor")
        self._start_episode(self._episode + 1)

    def close(self) -> None:
        """Ends the simulation."""
        self.scene.close()

    def _start_episode(self, episode: int) -> None:
        self._episode = episode
        rng, _ = seeding.np_random(self.seed)
        self.scene.reset(rng)
        self._step = self._substep = 0
        self._contacts = Contacts(False, False)
        self._done = False
        self._return = self._cost = 0.0

    def _complete_step(self) -> StepOutcome:
        kind = violation_kind(self._contacts)
        success = not kind and self.scene.in_goal()
        self._step += 1
        self._substep, self._contacts = 0, Contacts(False, False)
        reward, cost = 0.0 if success else -1.0, float(bool(kind))
        self._done = success or bool(kind) or self._step >= self.layout.horizon
        # After a violation the environment stays frozen: every step left is like this one.
        steps = self.layout.horizon - self._step + 1 if kind else 1
        self._return += reward * steps
        self._cost += cost * steps
        return StepOutcome(
            episode=self._episode,
            seed=self.seed,
            step=self._step,
            reward=reward,
            cost=cost,
            success=success,
            violation_kind=kind,
            done=self._done,
            episode_return=self._return,
            episode_cost=self._cost,
            finished=self.finished,
        )


def table_camera_matrix(layout: CableLayout, size: int) -> np.ndarray:
    """(3, 3) pinhole matrix that agrees with the orthographic camera in the table's plane.

    A pinhole one metre above the image centre sees the table's points at the same pixels.
    """
    focal = size / (2.0 * layout.camera_span)
    centre = (size - 1) / 2.0
    return np.array([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])
