"""The objects of the Operation tasks: `random_urdfs` of pybullet_data, laid on their flat side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pybullet_data
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.transform import Rotation

OBJECTS = 1000
FILE_SCALE = 0.015
"""Metres a unit of the mesh files, as their URDF files say."""


@dataclass(frozen=True)
class ObjectMesh:
    """One mesh at unit scale, its axes renamed so that the thinnest is z.

    Attributes:
        path: the mesh file.
        centre: (3,) centre of the mesh's bounding box, in the file's frame and units.
        quaternion: (4,) (x, y, z, w) rotation from the file's frame to the resting one.
        hull: (n, 3) corners of the convex hull about the centre, resting frame [m at scale 1].
    """

    path: str
    centre: np.ndarray
    quaternion: tuple[float, float, float, float]
    hull: np.ndarray

    @property
    def extents(self) -> np.ndarray:
        """(3,) sizes of the bounding box, resting frame: length, width, thickness [m]."""
        return np.ptp(self.hull, axis=0)


# Quarter turns that bring the file's axis 0, 1 or 2 to z.
_QUARTER = float(np.sqrt(0.5))
_THINNEST_UP = {
    0: (0.0, -_QUARTER, 0.0, _QUARTER),
    1: (_QUARTER, 0.0, 0.0, _QUARTER),
    2: (0.0, 0.0, 0.0, 1.0),
}


@lru_cache(maxsize=64)
def load_mesh(number: int) -> ObjectMesh:
    """Reads mesh `number` of random_urdfs.

    Raises:
        ValueError: there is no such mesh, or it is not a body (168 is all NaN).
    """
    name = f"{number:03d}"
    path = Path(pybullet_data.getDataPath()) / "random_urdfs" / name / f"{name}.obj"
    if not path.is_file():
        raise ValueError(f"object: expected 0 to {OBJECTS - 1}, got {number!r}")
    lines = path.read_text(encoding="ascii").splitlines()
    vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)
    if not np.isfinite(vertices).all():
        raise ValueError(f"object {number}: its mesh is not finite")
    centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    quaternion = _THINNEST_UP[int(np.ptp(vertices, axis=0).argmin())]
    turn = np.rint(Rotation.from_quat(quaternion).as_matrix())
    try:
        corners = vertices[ConvexHull(vertices).vertices]
    except QhullError as error:
        raise ValueError(f"object {number}: its mesh has no volume") from error
    hull = (corners - centre) @ turn.T * FILE_SCALE
    return ObjectMesh(str(path), centre, quaternion, hull)
