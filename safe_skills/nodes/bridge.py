"""What the bridges to all robots share: the last hop, which moves only while all is well."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.msg import BridgeStatus, Command, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import TASK_FRAME, action_from_command, nanoseconds
from safe_skills.nodes.diagnostics import ERROR, OK, WARN, Status
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.publishers import FOREIGN, PublisherWatch
from safe_skills.nodes.watch import StopLatch
from safe_skills.robots.bridge_state import BridgeMachine, BridgeState, Standing
from safe_skills.robots.servo import ServoLimits, ServoOutput, ServoState, SetPointServo

TELL_EVERY = 0.1
"""Seconds between two statuses where nothing changes."""

"""How the reason begins for which a robot is held that somebody else commands, too."""

_LEVELS = {
    BridgeState.READY: (OK, "waiting for commands"),
    BridgeState.MOVING: (OK, "moving"),
    BridgeState.HOLDING: (WARN, "holding"),
}

TIMEOUTS = {
    "command_timeout": Param(
        ServoLimits.command_timeout,
        "Time without a command after which the robot holds [s].",
        low=0.01,
        high=3600.0,
        runtime=True,
    ),
    "state_timeout": Param(
        ServoLimits.state_timeout,
        "Age of a measured position beyond which there is none [s].",
        low=0.01,
        high=3600.0,
        runtime=True,
    ),
}

LINK = {
    "link_timeout": Param(
        0.1,
        "Silence of the safety monitor after which the robot holds [s].",
        low=0.01,
        high=3600.0,
        runtime=True,
    ),
}


class Bridge(SkillNode, ABC):
    """Accumulates gated displacements into set-points of a robot, and holds it in doubt.

    Subscribes `command_safe`, `safety_status` and `episode_start`; publishes `bridge_status`. A
    subclass opens the robot's own topics, hands what it measures to `observed`, and says how the
    robot is moved and held.

    Attributes:
        vetoes: functions that say why the robot must not be moved now, or nothing (""). They are
            asked with every command and at every tick: a reason refuses the one and holds a robot
            in motion. A subclass or a watch adds its own in `configure`.
    """

    ACTION_SIZE = 2
    """Entries of a command."""

    def configure(self) -> None:
        """Build servo and state machine, and open the topics."""
        self._servo = SetPointServo(self.limits())
        self._stop = StopLatch()
        self.vetoes: list[Callable[[], str]] = []
        self._start = 0
        self._answered: Time | None = None
        self._hold_reason = ""
        self._sent: np.ndarray | None = None
        self._told: tuple[Standing, float] | None = None
        self._pulse: float | None = None
        self._counts = {"commands": 0, "set_points": 0, "holds": 0}
        self._status_out = self.advertise(BridgeStatus, "bridge_status", qos.STATUS)
        self._machine = self.make_machine()
        self.open_robot()
        self.subscribe(Command, "command_safe", self._command, qos.COMMAND)
        self.subscribe(SafetyStatus, "safety_status", self._safety, qos.STATUS)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self.serve(Trigger, "~/resume", self._resume)
        self.every(self.tick_period, self.tick)
        self.diagnostics.add("servo", self._report_servo)

    def deactivate(self) -> None:
        """Leave the robot holding, if it was moving."""
        self.hold_if_moving("the bridge was told to end")
        self._pulse = None

    def parameters_changed(self, names: set[str]) -> None:
        """Take up new limits with the next command."""
        self._servo.limits = self.limits()
        self._machine.link_timeout = self.param("link_timeout")
        self._machine.state_timeout = self.param("state_timeout")

    # ---- what a robot's bridge says

    @abstractmethod
    def limits(self) -> ServoLimits:
        """Limits of the servo, by the node's parameters."""

    @abstractmethod
    def open_robot(self) -> None:
        """Build the robot and open its topics."""

    @abstractmethod
    def move(self, set_point: np.ndarray, answered: Header) -> None:
        """Command a set-point, in answer to an image; `ValueError` where that cannot be."""

    @abstractmethod
    def move_again(self) -> None:
        """Command the last set-point again, to a robot that missed it."""

    @abstractmethod
    def hold(self, gently: bool) -> None:
        """Tell the robot to stay where it is; gently, it may come to rest before."""

    def make_machine(self) -> BridgeMachine:
        """Build the state machine; a robot that tells no operating state is not asked for one."""
        return BridgeMachine(self.param("link_timeout"), self.param("state_timeout"))

    def order(self, command: str) -> None:
        """Send a CRTK state command, to a robot that has such."""

    def act(self, action: np.ndarray, answered: Header) -> None:
        """Carry out a displacement (ACTION_SIZE,) that answers an image."""
        self.send(self._servo.command(action, time.monotonic()), answered)

    def restart(self) -> None:
        """Forget what belongs to an episode."""

    @property
    def tick_period(self) -> float:
        """Seconds between two looks at the clock."""
        return 0.02

    @property
    def in_motion(self) -> bool:
        """Whether the robot is on its way to a set-point, or may be."""
        return self._servo.state is ServoState.MOVING

    # ---- for subclasses

    def observed(self, position: np.ndarray | None, invalid: str = "") -> None:
        """Take a measured position in the task frame; None, and why, where it cannot be used."""
        now = time.monotonic()
        self._check_pulse(now)
        self._machine.measured(now, invalid)
        moved = self.in_motion
        output = self._servo.observe(position, now)
        if position is None and moved:
            self._hold_reason, output = invalid, ServoOutput(hold=True)
        self.send(output)

    def send(self, output: ServoOutput, answered: Header | None = None) -> None:
        """Hand to the robot what the servo says."""
        if output.reason:
            self.refuse("command refused", output.reason)
        if output.hold:
            self.hold(output.gently)
            self._answered = None
            self.get_logger().warning(f"hold: {self._hold_reason}", throttle_duration_sec=2.0)
        if output.set_point is not None and answered is not None:
            try:
                self.move(output.set_point, answered)
            except ValueError as error:
                self.refuse("command refused", f"command refused: {error}")
                self.stop_moving(str(error))
                return
            self._answered = answered.stamp
            self._counts["commands"] += 1

    def note_sent(self, set_point: np.ndarray) -> None:
        """Remember, and count, what was sent to the robot."""
        self._sent = set_point
        self._counts["set_points"] += 1

    def note_hold(self) -> None:
        """Count that the robot was told to hold."""
        self._counts["holds"] += 1

    def stop_moving(self, reason: str, gently: bool = False) -> None:
        """Tell the robot to hold, whatever it does."""
        self._hold_reason = reason
        self.send(self._servo.hold(gently))

    def alone_on(self, topics: Mapping[str, type]) -> None:
        """Hold the robot while another node publishes on topics that are this bridge's alone."""
        watch = PublisherWatch(self, topics, self._foreign)
        self.vetoes.append(lambda: "".join(f"{FOREIGN}: {line}" for line in watch.foreign[:1]))

    def _foreign(self, lines: list[str]) -> None:
        for line in lines:
            self.get_logger().error(f"{FOREIGN}: {line}")
        self.tick()

    def hold_if_moving(self, reason: str) -> None:
        """Tell the robot to hold, unless it does not move anyway."""
        if self.in_motion:
            self.stop_moving(reason)

    def tick(self) -> None:
        """Let time pass: what is not heard of in time, and what speaks against motion, holds."""
        now = time.monotonic()
        self._check_pulse(now)
        self._pulse = now
        output = self._servo.tick(now)
        if output.hold:
            silent = f"no command for {self.param('command_timeout'):g} s"
            self._hold_reason = silent if output.gently else "no measured position"
        self.send(output)
        against = self._against(now)
        if against.reason and self.in_motion:
            moving = self._servo.state is ServoState.MOVING
            if moving or not against.gently:
                self.stop_moving(against.reason, against.gently)
        for command in self._machine.orders(now):
            self.get_logger().warning(f"{command} is sent to the robot")
            self.order(command)
        self._tell(now)

    def _check_pulse(self, now: float) -> None:
        """Hold the robot after this process stood still: what it was on the way to is long over.

        The first message to come after that is as fresh as any, and says nothing of the pause.
        """
        late = 0.0 if self._pulse is None else now - self._pulse
        if late > self.param("state_timeout"):
            self._pulse = now
            self.hold_if_moving(f"the bridge itself stood still for {late:.2g} s")

    def _against(self, now: float) -> Standing:
        """What speaks against motion now; without a reason where nothing does."""
        found = self._machine.against(now, self._servo.state is ServoState.MOVING)
        if found.reason and not found.gently:
            return found
        veto = self._veto()
        return Standing(BridgeState.HOLDING, veto) if veto else found

    def _veto(self) -> str:
        return next((why for ask in self.vetoes if (why := ask())), "")

    # ---- messages

    def _command(self, message: Command) -> None:
        now = time.monotonic()
        self._check_pulse(now)
        self._machine.monitor(now)
        if nanoseconds(message.header.stamp) < self._start:
            return
        why = self._against(now).reason
        if why:
            self.refuse("command refused", f"command refused: {why}")
        elif self._answered == message.header.stamp and self._servo.state is ServoState.MOVING:
            self.move_again()
        else:
            try:
                action = action_from_command(message, self.ACTION_SIZE, TASK_FRAME)
            except ValueError as error:
                self.refuse("command refused", f"command refused: {error}")
            else:
                self.act(action, message.header)
        self._tell(now)

    def _safety(self, message: SafetyStatus, info: dict) -> None:
        now = time.monotonic()
        self._machine.monitor(now)
        stopped = message.state == SafetyStatus.STOPPED
        if not self._stop.note(stopped, info["publisher_gid"]["data"]):
            if self._stop.stopped and not stopped:
                self.get_logger().error(
                    "the safety monitor that stopped the robot is gone, another says it may move: "
                    "still stopped until that one is stopped (~/e_stop) and reset (~/reset)",
                    throttle_duration_sec=10.0,
                )
            return
        if stopped:
            self._machine.stop()
            self.get_logger().error("stopped by the safety monitor")
            self.stop_moving("the safety monitor has stopped the robot")
        else:
            self._machine.release()
            self.get_logger().info("released by the safety monitor")
        self.tick()

    def _new_episode(self, start: Header) -> None:
        self._start = max(self._start, nanoseconds(start.stamp))
        self._answered = self._sent = None
        self._servo.restart()
        self.restart()

    def _resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._machine.resume()
        self.get_logger().warning(response.message)
        return response

    # ---- what is told

    def _standing(self, now: float) -> Standing:
        veto = self._veto()
        found = self._machine.standing(self._servo.state, now, self._hold_reason, veto)
        if veto and veto not in found.reason:
            # What else is wrong must not hide it: the safety monitor waits for its end.
            found = found._replace(reason=f"{found.reason}; {veto}")
        return found

    def _tell(self, now: float) -> None:
        standing = self._standing(now)
        if self._told is not None:
            before, at = self._told
            if standing == before and now - at < TELL_EVERY:
                return
        self._told = (standing, now)
        self._status_out.publish(
            BridgeStatus(
                header=Header(stamp=self.get_clock().now().to_msg(), frame_id=TASK_FRAME),
                state=int(standing.state),
                reason=standing.reason,
                measured=_entries(self._servo.measured),
                goal=_entries(self._servo.set_point),
                set_point=_entries(self._sent if self.in_motion else None),
                commands=self._counts["commands"],
                set_points=self._counts["set_points"],
                holds=self._counts["holds"],
            )
        )

    def _report_servo(self, status: Status) -> None:
        self.refusals(status)
        standing = self._standing(time.monotonic())
        level, line = _LEVELS.get(standing.state, (ERROR, standing.state.name.lower()))
        status.merge(level, f"{line}: {standing.reason}" if standing.reason else line)
        if self._stop.stopped:
            status.merge(ERROR, "stopped by the safety monitor")
        status.add("state", standing.state.name.lower())
        for name, count in self._counts.items():
            status.add(name, count)


def _entries(position: np.ndarray | None) -> list[float]:
    return [] if position is None else [float(entry) for entry in position]
