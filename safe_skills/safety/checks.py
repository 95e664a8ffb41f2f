"""The gate's rules, each a small object with reason codes of its own.

A check sees the displacement, in units of `GateLimits.units`, as the checks before it left it; the
gripper's entry has a check of its own. It may shorten the action, component by
component towards zero and never beyond, so that no later check can undo what an earlier one made
sure of; or it may forbid motion, with a finding of state HOLD or STOPPED.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from safe_skills.safety.evidence import (
    Evidence,
    Finding,
    GateCommand,
    GateState,
    as_probability,
    as_vector,
)
from safe_skills.safety.limits import GateLimits

NAN = float("nan")
# Scaling by the quotient of two floats may end one rounding error above the limit.
_BELOW = 1.0 - 1e-12
# z comes as float32, whose rounding may lift eta itself above eta.
_ABOVE = 1.0 + 1e-6


class Verdict(NamedTuple):
    """What one check says: the action it leaves, and a finding where a rule was broken."""

    action: np.ndarray | None
    finding: Finding | None = None


class Check(Protocol):
    """One rule of the gate."""

    def judge(
        self, action: np.ndarray | None, command: GateCommand | None, evidence: Evidence
    ) -> Verdict:
        """Judges one command.

        Args:
            action: (A,) finite displacement [units], as the earlier checks left it; None where
                there is no command, or none that can be read as numbers.
            command: the command as it came, None where only the evidence is to be judged.
            evidence: what is known now; positions and the previous action in units, too.
        """


@dataclass(frozen=True)
class EmergencyStopCheck:
    """`emergency_stop`: nothing passes while the stop is latched."""

    def judge(self, action, command, evidence) -> Verdict:
        """STOPPED while the stop is latched."""
        if not evidence.emergency_stop:
            return Verdict(action)
        return Verdict(action, Finding("emergency_stop", GateState.STOPPED, 1.0, 0.0))


@dataclass(frozen=True)
class FormCheck:
    """`frame`, `size`, `not_finite`: a command that cannot be read as a motion is held."""

    entries: int
    frame_id: str

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD for another frame, another size or values that are not finite."""
        if command is None:
            return Verdict(action)
        if command.frame_id != self.frame_id:
            return Verdict(action, Finding("frame", GateState.HOLD, NAN, NAN))
        if action is not None:
            return Verdict(action)
        size = float(len(command.action)) if hasattr(command.action, "__len__") else NAN
        if size != self.entries:
            return Verdict(None, Finding("size", GateState.HOLD, size, float(self.entries)))
        return Verdict(None, Finding("not_finite", GateState.HOLD, NAN, NAN))


@dataclass(frozen=True)
class GripperCheck:
    """`gripper`: its entry is the last of the command, and within 1."""

    entries: int

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD for an entry beyond 1."""
        values = None if command is None else as_vector(command.action, self.entries)
        if values is None or abs(values[-1]) <= 1.0:
            return Verdict(action)
        return Verdict(action, Finding("gripper", GateState.HOLD, float(values[-1]), 1.0))


@dataclass(frozen=True)
class AbstractActionCheck:
    """`abstract_action`, `abstract_action_unknown`: SAFER's bound, |z| <= eta for every entry.

    The decoder keeps it, too; here it is seen by someone who does not trust the decoder.
    """

    eta: float

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD for a command whose abstract action is unknown or larger than eta."""
        if command is None:
            return Verdict(action)
        largest = evidence.abstract_action
        if largest is None or not 0.0 <= largest < np.inf:
            unknown = Finding("abstract_action_unknown", GateState.HOLD, NAN, self.eta)
            return Verdict(action, unknown)
        if largest <= self.eta * _ABOVE:
            return Verdict(action)
        return Verdict(action, Finding("abstract_action", GateState.HOLD, largest, self.eta))


@dataclass(frozen=True)
class FreshnessCheck:
    """`<source>_missing`, `<source>_stale`: judged by receive time, never by stamps."""

    source: str
    timeout: float

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD when the source never came, or came longer ago than the timeout."""
        received = getattr(evidence, f"{self.source}_received")
        if received is None:
            missing = Finding(f"{self.source}_missing", GateState.HOLD, NAN, self.timeout)
            return Verdict(action, missing)
        age = evidence.now - received
        if 0.0 <= age <= self.timeout:
            return Verdict(action)
        return Verdict(
            action, Finding(f"{self.source}_stale", GateState.HOLD, float(age), self.timeout)
        )


@dataclass(frozen=True)
class LatentMatchCheck:
    """`latent_mismatch`: probabilities of another image say nothing about this command."""

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD for a command whose image is not the one that the latent belongs to."""
        if command is None or evidence.latent_matches:
            return Verdict(action)
        return Verdict(action, Finding("latent_mismatch", GateState.HOLD, 0.0, 1.0))


@dataclass(frozen=True)
class ConstraintCheck:
    """`constraint`, `constraint_unknown`: no step into a predicted violation.

    Above the limit a command passes only when it leads out: when the present probability is above
    the limit already and the predicted one is lower. Without that the robot could never leave. The
    prediction is for the command as asked for; what the later checks leave of it is a shorter part.
    """

    limit: float

    def judge(self, action, command, evidence) -> Verdict:
        """HOLD when the predicted probability is unknown, or above the limit and not falling."""
        if command is None:
            return Verdict(action)
        predicted = as_probability(evidence.predicted_constraint_probability)
        if predicted is None:
            return Verdict(action, Finding("constraint_unknown", GateState.HOLD, NAN, self.limit))
        present = as_probability(evidence.constraint_probability)
        leads_out = present is not None and present > self.limit and predicted < present
        if predicted <= self.limit or leads_out:
            return Verdict(action)
        return Verdict(action, Finding("constraint", GateState.HOLD, predicted, self.limit))


@dataclass(frozen=True)
class StepCheck:
    """`step_limit`, `step_rejected`: the length of one step, the direction is kept."""

    step_limit: float
    norm_limit: float
    reject_factor: float

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by scaling above a limit, HOLD beyond `reject_factor` times a limit."""
        if action is None:
            return Verdict(action)
        largest, norm = float(np.abs(action).max()), _length(action)
        by_step, by_norm = largest / self.step_limit, norm / self.norm_limit
        excess = max(by_step, by_norm)
        if excess <= 1.0:
            return Verdict(action)
        value, limit = (largest, self.step_limit) if by_step >= by_norm else (norm, self.norm_limit)
        if excess > self.reject_factor:
            return Verdict(action, Finding("step_rejected", GateState.HOLD, value, limit))
        limited = Finding("step_limit", GateState.LIMITED, value, limit)
        return Verdict(action / excess * _BELOW, limited)


@dataclass(frozen=True)
class SafeSetCheck:
    """`safe_set`, `safe_set_unknown`: shorter steps outside of the learned safe set."""

    limit: float
    scale: float

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by a constant factor when the probability is below the limit or unknown."""
        if command is None or action is None:
            return Verdict(action)
        probability = as_probability(evidence.safe_set_probability)
        if probability is not None and probability >= self.limit:
            return Verdict(action)
        code = "safe_set_unknown" if probability is None else "safe_set"
        value = NAN if probability is None else probability
        return Verdict(action * self.scale, Finding(code, GateState.LIMITED, value, self.limit))


@dataclass(frozen=True)
class WorkspaceCheck:
    """`workspace`, `outside_workspace`, `position_unknown`: where the robot may be.

    Measured inside, or outside by no more than the margin, a step is cut at the border, and motion
    further out is cut to none. Farther outside, only motion back inside passes.
    """

    low: np.ndarray
    high: np.ndarray
    margin: float

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by cutting at the border; HOLD outside, or where the position is unknown."""
        position = as_vector(evidence.position, len(self.low))
        if position is None:
            return Verdict(action, Finding("position_unknown", GateState.HOLD, NAN, NAN))
        if action is None:
            return Verdict(action)
        side = np.sign(np.maximum(position - self.high, 0.0) - np.maximum(self.low - position, 0.0))
        beyond = np.maximum(position - self.high, self.low - position)
        far = beyond > self.margin
        if far.any() and action.any() and (action * side >= 0.0)[far].any():
            value = float(beyond.max())
            outside = Finding("outside_workspace", GateState.HOLD, value, self.margin)
            return Verdict(action, outside)
        room_up = np.maximum(self.high - position, 0.0)
        room_down = np.maximum(position - self.low, 0.0)
        cut = np.clip(action, -room_down, room_up)
        if (cut == action).all():
            return Verdict(action)
        worst = int(np.abs(action - cut).argmax())
        border = self.high[worst] if action[worst] > 0.0 else self.low[worst]
        value = float(position[worst] + action[worst])
        return Verdict(cut, Finding("workspace", GateState.LIMITED, value, float(border)))


@dataclass(frozen=True)
class ChangeCheck:
    """`change_limit`, `previous_unknown`: the step from one action to the next.

    The direction asked for is kept: the longest part of the action is passed that is within the
    limit of the action passed before. Where there is none, as in a sharp turn at speed, it is the
    part nearest to the one before, which is shorter than that: the robot brakes, then turns.
    """

    limit: float

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by shortening the action; HOLD where the one before cannot be read."""
        if action is None:
            return Verdict(action)
        previous = np.zeros_like(action)
        if evidence.previous_action is not None:
            previous = as_vector(evidence.previous_action, len(action))
        if previous is None:
            return Verdict(action, Finding("previous_unknown", GateState.HOLD, NAN, NAN))
        change = _length(action - previous)
        share = _allowed_share(action, previous, self.limit)
        if change <= self.limit or share >= 1.0:
            return Verdict(action)
        limited = Finding("change_limit", GateState.LIMITED, change, self.limit)
        return Verdict(action * share, limited)


def _length(vector: np.ndarray) -> float:
    """Euclidean norm without overflow of the squares."""
    largest = float(np.abs(vector).max())
    return largest * float(np.linalg.norm(vector / largest)) if largest > 0.0 else 0.0


def _allowed_share(action: np.ndarray, previous: np.ndarray, limit: float) -> float:
    """Returns s in [0, 1]: the largest with |s action - previous| <= limit, else the nearest."""
    scale = max(float(np.abs(action).max()), float(np.abs(previous).max()), limit)
    a, p, m = action / scale, previous / scale, limit / scale
    length, along = float(a @ a), float(a @ p)
    if length == 0.0:
        return 1.0
    # Roots of |s a - p|^2 = m^2.
    discriminant = along**2 - length * (float(p @ p) - m**2)
    root = np.sqrt(max(discriminant, 0.0))
    return float(np.clip((along + root) / length * _BELOW, 0.0, 1.0))


def standard_checks(limits: GateLimits) -> tuple[Check, ...]:
    """Returns the gate's checks in the order in which they judge."""
    low, high = np.array(limits.workspace).T / np.array(limits.units)
    checks: list[Check] = [EmergencyStopCheck(), FormCheck(limits.entries, limits.frame_id)]
    if limits.gripper:
        checks.append(GripperCheck(limits.entries))
    for source in ("image", "latent", "robot", "context"):
        timeout = getattr(limits, f"{source}_timeout")
        if timeout is not None:
            checks.append(FreshnessCheck(source, timeout))
    if limits.eta is not None:
        checks.append(AbstractActionCheck(limits.eta))
    if limits.constraint_limit is not None or limits.safe_set_limit is not None:
        checks.append(LatentMatchCheck())
    if limits.constraint_limit is not None:
        checks.append(ConstraintCheck(limits.constraint_limit))
    checks.append(StepCheck(limits.step_limit, limits.norm_limit, limits.reject_factor))
    if limits.safe_set_limit is not None:
        checks.append(SafeSetCheck(limits.safe_set_limit, limits.safe_set_scale))
    checks.append(WorkspaceCheck(low, high, limits.workspace_margin))
    checks.append(ChangeCheck(limits.change_limit))
    return tuple(checks)
