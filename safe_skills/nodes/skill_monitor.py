"""Node: the gate between a skill prior's decoder and an arm behind ROS 2 controllers."""

import math
import sys
import time

import numpy as np
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from safe_skills.data.surprise import load_surprise
from safe_skills.ls3.watcher import Watcher
from safe_skills.msg import AbstractAction, LatentState, SafetyContext
from safe_skills.nodes import qos
from safe_skills.nodes.base import main_for
from safe_skills.nodes.conversions import TASK_FRAME, nanoseconds
from safe_skills.nodes.decoding import largest_entry
from safe_skills.nodes.gate_models import GateModels
from safe_skills.nodes.gate_parameters import (
    SHARED_LIMITS,
    SURPRISE_FACTOR,
    limit,
    limits_of,
    optional,
    rules_of,
    rules_without,
    zones_of,
)
from safe_skills.nodes.joints import (
    ARM5_PARAMETERS,
    arm5_of,
    points_from_trajectory,
    reading_from_message,
    workspace_of,
)
from safe_skills.nodes.model import MODEL_PARAMETERS, checkpoint_folder
from safe_skills.nodes.monitor import Monitor
from safe_skills.nodes.observations import Classifiers
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.skill_conversions import (
    abstract_action_from_message,
    context_from_message,
)
from safe_skills.nodes.skill_model import BOUND_PARAMETERS, bound_of, load_prior
from safe_skills.nodes.supervision import Supervisor
from safe_skills.robots.arm5 import STEP_LIMIT
from safe_skills.safety import GateLimits

# In full steps of the arm: 25 mm, or 0.35 rad of yaw.
STEP_LIMITS = {
    "step_limit": Param(
        1.0, "Greatest component of a command [full steps].", 1e-6, 10.0, runtime=True
    ),
    "norm_limit": Param(2.0, "Greatest norm of a command [full steps].", 1e-6, 20.0, runtime=True),
    "change_limit": Param(
        4.0,
        "Greatest distance of a command from the one passed before it [full steps].",
        1e-6,
        40.0,
        runtime=True,
    ),
    "workspace_margin": Param(
        1.5,
        "How far outside the workspace the tool may be measured [full steps].",
        0.0,
        10.0,
        runtime=True,
    ),
    "velocity_limit": optional(
        25.0, "Greatest path in velocity_window, by time [full steps/s]", 1000.0
    ),
    "acceleration_limit": optional(
        800.0, "Greatest change of speed by time [full steps/s^2]", 10000.0
    ),
    "tracking_limit": optional(
        3.0, "How far the tool may be measured from its way [full steps]", 100.0
    ),
    "frozen_limit": optional(
        3.0, "How far the tool may move while the picture stays the same [full steps]", 100.0
    ),
}
WATCHER_LIMITS = {
    "use_constraint": Param(
        True, "With a watcher: hold where its constraint estimator asks for it.", runtime=True
    ),
    "constraint_limit": Param(
        0.0,
        "Greatest probability of a contact one step ahead; 0: the watcher's calibrated delta_C.",
        0.0,
        1.0,
        runtime=True,
    ),
    "use_safe_set": Param(
        False, "With a watcher: make commands smaller where its safe set is left.", runtime=True
    ),
    "safe_set_limit": Param(
        0.0,
        "Least probability of being in the safe set for full motion; 0: the watcher's calibrated "
        "delta_S.",
        0.0,
        1.0,
        runtime=True,
    ),
    "safe_set_scale": limit(
        "safe_set_scale", "Factor on commands where the safe set is left; 0 holds.", 0.0, 1.0
    ),
}
LIMIT_PARAMETERS = {
    **SHARED_LIMITS,
    "context_timeout": Param(
        0.5, "Age at which a safety context is stale [s].", 1e-3, 3600.0, runtime=True
    ),
    **STEP_LIMITS,
}


HELD = 0.05
"""A trajectory that ends so near the measured joints tells the arm to stay there [rad]."""


class WatchedCommands:
    """A watcher's opinion of commands in SI units, as `Classifiers` for the supervisor.

    Args:
        models: of the watcher, whose actions are those of the prior, within 1.
    """

    def __init__(self, models: Classifiers) -> None:
        # The gripper's entry is the prior's own.
        self.action_limit = np.append(STEP_LIMIT, 1.0)
        self.constraint_probability = models.constraint_probability
        self.safe_set_probability = models.safe_set_probability
        self._predict = models.predicted_constraint_probability

    def predicted_constraint_probability(self, mean: np.ndarray, action: np.ndarray) -> float:
        """f_C one step ahead under a command (A,) [m, rad], the largest over members' means."""
        return self._predict(mean, action / self.action_limit)


class SkillMonitor(Monitor):
    """Judges every command by limits, by fresh evidence and by SAFER's bound.

    Subscribes `command`, `latent`, `safety_context`, `abstract_action`, `camera/image_raw`,
    `joint_states` and `episode_start`; publishes `command_safe`, `safety_status` and `violation`.
    A command passes only if the abstract action that answers the same image was seen and is within
    eta, which this node reads from the prior's checkpoint itself, so that a decoder cannot talk it
    into anything. With a watcher, LS3's safe set and constraint estimator over the prior's latents
    are a second opinion.
    """

    NAME = "skill_monitor"
    ZONE_DIMENSIONS = 3
    PARAMETERS = {
        **MODEL_PARAMETERS,
        **BOUND_PARAMETERS,
        **ARM5_PARAMETERS,
        **LIMIT_PARAMETERS,
        "watcher": Param(
            "",
            "LS3's safe set over this prior's features, a second opinion: its checkpoint folder or "
            "the name of a shipped one; empty: none.",
        ),
        **WATCHER_LIMITS,
        "surprise_factor": SURPRISE_FACTOR,
        "keep_out": Param(
            [0.0] * 6,
            "Zones that no step may enter, in the arm's frame: xmin, xmax, ymin, ymax, zmin, zmax "
            "[m] each; zeros: none.",
            low=-10.0,
            high=10.0,
            runtime=True,
        ),
        "checks": rules_without("plan", "plan_infeasible"),
    }

    def configure(self) -> None:
        """Load the prior, build the gate, open topics and services."""
        self._prior = load_prior(self)
        self._eta = bound_of(self, self._prior)
        self._watcher = self._load_watcher()
        folder = checkpoint_folder(self.param("checkpoint"))
        self.trust(self._prior.model_id, load_surprise(folder, self._prior.model_id))
        self._arm = arm5_of(self)
        self._joints: tuple[float, JointState] | None = None
        self._newest_joints = JointState()
        # Every latent and abstract action is remembered by stamp: none may be dropped.
        self.subscribe(LatentState, "latent", self._latent, qos.LATENT_WINDOW)
        self.subscribe(Image, "camera/image_raw", self._image, qos.IMAGE)
        self.subscribe(JointState, "joint_states", self._measured, qos.CRTK_STATE_LATEST)
        if self._prior.context_size:
            self.subscribe(SafetyContext, "safety_context", self._take_context, qos.COMMAND)
        self.subscribe(AbstractAction, "abstract_action", self._take_abstract_action, qos.LOG)
        self.subscribe(
            JointTrajectory, "arm_controller/joint_trajectory", self._trajectory, qos.COMMAND
        )
        watcher = self._watcher
        models = None if watcher is None else WatchedCommands(GateModels(watcher))
        self.open_gate(Supervisor(self.limits(), models, self.emergency_stop))

    def _load_watcher(self) -> Watcher | None:
        name = self.param("watcher")
        if not name:
            return None
        folder = checkpoint_folder(name)
        watcher = Watcher.load(folder, encoder_id=self._prior.model_id)
        levels = watcher.thresholds()
        self.get_logger().info(
            f"watcher {watcher.model_id} from {folder}: delta_C {levels.delta_c.value:g}, at most "
            f"{levels.delta_c.bound:.3f} of what it lets through touches; "
            f"delta_S {levels.delta_s.value:g}"
        )
        return watcher

    def limits(self) -> GateLimits:
        """Return the gate's limits, from the parameters of now."""
        values = limits_of(self, LIMIT_PARAMETERS)
        if not self._prior.context_size:
            values["context_timeout"] = None
        return GateLimits(
            workspace_of(self),
            frame_id=TASK_FRAME,
            units=tuple(STEP_LIMIT),
            gripper=True,
            eta=self._eta,
            keep_out=self._zones(),
            rules=rules_of(self),
            **values,
            **self._watcher_limits(),
            **self.surprise_limits(),
        )

    def _zones(self) -> tuple[tuple[tuple[float, float], ...], ...]:
        # Whatever the yaw.
        zones = zones_of(self.param("keep_out"), self.ZONE_DIMENSIONS)
        return tuple((*zone, (-math.inf, math.inf)) for zone in zones)

    def _watcher_limits(self) -> dict[str, float | None]:
        if self._watcher is None:
            return {"constraint_limit": None, "safe_set_limit": None}
        values = limits_of(self, WATCHER_LIMITS)
        levels = self._watcher.thresholds()
        for name, level in (
            ("constraint_limit", levels.delta_c),
            ("safe_set_limit", levels.delta_s),
        ):
            if values[name] == 0.0:
                values[name] = level.value
        return values

    def read_robot(self) -> None:
        """Tell the supervisor the newest measured joints, as the tool's pose."""
        if self._joints is None:
            return
        (received, message), self._joints = self._joints, None
        try:
            position = self._arm.position(reading_from_message(self._arm, message))
        except ValueError as error:
            self.refuse("joint_states refused", f"joint_states refused: {error}")
            return
        self.supervisor.seen.robot(received, position)

    def _latent(self, message: LatentState) -> None:
        self.note_latent(message, self._prior.model_id, self._prior.config.encoder.features)

    def _image(self, message: Image) -> None:
        self.note_image(message)

    def _measured(self, message: JointState) -> None:
        # A hundred come in a second; only the newest before a judgement is read.
        self._joints = (time.monotonic(), message)
        self._newest_joints = message

    def _trajectory(self, message: JointTrajectory) -> None:
        if not self.emergency_stop.stopped:
            return
        now = self.get_clock().now().nanoseconds
        try:
            here = reading_from_message(self._arm, self._newest_joints).joints
            there, _ = points_from_trajectory(message, self._arm.joint_names, now)
        except ValueError as error:
            self.refuse("trajectory refused", f"trajectory refused: {error}")
            return
        if len(there) and np.abs(there[-1] - here).max() <= HELD:
            self.hold_seen()

    def _take_context(self, message: SafetyContext) -> None:
        try:
            context_from_message(message, self._prior.model_id, self._prior.context_size)
        except ValueError as error:
            self.refuse("safety_context refused", f"safety context refused: {error}")
            return
        self.supervisor.seen.received("context", time.monotonic())

    def _take_abstract_action(self, message: AbstractAction) -> None:
        try:
            z = abstract_action_from_message(message, self._prior.model_id, self._prior.action_dim)
        except ValueError as error:
            self.refuse("abstract_action refused", f"abstract action refused: {error}")
            return
        self.supervisor.seen.abstract_action(nanoseconds(message.header.stamp), largest_entry(z))


def main() -> int:
    """Run the node."""
    return main_for(SkillMonitor)


if __name__ == "__main__":
    sys.exit(main())
