"""From a judgement of the gate to the messages that tell of it."""

from __future__ import annotations

import math

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from safe_skills.msg import Command, SafetyStatus, Violation
from safe_skills.nodes.conversions import TASK_FRAME
from safe_skills.nodes.observations import NAN
from safe_skills.nodes.supervision import Counters, Judgement
from safe_skills.safety import EmergencyStop, Finding, GateLimits


def status_message(
    judgement: Judgement,
    limits: GateLimits,
    counters: Counters,
    stamp: Time,
    latency: float,
    stop: EmergencyStop,
    stop_verified: bool,
) -> SafetyStatus:
    """Pack a judgement, the thresholds in force and the counts of its moment."""
    decision = judgement.decision
    return SafetyStatus(
        header=Header(stamp=stamp, frame_id=TASK_FRAME),
        state=int(decision.state),
        reasons=list(decision.reasons),
        observed=[finding.code for finding in decision.observed],
        stop_cause=stop.cause,
        stop_verified=stop_verified,
        constraint_probability=judgement.constraint,
        predicted_constraint_probability=judgement.predicted_constraint,
        safe_set_probability=judgement.safe_set,
        constraint_limit=_or_nan(limits.constraint_limit),
        safe_set_limit=_or_nan(limits.safe_set_limit),
        eta=_or_nan(limits.eta),
        abstract_action=judgement.abstract_action,
        reconstruction_error=judgement.reconstruction_error,
        reconstruction_limit=_or_nan(limits.reconstruction_limit),
        latent_distance=judgement.latent_distance,
        latent_distance_limit=_or_nan(limits.latent_distance_limit),
        tracking_error=judgement.tracking_error,
        tracking_limit=_or_nan(limits.tracking_limit),
        command_rate=judgement.command_rate,
        scale=decision.scale,
        latency=latency,
        commands_received=counters.received,
        commands_passed=counters.passed,
        commands_limited=counters.limited,
        commands_held=counters.held,
        commands_stopped=counters.stopped,
        violations=counters.violations,
        violations_episode=counters.violations_episode,
        seen_contacts=counters.seen_contacts,
        causes=list(counters.causes),
        cause_counts=list(counters.causes.values()),
        cause_counts_episode=[counters.causes_episode[code] for code in counters.causes],
    )


def violation_message(finding: Finding, header: Header, command: Command) -> Violation:
    """Pack a finding that has begun."""
    return Violation(
        header=header,
        kind=finding.code,
        value=finding.value,
        limit=finding.limit,
        command=command,
    )


def finding_line(finding: Finding) -> str:
    """A finding as a line of a log."""
    if math.isnan(finding.value) and math.isnan(finding.limit):
        return finding.code
    return f"{finding.code}: {finding.value:.4g}, allowed {finding.limit:.4g}"


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value
