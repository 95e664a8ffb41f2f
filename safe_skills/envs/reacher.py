"""The reacher task as a Gymnasium environment (LS3 section 7.3.2): a planar arm in MuJoCo."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from gymnasium import spaces

from safe_skills.envs.image_task import ImageTaskEnv
from safe_skills.envs.tasks import IMAGE_SIZE, TASKS

LINK = 0.12
"""From joint to joint, and from the wrist to the fingertip's centre [m]."""
LINK_RADIUS = 0.01
TIP_RADIUS = 0.01
GOAL = 0.25 * np.array([np.sin(-0.25 * np.pi), np.cos(-0.25 * np.pi)])
GOAL_RADIUS = 0.015
STAY_OUT = 0.13 * np.array([np.sin(-0.3 * np.pi), np.cos(-0.3 * np.pi)])
STAY_OUT_RADIUS = 0.05
START = np.pi * np.array([0.53, 0.85])
RANDOM_START = np.pi * np.array([1.0, 0.85])
"""Random starts are uniform within these angles, to both sides [rad]."""
TIMESTEP = 0.02
TORQUE_SHARE = 0.5
"""Of a motor's range that a full action asks for."""
FREEZES = ("pose", "torque")

# The arm of DM Control's reacher.
MODEL = f"""
<mujoco model="reacher">
  <option timestep="{TIMESTEP}"><flag contact="disable"/></option>
  <default>
    <joint type="hinge" axis="0 0 1" damping="0.01"/>
    <motor gear="0.05" ctrlrange="-1 1" ctrllimited="true"/>
  </default>
  <worldbody>
    <body pos="0 0 0.01">
      <joint name="shoulder"/>
      <geom type="capsule" fromto="0 0 0 {LINK} 0 0" size="{LINK_RADIUS}"/>
      <body pos="{LINK} 0 0">
        <joint name="wrist" limited="true" range="-160 160"/>
        <geom type="capsule" fromto="0 0 0 0.1 0 0" size="{LINK_RADIUS}"/>
        <geom type="sphere" pos="{LINK} 0 0" size="{TIP_RADIUS}"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="shoulder"/><motor joint="wrist"/></actuator>
</mujoco>
"""

VIEW = 0.3065
"""Half width of what the camera of DM Control sees, 0.74 m above the arm, 45 degrees wide [m]."""
SUPERSAMPLING = 4
OVERVIEW_SIZE = 480
FLOOR_COLOUR = (38, 64, 89)
LINK_COLOUR = (179, 128, 77)
TIP_COLOUR = (230, 180, 130)
GOAL_COLOUR = (255, 255, 0)
STAY_OUT_COLOUR = (255, 0, 0)
_SUBPIXEL = 6


class ReacherState(NamedTuple):
    """What only a simulator knows; scripted policies act on it.

    Attributes:
        angles: (2,) of shoulder and wrist [rad].
        velocities: (2,) of them [rad/s].
        fingertip: (2,) position [m], x to the right and y up.
        step: steps taken in this episode.
    """

    angles: np.ndarray
    velocities: np.ndarray
    fingertip: np.ndarray
    step: int


class ReacherEnv(ImageTaskEnv):
    """`safe_skills/Reacher-v0`: bring the fingertip to the goal around the stay-out zone.

    Observation: Dict of "image" (64, 64, 3) uint8 from above, with the yellow goal and the red
    zone; velocities show in a stack of frames only. With ``observation="state"``: "angles" (2,)
    [rad], "velocities" (2,) [rad/s] and "fingertip" (2,) [m], float32.
    Action: two torques, each within 1, which is 0.025 Nm, for one step of 0.02 s.
    Reward: 0 where fingertip and goal touch, else -1. Cost: 1 from the step on in which fingertip
    and zone touch; the links may cross it.
    An episode takes T = 100 steps. See `ImageTaskEnv` for `info` and other arguments.

    Args:
        freeze: after a violation; "pose" holds the arm where it is until the horizon, as the paper
            has it. "torque", as the reference code has it, switches the motors off: the arm coasts,
            each step costs and rewards what it would without the violation.
    """

    task = TASKS["reacher"]
    violation_name = "fingertip"
    metadata = ImageTaskEnv.metadata | {"render_fps": 50}

    def __init__(
        self,
        render_mode: str | None = None,
        observation: str = "rgb",
        end_at_goal: bool = False,
        freeze: str = "pose",
    ) -> None:
        super().__init__(render_mode, observation, end_at_goal)
        if freeze not in FREEZES:
            raise ValueError(f"freeze: expected one of {FREEZES}, got {freeze!r}")
        import mujoco

        self._coasts = freeze == "torque"
        self._advance = mujoco.mj_step
        self._model = mujoco.MjModel.from_xml_string(MODEL)
        self._data = mujoco.MjData(self._model)
        self._background = _scene_without_arm(IMAGE_SIZE * SUPERSAMPLING)

    @property
    def state(self) -> ReacherState:
        """The privileged state."""
        angles = self._data.qpos.copy()
        return ReacherState(angles, self._data.qvel.copy(), fingertip(angles), self._step)

    def _state_space(self) -> spaces.Dict:
        # Beyond what torques and damping let the arm do in an episode.
        highest = {"angles": 20.0, "velocities": 20.0, "fingertip": 0.5}
        return spaces.Dict({name: spaces.Box(-h, h, (2,)) for name, h in highest.items()})

    def _start(self, random_start: bool) -> None:
        angles = START
        while random_start:
            angles = self.np_random.uniform(-RANDOM_START, RANDOM_START)
            random_start = in_stay_out(angles)
        self._data.qpos[:] = angles
        self._data.qvel[:] = 0.0
        self._data.qacc_warmstart[:] = 0.0

    def _simulate(self, action: np.ndarray) -> None:
        self._data.ctrl[:] = TORQUE_SHARE * action
        self._advance(self._model, self._data)

    def _step_frozen(self) -> bool:
        if self._coasts:
            self._simulate(np.zeros(2))
            return self._violates()
        return True

    def _violates(self) -> bool:
        return in_stay_out(self._data.qpos)

    def _in_goal(self) -> bool:
        distance = np.linalg.norm(fingertip(self._data.qpos) - GOAL)
        return bool(distance <= GOAL_RADIUS + TIP_RADIUS)

    def _state_observation(self) -> dict[str, np.ndarray]:
        state = self.state._asdict()
        return {name: state[name].astype(np.float32) for name in self.observation_space}

    def _draw(self) -> np.ndarray:
        image = self._background.copy()
        _draw_arm(image, self._data.qpos)
        return cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)

    def _draw_overview(self) -> np.ndarray:
        image = _scene_without_arm(OVERVIEW_SIZE * SUPERSAMPLING)
        _draw_arm(image, self._data.qpos)
        return cv2.resize(image, (OVERVIEW_SIZE, OVERVIEW_SIZE), interpolation=cv2.INTER_AREA)


def joint_positions(angles: np.ndarray) -> np.ndarray:
    """(3, 2) positions of shoulder, wrist and fingertip [m] at angles (2,) [rad]."""
    headings = np.cumsum(angles)
    links = LINK * np.stack((np.cos(headings), np.sin(headings)), axis=1)
    return np.concatenate((np.zeros((1, 2)), np.cumsum(links, axis=0)))


def fingertip(angles: np.ndarray) -> np.ndarray:
    """(2,) position of the fingertip [m] at angles (2,) [rad]."""
    return joint_positions(angles)[2]


def in_stay_out(angles: np.ndarray) -> bool:
    """Whether the fingertip touches the stay-out zone at angles (2,) [rad]."""
    distance = np.linalg.norm(fingertip(angles) - STAY_OUT)
    return bool(distance <= STAY_OUT_RADIUS + TIP_RADIUS)


def _pixels(points: np.ndarray, size: int) -> list:
    """Fixed-point pixels of points (..., 2) [m] in a picture of the whole view."""
    columns_rows = (points * (1.0, -1.0) / VIEW + 1.0) * size / 2 - 0.5
    return np.rint(columns_rows * 2**_SUBPIXEL).astype(int).tolist()


def _fill_disc(image: np.ndarray, centre: np.ndarray, radius: float, colour: tuple) -> None:
    size = len(image)
    fixed = round(radius / VIEW * size / 2 * 2**_SUBPIXEL)
    cv2.circle(image, _pixels(centre, size), fixed, colour, cv2.FILLED, cv2.LINE_8, _SUBPIXEL)


def _scene_without_arm(size: int) -> np.ndarray:
    image = np.full((size, size, 3), FLOOR_COLOUR, np.uint8)
    _fill_disc(image, STAY_OUT, STAY_OUT_RADIUS, STAY_OUT_COLOUR)
    _fill_disc(image, GOAL, GOAL_RADIUS, GOAL_COLOUR)
    return image


def _draw_arm(image: np.ndarray, angles: np.ndarray) -> None:
    size = len(image)
    joints = joint_positions(angles)
    shoulder, wrist, tip = _pixels(joints, size)
    thickness = round(2 * LINK_RADIUS / VIEW * size / 2)
    for start, end in ((shoulder, wrist), (wrist, tip)):
        cv2.line(image, start, end, LINK_COLOUR, thickness, cv2.LINE_8, _SUBPIXEL)
    _fill_disc(image, joints[2], TIP_RADIUS, TIP_COLOUR)
