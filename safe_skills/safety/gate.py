"""The gate between a planner and a robot: what it does not pass does not reach the robot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from safe_skills.safety.checks import standard_checks
from safe_skills.safety.evidence import (
    Decision,
    Evidence,
    Finding,
    GateCommand,
    GateState,
    as_vector,
)
from safe_skills.safety.limits import GateLimits


class Gate:
    """Judges commands by limits and evidence; the most severe finding decides.

    Whatever comes in, the action of a decision is finite, of the right size, within the step
    limits, leads no further out of the workspace, and differs from the action before by no more
    than the change limit, unless it is shorter than that one (braking).
    It holds no state: the caller keeps the action that was last passed on.

    Args:
        limits: what is allowed.
    """

    def __init__(self, limits: GateLimits) -> None:
        self.limits = limits
        self._units = np.array(limits.units)
        self._plain = bool((self._units == 1.0).all())
        self._checks = standard_checks(limits)

    def check(self, command: GateCommand | None, evidence: Evidence) -> Decision:
        """Judges one command.

        Args:
            command: the motion asked for; None judges the evidence alone, for a status in silence.
            evidence: what is known now.

        Returns:
            The decision; its action is zero in HOLD and STOPPED, and where there is no command.
        """
        limits = self.limits
        asked = None if command is None else as_vector(command.action, limits.entries)
        action = begun = self._displacement(asked)
        evidence = self._evidence_in_units(evidence)
        findings: list[Finding] = []
        for check in self._checks:
            action, finding = check.judge(action, command, evidence)
            if finding is not None:
                findings.append(finding)
        findings.sort(key=lambda finding: finding.state, reverse=True)
        state = findings[0].state if findings else GateState.OK
        if asked is None or action is None or state >= GateState.HOLD:
            passed = np.zeros(limits.entries)
        elif action is begun:
            passed = asked  # to the last digit: there and back through the units would round
        else:
            passed = asked.copy()
            passed[: limits.dimensions] = action * self._units
        return Decision(state, passed, tuple(findings))

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
