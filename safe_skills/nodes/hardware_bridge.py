"""Node: the last hop to a dVRK, from gated displacements to Cartesian set-points."""

import sys
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Empty, Header

from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, workspace_of
from safe_skills.nodes.base import main_for
from safe_skills.nodes.bridge import LINK, TIMEOUTS, Bridge
from safe_skills.nodes.conversions import pose_from_message, pose_message
from safe_skills.nodes.parameters import Param
from safe_skills.robots.bridge_state import BridgeMachine, OperatingState
from safe_skills.robots.interpolation import MotionLimits
from safe_skills.robots.pose import Pose
from safe_skills.robots.pose_stream import PoseStream
from safe_skills.robots.servo import ServoLimits

SLOWEST_SERVO = 100.0
"""Least rate of interpolated set-points [Hz]."""

MOTION = {
    "servo_rate": Param(
        SLOWEST_SERVO,
        "Rate of the set-points on the way to where a command leads [Hz], 100 or more; 0: one "
        "set-point a command, for a simulator in lockstep.",
        low=0.0,
        high=1000.0,
    ),
    "max_speed": Param(
        0.05, "Greatest speed of the set-points [m/s].", low=1e-4, high=1.0, runtime=True
    ),
    "max_acceleration": Param(
        0.5, "Greatest acceleration of the set-points [m/s^2].", low=1e-3, high=100.0
    ),
    "max_turn_speed": Param(
        0.3,
        "Greatest speed at which the tool is turned to its working orientation [rad/s].",
        low=1e-3,
        high=10.0,
        runtime=True,
    ),
    "max_turn_acceleration": Param(
        3.0, "Greatest acceleration of that turn [rad/s^2].", low=1e-3, high=100.0
    ),
}

ORDERS = {
    "enable": Param(False, "Whether to enable a disabled arm, once; needs crtk_msgs."),
    "home": Param(
        False, "Whether to home an enabled arm that is not, once, which moves it; needs crtk_msgs."
    ),
    "pause_on_stop": Param(
        True,
        "With crtk_msgs: whether a stop by the safety monitor also pauses the arm, until the "
        "service resume is called.",
    ),
}


class HardwareBridge(Bridge):
    """Leads a CRTK arm to where gated displacements add up, and holds it in doubt.

    Subscribes, besides what every bridge does, `ARM/measured_cp` and, where crtk_msgs is installed,
    `ARM/operating_state`; publishes `ARM/servo_cp`, `ARM/hold` and, with crtk_msgs,
    `ARM/state_command`. It enables and homes an arm only where its parameters say so. Measured data
    with a zero stamp is invalid, and without valid data nothing moves.

    Between two commands it sends set-points at `servo_rate`, each within reach of the one before.
    """

    NAME = "hardware_bridge"
    PARAMETERS = {
        **ARM_PARAMETERS,
        "max_step": Param(
            0.005,  # what max_speed covers in a control period of 0.1 s
            "Greatest component of one displacement [m].",
            low=1e-4,
            high=0.1,
            runtime=True,
        ),
        "margin": Param(
            0.005,
            "How far beyond one step a set-point may lead the measured position [m].",
            low=0.0,
            high=0.1,
            runtime=True,
        ),
        **TIMEOUTS,
        **LINK,
        **MOTION,
        **ORDERS,
    }

    def limits(self) -> ServoLimits:
        """Limits of the servo, by the node's parameters."""
        names = ("max_step", "margin", *TIMEOUTS)
        return ServoLimits(workspace_of(self), **{name: self.param(name) for name in names})

    def make_machine(self) -> BridgeMachine:
        """Build the state machine, which follows the operating state where crtk_msgs is there."""
        self._crtk = None if find_spec("crtk_msgs") is None else import_module("crtk_msgs.msg")
        orders = {name: self.param(name) for name in ("enable", "home")}
        if self._crtk is None:
            if asked := [name for name, asked in orders.items() if asked]:
                raise ValueError(
                    f"{asked[0]}: expected false, the arm can be told so only with crtk_msgs, "
                    "which is not installed"
                )
            self.get_logger().info(
                "crtk_msgs is not installed: the arm's operating state is not supervised"
            )
        return BridgeMachine(
            self.param("link_timeout"),
            self.param("state_timeout"),
            supervised=self._crtk is not None,
            pauses=self.param("pause_on_stop"),
            **orders,
        )

    def open_robot(self) -> None:
        """Build the arm and open its topics."""
        self._arm = arm_of(self)
        self._stream = self._make_stream()
        self._measured_pose: Pose | None = None
        self._set_point: PoseStamped | None = None
        self._header = Header()
        self._stays = False
        self._frame = ""
        arm = self.param("arm")
        self.diagnostics.hardware_id = arm
        self._servo_cp = self.advertise(PoseStamped, f"{arm}/servo_cp", qos.COMMAND)
        self._hold = self.advertise(Empty, f"{arm}/hold", qos.COMMAND)
        self.alone_on({f"{arm}/servo_cp": PoseStamped})
        self.subscribe(PoseStamped, f"{arm}/measured_cp", self._measured, qos.CRTK_STATE_LATEST)
        if self._crtk is not None:
            kind, order = self._crtk.OperatingState, self._crtk.StringStamped
            # Of all that happened before, only what is so now counts.
            self.subscribe(kind, f"{arm}/operating_state", self._operating_state, qos.STATUS)
            self._orders = self.advertise(order, f"{arm}/state_command", qos.COMMAND)

    def parameters_changed(self, names: set[str]) -> None:
        """Take up new limits with the next command, new speeds with the next set-point."""
        super().parameters_changed(names)
        if self._stream is not None:
            self._stream.limit(*self._motion_limits())

    @property
    def tick_period(self) -> float:
        """Seconds between two set-points."""
        rate = self.param("servo_rate")
        return 1.0 / rate if rate > 0.0 else super().tick_period

    @property
    def in_motion(self) -> bool:
        """Whether the arm is on its way to a set-point, or is led to rest."""
        return super().in_motion or (self._stream is not None and self._stream.active)

    def act(self, action: np.ndarray, answered: Header) -> None:
        """Carry out a displacement; one of zero stops the arm where it can stop."""
        self._stays = not action.any()
        super().act(action, answered)

    def move(self, set_point: np.ndarray, answered: Header) -> None:
        """Lead the arm to a set-point; the poses on the way have the stamp of the image."""
        self._header = Header(stamp=answered.stamp, frame_id=self._frame)
        if self._stream is None:
            self._send_pose(self._arm.target(set_point), set_point)
            return
        if not self._stream.active:
            self._stream.start(self._measured_pose)
        if self._stays:
            self._servo.rebase(self._stream.stay())
        else:
            self._stream.aim(set_point)
        self._lead()

    def move_again(self) -> None:
        """Send the last pose again."""
        self._servo_cp.publish(self._set_point)

    def hold(self, gently: bool) -> None:
        """Send CRTK's hold; gently, once the set-points have come to rest."""
        if self._stream is not None and self._stream.active:
            if gently:
                self._stream.brake()
                return
            self._stream.forget()
        self._hold.publish(Empty())
        self.note_hold()

    def restart(self) -> None:
        """Forget the way to the last set-point: the next one begins where the arm is measured."""
        if self._stream is not None:
            self._stream.forget()

    def order(self, command: str) -> None:
        """Send a CRTK state command."""
        header = Header(stamp=self.get_clock().now().to_msg())
        self._orders.publish(self._crtk.StringStamped(header=header, string=command))

    def tick(self) -> None:
        """Let time pass, and lead the arm on."""
        super().tick()
        self._lead()

    def _lead(self) -> None:
        """Send the next pose on the way, or the hold at its end."""
        if self._stream is None or not self._stream.active:
            return
        if self._stream.at_rest:
            self.hold(gently=False)
            return
        pose = self._stream.pose(time.monotonic())
        self._send_pose(pose, self._stream.position)

    def _send_pose(self, pose: Pose, position: np.ndarray) -> None:
        self._set_point = pose_message(pose, self._header)
        self._servo_cp.publish(self._set_point)
        self.note_sent(position)

    def _measured(self, message: PoseStamped) -> None:
        position, invalid = None, ""
        try:
            pose = pose_from_message(message)
            measured = self._arm.position(pose)
            self._check_place(measured)
            self._frame = self._frame_of(message)
            self._measured_pose, position = pose, measured
        except ValueError as error:
            invalid = f"measured_cp refused: {error}"
            self.refuse("measured_cp refused", invalid)
        self.observed(position, invalid)

    def _check_place(self, position: np.ndarray) -> None:
        """Raise `ValueError` for a position from which no set-point leads back into the workspace.

        Set-points are in the workspace, and no farther from the robot than one step and the margin.
        """
        lead = self.param("max_step") + self.param("margin")
        low, high = np.transpose(workspace_of(self))
        outside = float(np.maximum(position - high, low - position).max())
        if outside > lead:
            raise ValueError(
                f"expected the tool in the workspace or within {lead:g} m of it, "
                f"got it {outside:.4g} m outside"
            )

    def _frame_of(self, message: PoseStamped) -> str:
        """Return the frame of a measured pose, which is that of set-points; it never changes."""
        frame = message.header.frame_id
        if self._frame and frame != self._frame:
            raise ValueError(f"expected a pose in frame {self._frame!r}, got frame {frame!r}")
        return frame

    def _operating_state(self, message: Any) -> None:
        told = OperatingState(message.state, message.is_homed, message.is_busy)
        self._machine.operating(told, time.monotonic())
        self.tick()

    def _make_stream(self) -> PoseStream | None:
        rate = self.param("servo_rate")
        if rate == 0.0:
            return None
        if rate < SLOWEST_SERVO:
            raise ValueError(f"servo_rate: expected 0, or {SLOWEST_SERVO:g} to 1000, got {rate:g}")
        return PoseStream(self._arm, *self._motion_limits(), 1.0 / rate)

    def _motion_limits(self) -> tuple[MotionLimits, MotionLimits]:
        speed, turn = self.param("max_speed"), self.param("max_turn_speed")
        return (
            MotionLimits(speed, self.param("max_acceleration")),
            MotionLimits(turn, self.param("max_turn_acceleration")),
        )


def main() -> int:
    """Run the node."""
    return main_for(HardwareBridge)


if __name__ == "__main__":
    sys.exit(main())
