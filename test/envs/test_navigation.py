import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_task_play import play_all

from safe_skills.envs.navigation import GOAL, NavigationEnv, in_obstacle
from safe_skills.envs.navigation_policies import (
    NavigationConstraintSeeker,
    NavigationDemonstrator,
    NavigationRandomWalk,
)

IDLE = np.zeros(2)


@pytest.fixture(scope="module")
def env():
    return NavigationEnv(observation="state")


def drive(env, target, steps):
    """Moves straight towards a point; returns the last step's results."""
    for _ in range(steps):
        results = env.step(np.subtract(target, env.state.position))
    return results


def place(env, position):
    env.reset(seed=0)
    env._position = np.array(position, float)


def test_the_start_is_scattered_by_a_pixel(env):
    starts = []
    for seed in range(300):
        env.reset(seed=seed)
        starts.append(env.state.position)
    np.testing.assert_allclose(np.mean(starts, axis=0), (30, 75), atol=0.2)
    np.testing.assert_allclose(np.std(starts, axis=0), 1.0, atol=0.15)


def test_random_starts_are_anywhere_but_in_the_obstacle(env):
    starts = []
    for seed in range(400):
        env.reset(seed=seed, options={"random_start": True})
        starts.append(env.state.position)
        assert not in_obstacle(starts[-1])
    np.testing.assert_allclose(np.min(starts, axis=0), 0, atol=3)
    np.testing.assert_allclose(np.max(starts, axis=0), (180, 150), atol=3)


def test_a_step_adds_the_action_and_little_noise(env):
    moved = []
    for seed in range(200):
        env.reset(seed=seed)
        before = env.state.position
        env.step(np.array([2.0, -1.0]))
        moved.append(env.state.position - before)
    np.testing.assert_allclose(np.mean(moved, axis=0), (2, -1), atol=0.03)
    np.testing.assert_allclose(np.std(moved, axis=0), 0.125, atol=0.025)


def test_the_point_stays_in_the_window(env):
    env.reset(seed=0)
    for _ in range(40):
        env.step(np.array([-3.0, -3.0]))
    assert (env.state.position >= 0).all() and (env.state.position < 1).all()


@pytest.mark.parametrize(
    ("position", "inside"),
    [
        ((75, 75), False),
        ((75.01, 75), True),
        ((100, 75), False),
        ((99.9, 94.9), True),
        ((88, 55), False),
        ((88, 55.1), True),
        ((88, 95), False),
        ((74, 54), False),
    ],
)
def test_the_obstacle_is_an_open_rectangle(position, inside):
    assert in_obstacle(np.array(position, float)) == inside


def test_a_violation_freezes_the_point_and_the_return_is_minus_100(env):
    env.reset(seed=2)
    total, info = 0.0, {"cost": 0.0}
    while not info["cost"]:
        observation, reward, terminated, truncated, info = env.step(np.array([3.0, 0.0]))
        total += reward
    assert in_obstacle(env.state.position) and info["violation"] == "point"
    position = env.state.position
    for later in range(env.state.step + 1, 101):
        seen, reward, terminated, truncated, info = env.step(np.array([-3.0, 1.0]))
        total += reward
        assert reward == -1.0 and info["cost"] == 1.0 and not terminated
        assert truncated == (later == 100)
        np.testing.assert_array_equal(seen["position"], observation["position"])
    np.testing.assert_array_equal(env.state.position, position)
    assert total == -100.0


ACTION = st.tuples(st.floats(-9, 9), st.floats(-9, 9)).map(np.array)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.booleans(), st.lists(ACTION, min_size=1, max_size=8))
def test_whatever_is_done_costs_never_fall_and_nothing_moves_after_one(seed, anywhere, actions):
    env = NavigationEnv(observation="state")
    env.reset(seed=seed, options={"random_start": anywhere})
    cost, before = 0.0, env.state.position
    for step in range(100):
        # Each action for some steps, so that the point gets somewhere.
        _, reward, terminated, truncated, info = env.step(actions[step // 12 % len(actions)])
        position = env.state.position
        assert (position >= 0).all() and (position <= (180, 150)).all()
        assert np.abs(position - before).max() <= 3 + 6 * 0.125
        assert info["cost"] == in_obstacle(position) >= cost
        assert not cost or (position == before).all()
        assert reward == (0.0 if np.linalg.norm(position - GOAL) < 3 else -1.0)
        assert not terminated and truncated == (step == 99)
        cost, before = info["cost"], position


@pytest.mark.parametrize(("x", "reward"), [(147.5, 0.0), (146.5, -1.0), (153.4, -1.0)])
def test_the_goal_is_a_ball_of_3(env, x, reward):
    place(env, (x, 75))
    assert env.step(IDLE)[1] == reward


def test_the_reward_is_that_of_the_state_before_where_asked_for():
    after, before = NavigationEnv(), NavigationEnv(reward_timing="before")
    for made in (after, before):
        place(made, (145.0, 75.0))
    rewards = [[made.step(np.array([3.0, 0.0]))[1] for _ in range(2)] for made in (after, before)]
    assert rewards == [[0.0, 0.0], [-1.0, 0.0]]
    with pytest.raises(ValueError, match="reward_timing: expected one of .* got 'late'"):
        NavigationEnv(reward_timing="late")


@pytest.mark.parametrize("position", [(30.0, 75.0), (31.4, 76.3), (120.2, 20.7), (60.0, 140.0)])
def test_the_disc_is_drawn_where_the_point_is(position):
    env = NavigationEnv()
    place(env, position)
    blue = env._draw()[..., 2].astype(float)
    rows, columns = np.indices(blue.shape) + 0.5
    scale = np.array([180, 150]) / 64
    seen = np.array([(blue * columns).sum(), (blue * rows).sum()]) / blue.sum() * scale
    np.testing.assert_allclose(seen, position, atol=0.15)
    area = blue.sum() / 255 * scale.prod()
    assert area == pytest.approx(np.pi * 10**2, rel=0.08)


def test_the_obstacle_is_red_and_hides_the_disc():
    env = NavigationEnv()
    place(env, (78, 75))
    image = env._draw().astype(int)
    rows, columns = np.indices(image.shape[:2]) + 0.5
    x, y = columns * 180 / 64, rows * 150 / 64
    core = (x > 78) & (x < 97) & (y > 58) & (y < 92)
    assert (image[core] == (255, 0, 0)).all()
    away = (x < 60) | (x > 103) | (y < 50) | (y > 99)
    assert (image[away] == 0).all()
    assert image[..., 2].max() > 200 and (image[..., 1] == 0).all()


def test_the_goal_is_not_seen():
    env = NavigationEnv()
    place(env, (30, 20))
    assert (env._draw()[28:37, 45:] == 0).all()
    assert (NavigationEnv(render_mode="rgb_array")._draw_overview()[300, 600] != 0).any()


def test_demonstrations_are_safe_and_slow(env):
    played = play_all(env, NavigationDemonstrator, range(60))
    assert all(p.success for p in played) and not any(p.violation for p in played)
    assert np.mean([p.total for p in played]) == pytest.approx(-82.7, abs=1.0)
    assert np.abs([p.actions for p in played]).max() <= 3.0


def test_with_the_reference_timing_demonstrations_return_what_was_measured_there():
    env = NavigationEnv(observation="state", reward_timing="before")
    totals = [p.total for p in play_all(env, NavigationDemonstrator, range(60))]
    assert np.mean(totals) == pytest.approx(-83.7, abs=1.0)


def test_a_straight_way_around_the_obstacle_is_much_faster(env):
    """What there is to be gained: at 3 a step the goal is 39 steps away."""

    def make(rng):
        def policy(state):
            x, _ = state.position
            return np.array([96.0, 46.0] if x < 95 else GOAL) - state.position

        return policy

    played = play_all(env, make, range(10))
    assert all(p.success and not p.violation for p in played)
    assert np.mean([p.total for p in played]) > -46


def test_constraint_seekers_violate(env):
    played = play_all(env, NavigationConstraintSeeker, range(40), random_start=True)
    assert all(p.violation == "point" for p in played)
    assert 35 < np.mean([p.cost for p in played]) < 70


def test_random_walks_go_somewhere(env):
    played = play_all(env, NavigationRandomWalk, range(20), random_start=True)
    assert 0 < sum(bool(p.violation) for p in played) < 15
