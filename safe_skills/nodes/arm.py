"""The arm's frames as parameters, for every node that reads or writes its poses."""

from geometry_msgs.msg import PoseStamped

from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import pose_from_message
from safe_skills.nodes.parameters import Param
from safe_skills.robots.dvrk import SIMULATED_TASK_IN_ARM, TOOL_DOWN, TOOL_HEIGHT, DvrkArm

WORKSPACE = [-0.150, 0.180, -0.140, 0.085]
"""Where the cable task's set-points may be: xmin, xmax, ymin, ymax [m]."""

ARM_PARAMETERS = {
    "robot": Param(
        "sim",
        "Whether the arm is simulated; a real one needs its own task_in_arm.",
        choices=("sim", "dvrk"),
    ),
    "arm": Param("PSM1", "Name of the arm, the first part of its topics' names."),
    "task_in_arm": Param(
        list(SIMULATED_TASK_IN_ARM),
        "Pose of the task frame in the frame of measured_cp: x, y, z [m], qx, qy, qz, qw.",
        low=-10.0,
        high=10.0,
    ),
    "tool_in_task": Param(
        list(TOOL_DOWN),
        "Working orientation of the tool in the task frame: qx, qy, qz, qw.",
        low=-1.0,
        high=1.0,
    ),
    "height": Param(
        TOOL_HEIGHT, "Height of the tool's control point above the table [m].", low=-1.0, high=1.0
    ),
    "height_tolerance": Param(
        0.02, "How far off that height the tool may be measured [m].", low=0.0, high=1.0
    ),
    "angle_tolerance": Param(
        0.5236, "How far off that orientation the tool may be measured [rad].", low=0.0, high=3.1416
    ),
    "workspace": Param(
        WORKSPACE,
        "Where the robot may be, in the task frame: xmin, xmax, ymin, ymax [m].",
        low=-10.0,
        high=10.0,
    ),
}


def workspace_of(node: SkillNode) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ((xmin, xmax), (ymin, ymax)) [m]; `ValueError` unless there are four numbers."""
    numbers = node.param("workspace")
    if len(numbers) != 4:
        raise ValueError(f"workspace: expected xmin, xmax, ymin, ymax, got {numbers}")
    xmin, xmax, ymin, ymax = numbers
    return (xmin, xmax), (ymin, ymax)


def arm_of(node: SkillNode) -> DvrkArm:
    """Build the arm that a node's parameters describe.

    Raises:
        ValueError: In one line: unusable numbers, or a real arm with the simulated one's mount.
    """
    task_in_arm = node.param("task_in_arm")
    if node.param("robot") != "sim" and task_in_arm == list(SIMULATED_TASK_IN_ARM):
        raise ValueError(
            "task_in_arm: expected the measured pose of the task frame in the arm's frame, "
            "got that of the simulated arm; set it before a real arm is moved"
        )
    return DvrkArm(
        task_in_arm,
        workspace=workspace_of(node),
        tool_in_task=node.param("tool_in_task"),
        height=node.param("height"),
        height_tolerance=node.param("height_tolerance"),
        angle_tolerance=node.param("angle_tolerance"),
    )


def task_position(arm: DvrkArm, message: PoseStamped):
    """Return the measured (x, y) in the task frame [m]; raises as `DvrkArm.position` does."""
    return arm.position(pose_from_message(message))
