"""Keeps count of an operator's episodes: which steps they had, how they ended. No ROS in here."""

from __future__ import annotations

from dataclasses import dataclass

OUTCOMES = ("success", "failure", "violation")


@dataclass(frozen=True)
class BookedStep:
    """A step as it is told; the fields of EpisodeStatus.msg."""

    stamp: int
    episode: int
    step: int
    reward: float
    cost: float
    success: bool
    violation_kind: str
    done: bool
    episode_return: float
    episode_cost: float


class EpisodeBook:
    """An episode begins, has steps, and ends with an outcome, as an operator says.

    What a step led to is known when the next one begins or when the episode ends: it is told then.
    Returns and costs are those of LS3's tasks: -1 a step, 0 for the one that reaches the goal; a
    violation counts for every step left of the horizon, as if it froze the state.

    Args:
        horizon: steps after which an episode ends as a failure; 0: never.
    """

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.episode = -1
        self.open = False
        self.ended = dict.fromkeys(OUTCOMES, 0)
        self._start = 0
        self._pending: int | None = None
        self._first: int | None = None
        self._steps = 0

    def start(self, stamp: int) -> int:
        """Begin an episode at a stamp [ns]; returns its number, from 0.

        Raises:
            ValueError: the one before it has not ended.
        """
        if self.open:
            raise ValueError(f"episode {self.episode} has not ended")
        self.open, self._start = True, stamp
        self.episode += 1
        self._pending = self._first = None
        self._steps = 0
        return self.episode

    def command(self, stamp: int) -> list[BookedStep]:
        """A command answers the image of a stamp [ns]: a step begins; returns what is to be told.

        Of an episode that is not open, and for a stamp that is not later than the last, nothing is.
        """
        if not self.open or stamp < self._start or stamp <= (self._pending or 0):
            return []
        told = [] if self._pending is None else [self._told()]
        if self.horizon and self._steps >= self.horizon:
            return [self._close("failure", "")]
        self._pending = stamp
        if self._first is None:
            self._first = stamp
        self._steps += 1
        return told

    def end(self, outcome: str, kind: str = "") -> list[BookedStep]:
        """End the episode with one of `OUTCOMES`; returns what is to be told, its last step.

        Args:
            outcome: how it ended.
            kind: of a violation, in a word.

        Raises:
            ValueError: no episode is open, or it has no step yet.
        """
        if not self.open:
            raise ValueError("no episode is open")
        if self._pending is None:
            raise ValueError(f"episode {self.episode} has no step yet")
        return [self._close(outcome, kind)]

    def discard(self) -> None:
        """End the episode without telling how: it counts for nothing.

        Raises:
            ValueError: no episode is open.
        """
        if not self.open:
            raise ValueError("no episode is open")
        self.open = False

    def is_present(self, stamp: int) -> bool:
        """Whether an image of this stamp [ns] is one of the open episode, after its first step."""
        return self.open and self._first is not None and stamp > self._first

    def _told(self) -> BookedStep:
        return self._step(reward=-1.0, episode_return=-float(self._steps))

    def _close(self, outcome: str, kind: str) -> BookedStep:
        self.open = False
        self.ended[outcome] += 1
        steps = self._steps
        if outcome == "success":
            return self._step(reward=0.0, success=True, done=True, episode_return=-float(steps - 1))
        if outcome == "failure":
            return self._step(reward=-1.0, done=True, episode_return=-float(steps))
        horizon = max(self.horizon, steps)
        return self._step(
            reward=-1.0,
            cost=1.0,
            violation_kind=kind or "operator",
            done=True,
            episode_return=-float(horizon),
            episode_cost=float(horizon - steps + 1),
        )

    def _step(
        self,
        *,
        reward: float,
        episode_return: float,
        cost: float = 0.0,
        success: bool = False,
        violation_kind: str = "",
        done: bool = False,
        episode_cost: float = 0.0,
    ) -> BookedStep:
        return BookedStep(
            stamp=self._pending,
            episode=self.episode,
            step=self._steps,
            reward=reward,
            cost=cost,
            success=success,
            violation_kind=violation_kind,
            done=done,
            episode_return=episode_return,
            episode_cost=episode_cost,
        )
