"""Pictures of a MuJoCo model made of boxes, drawn by PyBullet in software: no OpenGL is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pybullet
from scipy.spatial.transform import Rotation

from safe_skills.envs.bullet import Client

if TYPE_CHECKING:
    import mujoco


class View(NamedTuple):
    """A pinhole camera, of square pixels.

    Attributes:
        position: of the camera (3,) [m].
        target: a point in the picture's centre (3,) [m].
        up: (3,) direction that is up in the picture.
        height: vertical angle of view [deg].
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float]
    height: float


class BoxCamera:
    """Draws the opaque boxes of a model where MuJoCo has them.

    Args:
        model: whose boxes are drawn.
        data: their poses, after `mj_forward` or a step.
        view: from where.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, view: View) -> None:
        self._data, self._view = data, view
        self._client = Client()
        self._closed = False
        opaque = [geom for geom in range(model.ngeom) if model.geom_rgba[geom, 3] == 1]
        self._bodies = {geom: self._add(model, geom) for geom in opaque}
        self._drawn: dict[int, tuple] = {}

    def picture(self, width: int, height: int, shadow: bool = False) -> np.ndarray:
        """(height, width, 3) uint8 RGB; black where there is nothing."""
        self._move()
        view = pybullet.computeViewMatrix(*self._view[:3])
        projection = pybullet.computeProjectionMatrixFOV(
            self._view.height, width / height, 0.1, 4.0
        )
        _, _, image, _, body = self._client.getCameraImage(
            width,
            height,
            view,
            projection,
            lightDirection=(-0.3, -0.6, 1.2),
            lightAmbientCoeff=0.6,
            lightDiffuseCoeff=0.45,
            lightSpecularCoeff=0.0,
            shadow=int(shadow),
            renderer=pybullet.ER_TINY_RENDERER,
        )
        rgb = np.reshape(image, (height, width, 4))[:, :, :3].astype(np.uint8)
        rgb[np.reshape(body, (height, width)) < 0] = 0
        return rgb

    def close(self) -> None:
        """Disconnects from PyBullet; the camera is unusable afterwards."""
        if not self._closed:
            self._closed = True
            self._client.disconnect()

    def _add(self, model: mujoco.MjModel, geom: int) -> int:
        shape = self._client.createVisualShape(
            pybullet.GEOM_BOX,
            halfExtents=model.geom_size[geom].tolist(),
            rgbaColor=model.geom_rgba[geom].tolist(),
        )
        return self._client.createMultiBody(baseVisualShapeIndex=shape)

    def _move(self) -> None:
        for geom, body in self._bodies.items():
            position = self._data.geom_xpos[geom]
            pose = (position.tobytes(), self._data.geom_xmat[geom].tobytes())
            if self._drawn.get(geom) != pose:
                self._drawn[geom] = pose
                quaternion = _quaternion(self._data.geom_xmat[geom].reshape(3, 3))
                self._client.resetBasePositionAndOrientation(body, position.tolist(), quaternion)


def _quaternion(rotation: np.ndarray) -> list[float]:
    """(x, y, z, w) of a rotation matrix (3, 3)."""
    return Rotation.from_matrix(rotation).as_quat().tolist()
