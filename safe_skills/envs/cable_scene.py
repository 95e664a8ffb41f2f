"""The simulated table: cable, gripper, obstacle and goal in PyBullet."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pybullet
from numpy.typing import ArrayLike

from safe_skills.envs.bullet import Client
from safe_skills.envs.cable_layouts import CableLayout

PHYSICS_RATE = 240.0
SOLVER_ITERATIONS = 30
SETTLE_SUBSTEPS = 12
RAMP_SHARE = 0.75

LINKS = 16
LINK_RADIUS = 0.007
DRAWN_RADIUS = 0.008
LINK_MASS = 0.004
JOINT_FORCE = 50.0
GRIPPER_RADIUS = 0.009
GRIPPER_HEIGHT = 0.06
GRIPPER_MASS = 0.5
GRIPPER_FORCE = 20.0

_TABLE, _OBSTACLE, _CABLE, _GRIPPER = 1, 2, 4, 8
_UPRIGHT = (0.0, 0.0, 0.0, 1.0)


class Contacts(NamedTuple):
    """What touched the obstacle."""

    gripper: bool
    cable: bool


class CableScene:
    """Owns one PyBullet client: a cable of capsules held by a gripper on a table.

    The cable is a chain of capsules joined by point-to-point constraints; the gripper is a post
    that a fixed constraint of limited force draws to its set-point. All positions are metres in the
    task frame: origin in the image centre on the table, x right, y up in the image, z out of the
    table.
    """

    def __init__(self, layout: CableLayout) -> None:
        self.layout = layout
        self._link_length = layout.tail_length / LINKS
        self._longest_ramp = max(1, round(RAMP_SHARE * layout.substeps))
        self._client = Client()
        self._closed = False
        self._frame: tuple[int, np.ndarray, np.ndarray] | None = None
        self._build()
        self.place(layout.start, np.full(LINKS, -math.pi / 2))

    def reset(self, rng: np.random.Generator) -> None:
        """Draws a new start of gripper and cable; the scene depends on `rng` alone."""
        layout = self.layout
        head = np.asarray(layout.start) + rng.uniform(-1.0, 1.0, 2) * layout.start_spread
        heading = -math.radians(rng.uniform(*layout.tail_heading))
        curvature = rng.uniform(*layout.tail_curvature)
        along = (np.arange(LINKS) + 0.5) * self._link_length
        self.place(head, heading + curvature * along)
        for _ in range(SETTLE_SUBSTEPS):
            self._client.stepSimulation()
        # As a robot does that takes its measured position as the first set-point.
        self._set_point = self.gripper_position

    def place(self, head: ArrayLike, headings: ArrayLike) -> None:
        """Puts gripper and cable somewhere, at rest.

        Args:
            head: (2,) position of the gripper and the cable's held end [m].
            headings: (16,) direction of each link [rad], from the held end on.
        """
        client = self._client
        still = (0.0, 0.0, 0.0)
        # Contacts that survive from the scene before would warm-start the solver: lift them apart.
        for body in (self._gripper, *self._links):
            client.resetBasePositionAndOrientation(body, (0.0, 0.0, 1.0), _UPRIGHT)
        client.performCollisionDetection()
        client.resetBasePositionAndOrientation(
            self._gripper, (head[0], head[1], GRIPPER_HEIGHT / 2), _UPRIGHT
        )
        client.resetBaseVelocity(self._gripper, still, still)
        start = np.asarray(head, dtype=np.float64)
        for link, heading in zip(self._links, headings, strict=True):
            direction = np.array([math.cos(heading), math.sin(heading)])
            x, y = start + direction * (self._link_length / 2)
            client.resetBasePositionAndOrientation(link, (x, y, LINK_RADIUS), _lying(heading))
            client.resetBaseVelocity(link, still, still)
            start = start + direction * self._link_length
        self._set_point = np.array(head, dtype=np.float64)
        self._ramp_from = self._set_point
        self._ramp_length = self._longest_ramp
        self._ramp_done = self._ramp_length
        self._pull(self._set_point)
        self._frame = None

    def command(self, xy: ArrayLike, ramp: int | None = None) -> None:
        """Sets the gripper's set-point, absolute in the task frame.

        Args:
            xy: (2,) [m].
            ramp: substeps in which the constraint is moved there, at least 1 and at most those of
                three quarters of a control period, which None stands for.

        Raises:
            ValueError: no two finite numbers.
        """
        target = np.asarray(xy, dtype=np.float64)
        if target.shape != (2,) or not np.isfinite(target).all():
            raise ValueError(f"set-point: expected 2 finite numbers, got {np.array2string(target)}")
        self._ramp_from = self._ramp_at(self._ramp_done)
        self._set_point = target.copy()
        longest = self._longest_ramp
        self._ramp_length = longest if ramp is None else min(max(ramp, 1), longest)
        self._ramp_done = 0

    def advance(self, substeps: int = 24) -> Contacts:
        """Simulates `substeps` / 240 s; returns what touched the obstacle in any of them.

        The constraint moves linearly to the set-point, during the first three quarters of one
        control period unless the command said otherwise.
        """
        client = self._client
        gripper = cable = False
        for _ in range(substeps):
            if self._ramp_done < self._ramp_length:
                self._ramp_done += 1
                self._pull(self._ramp_at(self._ramp_done))
            client.stepSimulation()
            for contact in client.getContactPoints(self._obstacle):
                if contact[8] > 0.0 and contact[9] <= 0.0:
                    continue  # near, but neither touching nor pushed away
                if contact[2] == self._gripper:
                    gripper = True
                else:
                    cable = True
        self._frame = None
        return Contacts(gripper, cable)

    @property
    def gripper_position(self) -> np.ndarray:
        """(2,) measured position of the gripper [m]."""
        position, _ = self._client.getBasePositionAndOrientation(self._gripper)
        return np.array(position[:2])

    @property
    def set_point(self) -> np.ndarray:
        """(2,) current set-point of the gripper [m]."""
        return self._set_point.copy()

    def cable_points(self) -> np.ndarray:
        """(17, 2) nodes of the cable's centre line, from the held end to the free end [m]."""
        poses = [self._client.getBasePositionAndOrientation(link) for link in self._links]
        centres = np.array([position for position, _ in poses])
        x, y, z, w = np.array([orientation for _, orientation in poses]).T
        axis = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x)], axis=1)
        half = axis * (self._link_length / 2)
        return np.vstack([centres[:1, :2] - half[:1], centres[:, :2] + half])

    def in_goal(self) -> bool:
        """Whether any node of the cable lies in the goal area."""
        offset = np.abs(self.cable_points() - self.layout.goal_centre)
        return bool((offset <= self.layout.goal_half).all(axis=1).any())

    def render(self, size: int = 64) -> np.ndarray:
        """(size, size, 3) uint8 top-down orthographic RGB view."""
        return self._camera(size)[0].copy()

    def cable_segmentation(self, size: int = 64) -> np.ndarray:
        """(size, size) uint8, 255 where the cable is seen from above."""
        return self._camera(size)[1].copy()

    def render_overview(self, width: int = 640, height: int = 480) -> np.ndarray:
        """(height, width, 3) uint8 perspective RGB view with shadows, for people."""
        view = pybullet.computeViewMatrix((0.0, -0.52, 0.42), (0.01, -0.045, 0.0), (0, 0, 1))
        projection = pybullet.computeProjectionMatrixFOV(42.0, width / height, 0.1, 3.0)
        colour = self.layout.table_colour
        self._client.changeVisualShape(self._table, -1, rgbaColor=(*colour, 1.0))
        image = self._client.getCameraImage(
            width,
            height,
            view,
            projection,
            lightDirection=(-0.5, -0.4, 1.2),
            lightAmbientCoeff=0.6,
            lightDiffuseCoeff=0.45,
            lightSpecularCoeff=0.1,
            shadow=1,
            renderer=pybullet.ER_TINY_RENDERER,
            flags=pybullet.ER_NO_SEGMENTATION_MASK,
        )[2]
        self._client.changeVisualShape(self._table, -1, rgbaColor=(*colour, 0.0))
        return np.ascontiguousarray(np.reshape(image, (height, width, 4))[:, :, :3])

    def close(self) -> None:
        """Disconnects from PyBullet; the scene is unusable afterwards."""
        if not self._closed:
            self._closed = True
            self._client.disconnect()

    def _camera(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        if self._frame is None or self._frame[0] != size:
            _, _, image, _, segmentation = self._client.getCameraImage(
                size,
                size,
                _TOP_VIEW,
                _orthographic(self.layout.camera_span),
                lightDirection=(0, 0, 1),
                lightAmbientCoeff=0.75,
                lightDiffuseCoeff=0.3,
                lightSpecularCoeff=0.0,
                shadow=0,
                renderer=pybullet.ER_TINY_RENDERER,
            )
            rgb = np.reshape(image, (size, size, 4))[:, :, :3].astype(np.uint8)
            body = np.reshape(segmentation, (size, size))
            rgb[body < 0] = np.round(np.multiply(self.layout.table_colour, 255))
            first, last = self._links[0], self._links[-1]
            cable = np.where((body >= first) & (body <= last), 255, 0).astype(np.uint8)
            self._frame = (size, rgb, cable)
        return self._frame[1], self._frame[2]

    def _build(self) -> None:
        layout, client = self.layout, self._client
        client.setTimeStep(1.0 / PHYSICS_RATE)
        client.setGravity(0.0, 0.0, -9.81)
        client.setPhysicsEngineParameter(
            numSolverIterations=SOLVER_ITERATIONS, deterministicOverlappingPairs=1
        )
        plane = client.createCollisionShape(pybullet.GEOM_PLANE)
        self._table = client.createMultiBody(0.0, plane, self._slab(layout.camera_span))
        client.changeDynamics(self._table, -1, lateralFriction=1.0)
        goal = (*layout.goal_centre, 0.0005)
        self._goal = self._box(goal, (*layout.goal_half, 0.0005), layout.goal_colour, solid=False)
        height = layout.obstacle_height
        self._obstacle = self._box(
            (*layout.obstacle_centre, height / 2),
            (*layout.obstacle_half, height / 2),
            layout.obstacle_colour,
        )
        self._gripper = self._make_gripper()
        self._links = self._make_cable()
        self._join()
        self._collide(self._table, _TABLE, _CABLE)
        self._collide(self._obstacle, _OBSTACLE, _CABLE | _GRIPPER)
        self._collide(self._gripper, _GRIPPER, _OBSTACLE)
        for link in self._links:
            self._collide(link, _CABLE, _TABLE | _OBSTACLE)

    def _slab(self, half: float) -> int:
        """The table as it is drawn; invisible but for the overview, which costs less to render."""
        return self._client.createVisualShape(
            pybullet.GEOM_BOX,
            halfExtents=(half * 1.3, half * 1.1, 0.01),
            visualFramePosition=(0, 0, -0.0101),
            rgbaColor=(*self.layout.table_colour, 0.0),
        )

    def _box(self, centre, half, colour, solid: bool = True) -> int:
        client = self._client
        shape = -1
        if solid:
            shape = client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half)
        visual = client.createVisualShape(
            pybullet.GEOM_BOX, halfExtents=half, rgbaColor=(*colour, 1.0)
        )
        return client.createMultiBody(0.0, shape, visual, centre, _UPRIGHT)

    def _make_gripper(self) -> int:
        client, colour = self._client, self.layout.gripper_colour
        shape = client.createCollisionShape(
            pybullet.GEOM_CYLINDER, radius=GRIPPER_RADIUS, height=GRIPPER_HEIGHT
        )
        visual = client.createVisualShape(
            pybullet.GEOM_CYLINDER,
            radius=GRIPPER_RADIUS,
            length=GRIPPER_HEIGHT,
            rgbaColor=(*colour, 1.0),
        )
        start = (*self.layout.start, GRIPPER_HEIGHT / 2)
        gripper = client.createMultiBody(GRIPPER_MASS, shape, visual, start, _UPRIGHT)
        client.changeDynamics(
            gripper, -1, activationState=pybullet.ACTIVATION_STATE_DISABLE_SLEEPING
        )
        return gripper

    def _make_cable(self) -> list[int]:
        client, length = self._client, self._link_length
        shape = client.createCollisionShape(
            pybullet.GEOM_CAPSULE, radius=LINK_RADIUS, height=length
        )
        visual = client.createVisualShape(
            pybullet.GEOM_CAPSULE,
            radius=DRAWN_RADIUS,
            length=length,
            rgbaColor=(*self.layout.cable_colour, 1.0),
        )
        x, y = self.layout.start
        down = _lying(-math.pi / 2)
        links = []
        for index in range(LINKS):
            centre = (x, y - (index + 0.5) * length, LINK_RADIUS)
            link = client.createMultiBody(LINK_MASS, shape, visual, centre, down)
            client.changeDynamics(
                link,
                -1,
                lateralFriction=0.6,
                rollingFriction=0.0,
                spinningFriction=0.0,
                linearDamping=0.5,
                angularDamping=0.9,
                activationState=pybullet.ACTIVATION_STATE_DISABLE_SLEEPING,
            )
            links.append(link)
        return links

    def _join(self) -> None:
        client = self._client
        head, tail = (0, 0, -self._link_length / 2), (0, 0, self._link_length / 2)
        hold = (0, 0, LINK_RADIUS - GRIPPER_HEIGHT / 2)
        parent, pivot = self._gripper, hold
        for link in self._links:
            joint = client.createConstraint(
                parent, -1, link, -1, pybullet.JOINT_POINT2POINT, (0, 0, 0), pivot, head
            )
            client.changeConstraint(joint, maxForce=JOINT_FORCE)
            parent, pivot = link, tail
        start = (*self.layout.start, GRIPPER_HEIGHT / 2)
        self._anchor = client.createConstraint(
            self._gripper, -1, -1, -1, pybullet.JOINT_FIXED, (0, 0, 0), (0, 0, 0), start
        )

    def _collide(self, body: int, group: int, mask: int) -> None:
        self._client.setCollisionFilterGroupMask(body, -1, group, mask)

    def _ramp_at(self, done: int) -> np.ndarray:
        share = done / self._ramp_length
        return self._ramp_from + share * (self._set_point - self._ramp_from)

    def _pull(self, xy: np.ndarray) -> None:
        self._client.changeConstraint(
            self._anchor,
            jointChildPivot=(xy[0], xy[1], GRIPPER_HEIGHT / 2),
            maxForce=GRIPPER_FORCE,
        )


def _lying(heading: float) -> tuple[float, float, float, float]:
    """Quaternion that turns a capsule's z axis to a heading [rad] in the table plane."""
    half = math.sqrt(0.5)
    return (-half * math.sin(heading), half * math.cos(heading), 0.0, half)


def _orthographic(span: float) -> list[float]:
    """Column-major projection of [-span, span]^2, depth 0.01 to 2 m."""
    near, far = 0.01, 2.0
    depth = far - near
    return [
        *(1 / span, 0.0, 0.0, 0.0),
        *(0.0, 1 / span, 0.0, 0.0),
        *(0.0, 0.0, -2 / depth, 0.0),
        *(0.0, 0.0, -(far + near) / depth, 1.0),
    ]


_TOP_VIEW = pybullet.computeViewMatrix((0, 0, 1), (0, 0, 0), (0, 1, 0))
