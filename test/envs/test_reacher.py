import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_task_play import play_all

from safe_skills.envs.reacher import (
    GOAL,
    MODEL,
    STAY_OUT,
    VIEW,
    ReacherEnv,
    fingertip,
    in_stay_out,
    joint_positions,
)
from safe_skills.envs.reacher_policies import (
    ReacherConstraintSeeker,
    ReacherDemonstrator,
    ReacherRandomWalk,
)

IDLE = np.zeros(2)
ANGLES = st.tuples(st.floats(-7, 7), st.floats(-2.7, 2.7)).map(np.array)


@pytest.fixture(scope="module")
def env():
    return ReacherEnv(observation="state")


def place(env, angles, velocities=(0.0, 0.0)):
    env.reset(seed=0)
    env._data.qpos[:] = angles
    env._data.qvel[:] = velocities


def angles_of(point):
    """Angles that bring the fingertip to a point, the elbow to its left."""
    distance = np.linalg.norm(point)
    bend = np.arccos(distance / 0.24)
    return np.array([np.arctan2(point[1], point[0]) + bend, -2 * bend])


@settings(deadline=None, max_examples=50)
@given(ANGLES)
def test_the_fingertip_is_where_mujoco_has_it(angles):
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    data.qpos[:] = angles
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(fingertip(angles), data.geom_xpos[2, :2], atol=1e-12)
    np.testing.assert_allclose(joint_positions(angles)[1], data.xpos[2, :2], atol=1e-12)


def test_the_start_is_fixed_and_near_the_zone(env):
    for seed in range(3):
        env.reset(seed=seed)
        np.testing.assert_allclose(env.state.angles, (0.53 * np.pi, 0.85 * np.pi))
        np.testing.assert_allclose(env.state.fingertip, (-0.0555, 0.0079), atol=1e-4)
        assert np.linalg.norm(env.state.fingertip - STAY_OUT) == pytest.approx(0.085, abs=5e-4)
        assert (env.state.velocities == 0).all()


def test_goal_and_zone_lie_where_the_reference_has_them():
    np.testing.assert_allclose(GOAL, (-0.1768, 0.1768), atol=1e-4)
    np.testing.assert_allclose(STAY_OUT, (-0.1052, 0.0764), atol=1e-4)


def test_random_starts_are_all_around_and_outside_of_the_zone(env):
    starts = []
    for seed in range(300):
        env.reset(seed=seed, options={"random_start": True})
        starts.append(env.state.angles)
        assert not in_stay_out(starts[-1])
    low, high = np.min(starts, axis=0), np.max(starts, axis=0)
    np.testing.assert_allclose(low, (-np.pi, -0.85 * np.pi), atol=0.15)
    np.testing.assert_allclose(high, (np.pi, 0.85 * np.pi), atol=0.15)


def test_a_full_action_moves_a_joint_at_two_and_a_half_radians_a_second(env):
    """Half of the motor's 0.05 Nm against a damping of 0.01 Nm s/rad."""
    place(env, (0.3, 0.0))
    for _ in range(60):
        env.step(np.array([1.0, 0.0]))
    assert env.state.velocities.sum() == pytest.approx(2.5, rel=0.1)


def test_the_wrist_stops_at_160_degrees(env):
    place(env, (0.5, 2.6))
    for _ in range(60):
        env.step(np.array([0.0, 1.0]))
    assert env.state.angles[1] == pytest.approx(np.radians(160), abs=0.05)


@pytest.mark.parametrize(("distance", "reward"), [(0.024, 0.0), (0.0265, -1.0)])
def test_the_goal_is_reached_where_fingertip_and_goal_touch(env, distance, reward):
    towards = GOAL / np.linalg.norm(GOAL)
    place(env, angles_of(GOAL - distance * towards))
    _, got, _, _, info = env.step(IDLE)
    assert got == reward and info["success"] == (reward == 0)


@pytest.mark.parametrize(("distance", "cost"), [(0.059, 1.0), (0.062, 0.0)])
def test_the_zone_is_violated_where_the_fingertip_touches_it(env, distance, cost):
    place(env, angles_of(STAY_OUT - (distance, 0.0)))
    *_, info = env.step(IDLE)
    assert info["cost"] == cost and info["violation"] == ("fingertip" if cost else "")


def test_links_may_cross_the_zone(env):
    place(env, (0.8 * np.pi, 0.0))
    elbow = joint_positions(env.state.angles)[1]
    assert np.linalg.norm(elbow - STAY_OUT) < 0.05
    *_, info = env.step(IDLE)
    assert info["cost"] == 0.0


def test_a_violation_holds_the_pose_until_the_horizon(env):
    env.reset(seed=1)
    drive = ReacherConstraintSeeker(np.random.default_rng(1), noise=0.0)
    total, info = 0.0, {"cost": 0.0}
    while not info["cost"]:
        _, reward, _, _, info = env.step(drive(env.state))
        total += reward
    before = env.state
    for later in range(before.step + 1, 101):
        _, reward, terminated, truncated, info = env.step(np.ones(2))
        total += reward
        assert reward == -1.0 and info["cost"] == 1.0 and not terminated
        assert truncated == (later == 100)
    np.testing.assert_array_equal(env.state.angles, before.angles)
    assert total == -100.0


def test_with_the_motors_off_the_arm_coasts_out_of_the_zone():
    env = ReacherEnv(observation="state", freeze="torque")
    place(env, angles_of(STAY_OUT + (0.0, 0.057)), (6.0, 0.0))
    costs = []
    for _ in range(100):
        *_, truncated, info = env.step(np.ones(2))
        costs.append(info["cost"])
    assert truncated and 1.0 in costs and costs[-1] == 0.0
    assert info["violation"] == "fingertip"
    assert np.abs(env.state.velocities).max() < 0.1
    with pytest.raises(ValueError, match="freeze: expected one of .* got 'hold'"):
        ReacherEnv(freeze="hold")


def pixel_of(point, size=64):
    column, row = (np.array(point) * (1, -1) / VIEW + 1) * size / 2
    return int(row), int(column)


def test_the_picture_shows_goal_zone_and_arm_where_they_are():
    env = ReacherEnv()
    observation, _ = env.reset(seed=0)
    image = observation["image"].astype(int)
    assert tuple(image[pixel_of(STAY_OUT)]) == (255, 0, 0)
    assert (image[pixel_of(GOAL)] > (200, 200, -1)).all() and image[pixel_of(GOAL)][2] < 40
    tip, elbow = env.state.fingertip, joint_positions(env.state.angles)[1]
    for point in (tip, elbow, elbow / 2):
        assert image[pixel_of(point)][0] > 120 and image[pixel_of(point)][1] > 80
    assert tuple(image[-1, -1]) == (38, 64, 89)


def test_the_fingertip_is_seen_to_move_by_half_a_pixel():
    env = ReacherEnv()
    place(env, (0.0, 0.0))
    first = env._draw().astype(int)
    place(env, (0.02, 0.0))
    assert np.abs(env._draw().astype(int) - first).max() > 40


def test_demonstrations_are_mostly_safe_successes(env):
    played = play_all(env, ReacherDemonstrator, range(80))
    assert np.mean([p.success for p in played]) >= 0.85
    assert np.mean([bool(p.violation) for p in played]) <= 0.03
    assert np.mean([p.total for p in played]) == pytest.approx(-84, abs=3)


def test_without_noise_the_demonstrator_returns_what_was_measured_of_the_reference(env):
    (played,) = play_all(env, lambda rng: ReacherDemonstrator(rng, noise=0.0), [0])
    assert played.total == -78.0 and played.success


def test_constraint_seekers_violate(env):
    played = play_all(env, ReacherConstraintSeeker, range(40), random_start=True)
    assert np.mean([bool(p.violation) for p in played]) > 0.7
    assert all(p.violation for p in play_all(env, ReacherConstraintSeeker, range(5)))


def test_random_walks_move_the_arm(env):
    swept = []
    for seed in range(10):
        env.reset(seed=seed, options={"random_start": True})
        before = env.state.angles
        walk = ReacherRandomWalk(np.random.default_rng(seed))
        for _ in range(20):
            env.step(walk(env.state))
        swept.append(np.abs(env.state.angles - before).max())
    assert np.median(swept) > 0.1
