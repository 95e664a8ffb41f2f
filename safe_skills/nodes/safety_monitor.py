"""Node: the gate between planner and robot. What it does not pass does not reach the bridge."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.data.vision import BLUE, HsvRange, hsv_mask
from safe_skills.msg import Command, LatentState, SafetyStatus, Violation
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position, workspace_of
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.camera_encoder import CAMERA_PARAMETERS
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    belief_from_latent,
    command_message,
    nanoseconds,
    rgb_from_image,
)
from safe_skills.nodes.diagnostics import ERROR, OK, WARN, Status
from safe_skills.nodes.frames import task_area
from safe_skills.nodes.gate_models import GateModels
from safe_skills.nodes.model import MODEL_PARAMETERS, OPENCV_PARAMETERS, load_agent
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.supervision import NAN, Counters, Judgement, Supervisor
from safe_skills.safety import EmergencyStop, Finding, GateCommand, GateLimits, GateState
from safe_skills.safety.colour import seen_contact

SILENCE = 0.3
"""Seconds without a command after which the timer's judgement is the status."""

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


class SafetyMonitor(SkillNode):
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

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stop = EmergencyStop()

    def configure(self) -> None:
        """Load the model, build the gate, open topics and services."""
        self._agent = load_agent(self)
        self._arm = arm_of(self)
        self._obstacle = _ranges(self.param("obstacle_hsv"))
        self._supervisor = Supervisor(self._limits(), GateModels(self._agent), self._stop)
        self._pose: tuple[float, PoseStamped] | None = None
        self._last_image = -1
        self._last_command = -float("inf")
        self._last: Judgement | None = None
        self._untold: deque[tuple[Judgement, Counters, Command, float]] = deque()
        self._tell = self.later(self._report_judgements)
        self._safe = self.advertise(Command, "command_safe", qos.COMMAND)
        self._status = self.advertise(SafetyStatus, "safety_status", qos.STATUS)
        self._violations = self.advertise(Violation, "violation", qos.EVENT)
        # Commands last: who hears of them has found the evidence before.
        self.subscribe(LatentState, "latent", self._latent, qos.IMAGE)
        self.subscribe(Image, "camera/image_raw", self._look_for_contact, qos.IMAGE)
        measured = f"{self.param('arm')}/measured_cp"
        self.subscribe(PoseStamped, measured, self._measured, qos.CRTK_STATE_LATEST)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self.subscribe(Command, "command", self._judge, qos.COMMAND)
        self.serve(Trigger, "~/e_stop", self._e_stop)
        self.serve(Trigger, "~/reset", self._reset)
        self.every(0.1, self._look)
        self.diagnostics.add("gate", self._report_gate)

    def parameters_changed(self, names: set[str]) -> None:
        """Judge by the new limits from the next command on."""
        self._supervisor.limits = self._limits()

    def _limits(self) -> GateLimits:
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
        self._supervisor.latent(time.monotonic(), nanoseconds(message.header.stamp), mean)

    def _measured(self, message: PoseStamped) -> None:
        # A hundred come in a second; only the newest before a judgement is read.
        self._pose = (time.monotonic(), message)

    def _read_pose(self) -> None:
        if self._pose is None:
            return
        (received, message), self._pose = self._pose, None
        try:
            self._supervisor.robot(received, task_position(self._arm, message))
        except ValueError as error:
            self.refuse("measured_cp refused", f"measured_cp refused: {error}")

    def _look_for_contact(self, message: Image) -> None:
        try:
            config = self._agent.mask_config
            area = task_area(rgb_from_image(message), self.param("crop"), config.size)
        except ValueError as error:
            self.refuse("image refused", f"image refused: {error}")
            return
        self._supervisor.image(time.monotonic())
        stamp = nanoseconds(message.header.stamp)
        if stamp == self._last_image:
            return
        self._last_image = stamp
        touches = seen_contact(
            hsv_mask(area, config.ranges),
            hsv_mask(area, self._obstacle),
            self.param("contact_dilate_px"),
        )
        finding = self._supervisor.contact(touches)
        if finding is not None:
            self._report_violation(finding, message.header, Command())

    def _new_episode(self, start: Header) -> None:
        self._supervisor.start_episode(nanoseconds(start.stamp))

    # ---- judgement

    def _judge(self, message: Command) -> None:
        self._read_pose()
        now = time.monotonic()
        command = GateCommand(message.action, message.header.frame_id)
        judgement = self._supervisor.judge(now, nanoseconds(message.header.stamp), command)
        if judgement is None:
            self.refuse("late command", "command refused: it answers an image that is over")
            return
        decision = judgement.decision
        if decision.state != GateState.STOPPED:
            held = decision.state == GateState.HOLD
            source = f"{self.NAME}: hold" if held else message.source
            self._safe.publish(
                command_message(decision.action, source, message.header.stamp, TASK_FRAME)
            )
        self._last_command = now
        self._last = judgement
        latency = self._age(message.header.stamp)
        # Where the bridge shares this thread, it moves the robot before anything is reported.
        self._untold.append((judgement, replace(self._supervisor.counters), message, latency))
        self._tell()

    def _report_judgements(self) -> None:
        while self._untold:
            judgement, counters, message, latency = self._untold.popleft()
            self._publish_status(judgement, counters, message.header.stamp, latency)
            for finding in judgement.begun:
                self._report_violation(finding, message.header, message)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._last_command < SILENCE:
            return
        self._read_pose()
        judgement = self._publish_look(now)
        for finding in judgement.begun:
            # Before the first frame everything is missing; the status says so, a log need not.
            if not finding.code.endswith(("_missing", "_unknown")):
                self.get_logger().warning(_line(finding))

    def _publish_look(self, now: float) -> Judgement:
        self._report_judgements()
        self._last = judgement = self._supervisor.look(now)
        stamp = self.get_clock().now().to_msg()
        self._publish_status(judgement, self._supervisor.counters, stamp, NAN)
        return judgement

    def _publish_status(
        self, judgement: Judgement, counters: Counters, stamp: Time, latency: float
    ) -> None:
        self._status.publish(
            SafetyStatus(
                header=Header(stamp=stamp, frame_id=TASK_FRAME),
                state=int(judgement.decision.state),
                reasons=list(judgement.decision.reasons),
                constraint_probability=judgement.constraint,
                predicted_constraint_probability=judgement.predicted_constraint,
                safe_set_probability=judgement.safe_set,
                latency=latency,
                commands_received=counters.received,
                commands_passed=counters.passed,
                commands_limited=counters.limited,
                commands_held=counters.held,
                commands_stopped=counters.stopped,
                violations=counters.violations,
                seen_contacts=counters.seen_contacts,
            )
        )

    def _report_violation(self, finding: Finding, header: Header, command: Command) -> None:
        self._violations.publish(
            Violation(
                header=header,
                kind=finding.code,
                value=finding.value,
                limit=finding.limit,
                command=command,
            )
        )
        self.get_logger().warning(_line(finding), throttle_duration_sec=1.0)

    def _age(self, stamp: Time) -> float:
        return 1e-9 * (self.get_clock().now().nanoseconds - nanoseconds(stamp))

    # ---- emergency stop

    def _e_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop.trigger("operator")
        self.get_logger().error("emergency stop by the operator")
        self._publish_look(time.monotonic())
        response.success = self._stop.stopped
        response.message = f"stopped by {self._stop.cause}; nothing passes until {self.NAME}/reset"
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._stop.reset()
        self.get_logger().warning(response.message)
        self._publish_look(time.monotonic())
        return response

    def _report_gate(self, status: Status) -> None:
        self.refusals(status)
        if self._last is not None:
            decision = self._last.decision
            level = {GateState.OK: OK, GateState.STOPPED: ERROR}.get(decision.state, WARN)
            status.merge(level, " ".join((decision.state.name, *decision.reasons)))
        for name, count in vars(self._supervisor.counters).items():
            status.add(name, count)


def _ranges(numbers: Sequence[int]) -> tuple[HsvRange, ...]:
    if not numbers or len(numbers) % 6:
        raise ValueError(f"obstacle_hsv: expected six numbers a range, got {len(numbers)}")
    sixes = [tuple(numbers[k : k + 6]) for k in range(0, len(numbers), 6)]
    return tuple((six[:3], six[3:]) for six in sixes)


def _line(finding: Finding) -> str:
    return f"{finding.code}: {finding.value:.4g}, allowed {finding.limit:.4g}"


def main() -> int:
    """Run the node."""
    return main_for(SafetyMonitor)


if __name__ == "__main__":
    sys.exit(main())
