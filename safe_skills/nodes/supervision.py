"""Gathers what the gate judges by, judges commands, and counts. No ROS and no clock in here."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from safe_skills.safety import (
    Decision,
    EmergencyStop,
    Evidence,
    Finding,
    Gate,
    GateCommand,
    GateLimits,
    GateState,
)

REMEMBERED = 16
"""Latents and abstract actions kept by stamp: a command may answer an image that is not the newest.
"""

NAN = math.nan


class Classifiers(Protocol):
    """What the supervisor asks of a learned model (`LS3Agent` has it)."""

    action_limit: np.ndarray

    def constraint_probability(self, mean: np.ndarray) -> float:
        """Probability that a latent (d,) breaks the constraint."""

    def safe_set_probability(self, mean: np.ndarray) -> float:
        """Probability that a latent (d,) is in the safe set."""

    def predicted_constraint_probability(self, mean: np.ndarray, action: np.ndarray) -> float:
        """The first of these, one step ahead under an action (A,)."""


@dataclass
class Counters:
    """Commands by treatment, and events; all since start."""

    received: int = 0
    passed: int = 0
    limited: int = 0
    held: int = 0
    stopped: int = 0
    violations: int = 0
    seen_contacts: int = 0


@dataclass(frozen=True)
class Judgement:
    """A decision with the probabilities behind it; NaN where unknown.

    Attributes:
        decision: the gate's.
        constraint: of the present frame.
        predicted_constraint: one step ahead, under the command.
        safe_set: of the present frame.
        abstract_action: max |z| that the command was decoded from.
        begun: findings that the judgement before this one did not have.
    """

    decision: Decision
    constraint: float = NAN
    predicted_constraint: float = NAN
    safe_set: float = NAN
    abstract_action: float = NAN
    begun: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class _Belief:
    mean: np.ndarray
    constraint: float
    safe_set: float


class Supervisor:
    """The safety monitor without its topics.

    Times are monotonic seconds of this host; stamps are nanoseconds and only match messages with
    each other.

    Args:
        limits: of the gate.
        models: give the probabilities; None where there are none, and the limits ask for none.
        emergency_stop: kept by the caller, since it outlives a reconfiguration.
    """

    def __init__(
        self, limits: GateLimits, models: Classifiers | None, emergency_stop: EmergencyStop
    ) -> None:
        self._emergency_stop = emergency_stop
        self.counters = Counters()
        self._gate = Gate(limits)
        self._models = models
        self._received: dict[str, float] = {}
        self._position: np.ndarray | None = None
        self._beliefs: OrderedDict[int, _Belief] = OrderedDict()
        self._abstract_actions: OrderedDict[int, float] = OrderedDict()
        self._start = 0
        self._judged: int | None = None
        self._before: np.ndarray | None = None
        self._passed: np.ndarray | None = None
        self._active: dict[bool, frozenset[str]] = {True: frozenset(), False: frozenset()}
        self._contact = False

    @property
    def limits(self) -> GateLimits:
        """Limits in force; setting them takes effect with the next judgement."""
        return self._gate.limits

    @limits.setter
    def limits(self, limits: GateLimits) -> None:
        self._gate = Gate(limits)

    def use(self, models: Classifiers) -> None:
        """Judge by other models; what the old ones said of past latents is forgotten."""
        self._models = models
        self._beliefs.clear()

    def start_episode(self, stamp: int) -> None:
        """Forget the attempt before: its latents and what was last let through."""
        if stamp < self._start:
            return
        self._start = stamp
        self._before = self._passed = self._judged = None
        self._contact = False
        for kept in (self._beliefs, self._abstract_actions):
            for old in [key for key in kept if key < stamp]:
                del kept[old]

    def image(self, now: float) -> None:
        """Note that an image came."""
        self._received["image"] = now

    def robot(self, now: float, position: Sequence[float] | np.ndarray) -> None:
        """Note the measured position (A,) in the task frame [m]."""
        self._received["robot"] = now
        self._position = np.asarray(position, np.float64)

    def latent(self, now: float, stamp: int, mean: np.ndarray) -> None:
        """Note a latent (d,) and what the models say of it."""
        self._received["latent"] = now
        if stamp not in self._beliefs:
            models = self._models
            probabilities = (NAN, NAN)
            if models is not None:
                probabilities = (
                    models.constraint_probability(mean),
                    models.safe_set_probability(mean),
                )
            self._beliefs[stamp] = _Belief(mean, *probabilities)
        _forget_oldest(self._beliefs)

    def context(self, now: float) -> None:
        """Note that a safety context came."""
        self._received["context"] = now

    def abstract_action(self, stamp: int, largest: float) -> None:
        """Note max |z| of an abstract action; of several for one image the largest counts."""
        before = self._abstract_actions.get(stamp, 0.0)
        # A NaN stays a NaN, and is nothing that passes.
        self._abstract_actions[stamp] = largest if math.isnan(largest) else max(before, largest)
        _forget_oldest(self._abstract_actions)

    def contact(self, seen: bool) -> Finding | None:
        """Count a frame in which cable and obstacle touch; a finding where that begins."""
        began, self._contact = seen and not self._contact, seen
        if not seen:
            return None
        self.counters.seen_contacts += 1
        return Finding("seen_contact", GateState.OK, 1.0, 0.0) if began else None

    def judge(self, now: float, stamp: int, command: GateCommand) -> Judgement | None:
        """Judge a command that answers the image of `stamp`.

        A repeat of the command judged last is judged again by the evidence of now, but not counted.

        Returns:
            None for a command of an attempt that is over, or older than the one judged last.
        """
        if stamp < self._start or (self._judged is not None and stamp < self._judged):
            return None
        repeated = stamp == self._judged
        if not repeated:
            self._judged, self._before = stamp, self._passed
        belief = self._beliefs.get(stamp)
        predicted = NAN if belief is None else self._predict(belief.mean, command)
        largest = self._abstract_actions.get(stamp)
        judgement = self._judgement(now, command, belief, predicted, largest)
        self._passed = judgement.decision.action
        if not repeated:
            self._count(judgement.decision)
        return judgement

    def look(self, now: float) -> Judgement:
        """Judge the evidence alone: what is true while no command comes."""
        newest = next(reversed(self._beliefs.values()), None)
        return self._judgement(now, None, newest, NAN, None)

    def _judgement(
        self,
        now: float,
        command: GateCommand | None,
        belief: _Belief | None,
        predicted: float,
        abstract_action: float | None,
    ) -> Judgement:
        constraint = NAN if belief is None else belief.constraint
        safe_set = NAN if belief is None else belief.safe_set
        evidence = Evidence(
            now=now,
            latent_received=self._received.get("latent"),
            image_received=self._received.get("image"),
            robot_received=self._received.get("robot"),
            context_received=self._received.get("context"),
            abstract_action=abstract_action,
            latent_matches=belief is not None,
            constraint_probability=constraint,
            predicted_constraint_probability=predicted,
            safe_set_probability=safe_set,
            position=self._position,
            previous_action=self._before,
            emergency_stop=self._emergency_stop.stopped,
        )
        decision = self._gate.check(command, evidence)
        largest = NAN if abstract_action is None else abstract_action
        begun = self._begun(decision, command)
        return Judgement(decision, constraint, predicted, safe_set, largest, begun)

    def _begun(self, decision: Decision, command: GateCommand | None) -> tuple[Finding, ...]:
        # Judgements with and without a command see different rules, so each has its own memory.
        kind = command is not None
        before, self._active[kind] = self._active[kind], frozenset(decision.reasons)
        begun = tuple(finding for finding in decision.findings if finding.code not in before)
        if kind:
            self.counters.violations += len(begun)
        return begun

    def _predict(self, mean: np.ndarray, command: GateCommand) -> float:
        if self._models is None:
            return NAN
        action = np.asarray(command.action, np.float64)
        if action.shape != np.shape(self._models.action_limit) or not np.isfinite(action).all():
            return NAN
        return self._models.predicted_constraint_probability(mean, action)

    def _count(self, decision: Decision) -> None:
        counters = self.counters
        counters.received += 1
        if decision.state == GateState.OK:
            counters.passed += 1
        elif decision.state == GateState.LIMITED:
            counters.limited += 1
        elif decision.state == GateState.HOLD:
            counters.held += 1
        else:
            counters.stopped += 1


def _forget_oldest(kept: OrderedDict) -> None:
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)
