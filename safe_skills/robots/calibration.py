"""Where the task frame lies in an arm's frame, from points that the tool has touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from safe_skills.robots.pose import Pose

LEAST_POINTS = 3

LEAST_SPREAD = 0.01
"""Root mean square distance of the points from the line that fits them best, at least [m]."""


@dataclass(frozen=True)
class TaskFrame:
    """A calibrated task frame.

    Attributes:
        pose: of the task frame in the arm's frame.
        residuals: (n,) distance of each touched point from where the pose has it [m].
    """

    pose: Pose
    residuals: np.ndarray

    @property
    def rms(self) -> float:
        """Root mean square of the residuals [m]; with three points it says little."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    @property
    def largest(self) -> float:
        """Largest residual [m]."""
        return float(self.residuals.max())


def fit_task_frame(in_task: ArrayLike, in_arm: ArrayLike, tolerance: float) -> TaskFrame:
    """Finds the pose that fits pairs of points best, by least squares (Kabsch's algorithm).

    Args:
        in_task: (n, 3) the points in the task frame [m].
        in_arm: (n, 3) where the tool was measured at them, in the arm's frame [m].
        tolerance: largest residual that is accepted [m].

    Raises:
        ValueError: in one line: fewer than three points, points nearly on a line, numbers that are
            not finite, or a residual above the tolerance.
    """
    task, arm = _points("task", in_task), _points("arm", in_arm)
    if len(task) != len(arm):
        raise ValueError(f"points: expected as many of the arm as of the task, got {len(arm)}")
    if len(task) < LEAST_POINTS:
        raise ValueError(f"points: expected {LEAST_POINTS} or more, got {len(task)}")
    for name, points in (("task", task), ("arm", arm)):
        spread = _spread(points)
        if spread < LEAST_SPREAD:
            raise ValueError(
                f"points in the {name} frame: expected them {LEAST_SPREAD:g} m (rms) or more off "
                f"a common line, got {spread:.2g} m"
            )
    task_centre, arm_centre = task.mean(axis=0), arm.mean(axis=0)
    rotation, _ = Rotation.align_vectors(arm - arm_centre, task - task_centre)
    pose = Pose(arm_centre - rotation.apply(task_centre), rotation)
    residuals = np.linalg.norm(pose.position + rotation.apply(task) - arm, axis=1)
    worst = int(residuals.argmax())
    if residuals[worst] > tolerance:
        raise ValueError(
            f"point {worst + 1}: expected it within {1e3 * tolerance:g} mm of the fit of all, "
            f"got {1e3 * residuals[worst]:.2f} mm; touch the points again"
        )
    return TaskFrame(pose, residuals)


def tool_at_work(task_in_arm: Pose, working: Pose) -> tuple[np.ndarray, float]:
    """Returns the tool's working orientation in the task frame and its height above the table.

    Args:
        task_in_arm: pose of the task frame in the arm's frame.
        working: the tool's measured pose at work, in the arm's frame.

    Returns:
        (4,) quaternion (xyzw), and the height [m].

    Raises:
        ValueError: the tool's axis (z, out of its tip) does not point into the table: two points
            have been swapped, or the pose is not one at work.
    """
    tool = task_in_arm.inverse() @ working
    down = -float(tool.rotation.apply((0.0, 0.0, 1.0))[2])
    if down <= 0.5:
        angle = np.degrees(np.arccos(np.clip(down, -1.0, 1.0)))
        raise ValueError(
            "working pose: expected the tool to point into the table within 60 degrees, "
            f"got {angle:.0f} degrees; were points swapped?"
        )
    return tool.quaternion, float(tool.position[2])


def mean_of_still(poses: Sequence[Pose], tolerance: float) -> Pose:
    """Returns the mean of poses measured while the arm stands still.

    Args:
        poses: at least one.
        tolerance: how far one may be from the mean [m].

    Raises:
        ValueError: no pose, or an arm that moves.
    """
    if not poses:
        raise ValueError("measured poses: expected one or more, got none")
    positions = np.array([pose.position for pose in poses])
    centre = positions.mean(axis=0)
    farthest = float(np.linalg.norm(positions - centre, axis=1).max())
    if farthest > tolerance:
        raise ValueError(
            f"measured poses: expected the arm to stand still within {1e3 * tolerance:g} mm, "
            f"it moved by {1e3 * farthest:.2f} mm"
        )
    return Pose(centre, Rotation.concatenate([pose.rotation for pose in poses]).mean())


def _points(name: str, values: ArrayLike) -> np.ndarray:
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"points in the {name} frame: expected rows of 3 finite numbers (x, y, z)")
    return points


def _spread(points: np.ndarray) -> float:
    """Root mean square distance [m] from the line that fits best."""
    values = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return float(np.sqrt(np.sum(values[1:] ** 2) / len(points)))
