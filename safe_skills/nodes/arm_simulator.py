"""Node: the simulated arm over a container, which serves what ROS 2 controllers serve."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory

from safe_skills.envs.operation import IMAGE_SIZE
from safe_skills.envs.operation_run import OperationRun, operation_camera_matrix
from safe_skills.envs.operation_tasks import FIRST_EVALUATION_TASK, TASKS, find_task
from safe_skills.envs.run import StepOutcome
from safe_skills.nodes import qos
from safe_skills.nodes.base import main_for
from safe_skills.nodes.conversions import TASK_FRAME, nanoseconds
from safe_skills.nodes.joints import points_from_trajectory
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.simulation import WORLD_PARAMETERS, SimulatedWorld
from safe_skills.robots import arm5_kinematics as kinematics

ARM_TRAJECTORY = "arm_controller/joint_trajectory"
GRIPPER_TRAJECTORY = "gripper_controller/joint_trajectory"

JOINTS = kinematics.JOINT_NAMES + kinematics.FINGER_NAMES

Follow = Callable[[np.ndarray, np.ndarray], None]
"""Takes points and the times [s] in which to be there, as `OperationScene.command_joints` does."""


class ArmSimulator(SimulatedWorld):
    """An Operation task on the simulated arm, as a robot with controllers and a camera.

    Publishes, besides what every simulator does, `joint_states`, and follows
    `arm_controller/joint_trajectory` and `gripper_controller/joint_trajectory` as a
    joint_trajectory_controller does that is given positions: in straight lines of joint space; a
    new trajectory replaces the old one.

    In lockstep the command of an image is a trajectory of either controller with its stamp: the
    world moves on when both are there, in whatever order. One with a zero stamp (now) is taken at
    once, and nothing moves until the next step.
    """

    NAME = "arm_simulator"
    PARAMETERS = {
        "task": Param(
            FIRST_EVALUATION_TASK,
            "Number of the Operation task; the last six are held out for evaluation.",
            low=0,
            high=TASKS - 1,
        ),
        **WORLD_PARAMETERS,
        "image_size": Param(IMAGE_SIZE, "Side of the camera's image in pixels.", low=48, high=1024),
    }

    def build(self) -> OperationRun:
        """Build the scene and open the controllers' topics."""
        self._states = self.advertise(JointState, "joint_states", qos.CRTK_STATE)
        self.subscribe(JointTrajectory, ARM_TRAJECTORY, self._take_arm, qos.COMMAND)
        self.subscribe(JointTrajectory, GRIPPER_TRAJECTORY, self._take_gripper, qos.COMMAND)
        self.diagnostics.hardware_id = "simulated arm"
        self.diagnostics.add("trajectories", self.refusals)
        task = find_task(self.param("task"))
        run = OperationRun(task, self.param("seed"), self.param("episodes"))
        self._scene = run.scene
        self._answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        return run

    def publish_state(self) -> None:
        """Publish measured joints and fingers."""
        positions, speeds = self._scene.joint_states
        header = Header(stamp=self.now, frame_id=TASK_FRAME)
        self._states.publish(
            JointState(
                header=header,
                name=list(JOINTS),
                position=positions.tolist(),
                velocity=speeds.tolist(),
            )
        )

    def camera_matrix(self, size: int) -> np.ndarray:
        """(3, 3) pinhole matrix of the camera beside the container."""
        return operation_camera_matrix(size)

    def halt(self) -> None:
        """Have the arm hold; the gripper keeps its goal."""
        self._answers.clear()
        positions, _ = self._scene.joint_states
        self._scene.command_joints([positions[: len(kinematics.JOINT_NAMES)]], [0.0])

    def episode_begins(self) -> None:
        """Forget half an answer to an image of the episode before."""
        self._answers.clear()

    def run_ends(self, outcome: StepOutcome) -> None:
        """Say that the last episode is over, and have the arm hold."""
        self.get_logger().info(f"the run of {outcome.episode + 1} episodes is over")
        self.halt()

    def before_image(self) -> None:
        """Publish joints that are not older than the image: whoever answers it may want them."""
        self.publish_state()

    # ---- commands

    def _take_arm(self, message: JointTrajectory) -> None:
        self._take(ARM_TRAJECTORY, message, kinematics.JOINT_NAMES, self._scene.command_joints)

    def _take_gripper(self, message: JointTrajectory) -> None:
        self._take(
            GRIPPER_TRAJECTORY, message, kinematics.FINGER_NAMES, self._scene.command_fingers
        )

    def _take(
        self, topic: str, message: JointTrajectory, names: tuple[str, ...], follow: Follow
    ) -> None:
        stamp = message.header.stamp
        awaited = not self._realtime and nanoseconds(stamp) > 0
        # In lockstep the world stands still at the stamp of the image.
        present = stamp if awaited else self.now
        try:
            if why := self.why_untimely(stamp, moves=awaited):
                raise ValueError(why)
            points, seconds = points_from_trajectory(message, names, nanoseconds(present))
        except ValueError as error:
            self.refuse(f"{topic} refused", f"{topic} refused: {error}")
            return
        if not awaited:
            follow(points, seconds)
            if self._realtime and topic == ARM_TRAJECTORY:
                self.moved()
            return
        self._answers[topic] = (points, seconds)
        if len(self._answers) == 2:
            answers, self._answers = self._answers, {}
            self._scene.command_joints(*answers[ARM_TRAJECTORY])
            self._scene.command_fingers(*answers[GRIPPER_TRAJECTORY])
            self.moved()


def main() -> int:
    """Run the node."""
    return main_for(ArmSimulator)


if __name__ == "__main__":
    sys.exit(main())
