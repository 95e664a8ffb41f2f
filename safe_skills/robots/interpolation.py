"""From a goal to a stream of set-points that a robot can follow: bounded in speed, acceleration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

LONGEST_TICK = 2.0
"""Ticks of nominal length that one tick makes up for: after a pause nothing catches up in a jump.
"""


@dataclass(frozen=True)
class MotionLimits:
    """Bounds on a stream of set-points of n coordinates.

    Attributes:
        max_speed: greatest Euclidean norm of the velocity [m/s].
        max_acceleration: greatest Euclidean norm of the acceleration [m/s^2].

    Raises:
        ValueError: one line that names the parameter, the range allowed and the value.
    """

    max_speed: float
    max_acceleration: float

    def __post_init__(self) -> None:
        for name in ("max_speed", "max_acceleration"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 1e-6 <= value <= 1e6:
                raise ValueError(f"{name}: expected 1e-06 to 1e+06, got {value!r}")


class Interpolator:
    """Moves a set-point towards a goal in trapezoids of velocity, planned anew at every tick.

    Each coordinate goes towards its goal as fast as it can still stop there. With the time h of a
    tick, the distance d left and the acceleration a, that is the speed v with
    ``v h + v^2 / (2 a) = d``, so ``v = sqrt((a h)^2 + 2 a d) - a h``: the last part of a
    trapezoidal profile, in discrete time. From one tick to the next the velocity changes by
    ``a h`` at most; a share of ``1 / sqrt(n)`` of the acceleration for each coordinate keeps the
    norm of all within its bound, and the speed is cut where its norm would be too great.

    A goal may change at any time, also to one that is behind: the set-point then brakes and comes
    back. It passes no goal that it could stop at when it was given, and so it stays in any box that
    holds its start, at rest, and all its goals.

    Args:
        limits: bounds; they may be replaced while the set-point is at rest, the speed at any time.
        period: time between two ticks, nominally [s].

    Raises:
        ValueError: a period that is not above 0.
    """

    def __init__(self, limits: MotionLimits, period: float) -> None:
        if not 0.0 < period <= 1.0:
            raise ValueError(f"period: expected more than 0 and up to 1 s, got {period!r}")
        self.limits = limits
        self._longest = LONGEST_TICK * period
        self._position: np.ndarray | None = None
        self._velocity: np.ndarray | None = None
        self._goal: np.ndarray | None = None

    @property
    def active(self) -> bool:
        """Whether there is a set-point, moving or at its goal."""
        return self._position is not None

    @property
    def position(self) -> np.ndarray | None:
        """(n,) the present set-point [m]; None while there is none."""
        return None if self._position is None else self._position.copy()

    @property
    def velocity(self) -> np.ndarray | None:
        """(n,) its velocity [m/s]; None while there is none."""
        return None if self._velocity is None else self._velocity.copy()

    @property
    def still(self) -> bool:
        """Whether the set-point is at rest, or there is none."""
        return self._velocity is None or not self._velocity.any()

    @property
    def stopping_point(self) -> np.ndarray | None:
        """(n,) where it comes to rest if it brakes from now on [m]; None while there is none."""
        if self._position is None:
            return None
        most = self.limits.max_acceleration / np.sqrt(len(self._position))
        return self._position + self._velocity * np.abs(self._velocity) / (2.0 * most)

    def start(self, position: ArrayLike) -> None:
        """Begins at rest at (n,) [m], where the robot is measured; there is no goal yet.

        Raises:
            ValueError: no vector of finite numbers.
        """
        self._position = _finite("position", position)
        self._velocity = np.zeros_like(self._position)
        self._goal = None

    def aim(self, goal: ArrayLike) -> None:
        """Takes a goal (n,) [m], in place of the one before.

        Raises:
            ValueError: another size, numbers that are not finite, or no start.
        """
        if self._position is None:
            raise ValueError("goal: expected a start before it, there is none")
        goal = _finite("goal", goal)
        if goal.shape != self._position.shape:
            raise ValueError(f"goal: expected {len(self._position)} numbers, got {len(goal)}")
        self._goal = goal

    def brake(self) -> None:
        """Gives up the goal: the following ticks come to rest, within the acceleration."""
        self._goal = None

    def forget(self) -> None:
        """Has no set-point any more, as after a hold at once."""
        self._position = self._velocity = self._goal = None

    def advance(self, seconds: float) -> np.ndarray | None:
        """Lets time pass.

        Args:
            seconds: since the tick before; of more than two nominal ticks the rest is lost.

        Returns:
            (n,) the new set-point [m]; None where there is none.

        Raises:
            ValueError: a time that is negative or not finite.
        """
        if not 0.0 <= seconds < np.inf:
            raise ValueError(f"tick: expected a time from 0 s, got {seconds!r}")
        if self._position is None:
            return None
        step = min(seconds, self._longest)
        if step > 0.0:
            self._velocity = self._next_velocity(step)
            self._position = self._position + self._velocity * step
        return self._position.copy()

    def _next_velocity(self, step: float) -> np.ndarray:
        before = self._velocity
        a = self.limits.max_acceleration / np.sqrt(len(before))
        change = a * step
        braked = before - np.clip(before, -change, change)
        if self._goal is None:
            return braked
        ahead = self._goal - self._position
        room = 2.0 * a * np.abs(ahead)
        # The root of the docstring, without the difference of two numbers that are nearly the same.
        fastest = room / (np.sqrt(change**2 + room) + change)
        wanted = np.sign(ahead) * np.minimum(fastest, self.limits.max_speed)
        velocity = np.clip(wanted, before - change, before + change)
        return _within(velocity, braked, self.limits.max_speed)


def _within(velocity: np.ndarray, braked: np.ndarray, most: float) -> np.ndarray:
    """The point nearest to `velocity` on the way to it from `braked` whose norm is `most` at most.

    Both keep every bound of a coordinate, and so do all between them.
    """
    if velocity @ velocity <= most**2:
        return velocity
    way = velocity - braked
    along, length, room = braked @ way, way @ way, most**2 - braked @ braked
    if room <= 0.0 or length == 0.0:
        return braked
    share = (np.sqrt(along**2 + length * room) - along) / length
    return braked + min(share, 1.0) * way


def _finite(name: str, value: ArrayLike) -> np.ndarray:
    vector = np.array(value, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all():
        raise ValueError(f"{name}: expected a vector of finite numbers, got {value!r}")
    return vector
