"""The robots of the systems as the judge sees them: positions in messages, limits in parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from geometry_msgs.msg import PoseStamped
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from safe_skills.experiments.faults_judge import Bounds
from safe_skills.robots.arm5 import STEP_LIMIT
from safe_skills.robots.arm5_kinematics import (
    JOINT_HIGH,
    JOINT_LOW,
    JOINT_NAMES,
    forward,
    yaw_of,
)

Parameters = Mapping[str, Any]
ALIKE = 1e-6
"""By how much poses may differ that are the same."""


class Place(NamedTuple):
    """Where a message has the robot, in the task's coordinates; or the flaw that keeps it out."""

    position: tuple[float, ...] = ()
    flaw: str = ""


class PsmOfTask:
    """A dVRK arm that moves in the plane of a task.

    Args:
        gate: parameters of the safety monitor.
        bridge: parameters of the bridge.
    """

    state_topic, state_type = "PSM1/measured_cp", PoseStamped
    set_point_topic, set_point_type = "PSM1/servo_cp", PoseStamped
    hold_topic = "PSM1/hold"

    def __init__(self, gate: Parameters, bridge: Parameters) -> None:
        self._origin = np.array(bridge["task_in_arm"][:3])
        self._turn = Rotation.from_quat(bridge["task_in_arm"][3:])
        self._tool = self._turn * Rotation.from_quat(bridge["tool_in_task"])
        self._height = bridge["height"]
        self._frame = f"{bridge['arm']}_base"
        self.bounds = Bounds(
            frame="task",
            workspace=np.reshape(gate["workspace"], (2, 2)),
            units=np.ones(2),
            entries=2,
            step=gate["step_limit"],
            norm=gate["norm_limit"],
            change=gate["change_limit"],
            lead=np.full(2, bridge["max_step"] + bridge["margin"]),
            speed=bridge.get("max_speed"),
        )

    def state(self, message: PoseStamped) -> Place:
        """Where a measured pose has the tool."""
        position, _ = _pose(message)
        if not np.isfinite(position).all():
            return Place(flaw="not finite")
        return Place(tuple(self._in_task(position)[:2].tolist()))

    def set_point(self, message: PoseStamped) -> Place:
        """Where a set-point has the tool, if it is the tool of the task in its plane."""
        position, quaternion = _pose(message)
        if message.header.frame_id != self._frame:
            return Place(flaw="frame")
        if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
            return Place(flaw="not finite")
        if abs(np.linalg.norm(quaternion) - 1.0) > ALIKE:
            return Place(flaw="no unit quaternion")
        if (self._tool.inv() * Rotation.from_quat(quaternion)).magnitude() > 1e-3:
            return Place(flaw="orientation")
        x, y, z = self._in_task(position)
        if abs(z - self._height) > ALIKE:
            return Place(flaw="height")
        return Place((float(x), float(y)))

    def _in_task(self, position: np.ndarray) -> np.ndarray:
        return self._turn.inv().apply(position - self._origin)


def _pose(message: PoseStamped) -> tuple[np.ndarray, np.ndarray]:
    p, q = message.pose.position, message.pose.orientation
    return np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])


class ArmOfTask:
    """An arm of five joints behind ROS 2 controllers.

    Args:
        gate: parameters of the safety monitor.
        bridge: parameters of the bridge.
    """

    state_topic, state_type = "joint_states", JointState
    set_point_topic, set_point_type = "arm_controller/joint_trajectory", JointTrajectory
    hold_topic = ""

    def __init__(self, gate: Parameters, bridge: Parameters) -> None:
        self.bounds = Bounds(
            frame="task",
            workspace=np.reshape(gate["workspace"], (4, 2)),
            units=STEP_LIMIT,
            entries=5,
            step=gate["step_limit"],
            norm=gate["norm_limit"],
            change=gate["change_limit"],
            lead=np.array(bridge["max_step"]) + np.array(bridge["margin"]),
        )

    def state(self, message: JointState) -> Place:
        """Where measured joints have the tool."""
        found = dict(zip(message.name, message.position, strict=False))
        return self._place([found.get(name, np.nan) for name in JOINT_NAMES])

    def set_point(self, message: JointTrajectory) -> Place:
        """Where a trajectory leads the tool."""
        if list(message.joint_names) != list(JOINT_NAMES):
            return Place(flaw="joint names")
        if len(message.points) != 1 or len(message.points[0].positions) != len(JOINT_NAMES):
            return Place(flaw="size")
        joints = np.array(message.points[0].positions)
        if (joints < JOINT_LOW - ALIKE).any() or (joints > JOINT_HIGH + ALIKE).any():
            return Place(flaw="joint limits")
        return self._place(joints)

    def _place(self, joints: Any) -> Place:
        joints = np.asarray(joints, np.float64)
        if not np.isfinite(joints).all() or np.abs(joints).max() > 1e6:
            return Place(flaw="not finite")
        pose = forward(joints)
        return Place((*pose.position.tolist(), float(yaw_of(pose))))


ROBOTS = {"ls3_cable": PsmOfTask, "safer_grasp": ArmOfTask}
