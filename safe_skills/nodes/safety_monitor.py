"""Node: the gate between planner and robot. What it does not pass does not reach the bridge."""

import sys
import time
from collections.abc import Sequence

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image

from safe_skills.data.vision import BLUE, HsvRange, hsv_mask
from safe_skills.msg import Command, LatentState
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position, workspace_of
from safe_skills.nodes.base import main_for
from safe_skills.nodes.camera_encoder import CAMERA_PARAMETERS
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    belief_from_latent,
    nanoseconds,
    rgb_from_image,
)
from safe_skills.nodes.frames import task_area
from safe_skills.nodes.gate_models import GateModels
from safe_skills.nodes.model import MODEL_PARAMETERS, OPENCV_PARAMETERS, load_agent
from safe_skills.nodes.monitor import Monitor
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.supervision import Supervisor
from safe_skills.safety import GateLimits
from safe_skills.safety.colour import seen_contact

_LIMITS = {
    "step_limit": "Greatest component of a command [m].",
    "norm_limit": "Greatest norm of a command [m].",
    "reject_factor": "Commands beyond this many times a limit are held, not made smaller.",
    "change_limit": "Greatest distance of a command from the one passed before it [m].",
    "workspace_margin": "How far outside the workspace the robot may be measured [m].",
    "latent_timeout": "Age at which a latent state is stale [s].",
    "image_timeout": "Age at which an image is stale [s].",
    "robot_timeout": "Age at which the robot's state is stale [s].",
    "constraint_limit": "Greatest probability of a constraint violation one step ahead.",
    "safe_set_scale": "Factor on commands where the safe set is left.",
}
_RANGES = {
    "step_limit": (1e-6, 0.1),
    "norm_limit": (1e-6, 0.15),
    "change_limit": (1e-6, 0.3),
    "reject_factor": (1.0, 100.0),
    "workspace_margin": (0.0, 1.0),
    "latent_timeout": (1e-3, 3600.0),
    "image_timeout": (1e-3, 3600.0),
    "robot_timeout": (1e-3, 3600.0),
    "constraint_limit": (0.0, 1.0),
    "safe_set_scale": (0.0, 1.0),
}
LIMIT_PARAMETERS = {
    name: Param(
        getattr(GateLimits, name),
        text,
        *_RANGES[name],
        runtime=True,
    )
    for name, text in _LIMITS.items()
} | {
    "use_constraint": Param(True, "Hold where the constraint estimator asks for it.", runtime=True),
    "use_safe_set": Param(False, "Make commands smaller where the safe set is left.", runtime=True),
    "safe_set_limit": Param(
        0.5, "Least probability of being in the safe set for full motion.", 0.0, 1.0, runtime=True
    ),
}


class SafetyMonitor(Monitor):
    """Judges every command by limits, by fresh evidence and by the learned estimators.

    Subscribes `command`, `latent`, `camera/image_raw`, `ARM/measured_cp` and `episode_start`;
    publishes `command_safe`, `safety_status` and `violation`. In HOLD a command is answered by "no
    motion"; in STOPPED, after `~/e_stop` and until `~/reset`, by nothing. The status is true in
    silence, too: a timer judges the evidence while no command comes. It has a model of its own, so
    that a planner cannot talk it into anything. Contacts seen by colour are counted, not acted on.
    """

    NAME = "safety_monitor"
    PARAMETERS = {
        **MODEL_PARAMETERS,
        **OPENCV_PARAMETERS,
        **ARM_PARAMETERS,
        **LIMIT_PARAMETERS,
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
        self._agent = load_agent(self)
        self._arm = arm_of(self)
        self._obstacle = _ranges(self.param("obstacle_hsv"))
        self._pose: tuple[float, PoseStamped] | None = None
        self._last_image = -1
        self.subscribe(LatentState, "latent", self._latent, qos.IMAGE)
        self.subscribe(Image, "camera/image_raw", self._look_for_contact, qos.IMAGE)
        measured = f"{self.param('arm')}/measured_cp"
        self.subscribe(PoseStamped, measured, self._measured, qos.CRTK_STATE_LATEST)
        self.open_gate(Supervisor(self.limits(), GateModels(self._agent), self.emergency_stop))

    def limits(self) -> GateLimits:
        """Return the gate's limits, from the parameters of now."""
        values = {name: self.param(name) for name in _LIMITS}
        if not self.param("use_constraint"):
            values["constraint_limit"] = None
        safe_set = self.param("safe_set_limit") if self.param("use_safe_set") else None
        return GateLimits(
            workspace_of(self), frame_id=TASK_FRAME, safe_set_limit=safe_set, **values
        )

    # ---- evidence

    def _latent(self, message: LatentState) -> None:
        try:
            mean, _ = belief_from_latent(message, self._agent.model_id, self._agent.latent_dim)
        except ValueError as error:
            self.refuse("latent refused", f"latent state refused: {error}")
            return
        self.supervisor.latent(time.monotonic(), nanoseconds(message.header.stamp), mean)

    def _measured(self, message: PoseStamped) -> None:
        # A hundred come in a second; only the newest before a judgement is read.
        self._pose = (time.monotonic(), message)

    def read_robot(self) -> None:
        """Tell the supervisor the newest measured pose."""
        if self._pose is None:
            return
        (received, message), self._pose = self._pose, None
        try:
            self.supervisor.robot(received, task_position(self._arm, message))
        except ValueError as error:
            self.refuse("measured_cp refused", f"measured_cp refused: {error}")

    def _look_for_contact(self, message: Image) -> None:
        try:
            config = self._agent.mask_config
            area = task_area(rgb_from_image(message), self.param("crop"), config.size)
        except ValueError as error:
            self.refuse("image refused", f"image refused: {error}")
            return
        self.supervisor.image(time.monotonic())
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


def _ranges(numbers: Sequence[int]) -> tuple[HsvRange, ...]:
    if not numbers or len(numbers) % 6:
        raise ValueError(f"obstacle_hsv: expected six numbers a range, got {len(numbers)}")
    sixes = [tuple(numbers[k : k + 6]) for k in range(0, len(numbers), 6)]
    return tuple((six[:3], six[3:]) for six in sixes)


def main() -> int:
    """Run the node."""
    return main_for(SafetyMonitor)


if __name__ == "__main__":
    sys.exit(main())
