"""What a check is, and the checks of a command's form and of the evidence behind it.

A check is a small object with reason codes of its own. It sees the displacement, in units of
`GateLimits.units`, as the checks before it left it; the gripper's entry has a check of its own. It
may shorten the action, component by component towards zero and never beyond, so that no later check
can undo what an earlier one made sure of; or it may forbid motion, with a finding of state HOLD or
STOPPED. What a finding comes to is said by the check's rule (`rules.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from safe_skills.safety.evidence import (
    Evidence,
    Finding,
    GateCommand,
    GateState,
    as_probability,
    as_vector,
)

NAN = float("nan")
# z comes as float32, whose rounding may lift eta itself above eta.
_ABOVE = 1.0 + 1e-6


class Verdict(NamedTuple):
    """What one check says: the action it leaves, and a finding where a rule was broken."""

    action: np.ndarray | None
    finding: Finding | None = None


class Check(Protocol):
    """One rule of the gate.

    Attributes:
        in_silence: whether it says something where there is no command.
    """

    in_silence: ClassVar[bool]

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

    in_silence = True

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
    in_silence = False

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
    in_silence = False

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
    in_silence = False

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
    in_silence = True

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

    in_silence = False

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
    in_silence = False

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
