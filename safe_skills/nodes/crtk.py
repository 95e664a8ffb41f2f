"""CRTK (Collaborative Robotics Toolkit) over ROS 2, as the dVRK 2.4 serves it.

A message with a zero stamp is invalid: the arm has nothing true to say yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty, Header, String

from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import pose_message
from safe_skills.nodes.diagnostics import Refusals
from safe_skills.robots import psm_kinematics as psm
from safe_skills.robots.pose import Pose
from safe_skills.robots.simulated_psm import NotReadyError, SimulatedPsm

try:
    from crtk_msgs.msg import OperatingState, StringStamped
except ImportError:
    OperatingState = StringStamped = None


def commanded_pose(message: PoseStamped, frames: Sequence[str]) -> Pose:
    """Unpacks a pose.

    Args:
        message: the pose.
        frames: frame ids that are accepted.

    Raises:
        ValueError: another frame, values that are not finite, or no unit quaternion; one line.
    """
    frame = message.header.frame_id
    if frame not in frames:
        known = " or ".join(repr(name) for name in frames)
        raise ValueError(f"expected a pose in frame {known}, got frame {frame!r}")
    p, q = message.pose.position, message.pose.orientation
    return Pose.from_values([p.x, p.y, p.z, q.x, q.y, q.z, q.w])


def joints_from_message(message: JointState, names: Sequence[str]) -> np.ndarray:
    """Unpacks joint positions.

    Args:
        message: positions; its names may be missing, but not others.
        names: the joints' names in order.

    Raises:
        ValueError: another number of positions, other names, or values that are not finite.
    """
    if message.name and list(message.name) != list(names):
        raise ValueError(f"expected joints {', '.join(names)}, got {', '.join(message.name)}")
    positions = np.array(message.position, dtype=np.float64)
    if positions.shape != (len(names),) or not np.isfinite(positions).all():
        raise ValueError(f"expected {len(names)} finite joint positions, got {positions.tolist()}")
    return positions


def joint_message(positions: np.ndarray | None, names: Sequence[str], header: Header) -> JointState:
    """Packs joint positions; None makes an invalid message (zero stamp)."""
    if positions is None:
        return JointState(name=list(names))
    return JointState(
        header=header,
        name=list(names),
        position=[float(position) for position in positions],
    )


class CrtkServer:
    """Serves one simulated arm's CRTK topics; what a command means is up to `SimulatedPsm`.

    Args:
        node: whose topics these are.
        name: the arm's name, the first part of its topics ("PSM1").
        robot: the arm.
        admit: called before a motion command, with its name and its stamp; raises `NotReadyError`
            when it cannot be taken now.
        moved: called after a command that was taken, with its name.
    """

    def __init__(
        self,
        node: SkillNode,
        name: str,
        robot: SimulatedPsm,
        *,
        admit: Callable[[str, Time], None],
        moved: Callable[[str], None],
    ) -> None:
        self._node, self._name, self._robot = node, name, robot
        self._admit, self._moved = admit, moved
        self.frame = f"{name}_base"
        self.refusals = Refusals()
        self._events = {
            kind: node.advertise(String, f"{name}/{kind}", qos.EVENT)
            for kind in ("error", "warning", "status")
        }
        self._states = {
            topic: node.advertise(kind, f"{name}/{topic}", qos.CRTK_STATE)
            for kind, topics in (
                (PoseStamped, ("measured_cp", "setpoint_cp")),
                (PoseStamped, ("local/measured_cp", "local/setpoint_cp")),
                (JointState, ("measured_js", "setpoint_js")),
                (JointState, ("jaw/measured_js", "jaw/setpoint_js")),
            )
            for topic in topics
        }
        for topic in ("servo_cp", "move_cp"):
            self._listen(PoseStamped, topic, self._take_pose)
        for topic in ("servo_jp", "move_jp"):
            self._listen(JointState, topic, self._take_joints)
        for topic in ("jaw/servo_jp", "jaw/move_jp"):
            self._listen(JointState, topic, self._take_jaw)
        self._listen(Empty, "hold", self._take_hold)
        self._listen(Empty, "free", self._take_free)
        self._operating_state = None
        self._last_state: tuple[str, bool, bool] | None = None
        if OperatingState is not None:
            self._operating_state = node.advertise(
                OperatingState, f"{name}/operating_state", qos.EVENT
            )
            self._listen(StringStamped, "state_command", self._take_state_command)

    def announce(self) -> None:
        """Says what is served, and the operating state, as at a start."""
        self._last_state = None
        if self._operating_state is None:
            self._node.get_logger().info(
                "crtk_msgs is not installed: no operating_state and no state_command"
            )
        self.event("status", f"{self._name}: simulated PSM, {self._robot.state}")
        self.publish_operating_state()

    def publish_state(self, stamp: Time) -> None:
        """Publishes measured state and set-points to those who listen."""
        robot = self._robot
        header = Header(stamp=stamp if robot.is_homed else Time(), frame_id=self.frame)
        measured, set_point = robot.measured, robot.set_point
        poses = {"measured_cp": measured, "setpoint_cp": set_point}
        for topic, pose in poses.items():
            # Without a camera that holds a frame of its own, as here, a dVRK has both the same.
            for prefix in ("", "local/"):
                self._publish(prefix + topic, lambda p=pose: pose_message(p, header))
        joints = {"measured_js": "measured_joints", "setpoint_js": "set_point_joints"}
        for topic, source in joints.items():
            self._publish(
                topic,
                lambda s=source: joint_message(getattr(robot, s), psm.JOINT_NAMES, header),
            )
        jaw = np.array([robot.jaw])
        for topic in ("jaw/measured_js", "jaw/setpoint_js"):
            self._publish(topic, lambda: joint_message(jaw, [psm.JAW_NAME], header))
        self.publish_operating_state()

    def publish_operating_state(self) -> None:
        """Publishes the operating state when it has changed."""
        robot = self._robot
        state = (robot.state, robot.is_homed, robot.is_busy)
        if self._operating_state is None or state == self._last_state:
            return
        self._last_state = state
        stamp = self._node.get_clock().now().to_msg()
        self._operating_state.publish(
            OperatingState(
                header=Header(stamp=stamp),
                state=robot.state,
                is_homed=robot.is_homed,
                is_busy=robot.is_busy,
            )
        )

    def event(self, kind: str, line: str) -> None:
        """Publishes a line as `error`, `warning` or `status`, and logs it."""
        logger = self._node.get_logger()
        # rclpy remembers the severity of each line of code that logs.
        if kind == "error":
            logger.error(line)
        elif kind == "warning":
            logger.warning(line)
        else:
            logger.info(line)
        self._events[kind].publish(String(data=line))

    def complain(self, kind: str, about: str, line: str) -> None:
        """Counts an `error` or a `warning`, and says it not more often than every 2 s."""
        if self.refusals.note(f"{kind} {about}", line):
            self.event(kind, line)

    def _listen(self, kind: type, topic: str, callback: Callable[[str, object], None]) -> None:
        self._node.subscribe(
            kind, f"{self._name}/{topic}", lambda message: callback(topic, message), qos.COMMAND
        )

    def _publish(self, topic: str, make: Callable[[], object]) -> None:
        publisher = self._states[topic]
        if publisher.get_subscription_count() > 0:
            publisher.publish(make())

    def _take(self, name: str, act: Callable[[], str | None]) -> None:
        try:
            warning = act()
        except ValueError as error:
            line = " ".join(str(error).split())
            self.complain("error", name, line if line.startswith(name) else f"{name}: {line}")
        except NotReadyError as error:
            self.complain("warning", name, str(error))
        else:
            if warning:
                self.complain("warning", name, warning)
            self._moved(name)

    def _take_pose(self, name: str, message: PoseStamped) -> None:
        def act() -> None:
            pose = commanded_pose(message, (self.frame, ""))
            self._admit(name, message.header.stamp)
            (self._robot.servo_cp if name == "servo_cp" else self._robot.move_cp)(pose)

        self._take(name, act)

    def _take_joints(self, name: str, message: JointState) -> None:
        def act() -> str:
            joints = joints_from_message(message, psm.JOINT_NAMES)
            self._admit(name, message.header.stamp)
            return (self._robot.servo_jp if name == "servo_jp" else self._robot.move_jp)(joints)

        self._take(name, act)

    def _take_jaw(self, name: str, message: JointState) -> None:
        def act() -> str:
            (angle,) = joints_from_message(message, [psm.JAW_NAME])
            if name == "jaw/servo_jp":
                return self._robot.jaw_servo_jp(angle)
            self._admit(name, message.header.stamp)
            return self._robot.jaw_move_jp(angle)

        self._take(name, act)

    def _take_hold(self, name: str, _message: Empty) -> None:
        self._take(name, self._robot.hold)

    def _take_free(self, name: str, _message: Empty) -> None:
        self.complain("warning", name, "free ignored: the simulated arm cannot be moved by hand")

    def _take_state_command(self, name: str, message: object) -> None:
        self._take(name, lambda: self.event("status", self._robot.state_command(message.string)))
        self.publish_operating_state()
