"""Node: the gate between planner and robot. What it does not pass does not reach the bridge."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from safe_skills.data.surprise import SurpriseModel, load_surprise
from safe_skills.data.vision import BLUE, HsvRange, hsv_mask
from safe_skills.ls3.agent import LS3Agent
from safe_skills.msg import Command, LatentState, PlanStatus
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position, workspace_of
from safe_skills.nodes.base import main_for
from safe_skills.nodes.camera_encoder import CAMERA_PARAMETERS
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    nanoseconds,
    rgb_from_image,
)
from safe_skills.nodes.frames import task_area
from safe_skills.nodes.gate_models import GateModels
from safe_skills.nodes.gate_parameters import (
    MODEL_LIMITS,
    SHARED_LIMITS,
    SURPRISE_FACTOR,
    limit,
    limits_of,
    optional,
    rules_of,
    rules_without,
    zones_of,
)
from safe_skills.nodes.model import OPENCV_PARAMETERS, checkpoint_folder, load_agent, share_cores
from safe_skills.nodes.monitor import Monitor
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.reload import RELOADED_MODEL_PARAMETERS, Successor, form_of
from safe_skills.nodes.supervision import Supervisor
from safe_skills.safety import GateLimits
from safe_skills.safety.colour import seen_contact

LIMIT_PARAMETERS = {
    **SHARED_LIMITS,
    "step_limit": limit("step_limit", "Greatest component of a command [m].", 1e-6, 0.1),
    "norm_limit": limit("norm_limit", "Greatest norm of a command [m].", 1e-6, 0.15),
    "change_limit": limit(
        "change_limit",
        "Greatest distance of a command from the one passed before it [m].",
        1e-6,
        0.3,
    ),
    "workspace_margin": limit(
        "workspace_margin", "How far outside the workspace the robot may be measured [m].", 0.0, 1.0
    ),
    "velocity_limit": optional(0.45, "Greatest path in velocity_window, by time [m/s]", 10.0),
    "acceleration_limit": optional(12.0, "Greatest change of speed by time [m/s^2]", 1000.0),
    "tracking_limit": optional(0.05, "How far the tool may be measured from its way [m]", 1.0),
    "frozen_limit": optional(
        0.05, "How far the tool may move while the picture stays the same [m]", 1.0
    ),
    "plan_timeout": optional(0.0, "Age at which a plan is stale [s]", 3600.0),
    **MODEL_LIMITS,
}


@dataclass(frozen=True)
class _Gate:
    """An agent, and what the gate asks of it."""

    model_id: str
    agent: LS3Agent
    models: GateModels
    surprise: SurpriseModel | None


class SafetyMonitor(Monitor):
    """Judges every command by limits, by fresh evidence and by the learned estimators.

    Subscribes `command`, `latent`, `surprise`, `plan_status`, `camera/image_raw`,
    `ARM/measured_cp`, `ARM/hold`, `bridge_status` and `episode_start`; publishes `command_safe`,
    `safety_status` and `violation`. It has a model of its own, so that a planner cannot talk it
    into anything; a checkpoint set while the node runs is used from the next `episode_start` on.
    Contacts seen by colour are counted, not acted on.
    """

    NAME = "safety_monitor"
    PARAMETERS = {
        **RELOADED_MODEL_PARAMETERS,
        **OPENCV_PARAMETERS,
        **ARM_PARAMETERS,
        **LIMIT_PARAMETERS,
        "surprise_factor": SURPRISE_FACTOR,
        "keep_out": Param(
            [0.0, 0.0, 0.0, 0.0],
            "Zones that no step may enter, in the task frame: xmin, xmax, ymin, ymax [m] each; "
            "zeros: none.",
            low=-10.0,
            high=10.0,
            runtime=True,
        ),
        "checks": rules_without("gripper", "context", "abstract_action"),
        "crop": CAMERA_PARAMETERS["crop"],
        "obstacle_hsv": Param(
            [entry for bounds in BLUE for triple in bounds for entry in triple],
            "Colour ranges of the obstacle: low and high hue (0-179), saturation, value, in sixes.",
            low=0,
            high=255,
        ),
        "contact_dilate_px": Param(
            1, "By how many pixels the cable grows before it is said to touch.", low=0, high=20
        ),
    }

    def configure(self) -> None:
        """Load the model, build the gate, open topics and services."""
        share_cores(self)
        self._successor = Successor(self, self._load, _form, self._use)
        self._agent = self._successor.model.agent
        self.trust(self._agent.model_id, self._successor.model.surprise)
        self._arm = arm_of(self)
        self._obstacle = hsv_ranges("obstacle_hsv", self.param("obstacle_hsv"))
        self._pose: tuple[float, PoseStamped] | None = None
        self._last_image = -1
        self.subscribe(LatentState, "latent", self._latent, qos.IMAGE)
        self.subscribe(Image, "camera/image_raw", self._look_for_contact, qos.IMAGE)
        measured = f"{self.param('arm')}/measured_cp"
        self.subscribe(PoseStamped, measured, self._measured, qos.CRTK_STATE_LATEST)
        self.subscribe(PlanStatus, "plan_status", self._plan, qos.COMMAND)
        self.subscribe(Empty, f"{self.param('arm')}/hold", self._hold, qos.COMMAND)
        self.serve(Trigger, "~/reload", self._successor.reload)
        models = self._successor.model.models
        self.open_gate(Supervisor(self.limits(), models, self.emergency_stop))

    def judge_parameters(self, values: dict[str, Any]) -> None:
        """Load a new checkpoint, or refuse it; refuse rules and zones that are none."""
        super().judge_parameters(values)
        self._successor.judge(values)

    def parameters_changed(self, names: set[str]) -> None:
        """Judge by new limits from the next command on, by a new model from the next episode."""
        self._successor.intend(names)
        super().parameters_changed(names)

    def new_episode(self, stamp: int) -> None:
        """Use the model that was waiting."""
        self._successor.take_up()

    def _load(self, checkpoint: str) -> _Gate:
        folder = checkpoint_folder(checkpoint)
        agent = load_agent(self, folder)
        surprise = load_surprise(folder, agent.model_id)
        return _Gate(agent.model_id, agent, GateModels(agent), surprise)

    def _use(self, model: _Gate) -> None:
        self._agent = model.agent
        self.trust(model.model_id, model.surprise)
        self.supervisor.seen.use(model.models)
        self.supervisor.limits = self.limits()

    def limits(self) -> GateLimits:
        """Return the gate's limits, from the parameters of now."""
        return GateLimits(
            workspace_of(self),
            frame_id=TASK_FRAME,
            keep_out=zones_of(self.param("keep_out"), self.ZONE_DIMENSIONS),
            rules=rules_of(self),
            **limits_of(self, LIMIT_PARAMETERS),
            **self.surprise_limits(),
        )

    # ---- evidence

    def _latent(self, message: LatentState) -> None:
        self.note_latent(message, self._agent.model_id, self._agent.latent_dim)

    def _plan(self, message: PlanStatus) -> None:
        feasible = message.outcome == PlanStatus.FEASIBLE
        self.supervisor.seen.plan(time.monotonic(), feasible)

    def _hold(self, _: Empty) -> None:
        self.hold_seen()

    def _measured(self, message: PoseStamped) -> None:
        # A hundred come in a second; only the newest before a judgement is read.
        self._pose = (time.monotonic(), message)

    def read_robot(self) -> None:
        """Tell the supervisor the newest measured pose."""
        if self._pose is None:
            return
        (received, message), self._pose = self._pose, None
        try:
            self.supervisor.seen.robot(received, task_position(self._arm, message))
        except ValueError as error:
            self.refuse("measured_cp refused", f"measured_cp refused: {error}")

    def _look_for_contact(self, message: Image) -> None:
        try:
            config = self._agent.mask_config
            area = task_area(rgb_from_image(message), self.param("crop"), config.size)
        except ValueError as error:
            self.refuse("image refused", f"image refused: {error}")
            return
        self.note_image(message)
        stamp = nanoseconds(message.header.stamp)
        if stamp == self._last_image:
            return
        self._last_image = stamp
        touches = seen_contact(
            hsv_mask(area, config.ranges),
            hsv_mask(area, self._obstacle),
            self.param("contact_dilate_px"),
        )
        finding = self.supervisor.contact(touches)
        if finding is not None:
            self.report_violation(finding, message.header, Command())


def _form(model: _Gate) -> dict[str, Any]:
    return form_of(model.agent)


def hsv_ranges(name: str, numbers: Sequence[int]) -> tuple[HsvRange, ...]:
    """Return the colour ranges that a parameter lists; `ValueError` unless they are in sixes."""
    if not numbers or len(numbers) % 6:
        raise ValueError(f"{name}: expected six numbers a range, got {len(numbers)}")
    sixes = [tuple(numbers[k : k + 6]) for k in range(0, len(numbers), 6)]
    return tuple((six[:3], six[3:]) for six in sixes)


def main() -> int:
    """Run the node."""
    return main_for(SafetyMonitor)


if __name__ == "__main__":
    sys.exit(main())
