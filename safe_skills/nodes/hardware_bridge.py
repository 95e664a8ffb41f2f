"""Node: the last hop to the robot, from gated displacements to Cartesian set-points."""

import sys
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Empty, Header

from safe_skills.msg import Command, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position, workspace_of
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    action_from_command,
    nanoseconds,
    pose_message,
)
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


class HardwareBridge(SkillNode):
    """Accumulates displacements into absolute `servo_cp` of a CRTK arm, and holds it in doubt.

    Subscribes `command_safe`, `safety_status`, `episode_start`, `ARM/measured_cp` and, where
    crtk_msgs is installed, `ARM/operating_state`; publishes `ARM/servo_cp` and `ARM/hold`. It never
    enables, homes or resumes an arm. Measured data with a zero stamp is invalid, and without valid
    data nothing moves.
    """

    NAME = "hardware_bridge"
    PARAMETERS = {
        **ARM_PARAMETERS,
        "max_step": Param(
            0.002,  # a real arm takes a set-point at once, without interpolation
            "Greatest component of one displacement [m].",
            low=1e-4,
            high=0.1,
            runtime=True,
        ),
        "margin": Param(
            0.002,
            "How far beyond one step a set-point may lead the measured position [m].",
            low=0.0,
            high=0.1,
            runtime=True,
        ),
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

    def configure(self) -> None:
        """Build arm and servo, and open the topics."""
        self._arm = arm_of(self)
        self._servo = SetPointServo(self._limits())
        self._stop = StopLatch()
        self._start = 0
        self._answered: PoseStamped | None = None
        self._frame = ""
        self._not_ready = ""
        self._counts = {"set_points": 0, "holds": 0}
        arm = self.param("arm")
        self._servo_cp = self.advertise(PoseStamped, f"{arm}/servo_cp", qos.COMMAND)
        self._hold = self.advertise(Empty, f"{arm}/hold", qos.COMMAND)
        self.subscribe(PoseStamped, f"{arm}/measured_cp", self._measured, qos.CRTK_STATE_LATEST)
        self.subscribe(Command, "command_safe", self._command, qos.COMMAND)
        self.subscribe(SafetyStatus, "safety_status", self._safety, qos.STATUS)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self._supervise_operating_state(arm)
        self.every(0.02, self._tick)
        self.diagnostics.hardware_id = arm
        self.diagnostics.add("servo", self._report_servo)

    def deactivate(self) -> None:
        """Leave the robot holding, if it was moving."""
        if self._servo.state is ServoState.MOVING:
            self._send(self._servo.hold())

    def parameters_changed(self, names: set[str]) -> None:
        """Take up new limits with the next command."""
        self._servo.limits = self._limits()

    def _limits(self) -> ServoLimits:
        names = ("max_step", "margin", "command_timeout", "state_timeout")
        return ServoLimits(workspace_of(self), **{name: self.param(name) for name in names})

    def _measured(self, message: PoseStamped) -> None:
        self._frame = message.header.frame_id
        try:
            position = task_position(self._arm, message)
        except ValueError as error:
            self.refuse("measured_cp refused", f"measured_cp refused: {error}")
            position = None
        self._send(self._servo.observe(position, time.monotonic()))

    def _command(self, message: Command) -> None:
        stamp = nanoseconds(message.header.stamp)
        if stamp < self._start:
            return
        if self._stop.stopped or self._not_ready:
            why = self._not_ready or "the safety monitor has stopped the robot"
            self.refuse("command refused", f"command refused: {why}")
            return
        repeated = (
            self._answered is not None and self._answered.header.stamp == message.header.stamp
        )
        if repeated and self._servo.state is ServoState.MOVING:
            self._servo_cp.publish(self._answered)
            return
        try:
            action = action_from_command(message, len(self._arm.workspace), TASK_FRAME)
        except ValueError as error:
            self.refuse("command refused", f"command refused: {error}")
            return
        self._send(self._servo.command(action, time.monotonic()), message.header)

    def _send(self, output: ServoOutput, answered: Header | None = None) -> None:
        if output.reason:
            self.refuse("command refused", output.reason)
        if output.hold:
            self._hold.publish(Empty())
            self._answered = None
            self._counts["holds"] += 1
            self.get_logger().warning("hold", throttle_duration_sec=2.0)
        if output.set_point is not None and answered is not None:
            header = Header(stamp=answered.stamp, frame_id=self._frame)
            self._answered = pose_message(self._arm.target(output.set_point), header)
            self._servo_cp.publish(self._answered)
            self._counts["set_points"] += 1

    def _tick(self) -> None:
        self._send(self._servo.tick(time.monotonic()))

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
            self._send(self._servo.hold())
        else:
            self.get_logger().info("released by the safety monitor")

    def _new_episode(self, start: Header) -> None:
        self._start = max(self._start, nanoseconds(start.stamp))
        self._answered = None
        self._servo.restart()

    def _supervise_operating_state(self, arm: str) -> None:
        if find_spec("crtk_msgs") is None:
            self.get_logger().info(
                "crtk_msgs is not installed: the arm's operating state is not supervised"
            )
            return
        kind = import_module("crtk_msgs.msg").OperatingState
        self._not_ready = f"no operating_state of {arm} yet"
        self.subscribe(kind, f"{arm}/operating_state", self._operating_state, qos.EVENT)

    def _operating_state(self, message: Any) -> None:
        ready = message.state == "ENABLED" and message.is_homed
        before, self._not_ready = self._not_ready, ""
        if not ready:
            homed = "homed" if message.is_homed else "not homed"
            self._not_ready = f"expected the arm ENABLED and homed, it is {message.state}, {homed}"
            if self._not_ready != before:
                self.get_logger().error(self._not_ready)
            if self._servo.state is ServoState.MOVING:
                self._send(self._servo.hold())

    def _report_servo(self, status: Status) -> None:
        self.refusals(status)
        status.merge(*_LEVELS[self._servo.state])
        if self._stop.stopped:
            status.merge(ERROR, "stopped by the safety monitor")
        if self._not_ready:
            status.merge(ERROR, self._not_ready)
        status.add("state", self._servo.state.value)
        for name, count in self._counts.items():
            status.add(name, count)


def main() -> int:
    """Run the node."""
    return main_for(HardwareBridge)


if __name__ == "__main__":
    sys.exit(main())
