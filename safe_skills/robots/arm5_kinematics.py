"""Kinematics of the arm of five joints in `urdf/arm5.urdf`, in closed form.

The base frame stands on the table, z up. At zero joints the upper arm stands upright, forearm and
gripper point along x. The waist turns about z; shoulder, elbow and wrist angle bend the arm in the
vertical plane that the waist has turned to, about the plane's y axis (positive is down); the wrist
rotates the gripper about its own axis. The tool frame lies between the finger tips: x along the
approach, y along which the fingers move.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from safe_skills.robots.pose import Pose

JOINT_NAMES = ("waist", "shoulder", "elbow", "wrist_angle", "wrist_rotate")
JOINT_LOW = np.array([-3.14, -1.97, -2.09, -1.75, -3.14])
JOINT_HIGH = np.array([3.14, 1.94, 1.66, 2.15, 3.14])
JOINT_VELOCITY = np.array([3.14159] * 5)
"""Greatest speed of a joint of such an arm [rad/s]."""
FINGER_NAMES = ("left_finger", "right_finger")
FINGER_LOW, FINGER_HIGH = 0.0, 0.035

SHOULDER_HEIGHT = 0.11
ELBOW_FORWARD, ELBOW_UP = 0.05, 0.2
FOREARM_LENGTH = 0.2
WRIST_TO_TOOL = 0.165

_UPPER_ARM_LENGTH = math.hypot(ELBOW_FORWARD, ELBOW_UP)
_UPPER_ARM_TILT = math.atan2(ELBOW_FORWARD, ELBOW_UP)
_ROUNDING = 1e-9
# An approach axis this far out of the arm's vertical plane [rad] is taken to be a rounding error.
_OUT_OF_PLANE = 1e-6


class UnreachableError(ValueError):
    """A pose that the arm cannot take; the message says what stands in the way."""


def forward(joints: np.ndarray) -> Pose:
    """Returns the tool's pose in the base frame.

    Args:
        joints: (5,) as in `JOINT_NAMES` [rad].
    """
    waist, shoulder, elbow, wrist, roll = checked_joints(joints)
    upper = shoulder + _UPPER_ARM_TILT
    fore = shoulder + elbow
    hand = fore + wrist
    radius = (
        _UPPER_ARM_LENGTH * math.sin(upper)
        + FOREARM_LENGTH * math.cos(fore)
        + WRIST_TO_TOOL * math.cos(hand)
    )
    height = (
        SHOULDER_HEIGHT
        + _UPPER_ARM_LENGTH * math.cos(upper)
        - FOREARM_LENGTH * math.sin(fore)
        - WRIST_TO_TOOL * math.sin(hand)
    )
    position = np.array([radius * math.cos(waist), radius * math.sin(waist), height])
    return Pose(position, Rotation.from_euler("ZYX", (waist, hand, roll)))


def downward(position: np.ndarray, yaw: float) -> Pose:
    """Pose of a tool that points straight down.

    Args:
        position: (3,) of the tool in the base frame [m].
        yaw: heading of the direction in which the fingers move, from the base's y axis [rad].
    """
    # The tool's z axis is the horizontal one besides y; x is down.
    turned = Rotation.from_euler("ZY", (yaw, math.pi / 2))
    return Pose(np.asarray(position, dtype=np.float64), turned)


def yaw_of(pose: Pose) -> float:
    """Heading of the direction in which the fingers move, from the base's y axis [rad]."""
    side = pose.rotation.as_matrix()[:, 1]
    return math.atan2(-side[0], side[1])


def inverse(pose: Pose, near: np.ndarray | None = None) -> np.ndarray:
    """Returns the joints that bring the tool to a pose, in closed form.

    The wrist lies behind the tool along the approach axis; its bearing is the waist, and in the
    vertical plane through it shoulder and elbow are an arm of two links. What is left of the
    orientation are the wrist's two joints. Of the solutions (arm to the front or over its back,
    elbow up or down) the one nearest to `near` is taken.

    Args:
        pose: of the tool in the base frame. Five joints reach only poses whose approach axis lies
            in a vertical plane through the waist, such as those of `downward`.
        near: (5,) joints, zero when not given.

    Returns:
        (5,) joints within the limits.

    Raises:
        UnreachableError: no solution lies within the limits.
    """
    if not np.isfinite(pose.position).all():
        raise UnreachableError(f"pose: expected a finite position, got {pose.position.tolist()}")
    near = np.zeros(5) if near is None else checked_joints(near)
    tool = pose.rotation.as_matrix()
    wrist = pose.position - WRIST_TO_TOOL * tool[:, 0]
    # The plane is that of tool and wrist; where they lie above each other, any that holds both.
    far = max((pose.position, wrist), key=lambda point: math.hypot(point[0], point[1]))
    bearing = math.atan2(far[1], far[0])
    across = -math.sin(bearing) * tool[0, 0] + math.cos(bearing) * tool[1, 0]
    if abs(across) > _OUT_OF_PLANE:
        raise UnreachableError(
            f"{_place(pose)}: the approach axis lies {math.degrees(math.asin(abs(across))):.2f} "
            "degrees out of the arm's plane, expected 0"
        )
    solutions = [
        _limited_turns(solution, near)
        for waist in (bearing, bearing + math.pi)
        for solution in _solutions(tool, wrist, waist)
    ]
    if not solutions:
        span = math.hypot(*wrist[:2], wrist[2] - SHOULDER_HEIGHT)
        raise UnreachableError(
            f"{_place(pose)}: the wrist would be {span:.4f} m from the shoulder, expected "
            f"{_UPPER_ARM_LENGTH - FOREARM_LENGTH:.4f} to {_UPPER_ARM_LENGTH + FOREARM_LENGTH:.4f}"
        )
    reachable = [joints for joints in solutions if excess(joints).max() <= _ROUNDING]
    if not reachable:
        raise UnreachableError(_complaint(pose, min(solutions, key=lambda j: excess(j).max())))
    best = min(reachable, key=lambda joints: float(np.abs(joints - near).sum()))
    return np.clip(best, JOINT_LOW, JOINT_HIGH)


def checked_joints(joints: np.ndarray) -> np.ndarray:
    """Returns (5,) float64; raises ValueError for another size or values that are not finite."""
    values = np.asarray(joints, dtype=np.float64)
    if values.shape != (5,) or not np.isfinite(values).all():
        raise ValueError(
            f"joints: expected 5 finite numbers ({', '.join(JOINT_NAMES)}), got {values.tolist()}"
        )
    return values


def _solutions(tool: np.ndarray, wrist: np.ndarray, waist: float) -> list[np.ndarray]:
    """The two bends of the elbow for one turn of the waist, without regard to limits."""
    ahead = np.array([math.cos(waist), math.sin(waist), 0.0])
    radius, rise = float(ahead @ wrist), float(wrist[2]) - SHOULDER_HEIGHT
    square = radius**2 + rise**2
    cosine = (square - _UPPER_ARM_LENGTH**2 - FOREARM_LENGTH**2) / (
        2 * _UPPER_ARM_LENGTH * FOREARM_LENGTH
    )
    if abs(cosine) > 1.0 + _ROUNDING:
        return []
    hand = math.atan2(-tool[2, 0], float(ahead @ tool[:, 0]))
    # The tool's y and z axes before the wrist rotates: the plane's normal, and what completes it.
    normal = np.array([-ahead[1], ahead[0], 0.0])
    roll = math.atan2(float(normal @ tool[:, 2]) * -1.0, float(normal @ tool[:, 1]))
    found = []
    for bend in (1.0, -1.0):
        # Angle from the upper arm's direction to the forearm's, positive is down.
        turn = bend * math.acos(min(1.0, max(-1.0, cosine)))
        inner = math.atan2(
            FOREARM_LENGTH * math.sin(turn), _UPPER_ARM_LENGTH + FOREARM_LENGTH * math.cos(turn)
        )
        # Tilt of the upper arm from the vertical.
        upper = math.atan2(radius, rise) - inner
        shoulder = upper - _UPPER_ARM_TILT
        elbow = turn + _UPPER_ARM_TILT - math.pi / 2
        found.append(np.array([waist, shoulder, elbow, hand - shoulder - elbow, roll]))
    return found


def _limited_turns(joints: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Adds whole turns: to come near to `near`, or else to come within the limits."""
    turned = joints + 2 * math.pi * np.round((near - joints) / (2 * math.pi))
    outside = excess(turned) > _ROUNDING
    middle = (JOINT_LOW + JOINT_HIGH) / 2
    centred = joints + 2 * math.pi * np.round((middle - joints) / (2 * math.pi))
    return np.where(outside, centred, turned)


def excess(joints: np.ndarray) -> np.ndarray:
    """How far each joint (5,) is beyond its limits [rad]; negative within them."""
    return np.maximum(joints - JOINT_HIGH, JOINT_LOW - joints)


def _place(pose: Pose) -> str:
    x, y, z = pose.position
    return f"pose ({x:.4f}, {y:.4f}, {z:.4f}) m is out of reach"


def _complaint(pose: Pose, joints: np.ndarray) -> str:
    worst = int(excess(joints).argmax())
    return (
        f"{_place(pose)}: {JOINT_NAMES[worst]} would be {joints[worst]:.4f} rad, expected "
        f"{JOINT_LOW[worst]:.4f} to {JOINT_HIGH[worst]:.4f}"
    )
