"""The simulated operation: arm, open container and object in PyBullet."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pybullet
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from safe_skills.envs.bullet import Client
from safe_skills.envs.operation_objects import FILE_SCALE, ObjectMesh, load_mesh
from safe_skills.envs.operation_tasks import OperationTask
from safe_skills.paths import urdf_file
from safe_skills.robots import arm5_kinematics as arm5
from safe_skills.robots.joint_path import JointPath

PHYSICS_RATE = 240.0
SOLVER_ITERATIONS = 50
SETTLE_SUBSTEPS = 12
RAMP_SUBSTEPS = 12
ARM_FORCE, ARM_GAIN = 10.0, 0.35
FINGER_FORCE, FINGER_GAIN = 15.0, 0.15

CONTAINER_CENTRE = (0.21, 0.0)
WALL = 0.006
HOME = (0.21, 0.0, 0.15)
"""Where the tool starts [m], pointing down."""
OBJECT_MASS = 0.05
DROP = 0.003
OBJECT_CLEARANCE = 0.003
"""Left between object and walls at the start [m]."""
RIM_CLEARANCE = 0.01
"""How far above the rim an object has to be held [m]."""

TABLE_COLOUR = (0.90, 0.88, 0.84)
WALL_COLOUR = (0.35, 0.55, 0.85)
OBJECT_COLOUR = (0.88, 0.22, 0.12)

EYE, TARGET, FIELD_OF_VIEW = (0.40, -0.20, 0.46), (0.21, 0.0, 0.07), 33.0
_UPRIGHT = (0.0, 0.0, 0.0, 1.0)

Shapes = tuple[int, int]
"""PyBullet's numbers of a collision and a visual shape."""


class Contacts(NamedTuple):
    """What of the robot touched the container."""

    finger: bool
    arm: bool


class ToolState(NamedTuple):
    """Measured pose of the tool and the fingers.

    Attributes:
        position: (3,) between the finger tips [m].
        yaw: heading of the direction in which the fingers move, from the y axis [rad].
        opening: gap between the fingers [m].
    """

    position: np.ndarray
    yaw: float
    opening: float


class OperationScene:
    """Owns one PyBullet client: the arm of `urdf/arm5.urdf` beside a container with an object.

    The container is one fixed body of four walls; its floor is the table. All positions are metres
    in the frame of the arm's base, which stands on the table: x towards the container, z up.
    """

    def __init__(self) -> None:
        self._client = Client()
        self._closed = False
        self._shapes: dict[tuple[str | float, ...], Shapes] = {}
        self._container = self._object = None
        self._build()

    def reset(self, task: OperationTask, rng: np.random.Generator) -> None:
        """Puts container and object of a task down; the scene depends on both arguments alone."""
        heading = float(rng.uniform(-math.pi, math.pi))
        outline = self._outline(load_mesh(task.object), task.scale, heading)
        room = task.width / 2 - OBJECT_CLEARANCE - np.ptp(outline, axis=0) / 2
        offset = np.maximum(room, 0.0) * rng.uniform(-1.0, 1.0, 2)
        self.place(task, np.add(CONTAINER_CENTRE, offset), heading)

    def place(self, task: OperationTask, xy: ArrayLike, heading: float) -> None:
        """Puts container and object of a task down, the arm over them, and lets the object settle.

        Args:
            task: what to build.
            xy: (2,) centre of the object's bounding box [m].
            heading: rotation of the object about the vertical [rad].
        """
        client = self._client
        for body in (self._container, self._object):
            if body is not None:
                client.removeBody(body)
        joints = arm5.inverse(arm5.downward(np.array(HOME), 0.0))
        fingers = [arm5.FINGER_HIGH] * 2
        for index, value in zip(self._joints, [*joints, *fingers], strict=True):
            client.resetJointState(self._arm, index, value, 0.0)
        self._target = joints
        self._arm_motion = _Motion(self._drive, joints)
        self._finger_motion = _Motion(self._drive_fingers, np.array(fingers))
        self._container = self._make_container(task)
        self._object = self._make_object(task, xy, heading)
        self._rim = task.height
        for _ in range(SETTLE_SUBSTEPS):
            client.stepSimulation()

    def command(self, position: ArrayLike, yaw: float) -> None:
        """Sets where the tool, pointing down, shall be at the end of a control period.

        Args:
            position: (3,) [m].
            yaw: as in `ToolState` [rad].

        Raises:
            UnreachableError: the arm cannot take that pose.
        """
        joints = arm5.inverse(arm5.downward(np.asarray(position), yaw), near=self._target)
        self.command_joints([joints], [RAMP_SUBSTEPS / PHYSICS_RATE])

    def command_joints(self, points: ArrayLike, seconds: ArrayLike) -> None:
        """Moves the arm from where it is told to be now, in straight lines of joint space.

        Args:
            points: (k, 5) joint positions [rad].
            seconds: (k,) when to be there, from now on, increasing.

        Raises:
            ValueError: as `JointPath` does; the arm's motion then goes on.
        """
        self._arm_motion.begin(points, seconds)
        self._target = self._arm_motion.goal

    def command_fingers(self, points: ArrayLike, seconds: ArrayLike) -> None:
        """Moves the fingers likewise: (k, 2) ways from the middle [m]; raises likewise."""
        self._finger_motion.begin(points, seconds)

    def grip(self, open_: bool) -> None:
        """Opens the fingers, or closes them with what lies between, as fast as they can."""
        self.command_fingers([[arm5.FINGER_HIGH if open_ else arm5.FINGER_LOW] * 2], [0.0])

    def advance(self, substeps: int = 16) -> Contacts:
        """Simulates `substeps` / 240 s; returns what touched the container in any of them."""
        client = self._client
        finger = arm = False
        for _ in range(substeps):
            self._arm_motion.substep()
            self._finger_motion.substep()
            client.stepSimulation()
            for contact in client.getContactPoints(self._arm, self._container):
                if contact[8] > 0.0 and contact[9] <= 0.0:
                    continue  # near, but neither touching nor pushed away
                if contact[3] in self._fingers:
                    finger = True
                else:
                    arm = True
        return Contacts(finger, arm)

    @property
    def tool(self) -> ToolState:
        """Measured pose of the tool and the fingers."""
        values, _ = self.joint_states
        pose = arm5.forward(values[:5])
        return ToolState(pose.position, arm5.yaw_of(pose), float(values[5:].sum()))

    @property
    def joint_states(self) -> tuple[np.ndarray, np.ndarray]:
        """Measured positions [rad, m] and speeds of `JOINT_NAMES` and `FINGER_NAMES`, (7,) each."""
        states = self._client.getJointStates(self._arm, self._joints)
        return np.array([state[0] for state in states]), np.array([state[1] for state in states])

    @property
    def object_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """(3,) centre of the object [m] and (4,) its quaternion (x to w), as it lies: identity."""
        position, quaternion = self._client.getBasePositionAndOrientation(self._object)
        return np.array(position), np.array(quaternion)

    def object_corners(self) -> np.ndarray:
        """(n, 3) corners of the object's convex hull [m]."""
        position, quaternion = self.object_pose
        return Rotation.from_quat(quaternion).apply(self._hull) + position

    def touching(self, name: str) -> bool:
        """Whether a finger, of `FINGER_NAMES`, touches the object."""
        link = self._fingers[arm5.FINGER_NAMES.index(name)]
        contacts = self._client.getContactPoints(self._arm, self._object, link)
        return any(contact[8] <= 0.0 or contact[9] > 0.0 for contact in contacts)

    def extracted(self) -> bool:
        """Whether the fingers hold the object, all of it at least 1 cm above the rim."""
        lowest = float(self.object_corners()[:, 2].min())
        return lowest > self._rim + RIM_CLEARANCE and all(map(self.touching, arm5.FINGER_NAMES))

    def render(self, size: int = 48) -> np.ndarray:
        """(size, size, 3) uint8 RGB view of the fixed camera."""
        image, body = self._camera(size, size, shadow=False)
        image[body < 0] = np.round(np.multiply(TABLE_COLOUR, 255))
        return image

    def render_overview(self, width: int = 640, height: int = 480) -> np.ndarray:
        """(height, width, 3) uint8 RGB of the same view with table and shadows, for people."""
        client = self._client
        client.changeVisualShape(self._table, -1, rgbaColor=(*TABLE_COLOUR, 1.0))
        image, _ = self._camera(width, height, shadow=True)
        client.changeVisualShape(self._table, -1, rgbaColor=(*TABLE_COLOUR, 0.0))
        return image

    def close(self) -> None:
        """Disconnects from PyBullet; the scene is unusable afterwards."""
        if not self._closed:
            self._closed = True
            self._client.disconnect()

    def _camera(self, width: int, height: int, shadow: bool) -> tuple[np.ndarray, np.ndarray]:
        """(height, width, 3) uint8 RGB and (height, width) body numbers, -1 for none."""
        _, _, image, _, body = self._client.getCameraImage(
            width,
            height,
            _VIEW,
            pybullet.computeProjectionMatrixFOV(FIELD_OF_VIEW, width / height, 0.1, 2.0),
            lightDirection=(-0.4, -0.5, 1.2),
            lightAmbientCoeff=0.6,
            lightDiffuseCoeff=0.45,
            lightSpecularCoeff=0.05,
            shadow=int(shadow),
            renderer=pybullet.ER_TINY_RENDERER,
        )
        rgb = np.reshape(image, (height, width, 4))[:, :, :3].astype(np.uint8)
        return rgb, np.reshape(body, (height, width))

    def _build(self) -> None:
        client = self._client
        client.setTimeStep(1.0 / PHYSICS_RATE)
        client.setGravity(0.0, 0.0, -9.81)
        client.setPhysicsEngineParameter(
            numSolverIterations=SOLVER_ITERATIONS, deterministicOverlappingPairs=1
        )
        plane = client.createCollisionShape(pybullet.GEOM_PLANE)
        # Invisible but for the overview, which costs less to render.
        slab = client.createVisualShape(
            pybullet.GEOM_BOX,
            halfExtents=(0.6, 0.6, 0.01),
            visualFramePosition=(0, 0, -0.0101),
            rgbaColor=(*TABLE_COLOUR, 0.0),
        )
        self._table = client.createMultiBody(0.0, plane, slab)
        self._arm = client.loadURDF(str(urdf_file("arm5.urdf")), useFixedBase=True)
        names = [
            client.getJointInfo(self._arm, index)[1].decode()
            for index in range(client.getNumJoints(self._arm))
        ]
        self._joints = [names.index(name) for name in arm5.JOINT_NAMES + arm5.FINGER_NAMES]
        self._fingers = self._joints[5:]

    def _make_container(self, task: OperationTask) -> int:
        shape, visual = self._cached(self._container_shapes, task.width, task.height)
        place = (*CONTAINER_CENTRE, 0.0)
        return self._client.createMultiBody(0.0, shape, visual, place, _UPRIGHT)

    def _make_object(self, task: OperationTask, xy: ArrayLike, heading: float) -> int:
        client = self._client
        self._hull = load_mesh(task.object).hull * task.scale
        shape, visual = self._cached(self._object_shapes, task.object, task.scale)
        turn = Rotation.from_euler("z", heading).as_quat()
        height = -self._hull[:, 2].min() + DROP
        body = client.createMultiBody(OBJECT_MASS, shape, visual, (*xy, height), turn)
        client.changeDynamics(body, -1, activationState=pybullet.ACTIVATION_STATE_DISABLE_SLEEPING)
        return body

    def _cached(self, make: Callable[..., Shapes], *arguments: float) -> Shapes:
        """Shapes outlive the bodies made of them: each is made once."""
        key = (make.__name__, *arguments)
        if key not in self._shapes:
            self._shapes[key] = make(*arguments)
        return self._shapes[key]

    def _container_shapes(self, width: float, height: float) -> Shapes:
        client = self._client
        reach, centre = width / 2 + WALL / 2, height / 2
        along = (width / 2 + WALL, WALL / 2, height / 2)
        across = (WALL / 2, width / 2, height / 2)
        halves = [along, along, across, across]
        places = [(0, reach, centre), (0, -reach, centre), (reach, 0, centre), (-reach, 0, centre)]
        boxes = [pybullet.GEOM_BOX] * 4
        shape = client.createCollisionShapeArray(
            shapeTypes=boxes, halfExtents=halves, collisionFramePositions=places
        )
        visual = client.createVisualShapeArray(
            shapeTypes=boxes,
            halfExtents=halves,
            visualFramePositions=places,
            rgbaColors=[(*WALL_COLOUR, 1.0)] * 4,
        )
        return shape, visual

    def _object_shapes(self, number: int, scale: float) -> Shapes:
        """Origin in the centre, z along the thinnest side."""
        mesh = load_mesh(number)
        size = [FILE_SCALE * scale] * 3
        offset = Rotation.from_quat(mesh.quaternion).apply(-mesh.centre * size)
        shape = self._client.createCollisionShape(
            pybullet.GEOM_MESH,
            fileName=mesh.path,
            meshScale=size,
            collisionFramePosition=offset,
            collisionFrameOrientation=mesh.quaternion,
        )
        visual = self._client.createVisualShape(
            pybullet.GEOM_MESH,
            fileName=mesh.path,
            meshScale=size,
            visualFramePosition=offset,
            visualFrameOrientation=mesh.quaternion,
            rgbaColor=(*OBJECT_COLOUR, 1.0),
        )
        return shape, visual

    @staticmethod
    def _outline(mesh: ObjectMesh, scale: float, heading: float) -> np.ndarray:
        """(n, 2) corners from above, turned by a heading [m]."""
        cosine, sine = math.cos(heading), math.sin(heading)
        return scale * mesh.hull[:, :2] @ np.array([[cosine, sine], [-sine, cosine]])

    def _drive(self, joints: np.ndarray) -> None:
        self._client.setJointMotorControlArray(
            self._arm,
            self._joints[:5],
            pybullet.POSITION_CONTROL,
            targetPositions=joints,
            forces=[ARM_FORCE] * 5,
            positionGains=[ARM_GAIN] * 5,
            velocityGains=[1.0] * 5,
        )

    def _drive_fingers(self, positions: np.ndarray) -> None:
        self._client.setJointMotorControlArray(
            self._arm,
            self._fingers,
            pybullet.POSITION_CONTROL,
            targetPositions=positions,
            forces=[FINGER_FORCE] * 2,
            positionGains=[FINGER_GAIN] * 2,
            velocityGains=[1.0] * 2,
        )


class _Motion:
    """Drives some joints along a path, substep by substep; at rest at `position` at first."""

    def __init__(self, drive: Callable[[np.ndarray], None], position: np.ndarray) -> None:
        self._drive = drive
        self._path = JointPath(position, [position], [0.0])
        self._done, self._arrived = 0, True
        drive(position)

    @property
    def goal(self) -> np.ndarray:
        """Where the path ends."""
        return self._path.goal

    def begin(self, points: ArrayLike, seconds: ArrayLike) -> None:
        """Takes a new path from where the present one has come to."""
        times = np.asarray(seconds, dtype=np.float64) * PHYSICS_RATE
        self._path = JointPath(self._path.at(self._done), points, times)
        self._done, self._arrived = 0, False

    def substep(self) -> None:
        """Commands the next positions, unless the path is at its end."""
        if self._arrived:
            return
        self._done += 1
        self._drive(self._path.at(self._done))
        self._arrived = self._done >= self._path.duration


_VIEW = pybullet.computeViewMatrix(EYE, TARGET, (0, 0, 1))
