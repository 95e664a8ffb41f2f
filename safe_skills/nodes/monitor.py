"""What every safety monitor shares: judging commands, saying so, the emergency stop."""

import time
from collections import deque
from math import isnan
from typing import Any, ClassVar

from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.data.surprise import SurpriseModel
from safe_skills.msg import (
    BridgeStatus,
    Command,
    LatentState,
    SafetyStatus,
    Surprise,
    Violation,
)
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    belief_from_latent,
    check_model,
    command_message,
    nanoseconds,
)
from safe_skills.nodes.diagnostics import ERROR, OK, WARN, Status
from safe_skills.nodes.gate_parameters import zones_of
from safe_skills.nodes.gate_status import finding_line, status_message, violation_message
from safe_skills.nodes.observations import NAN
from safe_skills.nodes.publishers import FOREIGN, PublisherWatch
from safe_skills.nodes.supervision import SILENCE, Counters, Judgement, Supervisor
from safe_skills.nodes.who import ParameterCall, ParameterCallers
from safe_skills.safety import (
    FORMS,
    EmergencyStop,
    Finding,
    GateCommand,
    GateLimits,
    GateState,
    HoldProof,
    parse_rules,
)
from safe_skills.safety.frozen import picture_digest

HEARTBEAT = 0.04
"""Longest time between two statuses [s]: the bridge lives by them."""

FOREIGN_COMMANDS = "foreign_publisher"
FOREIGN_TO_ROBOT = "foreign_publisher_to_robot"

_BRIDGE_STATES = {
    BridgeStatus.UNCONNECTED: "unconnected",
    BridgeStatus.DISABLED: "disabled",
    BridgeStatus.UNHOMED: "unhomed",
    BridgeStatus.READY: "ready",
    BridgeStatus.MOVING: "moving",
    BridgeStatus.HOLDING: "holding",
    BridgeStatus.FAULT: "fault",
}


class Monitor(SkillNode):
    """A gate as a node: `command` in, `command_safe`, `safety_status` and `violation` out.

    A subclass builds the supervisor and opens the topics of its evidence in `configure`, then calls
    `open_gate`; and says what the limits are, and how the newest state of its robot is read.

    In HOLD a command is answered by "no motion"; in STOPPED, after `~/e_stop` and until `~/reset`,
    by nothing. The status is true in silence, too: a timer judges the evidence while no command
    comes.
    """

    ZONE_DIMENSIONS: ClassVar[int] = 2
    """Coordinates of a zone of the parameter `keep_out`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.emergency_stop = EmergencyStop()
        self._proof = HoldProof()
        self._surprise: SurpriseModel | None = None
        self._callers = ParameterCallers(self, self._parameter_called)

    def judge_parameters(self, values: dict[str, Any]) -> None:
        """Refuse rules and zones that are none."""
        if "checks" in values:
            parse_rules(values["checks"], FORMS)
        if "keep_out" in values:
            zones_of(values["keep_out"], self.ZONE_DIMENSIONS)

    def limits(self) -> GateLimits:
        """Return the gate's limits, from the parameters of now."""
        raise NotImplementedError

    def read_robot(self) -> None:
        """Tell the supervisor the newest state of the robot, if there is a new one."""
        raise NotImplementedError

    # ---- evidence that every robot has

    def trust(self, model_id: str, surprise: SurpriseModel | None) -> None:
        """Judge frames by what surprises this encoder; None where that was not calibrated."""
        self._model_id, self._surprise = model_id, surprise
        if surprise is None:
            self.get_logger().info(
                f"{model_id} has no calibration of surprise: frames that it cannot explain are not "
                "noticed (safe-skills calibrate surprise)"
            )

    def note_image(self, message: Image) -> None:
        """Tell the supervisor of an image."""
        digest = picture_digest(message.data)
        stamp = nanoseconds(message.header.stamp)
        self.supervisor.seen.image(time.monotonic(), stamp, digest)

    def note_latent(self, message: LatentState, model_id: str, size: int) -> None:
        """Tell the supervisor of a latent state of `size` numbers, if it is of this model."""
        try:
            mean, _ = belief_from_latent(message, model_id, size)
        except ValueError as error:
            self.refuse("latent refused", f"latent state refused: {error}")
            return
        self.supervisor.seen.latent(time.monotonic(), nanoseconds(message.header.stamp), mean)
        if self._surprise is not None:
            # From the latent itself: an encoder that is wrong need not say so.
            distance = self._surprise.latent_distance_of(mean)
            self.supervisor.seen.latent_distance = distance

    def _note_surprise(self, message: Surprise) -> None:
        try:
            check_model(message.model_id, self._model_id, "a surprise")
        except ValueError as error:
            self.refuse("surprise refused", f"surprise refused: {error}")
            return
        self.supervisor.seen.reconstruction_error = message.reconstruction_error

    def surprise_limits(self) -> dict[str, float | None]:
        """Return the limits of the encoder's surprise, as `GateLimits` takes them."""
        factor, model = self.param("surprise_factor"), self._surprise
        if model is None or not factor:
            return {"reconstruction_limit": None, "latent_distance_limit": None}
        reconstruction = model.reconstruction_limit
        return {
            "reconstruction_limit": None if isnan(reconstruction) else factor * reconstruction,
            "latent_distance_limit": factor * model.latent_distance_limit,
        }

    def _note_bridge(self, message: BridgeStatus) -> None:
        state = _BRIDGE_STATES.get(message.state, "fault")
        now = time.monotonic()
        self.supervisor.seen.bridge(now, state, message.set_point, message.goal)
        # On the robot's topics it is the bridge that notices.
        self.stop(FOREIGN_TO_ROBOT, FOREIGN in message.reason)

    def hold_seen(self) -> None:
        """Take note that the robot was told to hold, on its own topic."""
        self._proof.hold_seen()

    # ---- the gate

    def open_gate(self, supervisor: Supervisor) -> None:
        """Open the gate's own topics and services, after those of the evidence."""
        self.supervisor = supervisor
        self._start = 0
        self._last_command = self._told_at = -float("inf")
        self._last: Judgement | None = None
        self._said: SafetyStatus | None = None
        self._untold: deque[tuple[Judgement, Counters, Command, float]] = deque()
        self._tell = self.later(self._report_judgements)
        self._safe = self.advertise(Command, "command_safe", qos.COMMAND)
        self._status = self.advertise(SafetyStatus, "safety_status", qos.STATUS)
        self._violations = self.advertise(Violation, "violation", qos.EVENT)
        self.subscribe(BridgeStatus, "bridge_status", self._note_bridge, qos.STATUS)
        self.subscribe(Surprise, "surprise", self._note_surprise, qos.IMAGE)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self._watch = PublisherWatch(self, {"command_safe": Command}, self._foreign)
        # Commands last: who hears of them has found the evidence before.
        self.subscribe(Command, "command", self._judge, qos.COMMAND)
        self.serve(Trigger, "~/e_stop", self._e_stop)
        self.serve(Trigger, "~/reset", self._reset)
        self.every(HEARTBEAT, self._look)
        self.diagnostics.add("gate", self._report_gate)

    def parameters_changed(self, names: set[str]) -> None:
        """Judge by the new limits from the next command on."""
        self.supervisor.limits = self.limits()

    def _parameter_called(self, call: ParameterCall) -> None:
        line = f"parameter {call.name} set to {call.value!r} by {call.caller}"
        self.get_logger().warning(f"{line}: refused" if call.refused else line)

    def new_episode(self, stamp: int) -> None:
        """Do what is to be done between two episodes, before the one of `stamp` [ns] begins."""

    def _new_episode(self, start: Header) -> None:
        stamp = nanoseconds(start.stamp)
        if stamp > self._start:
            self._start = stamp
            self.new_episode(stamp)
        self.supervisor.start_episode(stamp)

    # ---- judgement

    def _judge(self, message: Command) -> None:
        self.read_robot()
        now = time.monotonic()
        command = GateCommand(message.action, message.header.frame_id)
        judgement = self.supervisor.judge(now, nanoseconds(message.header.stamp), command)
        if judgement is None:
            self.refuse("late command", "command refused: it answers an image that is over")
            return
        decision = judgement.decision
        if decision.state != GateState.STOPPED:
            held = decision.state == GateState.HOLD
            source = f"{self.get_name()}: hold" if held else message.source
            self._safe.publish(
                command_message(decision.action, source, message.header.stamp, TASK_FRAME)
            )
        self._last_command = now
        self._last = judgement
        latency = self._age(message.header.stamp)
        # Where the bridge shares this thread, it moves the robot before anything is reported.
        self._untold.append((judgement, self.supervisor.counters.copy(), message, latency))
        self._tell()

    def _report_judgements(self) -> None:
        while self._untold:
            judgement, counters, message, latency = self._untold.popleft()
            self._publish_status(judgement, counters, message.header.stamp, latency)
            for finding in judgement.begun:
                self.report_violation(finding, message.header, message)

    def _look(self) -> None:
        now = time.monotonic()
        self._prove(now)
        if now - self._told_at < 0.9 * HEARTBEAT:
            return
        self.read_robot()
        self._report_judgements()
        judgement = self.supervisor.look(now)
        last, said = self._last, self._said
        silent = now - self._last_command >= SILENCE
        if not silent and last is not None and said is not None:
            if judgement.decision.state <= last.decision.state:
                # Nothing got worse since the last command: what was said of it still holds.
                self._status.publish(said)
                self._told_at = now
                return
        self._publish_look(judgement)
        for finding in judgement.begun:
            # Before the first frame everything is missing; the status says so, a log need not.
            if not finding.code.endswith(("_missing", "_unknown")):
                self.get_logger().warning(finding_line(finding), throttle_duration_sec=1.0)

    def _publish_look(self, judgement: Judgement) -> None:
        self._last = judgement
        stamp = self.get_clock().now().to_msg()
        self._publish_status(judgement, self.supervisor.counters, stamp, NAN)

    def _publish_status(
        self, judgement: Judgement, counters: Counters, stamp: Time, latency: float
    ) -> None:
        stop = self.emergency_stop
        self._told_at = time.monotonic()
        self._proof.note(stop.stopped, self._told_at)
        self._said = status_message(
            judgement,
            self.supervisor.limits,
            counters,
            stamp,
            latency,
            stop,
            self._proof.verified,
        )
        self._status.publish(self._said)

    def report_violation(self, finding: Finding, header: Header, command: Command) -> None:
        """Publish a finding that has begun, and log it."""
        self._violations.publish(violation_message(finding, header, command))
        self.get_logger().warning(finding_line(finding), throttle_duration_sec=1.0)

    def _age(self, stamp: Time) -> float:
        return 1e-9 * (self.get_clock().now().nanoseconds - nanoseconds(stamp))

    # ---- emergency stop

    def stop(self, cause: str, stands: bool) -> None:
        """Say whether a cause of an emergency stop stands, and say at once what is true now."""
        before = self.emergency_stop.stopped
        self.emergency_stop.set_cause(cause, stands)
        if self.emergency_stop.stopped != before:
            self._say_now()

    def _say_now(self) -> None:
        self._report_judgements()
        self._publish_look(self.supervisor.look(time.monotonic()))

    def _foreign(self, lines: list[str]) -> None:
        for line in lines:
            self.get_logger().error(f"{FOREIGN}: {line}")
        self.stop(FOREIGN_COMMANDS, bool(lines))

    def _prove(self, now: float) -> None:
        self._proof.note(self.emergency_stop.stopped, now)
        if self._proof.fails(now):
            self.get_logger().error(
                "the emergency stop did not reach the robot: its topic carried no hold; "
                "stop it by its own means"
            )
            unproven = Finding("stop_unverified", GateState.STOPPED, self._proof.patience, 0.0)
            self._violations.publish(
                violation_message(
                    unproven, Header(stamp=self.get_clock().now().to_msg()), Command()
                )
            )

    def _e_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.emergency_stop.trigger("operator")
        self.get_logger().error("emergency stop by the operator")
        self._say_now()
        response.success = self.emergency_stop.stopped
        response.message = (
            f"stopped by {self.emergency_stop.cause}; nothing passes until {self.get_name()}/reset"
        )
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self.emergency_stop.reset()
        self.get_logger().warning(response.message)
        self._say_now()
        return response

    def _report_gate(self, status: Status) -> None:
        self.refusals(status)
        if self._last is not None:
            decision = self._last.decision
            level = {GateState.OK: OK, GateState.STOPPED: ERROR}.get(decision.state, WARN)
            status.merge(level, " ".join((decision.state.name, *decision.reasons)))
        if self.emergency_stop.stopped and not self._proof.verified:
            status.merge(ERROR, "the stop was not seen to reach the robot")
        counters = self.supervisor.counters
        for name, count in vars(counters).items():
            if isinstance(count, int):
                status.add(name, count)
        for code, count in sorted(counters.causes.items()):
            status.add(code, f"{count} ({counters.causes_episode[code]} in this episode)")
