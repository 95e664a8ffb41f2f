"""The table of the pushing task in MuJoCo: a gripper, three blocks, gaps at both sides."""

from __future__ import annotations

import math

import cv2
import numpy as np

from safe_skills.envs.box_camera import BoxCamera, View

BLOCKS = 3
BLOCK_HALF = (0.04, 0.04, 0.06)
BLOCK_Y = -0.03
TABLE_TOP = -0.05
TABLE_HALF = (0.3, 0.2)
GRIPPER_HOME = (0.0, 0.3, 0.08)
TARGET_RANGE = 0.4
"""Of the gripper's target from its home, along x and y to both sides [m]."""
TIP_OFFSET = -0.18
"""From the gripper to the tips of its fingers, along y [m]."""
TIMESTEP = 0.005
SUBSTEPS = 500
"""Physics steps of one step of the task: 2.5 s."""

_BLOCK_COLOURS = ("1 0 1 1", "1 0 0 1", "1 1 0.046 1")
_BLOCK = """
    <body>
      <joint type="free"/>
      <geom type="box" size="{half}" mass="0.5" friction="0.6 0.01 0.0002" rgba="{colour}"/>
    </body>"""
_BLOCKS = "".join(
    _BLOCK.format(half=" ".join(map(str, BLOCK_HALF)), colour=colour) for colour in _BLOCK_COLOURS
)

# Masses, friction, gains and sizes of the reference code. What is translucent is not drawn. Blocks
# that rest are asleep until they are touched, which saves three fifths of the time.
MODEL = f"""
<mujoco model="pushing">
  <compiler angle="radian" inertiafromgeom="auto"/>
  <option timestep="{TIMESTEP}" iterations="50" noslip_iterations="2">
    <flag sleep="enable"/>
  </option>
  <default>
    <joint damping="1"/>
    <geom contype="7" conaffinity="7" friction="0.5 0.1 0.1" density="1000" margin="0.002"/>
  </default>
  <worldbody>
    <body pos="{" ".join(map(str, GRIPPER_HOME))}">
      <inertial pos="0 0 0" mass="1" diaginertia="16.667 16.667 16.667"/>
      <joint name="x" type="slide" axis="1 0 0" limited="true" range="-0.5 0.5" damping="30"/>
      <joint name="y" type="slide" axis="0 1 0" limited="true" range="-0.5 0.5" damping="30"/>
      <joint name="z" type="slide" axis="0 0 1" limited="true" range="-0.08 0.15"/>
      <joint name="yaw" type="hinge" axis="0 0 1" limited="true" range="-6.28 6.28" damping="30"/>
      <geom name="palm" type="box" size="0.06 0.03 0.03" rgba="0.1 0 0.9 1"/>
      <geom name="arm" type="box" pos="0 1 0" size="0.05 1 0.035" rgba="0.9 0.9 0.9 1"/>
      <body pos="-0.02 -0.08 0">
        <joint name="finger" type="slide" axis="1 0 0" limited="true" range="0 0.0615"/>
        <geom type="box" size="0.01 0.1 0.02" mass="0.08" condim="6" contype="2" conaffinity="2"
              rgba="0 1 1 1"/>
      </body>
      <body pos="0.02 -0.08 0">
        <joint name="mirrored" type="slide" axis="1 0 0"/>
        <geom type="box" size="0.01 0.1 0.02" mass="0.08" condim="6" contype="4" conaffinity="4"
              rgba="0 1 1 1"/>
      </body>
    </body>
    <body pos="0 0 {TABLE_TOP}">
      <geom name="table" type="box" pos="0 0 -0.01" size="{TABLE_HALF[0]} {TABLE_HALF[1]} 0.01"
            friction="1.2 0.01 0.01" rgba="0 0.9 0 1"/>
      <geom type="box" pos="0 -0.25 0" size="0.5 0.01 0.1" rgba="0 0.1 0.9 0.3"/>
      <geom type="box" pos="0 0.25 0" size="0.5 0.01 0.01" rgba="0 0.1 0.9 1"/>
      <geom type="box" pos="0.5 0 0" size="0.01 0.25 0.2" rgba="0 0.1 0.9 0.3"/>
      <geom type="box" pos="-0.5 0 0" size="0.01 0.25 0.2" rgba="0 0.1 0.9 0.3"/>
    </body>{_BLOCKS}
  </worldbody>
  <actuator>
    <position joint="x" kp="200"/>
    <position joint="y" kp="200"/>
    <general joint="z" gainprm="100" biastype="affine" biasprm="10 -100 -4"/>
    <position joint="yaw" kp="300"/>
    <position joint="finger" kp="10000" ctrllimited="true" ctrlrange="0 0.8"/>
  </actuator>
  <equality><joint joint1="finger" joint2="mirrored" polycoef="0 -1 0 0 0"/></equality>
</mujoco>
"""
_JOINTS = 6  # of the gripper; then come the blocks, seven numbers each
_TILT = 0.7  # of the camera, from looking straight down [rad]
_EYE = (0.0, -0.65, 0.75)
VIEW = View(
    position=_EYE,
    target=(0.0, _EYE[1] + math.sin(_TILT), _EYE[2] - math.cos(_TILT)),
    up=(0.0, math.cos(_TILT), math.sin(_TILT)),
    height=32.0,
)


class PushingScene:
    """The simulated table.

    Args:
        block_spacing: from block to block at the start [m].
        block_height: of their centres at the start [m].
    """

    def __init__(self, block_spacing: float, block_height: float) -> None:
        import mujoco

        self._advance, self._forward = mujoco.mj_step, mujoco.mj_forward
        self._restore = mujoco.mj_resetData
        self.model = mujoco.MjModel.from_xml_string(MODEL)
        self.data = mujoco.MjData(self.model)
        self._start = self.data.qpos.copy()
        blocks = self._start[_JOINTS:].reshape(BLOCKS, 7)
        blocks[:, 0] = block_spacing * (np.arange(BLOCKS) - 1)
        blocks[:, 1:3] = BLOCK_Y, block_height
        self._target = np.zeros(2)
        self._camera: BoxCamera | None = None

    @property
    def gripper(self) -> np.ndarray:
        """(2,) position of the gripper from its home, x and y [m]."""
        return self.data.qpos[:2].copy()

    @property
    def target(self) -> np.ndarray:
        """(2,) its target [m]."""
        return self._target.copy()

    @property
    def blocks(self) -> np.ndarray:
        """(3, 3) positions of the blocks' centres on the table [m]."""
        return self.data.qpos[_JOINTS:].reshape(BLOCKS, 7)[:, :3].copy()

    def reset(self) -> None:
        """Puts everything where it starts."""
        self._restore(self.model, self.data)
        self.data.qpos[:] = self._start
        self._forward(self.model, self.data)
        self._target = np.zeros(2)

    def move(self, displacement: np.ndarray) -> None:
        """Moves the gripper's target by a displacement (2,) [m] and simulates 2.5 s.

        The target moves evenly over the whole time; its height and the closed fingers stay.
        """
        start = self._target
        self._target = np.clip(start + displacement, -TARGET_RANGE, TARGET_RANGE)
        shares = np.linspace(0.0, 1.0, SUBSTEPS)[:, None]
        model, data = self.model, self.data
        for data.ctrl[:2] in start + shares * (self._target - start):
            self._advance(model, data)
        self._forward(model, data)

    def picture(self, size: int, shadow: bool = False) -> np.ndarray:
        """(size, size, 3) uint8 RGB, from above the front edge, with smooth edges."""
        if self._camera is None:
            self._camera = BoxCamera(self.model, self.data, VIEW)
        larger = self._camera.picture(2 * size, 2 * size, shadow)
        return cv2.resize(larger, (size, size), interpolation=cv2.INTER_AREA)

    def close(self) -> None:
        """Ends the camera."""
        if self._camera is not None:
            self._camera.close()
