"""The cable routing task as a Gymnasium environment (LS3 section 5.3)."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from safe_skills.data.geometry import clip_set_point
from safe_skills.envs.cable_layouts import find_layout
from safe_skills.envs.cable_scene import CableScene, Contacts

IMAGE_SIZE = 64
OVERVIEW_SIZE = (640, 480)
OBSERVATIONS = ("rgb", "state")


class CableState(NamedTuple):
    """What only a simulator knows; scripted policies act on it.

    Attributes:
        gripper: (2,) measured position [m].
        set_point: (2,) the gripper's set-point [m].
        cable: (17, 2) nodes of the cable from the held to the free end [m].
        step: steps taken in this episode.
    """

    gripper: np.ndarray
    set_point: np.ndarray
    cable: np.ndarray
    step: int


class CableEnv(gymnasium.Env):
    """`safe_skills/Cable-v0`: bring the cable to the goal around the obstacle.

    Observation: Dict of "image" (64, 64, 3) uint8 top-down RGB and "mask" (64, 64) uint8, 255 where
    the cable is seen; with ``observation="state"``, nothing is drawn and the Dict holds "gripper"
    (2,) and "cable" (17, 2) float32 [m].
    Action: (dx, dy) [m], each within 0.03, added to the gripper's set-point for one step of 0.1 s.
    Reward: 0 when the cable reaches the goal, which terminates the episode, else -1.
    Cost (``info["cost"]``): 1 from the step on in which gripper or cable touch the obstacle. From
    then on "the state is frozen in place until the horizon elapses" (LS3 section 5.2): the
    observation stays, each step costs 1 and rewards -1 until the truncation at T = 50.
    `info` also has "success", "violation" ("gripper", "cable" or "") and "gripper" (2,) [m].

    Args:
        layout: name of the layout, "open" or "tight".
        render_mode: None or "rgb_array", a perspective view for people.
        observation: "rgb" or "state".
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self, layout: str = "open", render_mode: str | None = None, observation: str = "rgb"
    ) -> None:
        self.layout = find_layout(layout)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode: expected None or 'rgb_array', got {render_mode!r}")
        if observation not in OBSERVATIONS:
            raise ValueError(f"observation: expected one of {OBSERVATIONS}, got {observation!r}")
        self.render_mode = render_mode
        self._observation = observation
        limit = np.full(2, self.layout.step_limit, dtype=np.float32)
        self.action_space = spaces.Box(-limit, limit, dtype=np.float32)
        self.scene = CableScene(self.layout)
        if observation == "rgb":
            shape = (IMAGE_SIZE, IMAGE_SIZE)
            self.observation_space = spaces.Dict(
                image=spaces.Box(0, 255, (*shape, 3), np.uint8),
                mask=spaces.Box(0, 255, shape, np.uint8),
            )
        else:
            nodes = self.scene.cable_points().shape
            self.observation_space = spaces.Dict(
                gripper=spaces.Box(-1.0, 1.0, (2,), np.float32),
                cable=spaces.Box(-1.0, 1.0, nodes, np.float32),
            )
        self._step = 0
        self._violation = ""

    @property
    def state(self) -> CableState:
        """The privileged state."""
        scene = self.scene
        return CableState(scene.gripper_position, scene.set_point, scene.cable_points(), self._step)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Draws a new start; the scene depends on the seed alone, whatever happened before."""
        super().reset(seed=seed)
        self.scene.reset(self.np_random)
        self._step = 0
        self._violation = ""
        return self._observe(), self._info(success=False)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Moves the set-point by `action` (2,) [m] and simulates one control period.

        Raises:
            ValueError: an action of another size or with a value that is not finite.
        """
        success = False
        layout, scene = self.layout, self.scene
        target = clip_set_point(
            scene.set_point,
            scene.gripper_position,
            action,
            max_step=layout.step_limit,
            margin=layout.windup_margin,
            workspace=layout.workspace,
        )
        if not self._violation:
            scene.command(target)
            self._violation = violation_kind(scene.advance(layout.substeps))
            success = not self._violation and scene.in_goal()
        self._step += 1
        truncated = not success and self._step >= layout.horizon
        reward = 0.0 if success else -1.0
        return self._observe(), reward, success, truncated, self._info(success)

    def render(self) -> np.ndarray | None:
        """(480, 640, 3) uint8 perspective view in mode "rgb_array", else None."""
        if self.render_mode is None:
            return None
        return self.scene.render_overview(*OVERVIEW_SIZE)

    def close(self) -> None:
        """Ends the simulation."""
        self.scene.close()

    def _observe(self) -> dict[str, np.ndarray]:
        scene = self.scene
        if self._observation == "rgb":
            return {
                "image": scene.render(IMAGE_SIZE),
                "mask": scene.cable_segmentation(IMAGE_SIZE),
            }
        return {
            "gripper": scene.gripper_position.astype(np.float32),
            "cable": scene.cable_points().astype(np.float32),
        }

    def _info(self, success: bool) -> dict[str, Any]:
        return {
            "cost": float(bool(self._violation)),
            "success": success,
            "violation": self._violation,
            "gripper": self.scene.gripper_position,
        }


def violation_kind(contacts: Contacts) -> str:
    """Names what touched the obstacle: "gripper", "cable" or ""; the gripper comes first."""
    if contacts.gripper:
        return "gripper"
    return "cable" if contacts.cable else ""
