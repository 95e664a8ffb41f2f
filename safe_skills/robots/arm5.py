"""The arm of five joints behind ROS 2 controllers: joint states to task coordinates and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from safe_skills.robots import arm5_kinematics as kinematics
from safe_skills.robots.base import Box, Robot

STEP_LIMIT = np.array([0.025, 0.025, 0.025, 0.35])
"""Displacement of a full action: x, y, z [m] and yaw [rad]."""
WINDUP_MARGIN = np.array([0.01, 0.01, 0.01, 0.1])
"""How far the set-point may lead the tool beyond one step."""
WORKSPACE = ((0.10, 0.29), (-0.11, 0.11), (0.005, 0.20), (-2.0, 2.0))
"""Where the set-point may be: x, y, z [m], yaw [rad]; the arm reaches all of it."""

BEYOND = 0.05
"""How far beyond its limits a joint may be measured [rad]: an arm leans on its stops."""

STEP_TIME = 0.05
"""Time in which the arm is told to carry out one step [s]; a control period is 16/240 s."""

SIMULATED_VELOCITY = 40.0
"""Velocity limit of the simulated arm's joints [rad/s], which never binds.

Up to 16 rad/s are needed in the corners of the workspace to carry out the largest step, from where
a lagging arm is measured, in `STEP_TIME`; a command that follows at once doubles that.
"""


@dataclass(frozen=True)
class JointReading:
    """Measured joints.

    Attributes:
        joints: (5,) as in `arm5_kinematics.JOINT_NAMES` [rad].
        fingers: (2,) way of each finger from the middle [m]; None where they are not measured.
    """

    joints: np.ndarray
    fingers: np.ndarray | None


class Arm5(Robot[JointReading, np.ndarray]):
    """The arm of `urdf/arm5.urdf` with its tool pointing straight down: x, y, z and yaw.

    The task frame is the base frame of the arm.

    Args:
        workspace: where set-points may be: intervals of x, y, z [m] and yaw [rad].
        joint_names: of the five joints, from the base on.
        finger_names: of the two fingers.
        tilt_tolerance: how far from straight down the tool may be measured [rad].
        workspace_tolerance: (4,) how far outside the workspace the tool may be measured [m, rad].

    Raises:
        ValueError: names or numbers that are not usable, in one line.
    """

    hold_means = "a trajectory to the measured joints; the gripper keeps its goal"

    def __init__(
        self,
        *,
        workspace: Box = WORKSPACE,
        joint_names: Sequence[str] = kinematics.JOINT_NAMES,
        finger_names: Sequence[str] = kinematics.FINGER_NAMES,
        tilt_tolerance: float = math.radians(30.0),
        workspace_tolerance: ArrayLike = STEP_LIMIT + WINDUP_MARGIN,
    ) -> None:
        self.workspace = workspace
        self.joint_names, self.finger_names = tuple(joint_names), tuple(finger_names)
        for name, names, size in (
            ("joint_names", self.joint_names, 5),
            ("finger_names", self.finger_names, 2),
        ):
            if len(names) != size or len({*self.joint_names, *self.finger_names}) != 7:
                raise ValueError(f"{name}: expected {size} different names, got {list(names)}")
        self._tilt_tolerance = float(tilt_tolerance)
        low, high = _numbers("workspace", workspace, (4, 2)).T
        tolerance = _numbers("workspace_tolerance", workspace_tolerance, (4,))
        self._low, self._high = low - tolerance, high + tolerance

    def reading(self, names: Sequence[str], positions: Sequence[float]) -> JointReading:
        """Picks the arm's joints and fingers out of joint positions by name.

        Args:
            names: in any order; joints that are not the arm's may be among them.
            positions: one a name [rad, m].

        Raises:
            ValueError: another number of positions, a joint that is missing or named twice, one
                finger without the other, or positions that are not finite.
        """
        if len(names) != len(positions):
            raise ValueError(
                f"joint state: expected a position for each of {len(names)} names, "
                f"got {len(positions)}"
            )
        found = dict(zip(names, positions, strict=True))
        own = self.joint_names + self.finger_names
        if twice := sorted({name for name in own if list(names).count(name) > 1}):
            raise ValueError(f"joint state: expected each joint once, got twice {', '.join(twice)}")
        if missing := [name for name in self.joint_names if name not in found]:
            raise ValueError(
                f"joint state: expected joints {', '.join(self.joint_names)}, "
                f"missing {', '.join(missing)} among {', '.join(names) or '(none)'}"
            )
        fingers = [found[name] for name in self.finger_names if name in found]
        if len(fingers) == 1:
            raise ValueError(
                f"joint state: expected both of {' and '.join(self.finger_names)} or neither"
            )
        joints = [found[name] for name in self.joint_names]
        if not np.isfinite([*joints, *fingers]).all():
            raise ValueError(
                f"joint state: expected finite positions, got {[*joints, *fingers]} "
                f"of {', '.join(own)}"
            )
        return JointReading(
            np.array(joints, dtype=np.float64),
            np.array(fingers, dtype=np.float64) if fingers else None,
        )

    def position(self, state: JointReading) -> np.ndarray:
        """Returns the tool's (x, y, z, yaw) in the base frame [m, rad].

        Raises:
            ValueError: the tool does not point down, or is outside the workspace, by more than the
                tolerance: a set-point would make it jump. Or a joint is beyond its limits: whole
                turns away the tool would be in the same place.
        """
        excess = kinematics.excess(state.joints)
        worst = int(excess.argmax())
        if excess[worst] > BEYOND:
            raise ValueError(
                f"joint state: expected {self.joint_names[worst]} within "
                f"{kinematics.JOINT_LOW[worst]:g} to {kinematics.JOINT_HIGH[worst]:g} rad, "
                f"got {state.joints[worst]:.4g}"
            )
        pose = kinematics.forward(state.joints)
        tilt = math.acos(min(1.0, max(-1.0, -float(pose.rotation.as_matrix()[2, 0]))))
        if tilt > self._tilt_tolerance:
            raise ValueError(
                f"joint state: expected the tool within {self._tilt_tolerance:.3g} rad of straight "
                f"down, got {tilt:.3g} rad"
            )
        position = np.array([*pose.position, kinematics.yaw_of(pose)])
        for name, value, low, high in zip(
            ("x", "y", "z", "yaw"), position, self._low, self._high, strict=True
        ):
            if not low <= value <= high:
                raise ValueError(
                    f"joint state: expected the tool's {name} within {low:g} to {high:g}, "
                    f"got {value:.4f}"
                )
        return position

    def target(self, set_point: np.ndarray, near: np.ndarray | None = None) -> np.ndarray:
        """Returns the joints (5,) that bring the tool to (x, y, z, yaw), within their limits.

        Args:
            set_point: (4,) [m, rad].
            near: (5,) joints; of several solutions the nearest is taken. Zero when not given.

        Raises:
            ValueError: a set-point of another size, not finite, or out of reach.
        """
        values = np.asarray(set_point, dtype=np.float64)
        if values.shape != (4,) or not np.isfinite(values).all():
            raise ValueError(f"set-point: expected 4 finite numbers, got {values.tolist()}")
        return kinematics.inverse(kinematics.downward(values[:3], values[3]), near=near)


def _numbers(name: str, values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        wanted = " x ".join(map(str, shape))
        raise ValueError(f"{name}: expected {wanted} finite numbers, got {numbers.tolist()}")
    return numbers
