"""Judges commands by what was observed, latches stops, and counts. No ROS and no clock in here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from safe_skills.nodes.observations import NAN, Belief, Classifiers, Observations
from safe_skills.safety import (
    Decision,
    EmergencyStop,
    Finding,
    Gate,
    GateCommand,
    GateLimits,
    GateState,
)

SILENCE = 0.3
"""Seconds without a command after which the judgement in silence is the status."""

LATCH = "emergency_stop"


@dataclass
class Counters:
    """Commands by treatment, and events; since start where the name does not say otherwise.

    Attributes:
        causes: how often each reason began.
        causes_episode: the same in this episode.
    """

    received: int = 0
    passed: int = 0
    limited: int = 0
    held: int = 0
    stopped: int = 0
    violations: int = 0
    violations_episode: int = 0
    seen_contacts: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    causes_episode: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Counters:
        """A copy that goes on counting by itself."""
        return replace(
            self, causes=Counter(self.causes), causes_episode=Counter(self.causes_episode)
        )


@dataclass(frozen=True)
class Judgement:
    """A decision with the numbers behind it; NaN where unknown.

    Attributes:
        decision: the gate's.
        constraint: of the present frame.
        predicted_constraint: one step ahead, under the command.
        safe_set: of the present frame.
        abstract_action: max |z| that the command was decoded from.
        reconstruction_error: of the newest frame that the encoder judged.
        latent_distance: of the newest latent from those of training.
        tracking_error: distance of the robot from the way that it was sent [units].
        command_rate: commands in the last second [Hz].
        begun: findings that the judgement before this one did not have, observed ones last.
    """

    decision: Decision
    constraint: float = NAN
    predicted_constraint: float = NAN
    safe_set: float = NAN
    abstract_action: float = NAN
    reconstruction_error: float = NAN
    latent_distance: float = NAN
    tracking_error: float = NAN
    command_rate: float = 0.0
    begun: tuple[Finding, ...] = ()


class Supervisor:
    """The safety monitor without its topics.

    Times are monotonic seconds of this host; stamps are nanoseconds and only match messages with
    each other.

    Args:
        limits: of the gate.
        models: give the probabilities; None where there are none, and the limits ask for none.
        emergency_stop: kept by the caller, since it outlives a reconfiguration.

    Attributes:
        seen: what the gate judges by; the caller tells it what comes.
        counters: by treatment and by cause.
    """

    def __init__(
        self, limits: GateLimits, models: Classifiers | None, emergency_stop: EmergencyStop
    ) -> None:
        self.seen = Observations(models, limits)
        self.counters = Counters()
        self._emergency_stop = emergency_stop
        self._gate = Gate(limits)
        self._start = 0
        self._judged: int | None = None
        self._judged_at = -float("inf")
        # Judgements with and without a command see different rules, so each has its own memory.
        self._active: dict[bool, frozenset[str]] = {True: frozenset(), False: frozenset()}
        self._stopping: dict[bool, frozenset[str]] = {True: frozenset(), False: frozenset()}
        self._contact = False

    @property
    def checks(self) -> int:
        """Number of checks in force."""
        return self._gate.checks

    @property
    def limits(self) -> GateLimits:
        """Limits in force; setting them takes effect with the next judgement."""
        return self._gate.limits

    @limits.setter
    def limits(self, limits: GateLimits) -> None:
        self._gate = Gate(limits, before=self._gate)
        self.seen.limit(limits)

    def start_episode(self, stamp: int) -> None:
        """Forget the attempt before: its latents, what was last let through, its counts.

        Word of a start may come late, or again, when commands of that attempt have been judged:
        what was let through for those is not forgotten. Neither is it where the command judged last
        had a stamp of the future, which says nothing; but from here on others are judged again.
        """
        if stamp <= self._start:
            return
        self._start = stamp
        self.counters.violations_episode = 0
        self.counters.causes_episode.clear()
        self.seen.forget_before(stamp)
        if self._judged is None or self._judged < stamp:
            self.seen.start_episode()
        self._judged = None
        self._contact = False

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
            self._judged, self._judged_at = stamp, now
            self.seen.asked(now)
        belief = self.seen.belief(stamp)
        predicted = NAN if belief is None else self._predict(belief.mean, command)
        judgement = self._judgement(now, stamp, command, predicted, counts=not repeated)
        action = judgement.decision.action
        self.seen.passed(now, action, self._gate.length(action))
        if not repeated:
            self._count(judgement.decision)
        return judgement

    def look(self, now: float) -> Judgement:
        """Judge the evidence alone: what is true while no command comes."""
        silent = now - self._judged_at >= SILENCE
        if silent:
            # Whoever asked for what must not be has fallen silent.
            self._latch(True, frozenset())
        return self._judgement(now, None, None, NAN, counts=silent)

    def _judgement(
        self,
        now: float,
        stamp: int | None,
        command: GateCommand | None,
        predicted: float,
        *,
        counts: bool,
    ) -> Judgement:
        seen, limits = self.seen, self._gate.limits
        evidence = replace(
            seen.evidence(now, limits, stamp, predicted),
            violations=self.counters.violations_episode,
            emergency_stop=self._emergency_stop.stopped,
        )
        decision = self._gate.check(command, evidence, counts)
        self._latch(command is not None, frozenset(_stops(decision)))
        belief = seen.belief(stamp) or Belief(np.empty(0), NAN, NAN)
        largest = evidence.abstract_action
        return Judgement(
            decision,
            belief.constraint,
            predicted,
            belief.safe_set,
            NAN if largest is None else largest,
            seen.reconstruction_error,
            seen.latent_distance,
            seen.tracking_error(),
            evidence.command_rate,
            self._begun(decision, command is not None),
        )

    def _latch(self, commanded: bool, stops: frozenset[str]) -> None:
        """Latch the stop for rules that ask for it; their causes stand until they are kept."""
        before, self._stopping[commanded] = self._stopping[commanded], stops
        for code in stops | before:
            stands = code in self._stopping[True] or code in self._stopping[False]
            self._emergency_stop.set_cause(code, stands)

    def _begun(self, decision: Decision, commanded: bool) -> tuple[Finding, ...]:
        findings = (*decision.findings, *decision.observed)
        before, other = self._active[commanded], self._active[not commanded]
        self._active[commanded] = frozenset(finding.code for finding in findings)
        begun = tuple(finding for finding in findings if finding.code not in before)
        counters = self.counters
        for finding in begun:
            if finding.code not in other:
                counters.causes[finding.code] += 1
                counters.causes_episode[finding.code] += 1
            if commanded:
                counters.violations += 1
                holds = finding.state >= GateState.HOLD
                own = finding.code not in (LATCH, "violation_budget")
                counters.violations_episode += holds and own
        return begun

    def _predict(self, mean: np.ndarray, command: GateCommand) -> float:
        models = self.seen.models
        if models is None:
            return NAN
        action = np.asarray(command.action, np.float64)
        if action.shape != np.shape(models.action_limit) or not np.isfinite(action).all():
            return NAN
        return models.predicted_constraint_probability(mean, action)

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


def _stops(decision: Decision) -> list[str]:
    return [
        finding.code
        for finding in decision.findings
        if finding.state == GateState.STOPPED and finding.code != LATCH
    ]
