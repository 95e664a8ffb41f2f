"""Episodes of the arm against `OperationEnv`, bit for bit, through the whole robot interface."""

import numpy as np
import pytest

from safe_skills.envs.operation import HORIZON, OperationEnv
from safe_skills.envs.operation_policy import ScriptedGrasp
from safe_skills.envs.operation_run import OperationRun, operation_camera_matrix
from safe_skills.envs.operation_scene import EYE, PHYSICS_RATE, RAMP_SUBSTEPS, TARGET
from safe_skills.envs.operation_tasks import find_task
from safe_skills.robots import arm5_kinematics as kinematics
from safe_skills.robots.arm5 import STEP_LIMIT, STEP_TIME, WINDUP_MARGIN, WORKSPACE, Arm5
from safe_skills.robots.servo import ServoLimits, SetPointServo

SEED = 1_000_000
ARM = Arm5()
NAMES = kinematics.JOINT_NAMES + kinematics.FINGER_NAMES
LIMITS = ServoLimits(WORKSPACE, max_step=tuple(STEP_LIMIT), margin=tuple(WINDUP_MARGIN))


def policies():
    """One per episode: a grasp; one with much noise, which touches; straight into the table."""
    yield ScriptedGrasp(np.random.default_rng(0))
    yield ScriptedGrasp(np.random.default_rng(1), 0.8)
    yield lambda state: np.array([0.3, 0.3, -1.0, 1.0, -1.0])


def through_the_robot(servo, run, action, now):
    """One lockstep as the graph makes it: joint states, servo, kinematics, trajectories."""
    positions, _ = run.scene.joint_states
    reading = ARM.reading(NAMES[::-1], positions[::-1].tolist())
    servo.observe(ARM.position(reading), now)
    set_point = servo.command(np.clip(action[:4], -1.0, 1.0) * STEP_LIMIT, now).set_point
    run.scene.command_joints([ARM.target(set_point, near=reading.joints)], [STEP_TIME])
    opening = kinematics.FINGER_HIGH if action[4] > 0 else kinematics.FINGER_LOW
    run.scene.command_fingers([[opening] * 2], [0.0])
    return run.step()


@pytest.mark.parametrize("task", [3, 38])
def test_a_run_is_the_environment_bit_for_bit(task):
    env = OperationEnv(task, observation="state")
    run = OperationRun(find_task(task), SEED, episodes=3)
    ends = []
    for episode, policy in enumerate(policies()):
        env.reset(seed=SEED + episode)
        servo = SetPointServo(LIMITS)
        np.testing.assert_array_equal(run.scene.render(48), env.scene.render(48))
        total = cost = 0.0
        kinds = set()
        while not run.done:
            action = policy(env.state)
            _, reward, terminated, truncated, info = env.step(action)
            outcome = through_the_robot(servo, run, action, 0.1 * HORIZON * episode)
            total, cost = total + reward, cost + info["cost"]
            kinds.add(info["violation"])
            for ours, theirs in zip(run.scene.object_pose, env.scene.object_pose, strict=True):
                np.testing.assert_array_equal(ours, theirs)
            np.testing.assert_array_equal(run.scene.joint_states, env.scene.joint_states)
            assert (outcome.reward, outcome.cost) == (reward, info["cost"])
            assert (outcome.success, outcome.violation_kind) == (info["success"], info["violation"])
            assert (outcome.episode, outcome.seed) == (episode, SEED + episode)
            assert run.done == (terminated or truncated)
        assert (outcome.episode_return, outcome.episode_cost) == (total, cost)
        assert outcome.finished == (episode == 2)
        ends.append((outcome.success, kinds - {""}))
        if episode < 2:
            run.next_episode()
    assert ends[0] == (True, set())
    assert "finger" in ends[1][1] | ends[2][1]
    assert not ends[2][0]
    env.close()
    run.close()


def test_time_in_pieces_is_the_same_time():
    whole, pieces = OperationRun(find_task(0), SEED, 1), OperationRun(find_task(0), SEED, 1)
    for step in range(3):
        for run in (whole, pieces):
            run.scene.command((0.2, 0.02 * step, 0.1), 0.1 * step)
        outcome = whole.step()
        assert pieces.advance(7) == []
        assert pieces.advance(8) == []
        assert pieces.advance(1) == [outcome]
    np.testing.assert_array_equal(whole.scene.joint_states, pieces.scene.joint_states)
    assert len(pieces.advance(2 * pieces.substeps)) == 2
    assert pieces.advance(5 * pieces.substeps, counting=False) == []
    whole.close()
    pieces.close()


def test_a_step_takes_the_ramp_of_the_environment():
    assert STEP_TIME * PHYSICS_RATE == RAMP_SUBSTEPS


def test_a_slow_trajectory_is_followed_in_its_time_and_can_be_replaced():
    run = OperationRun(find_task(0), SEED, 1)
    start = run.scene.joint_states[0][:5]
    goal = start + [0.3, 0.0, 0.0, 0.0, 0.2]
    run.scene.command_joints([start + [0.2, 0, 0, 0, 0], goal], [1.0, 2.0])
    run.advance(240, counting=False)
    np.testing.assert_allclose(run.scene.joint_states[0][0], start[0] + 0.2, atol=0.02)
    run.advance(120, counting=False)
    np.testing.assert_allclose(run.scene.joint_states[0][0], start[0] + 0.25, atol=0.02)
    run.scene.command_joints([start], [1.0])
    run.advance(60, counting=False)
    np.testing.assert_allclose(run.scene.joint_states[0][0], start[0] + 0.1875, atol=0.02)
    run.advance(300, counting=False)
    np.testing.assert_allclose(run.scene.joint_states[0][:5], start, atol=2e-3)
    run.scene.command_fingers([[0.01, 0.02]], [0.5])
    run.advance(60, counting=False)
    np.testing.assert_allclose(run.scene.joint_states[0][5:], [0.0225, 0.0275], atol=2e-3)
    with pytest.raises(ValueError, match="joint path: expected"):
        run.scene.command_joints([start[:4]], [1.0])
    run.close()


def test_the_camera_matrix_maps_points_as_the_renderer_does():
    run = OperationRun(find_task(0), SEED, 1)
    run.scene.command_joints([[3.0, -1.5, 1.2, 0.0, 0.0]], [1.0])  # out of the picture
    run.advance(480, counting=False)
    image = run.scene.render(192).astype(int)
    red = (image[:, :, 0] > 1.5 * image[:, :, 1]) & (image[:, :, 0] > 1.5 * image[:, :, 2])
    rows, columns = np.nonzero(red)
    forward = np.subtract(TARGET, EYE) / np.linalg.norm(np.subtract(TARGET, EYE))
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    axes = np.array([right, np.cross(forward, right), forward])
    points = (run.scene.object_corners() - EYE) @ axes.T @ operation_camera_matrix(192).T
    seen = points[:, :2] / points[:, 2:]
    run.close()
    # What the walls hide of the object is not in the picture: its upper edge is never hidden.
    assert abs(rows.min() - seen[:, 1].min()) < 2.0
    assert columns.min() >= seen[:, 0].min() - 1.0 and columns.max() <= seen[:, 0].max() + 1.0
