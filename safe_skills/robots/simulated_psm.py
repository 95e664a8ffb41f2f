"""A patient side manipulator as a dVRK serves it, without ROS: states, checks, kinematics."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safe_skills.data.geometry import SET_POINT_DECIMALS
from safe_skills.robots import psm_kinematics as psm
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.pose import Pose

DISABLED, ENABLED, PAUSED = "DISABLED", "ENABLED", "PAUSED"
OPERATING_STATES = (DISABLED, ENABLED, PAUSED)
STATE_COMMANDS = ("enable", "disable", "home", "unhome", "pause", "resume")


class NotReadyError(Exception):
    """A command that is sound but cannot be taken now: a warning, and no motion."""


@dataclass(frozen=True)
class JointTrajectory:
    """Motion from one configuration to another, at rest at both ends, within speed limits.

    Attributes:
        start: (n,) [rad, m].
        goal: (n,) [rad, m].
        velocity: (n,) largest speeds [rad/s, m/s].
    """

    start: np.ndarray
    goal: np.ndarray
    velocity: np.ndarray
    duration: float = field(init=False)

    def __post_init__(self) -> None:
        # The cubic of `position` is fastest in the middle, 1.5 times its mean speed.
        longest = float((np.abs(self.goal - self.start) / self.velocity).max())
        object.__setattr__(self, "duration", 1.5 * longest)

    def position(self, time: float) -> np.ndarray:
        """Returns (n,) at `time` [s] after the start."""
        # In this order: the way may be so short that its duration is 0.
        if time >= self.duration:
            return self.goal
        if time <= 0.0:
            return self.start
        share = time / self.duration
        return self.start + (3.0 - 2.0 * share) * share**2 * (self.goal - self.start)


class SimulatedPsm:
    """The arm behind a dVRK's topics: what it accepts, where it is and where it is told to be.

    In the task plane its tool is where the physics says (`track`); in height and orientation, and
    with the jaw, it is at its set-point at once. A command that is not sound raises `ValueError`
    (an error of the arm), one that cannot be taken now `NotReadyError` (a warning); both leave
    everything as it was.

    Args:
        arm: frames of arm and task.
        initial_state: "ENABLED" (and homed) or "DISABLED".
    """

    def __init__(self, arm: DvrkArm, initial_state: str = ENABLED) -> None:
        if initial_state not in (ENABLED, DISABLED):
            raise ValueError(
                f"initial_state: expected {ENABLED} or {DISABLED}, got {initial_state!r}"
            )
        self._arm = arm
        self.state = initial_state
        self.is_homed = initial_state == ENABLED
        self.jaw = 0.0
        self._move: tuple[JointTrajectory, float] | None = None
        self._jaw_move: tuple[JointTrajectory, float] | None = None
        self._measured = self._set_point = arm.target(np.zeros(2))
        self._near = np.zeros(6)
        self._joints: dict[str, tuple[Pose, np.ndarray | None]] = {}

    @property
    def ready(self) -> bool:
        """Whether motions are accepted."""
        return self.state == ENABLED and self.is_homed

    @property
    def is_busy(self) -> bool:
        """Whether a `move_*` is under way."""
        return self._move is not None or self._jaw_move is not None

    @property
    def measured(self) -> Pose:
        """The tool's measured pose in the arm's frame."""
        return self._measured

    @property
    def set_point(self) -> Pose:
        """The tool's set-point in the arm's frame."""
        return self._set_point

    @property
    def plane_set_point(self) -> np.ndarray:
        """(2,) the set-point in the task plane [m], on the grid of set-points."""
        return np.round(self._arm.in_task(self._set_point).position[:2], SET_POINT_DECIMALS)

    @property
    def measured_joints(self) -> np.ndarray | None:
        """(6,) joints of the measured pose, None where there are none within the limits."""
        return self._joints_of("measured", self._measured)

    @property
    def set_point_joints(self) -> np.ndarray | None:
        """(6,) joints of the set-point, None where there are none within the limits."""
        return self._joints_of("set_point", self._set_point)

    def track(self, xy: np.ndarray) -> None:
        """Takes where the physics has the tool in the task plane: (2,) [m]."""
        pose = self._arm.in_task(self._set_point)
        self._measured = self._arm.in_arm(Pose(np.array([*xy, pose.position[2]]), pose.rotation))

    def place(self, xy: np.ndarray) -> None:
        """Puts measured pose and set-point to (2,) [m] of the task plane, at rest, tool down."""
        self._stop_moves()
        self._measured = self._set_point = self._arm.target(xy)

    def servo_cp(self, pose: Pose) -> None:
        """Takes an absolute Cartesian set-point in the arm's frame."""
        joints = psm.inverse(pose, near=self._near)
        self._require_ready("servo_cp")
        self._stop_moves()
        self._set_point, self._near = pose, joints

    def move_cp(self, pose: Pose) -> None:
        """Moves to a Cartesian pose; in joint space, as a dVRK does, not in a straight line."""
        self._start_move("move_cp", psm.inverse(pose, near=self._near))

    def servo_jp(self, joints: np.ndarray) -> str:
        """Takes a joint set-point (6,); returns a warning where it had to be clamped, or ""."""
        clamped, warning = _clamp("servo_jp", psm.checked_joints(joints))
        self._require_ready("servo_jp")
        self._stop_moves()
        self._set_point, self._near = psm.forward(clamped), clamped
        return warning

    def move_jp(self, joints: np.ndarray) -> str:
        """Moves to joints (6,); returns a warning where they had to be clamped, or ""."""
        clamped, warning = _clamp("move_jp", psm.checked_joints(joints))
        self._start_move("move_jp", clamped)
        return warning

    def jaw_servo_jp(self, angle: float) -> str:
        """Sets the jaw [rad]; returns a warning where it had to be clamped, or ""."""
        clamped, warning = _clamp_jaw("jaw/servo_jp", angle)
        self._require_ready("jaw/servo_jp")
        self._jaw_move, self.jaw = None, clamped
        return warning

    def jaw_move_jp(self, angle: float) -> str:
        """Moves the jaw [rad]; returns a warning where it had to be clamped, or ""."""
        clamped, warning = _clamp_jaw("jaw/move_jp", angle)
        self._require_ready("jaw/move_jp")
        path = JointTrajectory(
            np.array([self.jaw]), np.array([clamped]), np.array([psm.JAW_VELOCITY])
        )
        self._jaw_move = (path, 0.0)
        return warning

    def hold(self) -> None:
        """Stops: the measured pose becomes the set-point."""
        self._require_ready("hold")
        self._halt()

    def state_command(self, command: str) -> str:
        """Changes the operating state; returns one line that says what happened.

        Raises:
            ValueError: a command that CRTK does not know.
            NotReadyError: a command that the present state does not allow.
        """
        if command not in STATE_COMMANDS:
            raise ValueError(
                f"state_command: expected one of {', '.join(STATE_COMMANDS)}, got {command!r}"
            )
        if command in ("pause", "resume"):
            required, after = (ENABLED, PAUSED) if command == "pause" else (PAUSED, ENABLED)
            if self.state != required:
                raise NotReadyError(
                    f"{command} ignored: expected state {required}, the arm is {self.state}"
                )
            self.state = after
        elif command == "unhome":
            self.is_homed = False
        elif command == "disable":
            self.state = DISABLED
        else:
            self.state = ENABLED
            self.is_homed = self.is_homed or command == "home"
        if not self.ready:
            self._halt()
        return f"{command}: the arm is {self.state}{', homed' if self.is_homed else ''}"

    def advance(self, seconds: float) -> None:
        """Lets `move_*` go on for some time."""
        if self._move is not None:
            path, time = self._move
            self._near = path.position(time + seconds)
            self._set_point = psm.forward(self._near)
            done = time + seconds >= path.duration
            self._move = None if done else (path, time + seconds)
        if self._jaw_move is not None:
            path, time = self._jaw_move
            self.jaw = float(path.position(time + seconds)[0])
            done = time + seconds >= path.duration
            self._jaw_move = None if done else (path, time + seconds)

    def _joints_of(self, name: str, pose: Pose) -> np.ndarray | None:
        # States go out a hundred times a second, poses change far less often.
        known = self._joints.get(name)
        if known is None or known[0] is not pose:
            try:
                joints = psm.inverse(pose, near=self._near)
            except psm.UnreachableError:
                joints = None
            self._joints[name] = known = (pose, joints)
        return known[1]

    def _start_move(self, name: str, goal: np.ndarray) -> None:
        self._require_ready(name)
        start = self.set_point_joints
        if start is None:
            raise NotReadyError(
                f"{name} ignored: the arm's set-point is out of reach, send servo_cp"
            )
        self._move = (JointTrajectory(start, goal, psm.JOINT_VELOCITY), 0.0)

    def _require_ready(self, name: str) -> None:
        if self.ready:
            return
        homed = "homed" if self.is_homed else "not homed"
        raise NotReadyError(
            f"{name} ignored: expected the arm to be {ENABLED} and homed, "
            f"it is {self.state} and {homed}"
        )

    def _halt(self) -> None:
        self._stop_moves()
        self._set_point = self._measured

    def _stop_moves(self) -> None:
        self._move = self._jaw_move = None


def _clamp(name: str, joints: np.ndarray) -> tuple[np.ndarray, str]:
    clamped = np.clip(joints, psm.JOINT_LOW, psm.JOINT_HIGH)
    over = [psm.JOINT_NAMES[index] for index in np.flatnonzero(clamped != joints)]
    return clamped, f"{name}: clamped to the limits of {', '.join(over)}" if over else ""


def _clamp_jaw(name: str, angle: float) -> tuple[float, str]:
    if not np.isfinite(angle):
        raise ValueError(f"{name}: expected a finite angle, got {angle}")
    clamped = float(np.clip(angle, psm.JAW_LOW, psm.JAW_HIGH))
    return clamped, f"{name}: clamped to the limits of {psm.JAW_NAME}" if clamped != angle else ""
