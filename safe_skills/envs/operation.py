"""The Operation tasks as a Gymnasium environment (SAFER section 5.1)."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from safe_skills.data.geometry import clip_set_point
from safe_skills.envs.operation_scene import Contacts, OperationScene, ToolState
from safe_skills.envs.operation_tasks import OperationTask, find_task
from safe_skills.robots.arm5 import STEP_LIMIT, WINDUP_MARGIN, WORKSPACE

IMAGE_SIZE = 48
OVERVIEW_SIZE = (640, 480)
OBSERVATIONS = ("rgb", "state")
HORIZON = 30
SUBSTEPS = 16
ACTION_SIZE = 5


class OperationState(NamedTuple):
    """What only a simulator knows; scripted policies act on it.

    Attributes:
        tool: measured pose and opening of the gripper.
        set_point: (4,) x, y, z [m] and yaw [rad].
        corners: (n, 3) corners of the object's convex hull [m].
        width: inner width of the container [m].
        rim: height of the container [m].
    """

    tool: ToolState
    set_point: np.ndarray
    corners: np.ndarray
    width: float
    rim: float


class OperationEnv(gymnasium.Env):
    """`safe_skills/Operation-v0`: take the object out of the container and do not touch it.

    Observation: (48, 48, 3) uint8 RGB of a fixed camera; with ``observation="state"`` nothing is
    drawn and it is (14,) float32: tool x, y, z [m] and yaw [rad], opening [m], object's x, y, z [m]
    and quaternion (x to w), container's width and height [m].
    Action: (5,) within 1: dx, dy, dz and dyaw, in units of 25 mm and 0.35 rad, added to the tool's
    set-point for one step of 16/240 s; and the gripper, which opens above 0 and else closes.
    Reward: 1 when the object is held above the rim, which terminates the episode, else -1.
    Cost (``info["cost"]``): 1 when any link of arm or fingers touches the container in any of the
    step's 16 physics steps. The episode goes on. It is truncated after T = 30 steps.
    `info` also has "success", "violation" ("finger", "arm" or "", what touched in this step) and
    "task", its number (-1 for one's own).

    Args:
        task: number of the task, 0 to 39; the last six are held out for evaluation. Or a task of
            one's own.
        render_mode: None or "rgb_array", a larger view for people.
        observation: "rgb" or "state".
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}

    def __init__(
        self,
        task: int | OperationTask = 0,
        render_mode: str | None = None,
        observation: str = "rgb",
    ) -> None:
        self._take(task)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode: expected None or 'rgb_array', got {render_mode!r}")
        if observation not in OBSERVATIONS:
            raise ValueError(f"observation: expected one of {OBSERVATIONS}, got {observation!r}")
        self.render_mode = render_mode
        self._observation = observation
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        if observation == "rgb":
            self.observation_space = spaces.Box(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        else:
            self.observation_space = spaces.Box(-10.0, 10.0, (14,), np.float32)
        self.scene = OperationScene()
        self.reset(seed=0)

    @property
    def task(self) -> OperationTask:
        """The present task."""
        return self._task

    @property
    def state(self) -> OperationState:
        """The privileged state."""
        return OperationState(
            self.scene.tool,
            self._set_point.copy(),
            self.scene.object_corners(),
            self._task.width,
            self._task.height,
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draws a new start; the scene depends on task and seed alone, whatever happened before.

        Args:
            seed: as Gymnasium has it.
            options: ``{"task": task}`` goes over to another task, as in the constructor.

        Raises:
            ValueError: a task out of range, or an unknown option.
        """
        options = options or {}
        if unknown := set(options) - {"task"}:
            raise ValueError(f"options: expected 'task' only, got {sorted(unknown)}")
        if "task" in options:
            self._take(options["task"])
        super().reset(seed=seed)
        self.scene.reset(self._task, self.np_random)
        tool = self.scene.tool
        # As a robot does that takes its measured position as the first set-point.
        self._set_point = np.array([*tool.position, tool.yaw])
        self._step = 0
        return self._observe(), self._info(Contacts(False, False), success=False)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Moves the set-point by `action` (5,) and simulates one control period.

        Raises:
            ValueError: an action of another size or with a value that is not finite.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (ACTION_SIZE,) or not np.isfinite(action).all():
            raise ValueError(
                f"action: expected {ACTION_SIZE} finite numbers, got {np.array2string(action)}"
            )
        scene, tool = self.scene, self.scene.tool
        self._set_point = clip_set_point(
            self._set_point,
            (*tool.position, tool.yaw),
            np.clip(action[:4], -1.0, 1.0) * STEP_LIMIT,
            max_step=STEP_LIMIT,
            margin=WINDUP_MARGIN,
            workspace=WORKSPACE,
        )
        scene.command(self._set_point[:3], self._set_point[3])
        scene.grip(open_=bool(action[4] > 0.0))
        contacts = scene.advance(SUBSTEPS)
        success = scene.extracted()
        self._step += 1
        truncated = not success and self._step >= HORIZON
        reward = 1.0 if success else -1.0
        return self._observe(), reward, success, truncated, self._info(contacts, success)

    def render(self) -> np.ndarray | None:
        """(480, 640, 3) uint8 view in mode "rgb_array", else None."""
        if self.render_mode is None:
            return None
        return self.scene.render_overview(*OVERVIEW_SIZE)

    def close(self) -> None:
        """Ends the simulation."""
        self.scene.close()

    def _observe(self) -> np.ndarray:
        if self._observation == "rgb":
            return self.scene.render(IMAGE_SIZE)
        tool, task = self.scene.tool, self._task
        position, quaternion = self.scene.object_pose
        container = (task.width, task.height)
        values = (*tool.position, tool.yaw, tool.opening, *position, *quaternion, *container)
        return np.array(values, dtype=np.float32)

    def _info(self, contacts: Contacts, success: bool) -> dict[str, Any]:
        violation = violation_kind(contacts)
        return {
            "cost": float(bool(violation)),
            "success": success,
            "violation": violation,
            "task": self._number,
        }

    def _take(self, task: int | OperationTask) -> None:
        own = isinstance(task, OperationTask)
        self._task = task if own else find_task(task)
        self._number = -1 if own else int(task)


def violation_kind(contacts: Contacts) -> str:
    """Names what touched the container: "finger", "arm" or ""; fingers come first."""
    if contacts.finger:
        return "finger"
    return "arm" if contacts.arm else ""
