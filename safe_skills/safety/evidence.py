"""What the gate judges, what it judges by, and what it decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class GateState(IntEnum):
    """How a command was treated; the most severe finding decides. Values as in SafetyStatus.msg."""

    OK = 0
    LIMITED = 1
    HOLD = 2
    STOPPED = 3


@dataclass(frozen=True)
class GateCommand:
    """A motion asked for.

    Attributes:
        action: (A,) displacement over one control step [m, rad], and a gripper's entry where
            `GateLimits.gripper` says so; anything that came is accepted here, the gate judges it.
        frame_id: frame in which the action is expressed.
    """

    action: Sequence[float] | np.ndarray
    frame_id: str


@dataclass(frozen=True)
class Evidence:
    """What is known at the time of judgement. None means "not known", NaN is treated alike.

    Attributes:
        now: time of judgement, monotonic [s].
        latent_received: when the newest latent came [s]; None: never.
        image_received: when the newest image came [s]; None: never.
        robot_received: when the newest valid robot state came [s]; None: never.
        context_received: when the newest safety context came [s]; None: never.
        plan_received: when the newest plan status came [s]; None: never.
        bridge_received: when the bridge's newest status came [s]; None: never.
        command_rate: commands in the last second [Hz].
        robot_state: what the bridge says of the robot: "ready", "moving", "holding", or why it
            must not be moved: "unconnected", "disabled", "unhomed", "fault".
        tracking_error: distance of the position measured from the way that was sent [units].
        reconstruction_error: of the newest frame that the encoder judged.
        latent_distance: of the newest latent from those of training.
        frozen_distance: how far the robot has moved since the picture last changed [units].
        plan_feasible: whether the newest plan keeps its chance constraints.
        violations: findings of this episode that have held or stopped the robot.
        since_previous: time since the action before was passed on [s]; None: there is none.
        travelled: path passed on during the last `GateLimits.velocity_window` [units].
        abstract_action: max |z| of the abstract action that answers the same image.
        latent_matches: whether the probabilities below belong to the image answered.
        constraint_probability: of the present frame, 0 to 1.
        predicted_constraint_probability: one step ahead, under the command as it was asked for.
        safe_set_probability: of the present frame, 0 to 1.
        position: (A,) measured position in the task frame [m, rad].
        previous_action: (A,) what was last let through [m, rad]; None: at rest.
        emergency_stop: whether the emergency stop is latched.
    """

    now: float
    latent_received: float | None = None
    image_received: float | None = None
    robot_received: float | None = None
    context_received: float | None = None
    plan_received: float | None = None
    bridge_received: float | None = None
    command_rate: float = 0.0
    robot_state: str | None = None
    tracking_error: float | None = None
    reconstruction_error: float | None = None
    latent_distance: float | None = None
    frozen_distance: float | None = None
    plan_feasible: bool | None = None
    violations: int = 0
    since_previous: float | None = None
    travelled: float = 0.0
    abstract_action: float | None = None
    latent_matches: bool = False
    constraint_probability: float | None = None
    predicted_constraint_probability: float | None = None
    safe_set_probability: float | None = None
    position: Sequence[float] | np.ndarray | None = None
    previous_action: Sequence[float] | np.ndarray | None = None
    emergency_stop: bool = False


@dataclass(frozen=True)
class Finding:
    """One rule that was broken or was about to be.

    Attributes:
        code: the rule's reason code, as in SafetyStatus.reasons and Violation.kind.
        state: LIMITED, HOLD or STOPPED; OK where it is only observed.
        value: what was seen (NaN when it is not a number or unknown).
        limit: what is allowed.
    """

    code: str
    state: GateState
    value: float
    limit: float


@dataclass(frozen=True)
class Decision:
    """What may happen instead of what was asked for.

    Attributes:
        state: the most severe finding's.
        action: (A,) float64, what may be passed on, with the gripper's entry where there is one;
            zeros in HOLD and STOPPED.
        findings: the most severe first, else in the order of the checks; empty when OK.
        observed: rules that are broken and have no effect: by their action, or not yet.
        scale: factor on the step by the slow-down, 1 for none.
    """

    state: GateState
    action: np.ndarray
    findings: tuple[Finding, ...]
    observed: tuple[Finding, ...] = ()
    scale: float = 1.0

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reason codes of what acts, the most severe first."""
        return tuple(finding.code for finding in self.findings)


def as_vector(values: Sequence[float] | np.ndarray | None, size: int) -> np.ndarray | None:
    """Returns (size,) finite float64, or None where `values` is anything else."""
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if vector.shape != (size,) or not np.isfinite(vector).all():
        return None
    return vector


def as_probability(value: float | None) -> float | None:
    """Returns a probability in [0, 1], or None where `value` is unknown, NaN or outside."""
    if value is None or not 0.0 <= value <= 1.0:
        return None
    return float(value)
