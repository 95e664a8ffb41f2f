"""The last hop before a robot: set-points from displacements, and a timeout of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike

from safe_skills.data.geometry import clip_set_point
from safe_skills.robots.base import Box


class ServoState(Enum):
    """What the bridge does with the robot."""

    UNCONNECTED = "unconnected"  # no valid measured position, or none for too long
    WAITING = "waiting"  # connected, no command taken yet
    MOVING = "moving"  # commands come in time
    HOLDING = "holding"  # commands stopped, or were stopped


@dataclass(frozen=True)
class ServoLimits:
    """Parameters of a `SetPointServo` for n task coordinates [m, rad].

    Attributes:
        workspace: n intervals (min, max) for set-points, task frame.
        max_step: largest displacement of one command, of every coordinate or (n,).
        margin: how far beyond one step a set-point may lead the measured position, of every
            coordinate or (n,).
        command_timeout: time without a command after which the robot holds [s].
        state_timeout: age of a measured position, by receive time, beyond which it is none [s].

    Raises:
        ValueError: one line that names the parameter, the range allowed and the value.
    """

    workspace: Box
    max_step: float | Sequence[float] = 0.03
    margin: float | Sequence[float] = 0.01
    command_timeout: float = 0.2
    state_timeout: float = 0.15

    def __post_init__(self) -> None:
        box = np.asarray(self.workspace, dtype=np.float64)
        if (
            box.ndim != 2
            or box.shape[1] != 2
            or not np.isfinite(box).all()
            or not (box[:, 0] < box[:, 1]).all()
        ):
            raise ValueError(
                f"workspace: expected ((xmin, xmax), (ymin, ymax), ...) with min < max, "
                f"got {self.workspace!r}"
            )
        for name, low in (("max_step", 1e-6), ("margin", 0.0)):
            self._check_each(name, low, 1.0)
        for name in ("command_timeout", "state_timeout"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 1e-3 <= value <= 3600.0:
                raise ValueError(f"{name}: expected 0.001 to 3600, got {value!r}")

    @property
    def size(self) -> int:
        """Number of task coordinates n."""
        return len(self.workspace)

    def _check_each(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        try:
            entries = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            entries = np.array(np.nan)
        if entries.shape not in ((), (self.size,)):
            raise ValueError(f"{name}: expected one number or {self.size}, got {value!r}")
        if not ((low <= entries) & (entries <= high)).all():
            raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value!r}")


@dataclass(frozen=True)
class ServoOutput:
    """What to send to the robot in answer to one event.

    Attributes:
        set_point: (n,) where to move [m, rad], or None: do not move.
        hold: whether to tell the robot to hold, now and once.
        gently: whether it may come to rest before: nothing is wrong, only no command came.
        reason: why a command was refused, empty when it was not.
    """

    set_point: np.ndarray | None = None
    hold: bool = False
    gently: bool = False
    reason: str = ""


class SetPointServo:
    """Accumulates displacements into set-points, and holds the robot when they stop.

    The first set-point after a start, an idle time, a hold or a lost connection is counted from the
    measured position, never from a set-point that has grown old. All times are arguments: the
    receive time in monotonic seconds.

    Args:
        limits: parameters.
    """

    def __init__(self, limits: ServoLimits) -> None:
        self.limits = limits
        self._state = ServoState.UNCONNECTED
        self._measured: np.ndarray | None = None
        self._measured_at = 0.0
        self._set_point: np.ndarray | None = None
        self._commanded_at = 0.0

    @property
    def state(self) -> ServoState:
        """The state at the last event."""
        return self._state

    @property
    def measured(self) -> np.ndarray | None:
        """(n,) the last valid measured position [m, rad], None when there is none now."""
        return self._measured

    @property
    def set_point(self) -> np.ndarray | None:
        """(n,) the present set-point [m, rad], None: the next one starts from the measurement."""
        return self._set_point

    def observe(self, position: ArrayLike | None, now: float) -> ServoOutput:
        """Takes a measured position.

        Args:
            position: (n,) in the task frame [m, rad]; None for a message that is marked invalid
                (zero stamp) or cannot be used.
            now: receive time [s].
        """
        measured = None if position is None else np.array(position, dtype=np.float64)
        if (
            measured is None
            or measured.shape != (self.limits.size,)
            or not np.isfinite(measured).all()
        ):
            return self._lose_connection()
        self._measured, self._measured_at = measured, now
        if self._state is ServoState.UNCONNECTED:
            self._state = ServoState.WAITING
        return ServoOutput()

    def command(self, action: ArrayLike, now: float) -> ServoOutput:
        """Takes a displacement.

        Args:
            action: (n,) [m, rad]; its components are clipped to `max_step`.
            now: receive time [s].

        Returns:
            The new set-point, or the reason why there is none. A refused command leaves the robot
            as it is: its set-point stays, until the timeout.
        """
        due = self.tick(now)
        if self._measured is None:
            reason = "command refused: expected a valid measured position first, there is none"
            return ServoOutput(hold=due.hold, reason=reason)
        start = self._measured if self._set_point is None else self._set_point
        try:
            set_point = clip_set_point(
                start,
                self._measured,
                action,
                max_step=np.asarray(self.limits.max_step),
                margin=np.asarray(self.limits.margin),
                workspace=self.limits.workspace,
            )
        except (TypeError, ValueError) as error:
            line = " ".join(str(error).split())
            return ServoOutput(hold=due.hold, reason=f"command refused: {line}")
        self._set_point, self._commanded_at = set_point, now
        self._state = ServoState.MOVING
        return ServoOutput(set_point=set_point.copy())

    def tick(self, now: float) -> ServoOutput:
        """Lets time pass; tells to hold once when commands or measurements stop in motion."""
        if self._measured is not None and now - self._measured_at > self.limits.state_timeout:
            return self._lose_connection()
        moving = self._state is ServoState.MOVING
        if moving and now - self._commanded_at > self.limits.command_timeout:
            return self.hold(gently=True)
        return ServoOutput()

    def hold(self, gently: bool = False) -> ServoOutput:
        """Stops at once, as for an emergency stop, or gently; the robot is told in any state."""
        self._set_point = None
        if self._state is not ServoState.UNCONNECTED:
            self._state = ServoState.HOLDING
        return ServoOutput(hold=True, gently=gently)

    def rebase(self, set_point: ArrayLike) -> None:
        """In motion: has the robot go to (n,) [m, rad] instead, no farther away than it was."""
        if self._set_point is not None:
            low, high = np.asarray(self.limits.workspace, dtype=np.float64).T
            self._set_point = np.clip(np.asarray(set_point, dtype=np.float64), low, high)

    def restart(self) -> None:
        """Forgets the set-point, as at the start of an episode."""
        self._set_point = None
        if self._state is not ServoState.UNCONNECTED:
            self._state = ServoState.WAITING

    def _lose_connection(self) -> ServoOutput:
        moving = self._state is ServoState.MOVING
        self._measured = self._set_point = None
        self._state = ServoState.UNCONNECTED
        return ServoOutput(hold=moving)
