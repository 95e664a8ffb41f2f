"""The scripted policy of the Operation tasks, with actuation noise; it sees the simulator's state.

It acts for one episode: made with a random generator, and called with the `OperationState` of a
step, it returns a (5,) float64 action of `OperationEnv`.
"""

from __future__ import annotations

import math

import numpy as np

from safe_skills.envs.operation import OperationState
from safe_skills.envs.operation_scene import CONTAINER_CENTRE
from safe_skills.robots.arm5 import STEP_LIMIT, WORKSPACE
from safe_skills.robots.arm5_kinematics import FINGER_HIGH

HOVER = 0.015
"""How far above the rim the tool waits until it is aligned [m]."""
GRASP_HEIGHT = WORKSPACE[2][0]
ALIGNED = (0.006, 0.1)
"""Position [m] and yaw [rad] to which the tool is aligned before it descends."""
LOST = (0.02, 0.4)
"""Beyond these it does not go deeper, but aligns again where it is."""
CLOSING_STEPS = 2
EMPTY = 0.002
"""An opening below this holds nothing [m]."""

OPENING = 2 * FINGER_HIGH
FOOTPRINT = (0.044, 0.010)
"""Half extents of the open fingers, along the direction in which they move and across [m]."""
WALL_MARGIN = 0.003
FINGER_MARGIN = 0.003
_TURN_COST = 0.01

_HEADINGS = np.arange(36) * (math.pi / 36)
_ALONG = np.stack([np.cos(_HEADINGS), np.sin(_HEADINGS)], axis=1)
_ACROSS = np.stack([-np.sin(_HEADINGS), np.cos(_HEADINGS)], axis=1)
_REACH = np.abs(_ALONG) * FOOTPRINT[0] + np.abs(_ACROSS) * FOOTPRINT[1]


class ScriptedGrasp:
    """Approach, align, descend, close, lift; again from the start where the grasp fails.

    As PARROT's scripted policy, which SAFER collects with, it "minimizes the absolute distance
    between object and robot".

    Args:
        rng: source of the noise.
        noise: standard deviation of the Gaussian noise on dx, dy, dz and dyaw, in units of the full
            action.
    """

    def __init__(self, rng: np.random.Generator, noise: float = 0.0) -> None:
        self._rng = rng
        self._noise = noise
        self._descending = False
        self._closed_for = 0

    def __call__(self, state: OperationState) -> np.ndarray:
        """Returns the action for this state."""
        target, opened = self._target(state)
        action = np.clip((target - state.set_point) / STEP_LIMIT, -1.0, 1.0)
        action = np.clip(action + self._rng.normal(0.0, self._noise, 4), -1.0, 1.0)
        return np.array([*action, 1.0 if opened else -1.0])

    def _target(self, state: OperationState) -> tuple[np.ndarray, bool]:
        """(4,) set-point to move to, and whether the fingers shall be open."""
        tool = state.tool
        if self._closed_for:
            self._closed_for += 1
            if self._closed_for <= CLOSING_STEPS:
                return state.set_point, False
            if tool.opening > EMPTY:
                return np.array([*state.set_point[:2], WORKSPACE[2][1], state.set_point[3]]), False
            self._closed_for = 0
            self._descending = False
        centre, yaw = best_grasp(state.corners[:, :2], state.width, tool.yaw)
        distance = float(np.hypot(*(centre - tool.position[:2])))
        turn = abs(yaw - tool.yaw)
        if distance < ALIGNED[0] and turn < ALIGNED[1]:
            self._descending = True
        if not self._descending:
            return np.array([*centre, state.rim + HOVER, yaw]), True
        if distance > LOST[0] or turn > LOST[1]:
            return np.array([*centre, state.set_point[2], yaw]), True
        if tool.position[2] < GRASP_HEIGHT + 0.006:
            self._closed_for = 1
            return state.set_point, False
        return np.array([*centre, GRASP_HEIGHT, yaw]), True


def best_grasp(outline: np.ndarray, width: float, yaw: float) -> tuple[np.ndarray, float]:
    """Where the open fingers fit around an object and between the walls.

    Of 36 directions the one with the least to span, where the fingers, shifted if need be, neither
    land on the object nor on a wall; turning costs a little.

    Args:
        outline: (n, 2) the object's corners from above [m].
        width: inner width of the container [m].
        yaw: of the tool [rad].

    Returns:
        (2,) where the tool shall go [m], and its yaw [rad], within a quarter turn of the present.
    """
    along, across = outline @ _ALONG.T, outline @ _ACROSS.T
    low, high = along.min(axis=0), along.max(axis=0)
    aside = (across.min(axis=0) + across.max(axis=0)) / 2
    centres = ((low + high) / 2)[:, None] * _ALONG + aside[:, None] * _ACROSS
    room = width / 2 - WALL_MARGIN - _REACH
    box = np.maximum(room, 0.0)
    fitted = np.clip(centres, CONTAINER_CENTRE - box, CONTAINER_CENTRE + box)
    shift = fitted - centres
    slack = (OPENING - (high - low)) / 2 - FINGER_MARGIN
    overlap = np.abs((shift * _ALONG).sum(axis=1)) - slack
    turns = _half_turn(_HEADINGS - math.pi / 2 - yaw)
    cost = (
        (high - low)
        + np.abs((shift * _ACROSS).sum(axis=1))
        + 10.0 * np.maximum(overlap, 0.0)
        + 10.0 * np.maximum(-room, 0.0).sum(axis=1)
        + _TURN_COST * np.abs(turns)
    )
    best = int(cost.argmin())
    return fitted[best], float(yaw + turns[best])


def _half_turn(angle: np.ndarray) -> np.ndarray:
    """The same direction without sense, within a quarter turn [rad]."""
    return (angle + math.pi / 2) % math.pi - math.pi / 2
