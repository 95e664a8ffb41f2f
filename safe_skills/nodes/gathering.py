"""Puts the episodes of a running graph together from what its topics say. No ROS in here.

Topics come in any order and may lose something: everything is matched by the stamp of the image
that it belongs to, and an episode is made when its last image is there.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass

import numpy as np

from safe_skills.data.episodes import Episode
from safe_skills.data.provenance import revision

REMEMBERED = 2000
"""Images and answers kept for an episode that is not over."""

UNANSWERED = 100
"""Images kept that nothing answers yet: a set-point may be late."""

PATIENCE = 1.0
"""Seconds that the end of an episode waits for what belongs to it."""


@dataclass(frozen=True)
class Step:
    """What is said of one step; the fields of EpisodeStatus.msg.

    Attributes:
        stamp: of the image before the step [ns].
        episode: its number, as counted by who runs the episodes.
        seed: of the scene, 0 where there is none.
        reward: 0 in the goal, else -1.
        cost: 1 in violation, else 0.
        success: whether the task is done.
        violation: what was touched, "" where nothing was.
        done: whether it is the last step.
        episode_cost: once done, of the whole horizon: a violation costs every step left.
    """

    stamp: int
    episode: int
    seed: int
    reward: float
    cost: float
    success: bool
    violation: str
    done: bool
    episode_cost: float


@dataclass(frozen=True)
class _View:
    """An image and where the robot was measured when it came."""

    image: np.ndarray
    position: np.ndarray | None


class EpisodeAssembler:
    """Collects images, set-points or actions, and steps, and makes episodes of them.

    Of a robot that is sent set-points, what a step really did is where its set-point led: the
    distance from the set-point before it, or from the measured position where there is none, as the
    bridge counts. A step without a set-point did nothing. What follows a violation, which freezes
    the state, is filled in up to the horizon, as the environments record it. Where actions are
    given, they are taken as they are, and a violation freezes nothing.

    Where an image of an episode, or an action that should have been given, is missing, the steps up
    to it are left out; what is after it is an episode with the same end.

    Args:
        action_dim: A.
        given: whether actions are given by `action`, and not by set-points.
        task: number of the environment's task; None where there is but one.
    """

    def __init__(self, action_dim: int, *, given: bool = False, task: int | None = None) -> None:
        self._action_dim, self._given, self._task = action_dim, given, task
        self.incomplete = 0
        """Episodes of which something was missing."""
        self._views: OrderedDict[int, _View] = OrderedDict()
        self._answers: OrderedDict[int, np.ndarray] = OrderedDict()
        self._policies: OrderedDict[int, str] = OrderedDict()
        self._outcomes: deque[tuple[int, np.ndarray]] = deque(maxlen=8)
        self._starts: deque[int] = deque(maxlen=100)
        self._steps: list[Step] = []
        self._over: deque[tuple[float, list[Step]]] = deque()

    def start(self, stamp: int) -> None:
        """Take the beginning of an episode: later images are none of the one before."""
        self._starts.append(stamp)

    def image(self, stamp: int, image: np.ndarray, position: np.ndarray | None) -> None:
        """Take a camera frame.

        Args:
            stamp: its stamp [ns]; one that comes again is the same frame.
            image: (H, W, 3) uint8 RGB of the task area.
            position: (A,) measured position of the robot, in the units of the actions; None where
                it is unknown.
        """
        if stamp not in self._views:
            self._views[stamp] = _View(image, position)
            self._forget_unanswered()
            _forget_oldest(self._views)

    def outcome(self, stamp: int, image: np.ndarray) -> None:
        """Take what the camera saw at the end of an episode, where that is said apart."""
        self._outcomes.append((stamp, image))

    def set_point(self, stamp: int, position: np.ndarray) -> None:
        """Take where the robot was sent (A,) in answer to the image of a stamp."""
        self._answers[stamp] = position
        _forget_oldest(self._answers)

    def action(self, stamp: int, action: np.ndarray) -> None:
        """Take what was chosen (A,) in answer to the image of a stamp, where actions are given."""
        self._answers[stamp] = action
        _forget_oldest(self._answers)

    def acted(self, stamp: int, policy: str) -> None:
        """Take what acted, in words, on the image of a stamp."""
        self._policies[stamp] = policy
        _forget_oldest(self._policies)

    def step(self, step: Step, now: float) -> None:
        """Take what is said of a step at a time `now` [s]."""
        if self._steps and step.episode != self._steps[0].episode:
            # Its end was not said: who runs the episodes was started again.
            self.incomplete += 1
            self._steps = []
        self._steps.append(step)
        if step.done:
            self._over.append((now + PATIENCE, self._steps))
            self._steps = []

    def abandon(self) -> None:
        """Forget the episode under way: its end will not be said."""
        self.incomplete += bool(self._steps)
        self._steps = []

    @property
    def waiting(self) -> bool:
        """Whether an episode that is over has not been returned yet."""
        return bool(self._over)

    def take(self, now: float) -> list[Episode]:
        """Return the episodes that are complete at `now` [s], or have waited long enough."""
        found = []
        while self._over:
            deadline, steps = self._over[0]
            last = steps[-1].stamp
            end = min((start for start in self._starts if start > last), default=math.inf)
            final = next((image for stamp, image in self._outcomes if last < stamp < end), None)
            waits = final is None or not all(self._known(step.stamp) for step in steps)
            if waits and now < deadline:
                break
            self._over.popleft()
            if final is None:
                # Of a camera that runs on.
                later = (view.image for stamp, view in self._views.items() if last < stamp < end)
                final = next(later, None)
            episode = None if final is None else self._episode(steps, final)
            self.incomplete += episode is None or len(episode) < len(steps)
            if episode is not None:
                found.append(episode)
            self._forget(last)
        return found

    def _known(self, stamp: int) -> bool:
        return stamp in self._views and (not self._given or stamp in self._answers)

    def _episode(self, steps: list[Step], final: np.ndarray) -> Episode | None:
        known = [self._known(step.stamp) for step in steps]
        first = len(known) - known[::-1].index(False) if False in known else 0
        if first == len(steps):
            return None
        whole, steps = steps, steps[first:]
        actions = np.stack([self._action(whole, first + k) for k in range(len(steps))])
        rewards = [step.reward for step in steps]
        costs = [step.cost for step in steps]
        images = [self._views[step.stamp].image for step in steps] + [final]
        last = steps[-1]
        frozen = 0
        if last.violation and not self._given:
            frozen = max(0, round(last.episode_cost - sum(step.cost for step in whole)))
        shape = images[0].shape
        if any(image.shape != shape for image in images):
            return None
        return Episode(
            images=np.stack(images + [final] * frozen),
            masks=None,
            actions=np.concatenate((actions, np.zeros((frozen, actions.shape[1])))).astype(
                np.float32
            ),
            rewards=np.array(rewards + [last.reward] * frozen, np.float32),
            costs=np.array(costs + [last.cost] * frozen, np.float32),
            terminated=last.success,
            truncated=not last.success,
            success=last.success,
            kind="online",
            seed=last.seed,
            policy=self._policies.get(steps[0].stamp, "unknown"),
            revision=revision(),
            violation=next((step.violation for step in whole if step.violation), ""),
            task=self._task,
        )

    def _action(self, steps: list[Step], number: int) -> np.ndarray:
        stamp = steps[number].stamp
        if self._given:
            # A step whose command was held is a step of this action all the same: it is what the
            # agent asked for in this state, and a hold is what came of it.
            return self._answers[stamp]
        target = self._answers.get(stamp)
        start = self._answers.get(steps[number - 1].stamp) if number else None
        if start is None:
            start = self._views[stamp].position
        if target is None or start is None:
            return np.zeros(self._action_dim)
        return np.asarray(target, np.float64) - start

    def _forget_unanswered(self) -> None:
        """While a robot is paused its camera runs on: of that only the latest is of use."""
        told = {step.stamp for step in self._steps}
        told |= {step.stamp for _, steps in self._over for step in steps}
        unanswered = [s for s in self._views if s not in self._answers and s not in told]
        for old in unanswered[:-UNANSWERED]:
            del self._views[old]

    def _forget(self, stamp: int) -> None:
        for kept in (self._views, self._answers, self._policies):
            for old in [key for key in kept if key <= stamp]:
                del kept[old]


def _forget_oldest(kept: OrderedDict) -> None:
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)
