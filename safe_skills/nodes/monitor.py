"""What every safety monitor shares: judging commands, saying so, the emergency stop."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.msg import Command, LatentState, SafetyStatus, Violation
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    belief_from_latent,
    command_message,
    nanoseconds,
)
from safe_skills.nodes.diagnostics import ERROR, OK, WARN, Status
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.supervision import NAN, Counters, Judgement, Supervisor
from safe_skills.safety import EmergencyStop, Finding, GateCommand, GateLimits, GateState

SILENCE = 0.3
"""Seconds without a command after which the timer's judgement is the status."""


def limit(name: str, text: str, low: float, high: float) -> Param:
    """Return the parameter of a limit of the gate, which may be changed while it works."""
    return Param(getattr(GateLimits, name), text, low, high, runtime=True)


SHARED_LIMITS = {
    "reject_factor": limit(
        "reject_factor",
        "Commands beyond this many times a limit are held, not made smaller.",
        1.0,
        100.0,
    ),
    "latent_timeout": limit(
        "latent_timeout", "Age at which a latent state is stale [s].", 1e-3, 3600.0
    ),
    "image_timeout": limit("image_timeout", "Age at which an image is stale [s].", 1e-3, 3600.0),
    "robot_timeout": limit(
        "robot_timeout", "Age at which the robot's state is stale [s].", 1e-3, 3600.0
    ),
}

MODEL_LIMITS = {
    "use_constraint": Param(True, "Hold where the constraint estimator asks for it.", runtime=True),
    "constraint_limit": limit(
        "constraint_limit",
        "Greatest probability of a constraint violation one step ahead.",
        0.0,
        1.0,
    ),
    "use_safe_set": Param(False, "Make commands smaller where the safe set is left.", runtime=True),
    "safe_set_limit": Param(
        0.5, "Least probability of being in the safe set for full motion.", 0.0, 1.0, runtime=True
    ),
    "safe_set_scale": limit(
        "safe_set_scale", "Factor on commands where the safe set is left.", 0.0, 1.0
    ),
}


def limits_of(node: SkillNode, names: Iterable[str]) -> dict[str, Any]:
    """Return the limits of these names, as `GateLimits` takes them; what is not used is None."""
    values = {name: node.param(name) for name in names}
    for switch, checked in (
        ("use_constraint", "constraint_limit"),
        ("use_safe_set", "safe_set_limit"),
    ):
        if not values.pop(switch, True):
            values[checked] = None
    return values


class Monitor(SkillNode):
    """A gate as a node: `command` in, `command_safe`, `safety_status` and `violation` out.

    A subclass builds the supervisor and opens the topics of its evidence in `configure`, then calls
    `open_gate`; and says what the limits are, and how the newest state of its robot is read.

    In HOLD a command is answered by "no motion"; in STOPPED, after `~/e_stop` and until `~/reset`,
    by nothing. The status is true in silence, too: a timer judges the evidence while no command
    comes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.emergency_stop = EmergencyStop()

    def limits(self) -> GateLimits:
        """Return the gate's limits, from the parameters of now."""
        raise NotImplementedError

    def read_robot(self) -> None:
        """Tell the supervisor the newest state of the robot, if there is a new one."""
        raise NotImplementedError

    def note_latent(self, message: LatentState, model_id: str, size: int) -> None:
        """Tell the supervisor of a latent state of `size` numbers, if it is of this model."""
        try:
            mean, _ = belief_from_latent(message, model_id, size)
        except ValueError as error:
            self.refuse("latent refused", f"latent state refused: {error}")
            return
        self.supervisor.latent(time.monotonic(), nanoseconds(message.header.stamp), mean)

    def open_gate(self, supervisor: Supervisor) -> None:
        """Open the gate's own topics and services, after those of the evidence."""
        self.supervisor = supervisor
        self._start = 0
        self._last_command = -float("inf")
        self._last: Judgement | None = None
        self._untold: deque[tuple[Judgement, Counters, Command, float]] = deque()
        self._tell = self.later(self._report_judgements)
        self._safe = self.advertise(Command, "command_safe", qos.COMMAND)
        self._status = self.advertise(SafetyStatus, "safety_status", qos.STATUS)
        self._violations = self.advertise(Violation, "violation", qos.EVENT)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        # Commands last: who hears of them has found the evidence before.
        self.subscribe(Command, "command", self._judge, qos.COMMAND)
        self.serve(Trigger, "~/e_stop", self._e_stop)
        self.serve(Trigger, "~/reset", self._reset)
        self.every(0.1, self._look)
        self.diagnostics.add("gate", self._report_gate)

    def parameters_changed(self, names: set[str]) -> None:
        """Judge by the new limits from the next command on."""
        self.supervisor.limits = self.limits()

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
        self._untold.append((judgement, replace(self.supervisor.counters), message, latency))
        self._tell()

    def _report_judgements(self) -> None:
        while self._untold:
            judgement, counters, message, latency = self._untold.popleft()
            self._publish_status(judgement, counters, message.header.stamp, latency)
            for finding in judgement.begun:
                self.report_violation(finding, message.header, message)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._last_command < SILENCE:
            return
        self.read_robot()
        judgement = self._publish_look(now)
        for finding in judgement.begun:
            # Before the first frame everything is missing; the status says so, a log need not.
            if not finding.code.endswith(("_missing", "_unknown")):
                self.get_logger().warning(_line(finding))

    def _publish_look(self, now: float) -> Judgement:
        self._report_judgements()
        self._last = judgement = self.supervisor.look(now)
        stamp = self.get_clock().now().to_msg()
        self._publish_status(judgement, self.supervisor.counters, stamp, NAN)
        return judgement

    def _publish_status(
        self, judgement: Judgement, counters: Counters, stamp: Time, latency: float
    ) -> None:
        limits = self.supervisor.limits
        self._status.publish(
            SafetyStatus(
                header=Header(stamp=stamp, frame_id=TASK_FRAME),
                state=int(judgement.decision.state),
                reasons=list(judgement.decision.reasons),
                constraint_probability=judgement.constraint,
                predicted_constraint_probability=judgement.predicted_constraint,
                safe_set_probability=judgement.safe_set,
                constraint_limit=_or_nan(limits.constraint_limit),
                safe_set_limit=_or_nan(limits.safe_set_limit),
                eta=_or_nan(limits.eta),
                abstract_action=judgement.abstract_action,
                reconstruction_error=NAN,
                reconstruction_limit=NAN,
                latent_distance=NAN,
                latent_distance_limit=NAN,
                tracking_error=NAN,
                tracking_limit=NAN,
                scale=1.0,
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

    def report_violation(self, finding: Finding, header: Header, command: Command) -> None:
        """Publish a finding that has begun, and log it."""
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
        self.emergency_stop.trigger("operator")
        self.get_logger().error("emergency stop by the operator")
        self._publish_look(time.monotonic())
        response.success = self.emergency_stop.stopped
        response.message = (
            f"stopped by {self.emergency_stop.cause}; nothing passes until {self.get_name()}/reset"
        )
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self.emergency_stop.reset()
        self.get_logger().warning(response.message)
        self._publish_look(time.monotonic())
        return response

    def _report_gate(self, status: Status) -> None:
        self.refusals(status)
        if self._last is not None:
            decision = self._last.decision
            level = {GateState.OK: OK, GateState.STOPPED: ERROR}.get(decision.state, WARN)
            status.merge(level, " ".join((decision.state.name, *decision.reasons)))
        for name, count in vars(self.supervisor.counters).items():
            status.add(name, count)


def _line(finding: Finding) -> str:
    return f"{finding.code}: {finding.value:.4g}, allowed {finding.limit:.4g}"


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value
