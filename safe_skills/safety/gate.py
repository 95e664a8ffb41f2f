"""The gate between a planner and a robot: what it does not pass does not reach the robot."""

from __future__ import annotations

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
        self._checks = standard_checks(limits)

    def check(self, command: GateCommand | None, evidence: Evidence) -> Decision:
        """Judges one command.

        Args:
            command: the motion asked for; None judges the evidence alone, for a status in silence.
            evidence: what is known now.

        Returns:
            The decision; its action is zero in HOLD and STOPPED, and where there is no command.
        """
        size = self.limits.dimensions
        action = None if command is None else as_vector(command.action, size)
        findings: list[Finding] = []
        for check in self._checks:
            action, finding = check.judge(action, command, evidence)
            if finding is not None:
                findings.append(finding)
        findings.sort(key=lambda finding: finding.state, reverse=True)
        state = findings[0].state if findings else GateState.OK
        if action is None or state >= GateState.HOLD:
            action = np.zeros(size)
        return Decision(state, action, tuple(findings))
