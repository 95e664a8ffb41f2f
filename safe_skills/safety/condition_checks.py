"""Checks of what is around a command: the robot, the encoder, the planner, the rate.

None of them looks at the displacement: they judge in silence, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from safe_skills.safety.checks import NAN, Verdict
from safe_skills.safety.evidence import Finding, GateState, as_probability

MOVABLE = frozenset(("ready", "moving", "holding"))
"""States of the bridge in which the robot may be moved."""


@dataclass(frozen=True)
class _AboveLimit:
    """HOLD where a number of the evidence is above a limit; what is not known is not judged."""

    limit: float
    code: ClassVar[str]
    number: ClassVar[str]
    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD above the limit."""
        value = getattr(evidence, self.number)
        if value is None or value <= self.limit:
            return Verdict(action)
        return Verdict(action, Finding(self.code, GateState.HOLD, float(value), self.limit))


class RateCheck(_AboveLimit):
    """`rate`: more commands in a second than the robot is made for."""

    code, number = "rate", "command_rate"


class TrackingCheck(_AboveLimit):
    """`tracking`: the robot is not on the way that it was sent."""

    code, number = "tracking", "tracking_error"


class FrozenCheck(_AboveLimit):
    """`frozen_view`: the robot has moved and the picture has not changed."""

    code, number = "frozen_view", "frozen_distance"


class BudgetCheck(_AboveLimit):
    """`violation_budget`: an episode in which too much had to be held; held to its end."""

    code, number = "violation_budget", "violations"


@dataclass(frozen=True)
class RobotCheck:
    """`robot_fault`, `robot_not_ready`: a robot that its bridge says must not be moved.

    Where no bridge says anything there is no robot to move, and nothing to find; `bridge_timeout`
    is for those who want to know.
    """

    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD in a fault, not enabled, not homed, or without a measured position."""
        state = evidence.robot_state
        if state is None or state in MOVABLE:
            return Verdict(action)
        code = "robot_fault" if state == "fault" else "robot_not_ready"
        return Verdict(action, Finding(code, GateState.HOLD, NAN, NAN))


@dataclass(frozen=True)
class SurpriseCheck:
    """`reconstruction`, `latent_distance`: a frame that the encoder cannot explain.

    Both limits are quantiles of the frames on which the checkpoint was calibrated. What is not
    known is not judged: the encoder's word comes after the latent, and may be of the frame before.
    """

    reconstruction_limit: float | None
    distance_limit: float | None
    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD for a frame beyond a limit, or one that is not a number."""
        for code, value, limit in (
            ("reconstruction", evidence.reconstruction_error, self.reconstruction_limit),
            ("latent_distance", evidence.latent_distance, self.distance_limit),
        ):
            if value is not None and limit is not None and not value <= limit:
                return Verdict(action, Finding(code, GateState.HOLD, value, limit))
        return Verdict(action)


@dataclass(frozen=True)
class PresentConstraintCheck:
    """`constraint_present`: the present frame looks like a violation."""

    limit: float
    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD above the limit; unknown is for `constraint` to judge."""
        present = as_probability(evidence.constraint_probability)
        if present is None or present <= self.limit:
            return Verdict(action)
        finding = Finding("constraint_present", GateState.HOLD, present, self.limit)
        return Verdict(action, finding)


@dataclass(frozen=True)
class PlanCheck:
    """`plan_infeasible`: the planner found no plan that keeps its chance constraints."""

    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD where the newest plan is infeasible; no plan at all is for `plan_timeout`."""
        if evidence.plan_feasible is None or evidence.plan_feasible:
            return Verdict(action)
        return Verdict(action, Finding("plan_infeasible", GateState.HOLD, 0.0, 1.0))
