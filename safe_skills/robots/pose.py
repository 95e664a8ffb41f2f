"""Rigid poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Pose:
    """Pose of one frame in another.

    Attributes:
        position: (3,) [m].
        rotation: orientation.
    """

    position: np.ndarray
    rotation: Rotation

    @classmethod
    def from_values(cls, values: Sequence[float], name: str = "pose") -> Pose:
        """Builds a pose from (x, y, z, qx, qy, qz, qw).

        Args:
            values: position [m] and unit quaternion; a quaternion whose norm is off by no more than
                1e-3 is normalised.
            name: what the values are, for the error.

        Raises:
            ValueError: not 7 finite numbers, or a quaternion that is not of unit norm.
        """
        try:
            numbers = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if numbers.shape != (7,) or not np.isfinite(numbers).all():
            raise ValueError(
                f"{name}: expected 7 finite numbers (x, y, z, qx, qy, qz, qw), got {values!r}"
            )
        norm = float(np.linalg.norm(numbers[3:]))
        if not abs(norm - 1.0) <= UNIT_TOLERANCE:
            raise ValueError(f"{name}: expected a quaternion of norm 1, got norm {norm:.6g}")
        return cls(numbers[:3], Rotation.from_quat(numbers[3:]))

    @property
    def quaternion(self) -> np.ndarray:
        """(4,) unit quaternion (x, y, z, w), w >= 0."""
        return self.rotation.as_quat(canonical=True)

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(
            self.position + self.rotation.apply(other.position), self.rotation * other.rotation
        )

    def inverse(self) -> Pose:
        """Returns the pose of the other frame in this one."""
        back = self.rotation.inv()
        return Pose(-back.apply(self.position), back)
