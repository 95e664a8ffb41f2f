"""Poses of an arm on its way to a goal in the task plane, each within reach of the one before."""

from __future__ import annotations

import numpy as np

from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.interpolation import Interpolator, MotionLimits
from safe_skills.robots.pose import Pose


class PoseStream:
    """Leads an arm's tool from where it is measured to goals in the task plane.

    On the way it brings the tool to its working height and orientation, which it may be off by what
    the arm tolerates: by the same bounds, not at once.

    Args:
        arm: frames of arm and task.
        path: bounds on the tool's position [m/s, m/s^2].
        turn: bounds on its orientation [rad/s, rad/s^2].
        period: nominal time between two poses [s].
    """

    def __init__(self, arm: DvrkArm, path: MotionLimits, turn: MotionLimits, period: float) -> None:
        self._arm = arm
        self._path = Interpolator(path, period)
        self._turn = Interpolator(turn, period)
        self._braking = False
        self._at: float | None = None
        self._period = period

    @property
    def active(self) -> bool:
        """Whether there are poses to send."""
        return self._path.active

    @property
    def at_rest(self) -> bool:
        """Whether the arm was told to brake, and has been led to rest."""
        return self._braking and self._path.still and self._turn.still

    @property
    def position(self) -> np.ndarray | None:
        """(2,) of the newest pose in the task plane [m]; None while there is none."""
        return None if self._path.position is None else self._path.position[:2]

    def limit(self, path: MotionLimits, turn: MotionLimits) -> None:
        """Takes other bounds."""
        self._path.limits, self._turn.limits = path, turn

    def start(self, measured: Pose) -> None:
        """Begins at rest at a measured pose."""
        lift, turn = self._arm.offset(measured)
        self._path.start((*self._arm.position(measured), lift))
        self._turn.start(turn)
        self._at, self._braking = None, False
        self.stay()

    def aim(self, goal: np.ndarray) -> None:
        """Takes a goal (2,) in the task plane [m]."""
        self._path.aim((*goal, 0.0))
        self._turn.aim(np.zeros(3))
        self._braking = False

    def stay(self) -> np.ndarray:
        """Has the arm stop where it can, and go on to be told to be there; returns where, (2,)."""
        self._path.aim(self._path.stopping_point)
        self._turn.aim(self._turn.stopping_point)
        self._braking = False
        return self._path.stopping_point[:2]

    def brake(self) -> None:
        """Leads the arm to rest; then `at_rest` is true."""
        self._path.brake()
        self._turn.brake()
        self._braking = True

    def forget(self) -> None:
        """Has no more poses to send."""
        self._path.forget()
        self._turn.forget()
        self._braking = False

    def pose(self, now: float) -> Pose | None:
        """The pose to send at a time `now` [s]; None where there is none."""
        passed = self._period if self._at is None else max(now - self._at, 0.0)
        self._at = now
        point, turn = self._path.advance(passed), self._turn.advance(passed)
        if point is None:
            return None
        return self._arm.target(point[:2], point[2], turn if turn.any() else None)
