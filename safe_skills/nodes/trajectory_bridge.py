"""Node: the last hop to an arm behind ROS 2 controllers, from displacements to trajectories."""

import sys
import time

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory

from safe_skills.nodes import qos
from safe_skills.nodes.base import main_for
from safe_skills.nodes.bridge import LINK, TIMEOUTS, Bridge
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.diagnostics import ERROR, OK, WARN, Status
from safe_skills.nodes.joints import (
    ARM5_PARAMETERS,
    arm5_of,
    reading_from_message,
    trajectory_message,
    workspace_of,
)
from safe_skills.nodes.parameters import Param
from safe_skills.robots import arm5_kinematics as kinematics
from safe_skills.robots.arm5 import STEP_LIMIT, STEP_TIME, WINDUP_MARGIN, JointReading
from safe_skills.robots.arm_faults import FollowingError, GripperWatch
from safe_skills.robots.joint_path import PacedJoints
from safe_skills.robots.servo import ServoLimits, ServoState

PATIENCE = {
    "path_tolerance": Param(
        0.2,
        "How far a joint may be from where it is told to be [rad].",
        low=1e-3,
        high=10.0,
        runtime=True,
    ),
    "goal_time": Param(
        1.0,
        "How long a joint may be farther away before the arm holds [s].",
        low=0.01,
        high=3600.0,
        runtime=True,
    ),
    "gripper_tolerance": Param(
        0.003,
        "How far a finger may be from where it is told to be [m].",
        low=1e-4,
        high=0.1,
        runtime=True,
    ),
    "gripper_timeout": Param(
        2.0,
        "Time in which the gripper opens or closes, or else is stuck [s].",
        low=0.01,
        high=3600.0,
        runtime=True,
    ),
}


class TrajectoryBridge(Bridge):
    """Turns displacements into trajectories of one point for an arm and its gripper.

    Subscribes, besides what every bridge does, `joint_states`; publishes
    `arm_controller/joint_trajectory` and `gripper_controller/joint_trajectory`. A command is dx,
    dy, dz [m], dyaw [rad] and the gripper: above 0 opens it, below 0 closes it, 0 leaves it.

    No joint is told to go faster than `max_velocity`, neither from where it is measured nor from
    where it has been told to be: a trajectory takes longer then. To hold means a trajectory to the
    measured joints; the gripper keeps its goal.
    """

    NAME = "trajectory_bridge"
    ACTION_SIZE = 5
    PARAMETERS = {
        **ARM5_PARAMETERS,
        "max_step": Param(
            [float(step) for step in STEP_LIMIT],
            "Greatest displacement of one command: x, y, z [m], yaw [rad].",
            low=1e-4,
            high=1.0,
        ),
        "margin": Param(
            [float(margin) for margin in WINDUP_MARGIN],
            "How far beyond one step a set-point may lead the measured tool: x, y, z [m], yaw "
            "[rad].",
            low=0.0,
            high=1.0,
        ),
        **TIMEOUTS,
        **LINK,
        "step_time": Param(
            STEP_TIME,
            "Time in which the arm is told to carry out a command, where its speed allows [s].",
            low=0.001,
            high=10.0,
        ),
        "max_velocity": Param(
            [float(speed) for speed in kinematics.JOINT_VELOCITY],
            "Greatest speed of each of the arm's joints [rad/s].",
            low=1e-3,
            high=100.0,
        ),
        "gripper_open": Param(
            kinematics.FINGER_HIGH, "Position of the fingers when open [m].", low=-1.0, high=1.0
        ),
        "gripper_closed": Param(
            kinematics.FINGER_LOW, "Position of the fingers when closed [m].", low=-1.0, high=1.0
        ),
        "gripper_time": Param(
            0.5, "Time in which the gripper is told to open or close [s].", low=0.0, high=10.0
        ),
        **PATIENCE,
        "stamped": Param(
            False,
            "Whether trajectories have the stamp of the image that they answer, for a simulator in "
            "lockstep, or zero, which means now.",
        ),
    }

    def limits(self) -> ServoLimits:
        """Limits of the servo, by the node's parameters."""
        return ServoLimits(
            workspace_of(self),
            max_step=tuple(self.param("max_step")),
            margin=tuple(self.param("margin")),
            **{name: self.param(name) for name in TIMEOUTS},
        )

    def open_robot(self) -> None:
        """Build the arm and open its topics."""
        self._arm = arm5_of(self)
        if len(self.param("max_velocity")) != len(self._arm.joint_names):
            raise ValueError(f"max_velocity: expected 5 speeds, got {self.param('max_velocity')}")
        self._joints = PacedJoints(self.param("max_velocity"), self.param("step_time"))
        self._following = FollowingError(self._arm.joint_names, **self._patience("path"))
        self._gripper = GripperWatch(**self._patience("gripper"))
        self._stamped = self.param("stamped")
        self._counts |= {"slowed": 0, "gripper_commands": 0}
        self._reading: JointReading | None = None
        self._read_at = 0.0
        self._state_stamp = 0
        self._forget()
        self.diagnostics.hardware_id = "arm"
        self.diagnostics.add("arm", self._report_arm)
        self._arm_out = self.advertise(
            JointTrajectory, "arm_controller/joint_trajectory", qos.COMMAND
        )
        self._gripper_out = self.advertise(
            JointTrajectory, "gripper_controller/joint_trajectory", qos.COMMAND
        )
        self.alone_on({"arm_controller/joint_trajectory": JointTrajectory})
        self.subscribe(JointState, "joint_states", self._measured, qos.CRTK_STATE_LATEST)

    def parameters_changed(self, names: set[str]) -> None:
        """Take up new limits with the next command, new patience at once."""
        super().parameters_changed(names)
        for watch, kind in ((self._following, "path"), (self._gripper, "gripper")):
            for name, value in self._patience(kind).items():
                setattr(watch, name, value)

    def restart(self) -> None:
        """Forget goals and faults: the arm may have been moved, by hand or by a simulator."""
        self._following.reset()
        self._machine.fault = ""
        self._gripper.reset()
        self._forget()

    def act(self, action: np.ndarray, answered: Header) -> None:
        """Carry out a displacement and what the gripper is told.

        A simulator in lockstep shows an image once all has come to rest: the joint states of that
        moment, which travel by another way, are waited for.
        """
        self._waiting = None
        unseen = self._stamped and nanoseconds(answered.stamp) > self._state_stamp
        if unseen and self._servo.measured is not None:
            self._waiting = (action, answered)
            return
        now = time.monotonic()
        self.tick()
        if self._servo.measured is not None:
            self._grip(float(action[4]), answered.stamp, now)
            if self._gripper.blocks:
                self.refuse("command refused", f"command refused: {self._gripper.reason}")
                return
        self.send(self._servo.command(action[:4], now), answered)

    def move(self, set_point: np.ndarray, answered: Header) -> None:
        """Send the joints of a set-point as a trajectory."""
        near = self._reading.joints if self._goal is None else self._goal
        goal = self._arm.target(set_point, near=near)
        stamp = answered.stamp if self._stamped else Time()
        self._trajectory = self._send_joints(goal, stamp)
        self._goal = goal
        self.note_sent(set_point)

    def move_again(self) -> None:
        """Send the last trajectories again."""
        if self._grip_trajectory is not None:
            self._gripper_out.publish(self._grip_trajectory)
        self._arm_out.publish(self._trajectory)

    def hold(self, gently: bool) -> None:
        """Send a trajectory to the measured joints, or to where they have been told to be by now.

        The latter where the arm is not measured any more. How gently, the controller decides.
        """
        now = time.monotonic()
        fresh = self._reading is not None and now - self._read_at <= self.param("state_timeout")
        joints = self._reading.joints if fresh else self._joints.commanded(now)
        if joints is not None:
            joints = np.clip(joints, kinematics.JOINT_LOW, kinematics.JOINT_HIGH)
            self._send_joints(joints, Time())
        self._goal = self._waiting = None
        self._grip_told = False
        self.note_hold()

    # ---- the arm

    def _measured(self, message: JointState) -> None:
        now, invalid = time.monotonic(), ""
        try:
            reading = reading_from_message(self._arm, message)
            position = self._arm.position(reading)
            # One that cannot be is never where the arm is told to hold.
            self._reading = reading
            self._read_at, self._state_stamp = now, nanoseconds(message.header.stamp)
        except ValueError as error:
            invalid = f"joint_states refused: {error}"
            self.refuse("joint_states refused", invalid)
            position = None
        self.observed(position, invalid)
        if position is None:
            return
        moving = self._servo.state is ServoState.MOVING
        commanded = self._joints.commanded(now) if moving else None
        if self._following.observe(self._reading.joints, commanded, now):
            self.get_logger().error(self._following.reason)
            self.hold_if_moving(self._following.reason)
        self._machine.fault = self._following.reason
        if self._gripper.observe(self._reading.fingers, now):
            self.get_logger().error(self._gripper.reason)
            if self._gripper.blocks:
                self.hold_if_moving(self._gripper.reason)
        if self._waiting is not None and not self._machine.fault:
            self.act(*self._waiting)

    def _send_joints(self, goal: np.ndarray, stamp: Time) -> JointTrajectory:
        seconds = self._joints.go(goal, self._reading.joints, time.monotonic())
        self._counts["slowed"] += seconds > self._joints.least_time
        message = trajectory_message(self._arm.joint_names, goal, seconds, stamp)
        self._arm_out.publish(message)
        return message

    # ---- the gripper

    def _grip(self, action: float, stamp: Time, now: float) -> None:
        """Tells the gripper what is new; in lockstep, where both are awaited, also what is not."""
        before, fingers = self._grip_goal, self._reading.fingers
        if action != 0.0:
            self._grip_goal = self.param("gripper_open" if action > 0.0 else "gripper_closed")
            self._gripper.command(self._grip_goal, action > 0.0, fingers, now)
        told = self._grip_told and self._grip_goal == before
        if not self._stamped and (told or self._grip_goal is None):
            return
        if self._grip_goal is not None:
            fingers = np.full(2, self._grip_goal)
        if fingers is None:
            return
        self._grip_trajectory = trajectory_message(
            self._arm.finger_names,
            fingers,
            self.param("gripper_time"),
            stamp if self._stamped else Time(),
        )
        self._gripper_out.publish(self._grip_trajectory)
        self._grip_told = True
        self._counts["gripper_commands"] += not told

    # ---- what is remembered

    def _forget(self) -> None:
        self._joints.forget()
        self._goal: np.ndarray | None = None
        self._waiting: tuple[np.ndarray, Header] | None = None
        self._trajectory: JointTrajectory | None = None
        self._grip_goal: float | None = None
        self._grip_told = False
        self._grip_trajectory: JointTrajectory | None = None

    def _patience(self, kind: str) -> dict[str, float]:
        patience = {"path": "goal_time", "gripper": "gripper_timeout"}[kind]
        return {"tolerance": self.param(f"{kind}_tolerance"), "patience": self.param(patience)}

    def _report_arm(self, status: Status) -> None:
        status.summary(OK, "follows its trajectories")
        if self._following.reason:
            status.merge(ERROR, self._following.reason)
        if self._gripper.reason:
            status.merge(ERROR if self._gripper.blocks else WARN, self._gripper.reason)


def main() -> int:
    """Run the node."""
    return main_for(TrajectoryBridge)


if __name__ == "__main__":
    sys.exit(main())
