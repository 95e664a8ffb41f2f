"""A dVRK arm for a task in a plane: Cartesian poses to task coordinates and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from safe_skills.robots.base import Box, Robot
from safe_skills.robots.pose import Pose

SIMULATED_TASK_IN_ARM = (-0.015, 0.0275, -0.12, 0.0, 0.0, 0.0, 1.0)
"""Pose of the task frame in the base frame of the simulated PSM: (x, y, z) [m], quaternion (xyzw).

The remote centre hangs 12 cm above the middle of the workspace, the yaw axis along the task's y.
The pitch joint wants it high (53 degrees must reach across the workspace), the insertion wants it
low (0.24 m must reach the corners); the workspace of the cable task fits between.
"""

TOOL_HEIGHT = 0.015
"""Height of the tool's control point above the table [m]."""

TOOL_DOWN = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)
"""Tool pointing straight down on the table, in the task frame: quaternion (xyzw)."""


class DvrkArm(Robot[Pose, Pose]):
    """A PSM whose tool keeps its orientation and its height while it moves in the task plane.

    Args:
        task_in_arm: pose of the task frame in the frame of `measured_cp` and `servo_cp`:
            (x, y, z, qx, qy, qz, qw) [m].
        workspace: ((xmin, xmax), (ymin, ymax)) in the task frame [m].
        tool_in_task: orientation of the tool in the task frame, quaternion (xyzw).
        height: of the tool's control point above the task plane [m].
        height_tolerance: how far off that height the tool may be measured [m].
        angle_tolerance: how far off that orientation the tool may be measured [rad].

    Raises:
        ValueError: a pose, quaternion or number that is not usable, in one line.
    """

    hold_means = "CRTK hold: the arm stops and takes its measured position as its set-point"

    def __init__(
        self,
        task_in_arm: Sequence[float] = SIMULATED_TASK_IN_ARM,
        *,
        workspace: Box,
        tool_in_task: Sequence[float] = TOOL_DOWN,
        height: float = TOOL_HEIGHT,
        height_tolerance: float = 0.02,
        angle_tolerance: float = math.radians(30.0),
    ) -> None:
        self.workspace = workspace
        self._task = Pose.from_values(task_in_arm, "task_in_arm")
        self._task_inverse = self._task.inverse()
        tool = Pose.from_values((0.0, 0.0, 0.0, *tool_in_task), "tool_in_task")
        # A hundred poses come in a second: what does not change is composed once.
        self._axes = self._task.rotation.as_matrix()
        self._tool: Rotation = self._task.rotation * tool.rotation
        self._tool_quaternion = self._tool.as_quat()
        self.height = _number("height", height, -1.0, 1.0)
        self._height_tolerance = _number("height_tolerance", height_tolerance, 0.0, 1.0)
        self._angle_tolerance = _number("angle_tolerance", angle_tolerance, 0.0, math.pi)

    def in_task(self, pose: Pose) -> Pose:
        """Returns a pose of the arm's frame in the task frame."""
        return self._task_inverse @ pose

    def in_arm(self, pose: Pose) -> Pose:
        """Returns a pose of the task frame in the arm's frame."""
        return self._task @ pose

    def position(self, state: Pose) -> np.ndarray:
        """Returns the tool's (x, y) in the task frame [m] from a measured pose.

        Raises:
            ValueError: the tool is off the task's height or orientation by more than the tolerance:
                it is not at work.
        """
        position = (state.position - self._task.position) @ self._axes
        if not np.isfinite(position).all():
            raise ValueError("measured pose: expected finite numbers, got some that are not")
        off = float(position[2]) - self.height
        if abs(off) > self._height_tolerance:
            raise ValueError(
                f"measured pose: expected the tool within {self._height_tolerance:g} m of height "
                f"{self.height:g} m above the task plane, got {self.height + off:.4f} m"
            )
        alike = abs(float(self._tool_quaternion @ state.rotation.as_quat()))
        angle = 2.0 * math.acos(min(alike, 1.0))
        if angle > self._angle_tolerance:
            raise ValueError(
                f"measured pose: expected the tool within {self._angle_tolerance:.3g} rad of its "
                f"working orientation, got {angle:.3g} rad"
            )
        return position[:2]

    def offset(self, state: Pose) -> tuple[float, np.ndarray]:
        """Returns how far a measured pose is above the working height [m], and turned from it.

        The latter is a rotation vector (3,) [rad] in the frame of the tool at work.
        """
        position = (state.position - self._task.position) @ self._axes
        turn = (self._tool.inv() * state.rotation).as_rotvec()
        return float(position[2]) - self.height, turn

    def target(
        self, set_point: np.ndarray, lift: float = 0.0, turn: np.ndarray | None = None
    ) -> Pose:
        """Returns the pose in the arm's frame that has the tool at (x, y) of the task frame.

        Args:
            set_point: (2,) [m].
            lift: how far above the working height [m].
            turn: (3,) rotation vector from the working orientation [rad]; None for none.
        """
        xy = np.asarray(set_point, dtype=np.float64)
        if xy.shape != (2,) or not np.isfinite(xy).all():
            raise ValueError(f"set-point: expected 2 finite numbers, got {xy.tolist()}")
        tool = self._tool if turn is None else self._tool * Rotation.from_rotvec(turn)
        return Pose(self._task.position + self._axes @ (*xy, self.height + lift), tool)


def _number(name: str, value: float, low: float, high: float) -> float:
    if not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value!r}")
    return float(value)
