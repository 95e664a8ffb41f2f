"""What the gate judges by, gathered from messages. No ROS and no clock in here."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from safe_skills.safety import Evidence, GateLimits
from safe_skills.safety.evidence import as_vector
from safe_skills.safety.frozen import FrozenView

REMEMBERED = 16
"""Latents and abstract actions kept by stamp: a command may answer an image that is not the newest.
"""

NAN = math.nan


class Classifiers(Protocol):
    """What the gate asks of a learned model (`LS3Agent` has it)."""

    action_limit: np.ndarray

    def constraint_probability(self, mean: np.ndarray) -> float:
        """Probability that a latent (d,) breaks the constraint."""

    def safe_set_probability(self, mean: np.ndarray) -> float:
        """Probability that a latent (d,) is in the safe set."""

    def predicted_constraint_probability(self, mean: np.ndarray, action: np.ndarray) -> float:
        """The first of these, one step ahead under an action (A,)."""


@dataclass(frozen=True)
class Belief:
    """A latent, and what the models say of it; NaN where there are none."""

    mean: np.ndarray
    constraint: float
    safe_set: float


class Observations:
    """The newest of everything, and what was let through.

    Times are monotonic seconds of this host; stamps are nanoseconds and only match messages with
    each other.

    Args:
        models: give the probabilities; None where there are none, and the limits ask for none.
        limits: of the gate, for the units and for how far the robot may move under one picture.
    """

    def __init__(self, models: Classifiers | None, limits: GateLimits) -> None:
        self.models = models
        self._units = np.array(limits.units)
        self._view = FrozenView(limits.frozen_limit or 0.0, limits.frozen_frames)
        self.position: np.ndarray | None = None
        self.reconstruction_error = self.latent_distance = NAN
        self._received: dict[str, float] = {}
        self._beliefs: OrderedDict[int, Belief] = OrderedDict()
        self._abstract_actions: OrderedDict[int, float] = OrderedDict()
        self._bridge: str | None = None
        self._way: deque[np.ndarray] = deque(maxlen=3)
        self._plan_feasible: bool | None = None
        self._asked: deque[float] = deque()
        self._path: deque[tuple[float, float]] = deque()
        self._passed: tuple[float, np.ndarray, float] | None = None
        self._before: tuple[float, np.ndarray, float] | None = None

    def limit(self, limits: GateLimits) -> None:
        """Take up other limits."""
        self._view.limit_m = limits.frozen_limit or 0.0
        self._view.frames = limits.frozen_frames

    # ---- what comes in

    def received(self, source: str, now: float) -> None:
        """Note that something came, such as a safety context."""
        self._received[source] = now

    def image(self, now: float, stamp: int, digest: int) -> None:
        """Note an image, by a digest of its pixels."""
        self.received("image", now)
        self._view.note_image(stamp, digest)

    def robot(self, now: float, position: Sequence[float] | np.ndarray) -> None:
        """Note the measured position (A,) in the task frame [m, rad]."""
        self.received("robot", now)
        self.position = np.asarray(position, np.float64)
        self._view.note_position(self.position / self._units)

    def bridge(
        self, now: float, state: str, set_point: Sequence[float], goal: Sequence[float]
    ) -> None:
        """Note the bridge's state, the set-point (A,) that it sent last, and where that leads.

        The robot is on its way between them, or still behind, on the way from the set-point before.
        """
        self.received("bridge", now)
        self._bridge = state
        size = 0 if self.position is None else len(self.position)
        ends = [as_vector(end, size) for end in (set_point, goal)]
        if state != "moving" or size == 0 or any(end is None for end in ends):
            self._way.clear()  # a robot that is not on its way is where it is
            return
        if self._way:
            self._way.pop()  # the goal of the status before
        self._way.extend(ends)

    def plan(self, now: float, feasible: bool) -> None:
        """Note the newest plan."""
        self.received("plan", now)
        self._plan_feasible = feasible

    def latent(self, now: float, stamp: int, mean: np.ndarray) -> None:
        """Note a latent (d,) and what the models say of it."""
        self.received("latent", now)
        if stamp not in self._beliefs:
            models, probabilities = self.models, (NAN, NAN)
            if models is not None:
                probabilities = (
                    models.constraint_probability(mean),
                    models.safe_set_probability(mean),
                )
            self._beliefs[stamp] = Belief(mean, *probabilities)
        _forget_oldest(self._beliefs)

    def abstract_action(self, stamp: int, largest: float) -> None:
        """Note max |z| of an abstract action; of several for one image the largest counts."""
        before = self._abstract_actions.get(stamp, 0.0)
        # A NaN stays a NaN, and is nothing that passes.
        self._abstract_actions[stamp] = largest if math.isnan(largest) else max(before, largest)
        _forget_oldest(self._abstract_actions)

    # ---- what goes out

    def asked(self, now: float) -> None:
        """Note that a command came, which was not seen before."""
        self._asked.append(now)
        self._before = self._passed
        if self._passed is not None:
            self._path.append((self._passed[0], self._passed[2]))

    def passed(self, now: float, action: np.ndarray, length: float) -> None:
        """Note what was let through for it, and its length in units."""
        self._passed = (now, action, length)

    # ---- an episode, a model

    def start_episode(self) -> None:
        """Forget what was let through."""
        self._before = self._passed = None
        self._path.clear()
        self._view.reset()

    def forget_before(self, stamp: int) -> None:
        """Forget what belongs to images before `stamp`."""
        for kept in (self._beliefs, self._abstract_actions):
            for old in [key for key in kept if key < stamp]:
                del kept[old]

    def use(self, models: Classifiers) -> None:
        """Ask other models; what the old ones said of past latents is forgotten."""
        self.models = models
        self._beliefs.clear()

    # ---- what the gate sees

    def belief(self, stamp: int | None) -> Belief | None:
        """The belief about the image of `stamp`; None: about the newest."""
        if stamp is None:
            return next(reversed(self._beliefs.values()), None)
        return self._beliefs.get(stamp)

    def largest(self, stamp: int | None) -> float | None:
        """The max |z| of the abstract action for the image of `stamp`."""
        return None if stamp is None else self._abstract_actions.get(stamp)

    def command_rate(self, now: float) -> float:
        """Commands in the last second [Hz]."""
        while self._asked and now - self._asked[0] >= 1.0:
            self._asked.popleft()
        return float(len(self._asked))

    def tracking_error(self) -> float:
        """Distance of the robot from its way [units]; NaN where it is on none."""
        if self.position is None or len(self._way) < 2:
            return NAN
        points = [(point - self.position) / self._units for point in self._way]
        return min(_distance(*pair) for pair in itertools.pairwise(points))

    def evidence(
        self, now: float, limits: GateLimits, stamp: int | None, predicted: float
    ) -> Evidence:
        """What is known now of the command that answers the image of `stamp`; None: of none."""
        belief, received = self.belief(stamp), self._received.get
        before = self._before if stamp is not None else self._passed
        while self._path and now - self._path[0][0] >= limits.velocity_window:
            self._path.popleft()
        return Evidence(
            now=now,
            latent_received=received("latent"),
            image_received=received("image"),
            robot_received=received("robot"),
            context_received=received("context"),
            plan_received=received("plan"),
            bridge_received=received("bridge"),
            command_rate=self.command_rate(now),
            robot_state=self._bridge,
            tracking_error=_known(self.tracking_error()),
            reconstruction_error=_known(self.reconstruction_error),
            latent_distance=_known(self.latent_distance),
            frozen_distance=self._view.distance,
            plan_feasible=self._plan_feasible,
            since_previous=None if before is None else now - before[0],
            travelled=sum(length for _, length in self._path),
            abstract_action=self.largest(stamp),
            latent_matches=belief is not None,
            constraint_probability=NAN if belief is None else belief.constraint,
            predicted_constraint_probability=predicted,
            safe_set_probability=NAN if belief is None else belief.safe_set,
            position=self.position,
            previous_action=None if before is None else before[1],
        )


def _distance(begin: np.ndarray, end: np.ndarray) -> float:
    """Distance of the origin from the segment between two points (A,)."""
    along = end - begin
    length = float(along @ along)
    share = min(max(-float(begin @ along) / length, 0.0), 1.0) if length > 0.0 else 0.0
    return float(np.linalg.norm(begin + share * along))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _forget_oldest(kept: OrderedDict) -> None:
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)
