"""Checks of what is around a command: the robot, the encoder, the planner, the rate.

None of them looks at the displacement: they judge in silence, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from safe_skills.safety.checks import NAN, Verdict
from safe_skills.safety.evidence import Finding, GateState, as_probability

MOVABLE = frozenset(("ready", "moving", "holding"))
"""States of the bridge in which the robot may be moved."""


@dataclass(frozen=True)
class RateCheck:
    """`rate`: more commands in a second than the robot is made for."""

    limit: float
    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD above the limit."""
        if evidence.command_rate <= self.limit:
            return Verdict(action)
        return Verdict(action, Finding("rate", GateState.HOLD, evidence.command_rate, self.limit))


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
class TrackingCheck:
    """`tracking`: the robot is not where it was sent."""

    limit: float
    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD where measured and commanded position disagree; unknown is not a disagreement."""
        error = evidence.tracking_error
        if error is None or error <= self.limit:
            return Verdict(action)
        return Verdict(action, Finding("tracking", GateState.HOLD, error, self.limit))


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
class FrozenCheck:
    """`frozen_view`: the robot has moved and the picture has not changed."""

    limit: float
    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD where the robot moved farther than the limit since the picture last changed."""
        moved = evidence.frozen_distance
        if moved is None or moved <= self.limit:
            return Verdict(action)
        return Verdict(action, Finding("frozen_view", GateState.HOLD, moved, self.limit))


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


@dataclass(frozen=True)
class BudgetCheck:
    """`violation_budget`: an episode in which too much had to be held."""

    limit: float
    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD above the limit: for the rest of the episode."""
        if evidence.violations <= self.limit:
            return Verdict(action)
        value = float(evidence.violations)
        return Verdict(action, Finding("violation_budget", GateState.HOLD, value, self.limit))
