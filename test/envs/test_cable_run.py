"""Episodes of the simulator against `CableEnv`, bit for bit, through the whole robot interface."""

import numpy as np
import pytest

from safe_skills.envs.cable import CableEnv
from safe_skills.envs.cable_layouts import LAYOUTS, find_layout
from safe_skills.envs.cable_policies import RoutePolicy
from safe_skills.envs.cable_run import CableRun, table_camera_matrix
from safe_skills.robots import psm_kinematics as psm
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.pose import Pose
from safe_skills.robots.servo import ServoLimits, SetPointServo
from safe_skills.robots.simulated_psm import SimulatedPsm

SEED = 1_000_000


def policies(layout):
    """One per episode: around the obstacle into the goal; straight on; into a corner, then idle."""
    rng = np.random.default_rng(0)
    yield RoutePolicy(layout.demo_route, layout.demo_step, 1e-3, rng)
    yield lambda state: np.array([0.02, 1e-3 * np.sin(state.step)])
    yield lambda state: np.array([-0.03, 0.03]) if state.step < 12 else np.zeros(2)


def through_the_robot(layout, arm, servo, robot, run, action, now):
    """One lockstep as the graph makes it: servo, message values, kinematics, physics."""
    robot.track(run.scene.gripper_position)
    measured = Pose.from_values([*robot.measured.position, *robot.measured.quaternion])
    servo.observe(arm.position(measured), now)
    target = arm.target(servo.command(action, now).set_point)
    robot.servo_cp(Pose.from_values([*target.position, *target.quaternion]))
    run.scene.command(robot.plane_set_point)
    return run.step()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_run_is_the_environment_bit_for_bit(name):
    layout = find_layout(name)
    env = CableEnv(name)
    run = CableRun(layout, SEED, episodes=3)
    arm = DvrkArm(workspace=layout.workspace)
    robot = SimulatedPsm(arm)
    servo = SetPointServo(
        ServoLimits(
            workspace=layout.workspace, max_step=layout.step_limit, margin=layout.windup_margin
        )
    )
    ends = []
    for episode, policy in enumerate(policies(layout)):
        observation, _ = env.reset(seed=SEED + episode)
        servo.restart()
        robot.place(run.scene.gripper_position)
        np.testing.assert_array_equal(run.scene.render(64), observation["image"])
        total = cost = 0.0
        over = False
        while not over:
            step, action = env.state.step, policy(env.state)
            observation, reward, terminated, truncated, info = env.step(action)
            total, cost = total + reward, cost + info["cost"]
            if not run.done:
                now = 100.0 * episode + 0.1 * step
                outcome = through_the_robot(layout, arm, servo, robot, run, action, now)
                np.testing.assert_array_equal(run.scene.render(64), observation["image"])
                assert (outcome.reward, outcome.cost) == (reward, info["cost"])
                assert (outcome.success, outcome.violation_kind) == (
                    info["success"],
                    info["violation"],
                )
                assert (outcome.episode, outcome.seed) == (episode, SEED + episode)
                assert outcome.step == step + 1
            over = terminated or truncated
        assert run.done
        assert (outcome.episode_return, outcome.episode_cost) == (total, cost)
        assert outcome.finished == (episode == 2)
        ends.append("contact" if cost else "goal" if outcome.success else "late")
        if episode < 2:
            run.next_episode()
    assert ends == ["goal", "contact", "late"]
    env.close()
    run.close()


def test_time_in_pieces_is_the_same_time():
    layout = find_layout("open")
    whole, pieces = CableRun(layout, SEED, 1), CableRun(layout, SEED, 1)
    for _ in range(3):
        target = whole.scene.set_point + [0.02, 0.01]
        whole.scene.command(target)
        pieces.scene.command(target)
        outcome = whole.step()
        assert pieces.advance(7) == []
        assert pieces.advance(16) == []
        assert pieces.advance(1) == [outcome]
    np.testing.assert_array_equal(whole.scene.cable_points(), pieces.scene.cable_points())
    assert len(pieces.advance(3 * layout.substeps)) == 3
    assert pieces.advance(5 * layout.substeps, counting=False) == []
    whole.close()
    pieces.close()


def test_after_the_last_step_nothing_counts_and_episodes_follow_only_on_their_ends():
    layout = find_layout("open")
    run = CableRun(layout, 5, episodes=1)
    with pytest.raises(RuntimeError, match="expected an episode that is over"):
        run.next_episode()
    outcomes = run.advance(60 * layout.substeps)
    assert len(outcomes) == layout.horizon
    assert outcomes[-1].done and outcomes[-1].finished
    assert outcomes[-1].episode_return == -layout.horizon
    with pytest.raises(RuntimeError, match="over"):
        run.step()
    with pytest.raises(RuntimeError, match="successor"):
        run.next_episode()
    run.close()


def test_a_run_needs_a_seed_and_a_number_of_episodes():
    for seed, episodes in ((-1, 1), (1, -1)):
        with pytest.raises(ValueError, match="expected 0 or more"):
            CableRun(find_layout("open"), seed, episodes)


def test_the_camera_matrix_maps_the_table_as_the_renderer_does():
    layout = find_layout("open")
    run = CableRun(layout, SEED, 1)
    image = run.scene.render(128).astype(int)
    run.close()
    rows, columns = np.nonzero((image[:, :, 1] > 150) & (image[:, :, 0] < 90))
    seen = np.array([columns.mean(), rows.mean()])
    matrix = table_camera_matrix(layout, 128)
    x, y = layout.goal_centre
    expected = matrix @ [x, -y, 1.0]
    np.testing.assert_allclose(seen, expected[:2], atol=0.5)


def test_every_start_and_route_is_within_reach_of_the_simulated_arm():
    for layout in LAYOUTS.values():
        arm = DvrkArm(workspace=layout.workspace)
        low, high = np.array(layout.workspace).T
        for point in (layout.start, *layout.demo_route):
            psm.inverse(arm.target(np.clip(point, low, high)))
