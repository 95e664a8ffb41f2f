"""The gate between a planner and a robot: what it does not pass does not reach the robot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safe_skills.safety.catalogue import FORMS, checks_of
from safe_skills.safety.checks import Check
from safe_skills.safety.evidence import (
    Decision,
    Evidence,
    Finding,
    GateCommand,
    GateState,
    as_vector,
)
from safe_skills.safety.limits import GateLimits
from safe_skills.safety.motion_checks import SlowDownCheck
from safe_skills.safety.rules import Debounce, Rule, RuleAction


class Gate:
    """Judges commands by limits and evidence; the most severe finding decides.

    Whatever comes in, the action of a decision is finite, of the right size, within the step
    limits, leads no further out of the workspace, and differs from the action before by no more
    than the change limit, unless it is shorter than that one (braking).
    It remembers how long its rules have been broken, and nothing else: the caller keeps the action
    that was last passed on.

    Args:
        limits: what is allowed.
        before: the gate whose place this one takes, with other limits: a rule that acts goes on
            doing so until it is kept.
    """

    def __init__(self, limits: GateLimits, before: Gate | None = None) -> None:
        self.limits = limits
        self._units = np.array(limits.units)
        self._plain = bool((self._units == 1.0).all())
        acting = {} if before is None else before.acting
        self._judges = [
            _Judge(rule, check, acting.get(rule.check)) for rule, check in checks_of(limits)
        ]

    @property
    def checks(self) -> int:
        """Number of checks that are made."""
        return len(self._judges)

    @property
    def acting(self) -> dict[str, Finding]:
        """By check: what each rule that acts found last, in a judgement that counted."""
        return {
            judge.rule.check: judge.last
            for judge in self._judges
            if judge.debounce.active and judge.last is not None
        }

    def check(
        self, command: GateCommand | None, evidence: Evidence, counts: bool = True
    ) -> Decision:
        """Judges one command.

        Args:
            command: the motion asked for; None judges the evidence alone, for a status in silence.
            evidence: what is known now.
            counts: whether this is a judgement more for rules that wait for several; a command that
                is judged again is not.

        Returns:
            The decision; its action is zero in HOLD and STOPPED, and where there is no command.
        """
        limits = self.limits
        asked = None if command is None else as_vector(command.action, limits.entries)
        action = begun = self._displacement(asked)
        evidence = self._evidence_in_units(evidence)
        findings: list[Finding] = []
        observed: list[Finding] = []
        scale = 1.0
        for judge in self._judges:
            if command is None and not judge.check.in_silence:
                continue
            left, finding = judge.check.judge(action, command, evidence)
            finding, acts = judge.ruled(finding, counts)
            if finding is None:
                continue
            if not acts:
                observed.append(finding)
                continue
            findings.append(finding)
            if judge.rule.action == RuleAction.LIMIT and judge.native > RuleAction.LIMIT:
                left = None if action is None else action * limits.slow_scale
            if isinstance(judge.check, SlowDownCheck) and action is not None and action.any():
                scale = float(np.abs(left).max() / np.abs(action).max())
            action = left
        findings.sort(key=lambda finding: finding.state, reverse=True)
        state = findings[0].state if findings else GateState.OK
        if asked is None or action is None or state >= GateState.HOLD:
            passed = np.zeros(limits.entries)
        elif action is begun:
            passed = asked  # to the last digit: there and back through the units would round
        else:
            passed = asked.copy()
            passed[: limits.dimensions] = action * self._units
        return Decision(state, passed, tuple(findings), tuple(observed), scale)

    def length(self, action: np.ndarray) -> float:
        """Euclidean norm of an action's displacement [units]."""
        return float(np.linalg.norm(self._in_units(action[: self.limits.dimensions])))

    def _displacement(self, asked: np.ndarray | None) -> np.ndarray | None:
        """What a command's displacement is in units; None where that is not finite."""
        if asked is None:
            return None
        return as_vector(self._in_units(asked[: self.limits.dimensions]), self.limits.dimensions)

    def _in_units(self, values: np.ndarray) -> np.ndarray:
        if self._plain:
            return values
        with np.errstate(over="ignore"):  # what becomes infinite is found not to be finite
            return values / self._units

    def _evidence_in_units(self, evidence: Evidence) -> Evidence:
        """Position and previous displacement in units; what cannot be read stays for the checks."""
        size, entries = self.limits.dimensions, self.limits.entries
        if self._plain and entries == size:
            return evidence
        position = as_vector(evidence.position, size)
        changes: dict[str, np.ndarray] = {}
        if position is not None:
            changes["position"] = self._in_units(position)
        if evidence.previous_action is not None:
            previous = as_vector(evidence.previous_action, entries)
            # A wrong size or a NaN has to be noticed by the check that reads it.
            changes["previous_action"] = (
                np.full(size, np.nan) if previous is None else self._in_units(previous[:size])
            )
        return replace(evidence, **changes)


class _Judge:
    """A check with its rule: what a finding comes to, and when."""

    def __init__(self, rule: Rule, check: Check, last: Finding | None) -> None:
        self.rule, self.check, self.last = rule, check, last
        self.native = FORMS[rule.check].native
        self.debounce = Debounce(rule, active=last is not None)

    def ruled(self, finding: Finding | None, counts: bool) -> tuple[Finding | None, bool]:
        """Returns the finding as the rule has it, and whether it acts."""
        broken = finding is not None
        acts = self.debounce.note(broken) if counts else self.debounce.peek(broken)
        if broken:
            self.last = finding = replace(finding, state=self._state(finding.state))
        elif acts:
            finding = self.last
        if finding is None:
            return None, False
        if not acts or self.rule.action == RuleAction.OBSERVE:
            return replace(finding, state=GateState.OK), False
        return finding, True

    def _state(self, found: GateState) -> GateState:
        """What a finding comes to: a rule may make it milder than the check has it, or severer."""
        action = self.rule.action
        if action == self.native:
            return found
        return GateState(int(action) if action < self.native else max(int(found), int(action)))
