"""Node: the last hop to a dVRK, from gated displacements to Cartesian set-points."""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Empty, Header

from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position, workspace_of
from safe_skills.nodes.base import main_for
from safe_skills.nodes.bridge import TIMEOUTS, Bridge
from safe_skills.nodes.conversions import pose_message
from safe_skills.nodes.parameters import Param
from safe_skills.robots.servo import ServoLimits


class HardwareBridge(Bridge):
    """Accumulates displacements into absolute `servo_cp` of a CRTK arm, and holds it in doubt.

    Subscribes, besides what every bridge does, `ARM/measured_cp` and, where crtk_msgs is installed,
    `ARM/operating_state`; publishes `ARM/servo_cp` and `ARM/hold`. It never enables, homes or
    resumes an arm. Measured data with a zero stamp is invalid, and without valid data nothing
    moves.
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
        **TIMEOUTS,
    }

    def limits(self) -> ServoLimits:
        """Limits of the servo, by the node's parameters."""
        names = ("max_step", "margin", *TIMEOUTS)
        return ServoLimits(workspace_of(self), **{name: self.param(name) for name in names})

    def open_robot(self) -> None:
        """Build the arm and open its topics."""
        self._arm = arm_of(self)
        self._set_point: PoseStamped | None = None
        self._frame = ""
        self._not_ready = ""
        arm = self.param("arm")
        self.diagnostics.hardware_id = arm
        self._servo_cp = self.advertise(PoseStamped, f"{arm}/servo_cp", qos.COMMAND)
        self._hold = self.advertise(Empty, f"{arm}/hold", qos.COMMAND)
        self.subscribe(PoseStamped, f"{arm}/measured_cp", self._measured, qos.CRTK_STATE_LATEST)
        self._supervise_operating_state(arm)

    def move(self, set_point: np.ndarray, answered: Header) -> None:
        """Send an absolute pose, with the stamp of the image."""
        header = Header(stamp=answered.stamp, frame_id=self._frame)
        self._set_point = pose_message(self._arm.target(set_point), header)
        self._servo_cp.publish(self._set_point)

    def move_again(self) -> None:
        """Send the last pose again."""
        self._servo_cp.publish(self._set_point)

    def hold(self) -> None:
        """Send CRTK's hold."""
        self._hold.publish(Empty())

    def why_still(self) -> str:
        """Say why the arm is not ready."""
        return self._not_ready

    def _measured(self, message: PoseStamped) -> None:
        self._frame = message.header.frame_id
        try:
            position = task_position(self._arm, message)
        except ValueError as error:
            self.refuse("measured_cp refused", f"measured_cp refused: {error}")
            position = None
        self.observed(position)

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
            self.hold_if_moving()


def main() -> int:
    """Run the node."""
    return main_for(HardwareBridge)


if __name__ == "__main__":
    sys.exit(main())
