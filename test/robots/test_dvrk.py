"""The dVRK arm in the task plane: frames, and that the simulated mount reaches every workspace."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.robots import psm_kinematics as psm
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.pose import Pose

BOX = ((-0.1, 0.1), (-0.1, 0.1))


def test_a_displacement_in_the_task_frame_is_turned_into_the_arms_frame():
    quarter_turn = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
    arm = DvrkArm((0.1, 0.2, -0.15, *quarter_turn), workspace=BOX, height=0.02)
    pose = arm.target(np.array([0.03, 0.01]))
    np.testing.assert_allclose(pose.position, [0.1 - 0.01, 0.2 + 0.03, -0.13], atol=1e-12)
    # The tool points down, its x axis along the task's y, which is the arm's -x.
    np.testing.assert_allclose(
        pose.rotation.as_matrix(), [[-1, 0, 0], [0, 1, 0], [0, 0, -1]], atol=1e-12
    )


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
    st.tuples(*[st.floats(-0.2, 0.2)] * 2),
)
def test_position_undoes_target(position, quaternion, xy):
    quaternion = np.array(quaternion) / np.linalg.norm(quaternion)
    arm = DvrkArm((*position, *quaternion), workspace=BOX)
    np.testing.assert_allclose(arm.position(arm.target(np.array(xy))), xy, atol=1e-12)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_simulated_mount_reaches_the_workspace_with_room_to_spare(name):
    workspace = LAYOUTS[name].workspace
    arm = DvrkArm(workspace=workspace)
    margin = 0.003
    grids = [np.linspace(low - margin, high + margin, 30) for low, high in workspace]
    joints = np.array(
        [psm.inverse(arm.target(np.array([x, y]))) for x in grids[0] for y in grids[1]]
    )
    spare = np.minimum(joints - psm.JOINT_LOW, psm.JOINT_HIGH - joints).min(axis=0)
    assert spare[2] > 0.002
    assert spare[[0, 1, 3, 4, 5]].min() > 0.03


def test_a_tool_off_the_plane_is_not_a_measured_position():
    arm = DvrkArm(workspace=BOX)
    good = arm.in_task(arm.target(np.zeros(2)))
    high = Pose(good.position + [0.0, 0.0, 0.05], good.rotation)
    with pytest.raises(ValueError, match=r"within 0.02 m of height 0.015 m .* got 0.0650 m"):
        arm.position(arm.in_arm(high))
    tilted = Pose(good.position, Rotation.from_rotvec([0.6, 0.0, 0.0]) * good.rotation)
    with pytest.raises(ValueError, match=r"within 0.524 rad .* got 0.6 rad"):
        arm.position(arm.in_arm(tilted))
    with pytest.raises(ValueError, match="finite"):
        arm.position(Pose(np.full(3, np.nan), good.rotation))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"task_in_arm": (0, 0, 0, 0, 0, 0, 0)}, "task_in_arm: expected a quaternion of norm 1"),
        ({"task_in_arm": (0, 0, 0, 1)}, "task_in_arm: expected 7 finite numbers"),
        ({"task_in_arm": (math.nan, 0, 0, 0, 0, 0, 1)}, "task_in_arm: expected 7 finite numbers"),
        ({"tool_in_task": (1, 1, 0, 0)}, "tool_in_task: expected a quaternion of norm 1"),
        ({"height": math.nan}, "height: expected -1 to 1"),
        ({"angle_tolerance": -1.0}, "angle_tolerance: expected 0 to"),
    ],
)
def test_bad_parameters_are_refused(changes, line):
    with pytest.raises(ValueError, match=line):
        DvrkArm(**{"workspace": BOX, **changes})


@pytest.mark.parametrize("xy", [(0.0,), (0.0, math.inf), (0.0, 0.0, 0.0)])
def test_bad_set_points_are_refused(xy):
    with pytest.raises(ValueError, match="expected 2 finite numbers"):
        DvrkArm(workspace=BOX).target(np.array(xy))
