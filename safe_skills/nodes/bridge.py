"""What the bridges to all robots share: the last hop, which moves only while all is well."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from safe_skills.msg import Command, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import TASK_FRAME, action_from_command, nanoseconds
from safe_skills.nodes.diagnostics import ERROR, OK, WARN, Status
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.watch import StopLatch
from safe_skills.robots.servo import ServoLimits, ServoOutput, ServoState, SetPointServo

_LEVELS = {
    ServoState.UNCONNECTED: (ERROR, "no valid measured position"),
    ServoState.WAITING: (OK, "waiting for commands"),
    ServoState.MOVING: (OK, "moving"),
    ServoState.HOLDING: (WARN, "holding"),
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


class Bridge(SkillNode, ABC):
    """Accumulates gated displacements into set-points of a robot, and holds it in doubt.

    Subscribes `command_safe`, `safety_status` and `episode_start`. A subclass opens the robot's own
    topics, hands what it measures to `observed`, and says how the robot is moved and held.
    """

    ACTION_SIZE = 2
    """Entries of a command."""

    def configure(self) -> None:
        """Build the servo and open the topics."""
        self._servo = SetPointServo(self.limits())
        self._stop = StopLatch()
        self._start = 0
        self._answered: Time | None = None
        self._counts = {"set_points": 0, "holds": 0}
        self.open_robot()
        self.subscribe(Command, "command_safe", self._command, qos.COMMAND)
        self.subscribe(SafetyStatus, "safety_status", self._safety, qos.STATUS)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self.every(0.02, self.tick)
        self.diagnostics.add("servo", self._report_servo)

    def deactivate(self) -> None:
        """Leave the robot holding, if it was moving."""
        self.hold_if_moving()

    def parameters_changed(self, names: set[str]) -> None:
        """Take up new limits with the next command."""
        self._servo.limits = self.limits()

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
    def hold(self) -> None:
        """Tell the robot to stay where it is."""

    def why_still(self) -> str:
        """Why the robot must not be moved now; empty when it may."""
        return ""

    def act(self, action: np.ndarray, answered: Header) -> None:
        """Carry out a displacement (ACTION_SIZE,) that answers an image."""
        self.send(self._servo.command(action, time.monotonic()), answered)

    def restart(self) -> None:
        """Forget what belongs to an episode."""

    # ---- for subclasses

    def observed(self, position: np.ndarray | None) -> None:
        """Take a measured position in the task frame; None where what came cannot be used."""
        self.send(self._servo.observe(position, time.monotonic()))

    def send(self, output: ServoOutput, answered: Header | None = None) -> None:
        """Hand to the robot what the servo says."""
        if output.reason:
            self.refuse("command refused", output.reason)
        if output.hold:
            self.hold()
            self._answered = None
            self._counts["holds"] += 1
            self.get_logger().warning("hold", throttle_duration_sec=2.0)
        if output.set_point is not None and answered is not None:
            try:
                self.move(output.set_point, answered)
            except ValueError as error:
                self.refuse("command refused", f"command refused: {error}")
                self.send(self._servo.hold())
                return
            self._answered = answered.stamp
            self._counts["set_points"] += 1

    def hold_if_moving(self) -> None:
        """Tell the robot to hold, unless it does not move anyway."""
        if self._servo.state is ServoState.MOVING:
            self.send(self._servo.hold())

    def tick(self) -> None:
        """Let time pass."""
        self.send(self._servo.tick(time.monotonic()))

    # ---- messages

    def _command(self, message: Command) -> None:
        if nanoseconds(message.header.stamp) < self._start:
            return
        why = self.why_still()
        if self._stop.stopped and not why:
            why = "the safety monitor has stopped the robot"
        if why:
            self.refuse("command refused", f"command refused: {why}")
            return
        if self._answered == message.header.stamp and self._servo.state is ServoState.MOVING:
            self.move_again()
            return
        try:
            action = action_from_command(message, self.ACTION_SIZE, TASK_FRAME)
        except ValueError as error:
            self.refuse("command refused", f"command refused: {error}")
            return
        self.act(action, message.header)

    def _safety(self, message: SafetyStatus, info: dict) -> None:
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
            self.get_logger().error("stopped by the safety monitor")
            self.send(self._servo.hold())
        else:
            self.get_logger().info("released by the safety monitor")

    def _new_episode(self, start: Header) -> None:
        self._start = max(self._start, nanoseconds(start.stamp))
        self._answered = None
        self._servo.restart()
        self.restart()

    def _report_servo(self, status: Status) -> None:
        self.refusals(status)
        status.merge(*_LEVELS[self._servo.state])
        if self._stop.stopped:
            status.merge(ERROR, "stopped by the safety monitor")
        if why := self.why_still():
            status.merge(ERROR, why)
        status.add("state", self._servo.state.value)
        for name, count in self._counts.items():
            status.add(name, count)
