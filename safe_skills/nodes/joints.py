"""The arm behind ROS 2 controllers: its parameters, joint states and joint trajectories."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.parameters import Param
from safe_skills.robots import arm5_kinematics as kinematics
from safe_skills.robots.arm5 import STEP_LIMIT, WINDUP_MARGIN, WORKSPACE, Arm5, JointReading
from safe_skills.robots.base import Box

ARM5_PARAMETERS = {
    "joint_names": Param(
        list(kinematics.JOINT_NAMES), "Names of the arm's five joints, from the base on."
    ),
    "finger_names": Param(list(kinematics.FINGER_NAMES), "Names of the gripper's two joints."),
    "workspace": Param(
        [float(end) for interval in WORKSPACE for end in interval],
        "Where set-points may be, in the arm's base frame: xmin, xmax, ymin, ymax, zmin, zmax [m], "
        "yawmin, yawmax [rad].",
        low=-10.0,
        high=10.0,
    ),
    "workspace_tolerance": Param(
        [round(float(lead), 6) for lead in STEP_LIMIT + WINDUP_MARGIN],
        "How far outside the workspace the tool may be measured: x, y, z [m], yaw [rad].",
        low=0.0,
        high=10.0,
    ),
    "tilt_tolerance": Param(
        0.5236,
        "How far from straight down the tool may be measured [rad].",
        low=0.0,
        high=3.1416,
    ),
}


def workspace_of(node: SkillNode) -> Box:
    """Return four intervals: x, y, z [m], yaw [rad]; `ValueError` unless there are 8 numbers."""
    numbers = node.param("workspace")
    if len(numbers) != 8:
        raise ValueError(f"workspace: expected 8 numbers, min and max of each, got {numbers}")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def arm5_of(node: SkillNode) -> Arm5:
    """Build the arm that `ARM5_PARAMETERS` of a node describe; raises as `Arm5` does."""
    names = ("joint_names", "finger_names", "workspace_tolerance", "tilt_tolerance")
    return Arm5(workspace=workspace_of(node), **{name: node.param(name) for name in names})


def reading_from_message(arm: Arm5, message: JointState) -> JointReading:
    """Unpack measured joints.

    Raises:
        ValueError: A zero stamp, by which robots mark invalid data, or as `Arm5.reading` does.
    """
    if nanoseconds(message.header.stamp) == 0:
        raise ValueError("expected valid data, got joints with a zero stamp, which means invalid")
    return arm.reading(message.name, message.position)


def trajectory_message(
    names: Sequence[str], positions: np.ndarray, seconds: float, stamp: Time
) -> JointTrajectory:
    """Pack a trajectory of one point.

    Args:
        names: Of n joints.
        positions: (n,) where to be [rad, m].
        seconds: In which time.
        stamp: When to start; zero means now.
    """
    point = JointTrajectoryPoint(
        positions=[float(position) for position in positions], time_from_start=duration(seconds)
    )
    return JointTrajectory(header=Header(stamp=stamp), joint_names=list(names), points=[point])


def duration(seconds: float) -> Duration:
    """Pack a time that is not negative, rounded up to nanoseconds: a motion is never hastened."""
    sec, nanosec = divmod(math.ceil(seconds * 1e9), 1_000_000_000)
    return Duration(sec=sec, nanosec=nanosec)


def points_from_trajectory(
    message: JointTrajectory, names: Sequence[str], now: int
) -> tuple[np.ndarray, np.ndarray]:
    """Unpack a trajectory; what joint_trajectory_controller refuses by default is refused.

    Args:
        message: A trajectory of all joints, in any order; a zero stamp means now.
        names: Of the controller's n joints.
        now: Present time [ns].

    Returns:
        Positions (k, n) of the points that lie ahead, in the order of `names` [rad, m], and (k,)
        when to be there [s], from now on. Points in the past are left out: the motion goes to the
        first one ahead in the time that is left.

    Raises:
        ValueError: In one line: other joints or not all of them, no point, sizes that do not fit,
            values that are not finite, times that do not increase, motion at the end, or an end
            that is in the past.
    """
    given = list(message.joint_names)
    if sorted(given) != sorted(names):
        raise ValueError(
            f"expected a trajectory of all joints {', '.join(names)}, "
            f"got {', '.join(given) or '(none)'}"
        )
    if not message.points:
        raise ValueError("expected a trajectory of 1 or more points, got none")
    for point in message.points:
        _check_sizes(point, len(names))
    order = [given.index(name) for name in names]
    positions = np.array([point.positions for point in message.points], np.float64)[:, order]
    times = np.array([_nanoseconds(point.time_from_start) for point in message.points])
    if times[0] < 0 or (np.diff(times) <= 0).any():
        raise ValueError(
            f"expected times from the start that increase, got {(times / 1e9).tolist()} s"
        )
    if any(message.points[-1].velocities):
        raise ValueError("expected a trajectory that ends at rest, its last velocities are not 0")
    begin = nanoseconds(message.header.stamp)
    if begin > 0:
        times = times + (begin - now)
        if times[-1] < 0:
            raise ValueError(
                f"expected a trajectory that ends in the future, it ended {-times[-1] / 1e9:.3f} s "
                "ago"
            )
    ahead = int(np.searchsorted(times, 0))
    return positions[ahead:], times[ahead:] / 1e9


def _check_sizes(point: JointTrajectoryPoint, size: int) -> None:
    if len(point.positions) != size:
        raise ValueError(f"expected {size} positions a point, got {len(point.positions)}")
    for name in ("positions", "velocities", "accelerations", "effort"):
        values = getattr(point, name)
        if len(values) not in (0, size):
            raise ValueError(f"expected {size} {name} a point or none, got {len(values)}")
        if not np.isfinite(values).all():
            raise ValueError(f"expected finite {name}, got {list(values)}")


def _nanoseconds(value: Duration) -> int:
    return value.sec * 1_000_000_000 + value.nanosec
