"""Kinematics of the da Vinci Classic patient side manipulator with a large needle driver.

Modified Denavit-Hartenberg parameters and joint limits as the dVRK publishes them (configuration of
the PSM and of the tool 400006, release 2.4), but for the jaw: -20 to 60 degrees. The base frame
lies in the remote centre, through which the instrument always passes. At zero joints the instrument
points along -z; yaw turns about the base's -y axis, pitch about a horizontal axis across.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from safe_skills.robots.pose import Pose

JOINT_NAMES = ("yaw", "pitch", "insertion", "roll", "wrist_pitch", "wrist_yaw")
JAW_NAME = "jaw"
JOINT_LOW = np.array([-1.588, -0.925025, 0.0, -4.53786, -1.39626, -1.39626])
JOINT_HIGH = np.array([1.588, 0.925025, 0.24, 4.53786, 1.39626, 1.39626])
JAW_LOW, JAW_HIGH = math.radians(-20.0), math.radians(60.0)
JOINT_VELOCITY = np.array([math.pi / 2, math.pi / 2, 0.2, *[math.pi / 2] * 3])
JAW_VELOCITY = math.pi / 2

REMOTE_CENTRE_TO_CARRIAGE = 0.4318
TOOL_LENGTH = 0.4162
PITCH_TO_YAW = 0.0091

_HALF_TURN = math.pi / 2
# alpha, a, offset of theta, offset of d; one row a joint, the third is prismatic.
_DH = (
    (_HALF_TURN, 0.0, _HALF_TURN, 0.0),
    (-_HALF_TURN, 0.0, -_HALF_TURN, 0.0),
    (_HALF_TURN, 0.0, 0.0, -REMOTE_CENTRE_TO_CARRIAGE),
    (0.0, 0.0, 0.0, TOOL_LENGTH),
    (-_HALF_TURN, 0.0, -_HALF_TURN, 0.0),
    (-_HALF_TURN, PITCH_TO_YAW, -_HALF_TURN, 0.0),
)
# From the last joint's frame to the tool's, as the dVRK's tool file turns it.
_TOOL_OFFSET = Rotation.from_matrix([[0, -1, 0], [0, 0, 1], [-1, 0, 0]])
_ROUNDING = 1e-9


class UnreachableError(ValueError):
    """A pose that the arm cannot take; the message says which joint stands in the way."""


def forward(joints: np.ndarray) -> Pose:
    """Returns the tool's pose in the base frame.

    Args:
        joints: (6,) as in `JOINT_NAMES` [rad, m].
    """
    joints = checked_joints(joints)
    pose = np.eye(4)
    for index, (alpha, a, theta, d) in enumerate(_DH):
        if index == 2:
            d += joints[index]
        else:
            theta += joints[index]
        pose = pose @ _link(alpha, a, theta, d)
    return Pose(pose[:3, 3], Rotation.from_matrix(pose[:3, :3]) * _TOOL_OFFSET)


def inverse(pose: Pose, near: np.ndarray | None = None) -> np.ndarray:
    """Returns the joints that bring the tool to a pose, in closed form.

    The wrist's yaw turns its pitch axis square to the line from the remote centre. The centre of
    that axis lies on the instrument's shaft, whose direction and depth are the first three joints;
    what is left of the orientation are roll and wrist pitch.

    Args:
        pose: of the tool in the base frame.
        near: (6,) joints, of which the roll decides between equal solutions; zero when not given.

    Returns:
        (6,) joints within the limits.

    Raises:
        UnreachableError: no solution lies within the limits.
    """
    if not np.isfinite(pose.position).all():
        raise UnreachableError(f"pose: expected a finite position, got {pose.position.tolist()}")
    hand = (pose.rotation * _TOOL_OFFSET.inv()).as_matrix()
    centre = hand.T @ pose.position
    roll_near = 0.0 if near is None else float(near[3])
    solutions = [
        _solution(hand, pose.position, math.atan2(side * centre[0], side * centre[1]), depth_sign)
        for depth_sign in (1.0, -1.0)
        for side in (1.0, -1.0)
    ]
    solutions = [_near_roll(joints, roll_near) for joints in solutions]
    for joints in solutions:
        if _excess(joints).max() <= _ROUNDING:
            return np.clip(joints, JOINT_LOW, JOINT_HIGH)
    raise UnreachableError(_complaint(pose, min(solutions, key=lambda j: _excess(j).max())))


def checked_joints(joints: np.ndarray) -> np.ndarray:
    """Returns (6,) float64; raises ValueError for another size or values that are not finite."""
    values = np.asarray(joints, dtype=np.float64)
    if values.shape != (6,) or not np.isfinite(values).all():
        raise ValueError(
            f"joints: expected 6 finite numbers ({', '.join(JOINT_NAMES)}), got {values.tolist()}"
        )
    return values


def _link(alpha: float, a: float, theta: float, d: float) -> np.ndarray:
    """(4, 4) pose of a link's frame in the one before, modified Denavit-Hartenberg convention."""
    st, ct, sa, ca = math.sin(theta), math.cos(theta), math.sin(alpha), math.cos(alpha)
    return np.array(
        [
            [ct, -st, 0.0, a],
            [st * ca, ct * ca, -sa, -d * sa],
            [st * sa, ct * sa, ca, d * ca],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def _solution(
    hand: np.ndarray, position: np.ndarray, wrist_yaw: float, depth_sign: float
) -> np.ndarray:
    sine, cosine = math.sin(wrist_yaw), math.cos(wrist_yaw)
    link = hand @ [sine, cosine, 0.0]
    axis = hand @ [cosine, -sine, 0.0]
    wrist = position - PITCH_TO_YAW * link
    depth = depth_sign * float(np.linalg.norm(wrist))
    shaft = wrist / depth if depth else np.array([0.0, 0.0, -1.0])
    yaw = math.atan2(shaft[0], -shaft[2])
    pitch = -math.asin(np.clip(shaft[1], -1.0, 1.0))
    # Columns: x, y and z of the instrument's frame before roll, in the base frame.
    before_roll = np.column_stack(
        [
            [-math.sin(yaw) * math.sin(pitch), -math.cos(pitch), math.cos(yaw) * math.sin(pitch)],
            [-math.cos(yaw), 0.0, -math.sin(yaw)],
            shaft,
        ]
    )
    axis, link = before_roll.T @ axis, before_roll.T @ link
    roll = math.atan2(-axis[0], axis[1])
    across = link[0] * math.cos(roll) + link[1] * math.sin(roll)
    insertion = depth + REMOTE_CENTRE_TO_CARRIAGE - TOOL_LENGTH
    return np.array([yaw, pitch, insertion, roll, math.atan2(across, link[2]), wrist_yaw])


def _near_roll(joints: np.ndarray, roll: float) -> np.ndarray:
    turns = round((roll - joints[3]) / (2 * math.pi))
    for shift in (turns, 0):
        turned = joints[3] + 2 * math.pi * shift
        if JOINT_LOW[3] - _ROUNDING <= turned <= JOINT_HIGH[3] + _ROUNDING:
            return np.array([*joints[:3], turned, *joints[4:]])
    return joints


def _excess(joints: np.ndarray) -> np.ndarray:
    return np.maximum(joints - JOINT_HIGH, JOINT_LOW - joints)


def _complaint(pose: Pose, joints: np.ndarray) -> str:
    worst = int(_excess(joints).argmax())
    unit = "m" if worst == 2 else "rad"
    x, y, z = pose.position
    return (
        f"pose ({x:.4f}, {y:.4f}, {z:.4f}) m is out of reach: {JOINT_NAMES[worst]} would be "
        f"{joints[worst]:.4f} {unit}, expected {JOINT_LOW[worst]:.4f} to {JOINT_HIGH[worst]:.4f}"
    )
