"""The task frame from touched points: any pose is found again, and what cannot be is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from safe_skills.robots.calibration import fit_task_frame, mean_of_still, tool_at_work
from safe_skills.robots.dvrk import TOOL_DOWN
from safe_skills.robots.pose import Pose

seeds = st.integers(0, 2**32 - 1)
DOWN = Rotation.from_quat(TOOL_DOWN)


def drawn(seed, count=6):
    """A random pose, and points on the table in both frames."""
    rng = np.random.default_rng(seed)
    pose = Pose(rng.uniform(-0.5, 0.5, 3), Rotation.random(random_state=int(seed)))
    task = np.column_stack((rng.uniform(-0.2, 0.2, (count, 2)), np.zeros(count)))
    task[:3] = ((0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.1, 0.0))
    return rng, pose, task, pose.position + pose.rotation.apply(task)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(3, 9))
def test_any_pose_is_found_again(seed, count):
    _, pose, task, arm = drawn(seed, count)
    found = fit_task_frame(task, arm, 1e-9)
    np.testing.assert_allclose(found.pose.position, pose.position, atol=1e-12)
    assert (found.pose.rotation.inv() * pose.rotation).magnitude() < 1e-7
    assert found.residuals.shape == (count,) and found.largest < 1e-12


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_from_noisy_points_it_is_found_within_the_noise_and_the_residuals_say_how_much(seed):
    rng, pose, task, arm = drawn(seed, 8)
    noise = rng.normal(0.0, 5e-4, arm.shape)
    found = fit_task_frame(task, arm + noise, 0.1)
    true = np.sqrt(np.sum((pose.position + pose.rotation.apply(task) - arm - noise) ** 2))
    assert np.sqrt(np.sum(found.residuals**2)) <= true + 1e-12
    assert found.rms <= found.largest
    assert np.linalg.norm(found.pose.position - pose.position) < 5e-3
    assert (found.pose.rotation.inv() * pose.rotation).magnitude() < 0.05


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(0, 7), st.floats(0.02, 0.1))
def test_a_point_touched_in_the_wrong_place_is_refused(seed, which, off):
    rng, _, task, arm = drawn(seed, 8)
    way = rng.normal(size=3)
    arm[which] += off * way / np.linalg.norm(way)
    with pytest.raises(ValueError, match="within 2 mm of the fit of all") as caught:
        fit_task_frame(task, arm, 2e-3)
    assert "\n" not in str(caught.value)


LINE = [(0.0, 0.0, 0.0), (0.05, 0.05, 0.0), (0.1, 0.1001, 0.0)]
GOOD = [(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.1, 0.0)]


@pytest.mark.parametrize(
    ("task", "arm", "line"),
    [
        (LINE, LINE, "points in the task frame: expected them 0.01 m"),
        (GOOD, LINE, "points in the arm frame: expected them 0.01 m"),
        (GOOD[:2], GOOD[:2], "expected 3 or more, got 2"),
        (GOOD, GOOD[:2], "as many of the arm"),
        (GOOD, [(0.0, 0.0, math.nan), *GOOD[1:]], "rows of 3 finite numbers"),
        (GOOD, [(0.0, 0.0)] * 3, "rows of 3 finite numbers"),
        (GOOD, [("a", "b", "c")] * 3, "rows of 3 finite numbers"),
    ],
)
def test_points_that_say_nothing_are_refused_in_one_line(task, arm, line):
    with pytest.raises(ValueError, match=line) as caught:
        fit_task_frame(task, arm, 1.0)
    assert "\n" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_tool_at_work_is_found_in_the_task_frame(seed):
    _, pose, _, _ = drawn(seed)
    turned = DOWN * Rotation.from_rotvec([0.1, -0.2, 0.3])
    working = pose @ Pose(np.array([0.03, 0.01, 0.015]), turned)
    quaternion, height = tool_at_work(pose, working)
    assert height == pytest.approx(0.015)
    assert abs(quaternion @ turned.as_quat()) == pytest.approx(1.0)


def test_swapped_points_turn_the_table_over_and_are_noticed():
    found = fit_task_frame(GOOD, [GOOD[0], GOOD[2], GOOD[1]], 1e-3)
    working = Pose(np.array([0.0, 0.0, 0.015]), DOWN)
    with pytest.raises(ValueError, match="were points swapped"):
        tool_at_work(found.pose, working)


def test_an_arm_that_moves_gives_no_pose():
    pose = Pose(np.zeros(3), DOWN)
    moved = Pose(np.array([0.0, 0.004, 0.0]), DOWN * Rotation.from_rotvec([0.02, 0.0, 0.0]))
    with pytest.raises(ValueError, match="it moved by 2.00 mm"):
        mean_of_still([pose, moved], 1e-3)
    mean = mean_of_still([pose, moved], 3e-3)
    np.testing.assert_allclose(mean.position, (0.0, 0.002, 0.0))
    assert (DOWN.inv() * mean.rotation).magnitude() == pytest.approx(0.01)
    with pytest.raises(ValueError, match="got none"):
        mean_of_still([], 1.0)
