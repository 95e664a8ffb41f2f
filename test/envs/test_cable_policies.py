import numpy as np
import pytest

from safe_skills.envs.cable import CableEnv
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.cable_policies import (
    ConstraintSeeker,
    Demonstrator,
    FastExpert,
    RandomAfterDemo,
)


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def env(request):
    made = CableEnv(request.param, observation="state")
    yield made
    made.close()


def play(env, policy, seed):
    """One episode, cut off at a violation; returns (actions, success, violation)."""
    env.reset(seed=seed)
    actions = []
    while True:
        actions.append(policy(env.state))
        _, _, terminated, truncated, info = env.step(actions[-1])
        if terminated or truncated or info["violation"]:
            return np.array(actions), info["success"], info["violation"]


def play_all(env, make, seeds):
    ends = [play(env, make(env.layout, np.random.default_rng(seed)), seed) for seed in seeds]
    lengths = [len(actions) for actions, *_ in ends]
    return (
        lengths,
        [success for _, success, _ in ends],
        [violation for *_, violation in ends],
    )


def test_demonstrations_are_safe_slow_and_in_time(env):
    for seed in range(6):
        policy = Demonstrator(env.layout, np.random.default_rng(seed))
        actions, success, violation = play(env, policy, seed)
        assert success and not violation
        assert 30 <= len(actions) <= 44
        assert np.linalg.norm(actions, axis=1).max() <= env.layout.demo_step + 1e-12


def test_a_safe_way_takes_30_percent_fewer_steps_than_the_demonstrator(env):
    slow, *_ = play_all(env, Demonstrator, range(3))
    fast, success, violation = play_all(env, FastExpert, range(6))
    assert all(success) and not any(violation)
    assert np.mean(fast) <= 0.7 * np.mean(slow)


@pytest.mark.parametrize(
    ("way", "touches"),
    [
        ("straight", {"gripper"}),
        ("corner", {"cable"}),
        ("poke", {"gripper", "cable"}),
        ("drag", {"cable"}),
    ],
)
def test_every_way_to_seek_the_constraint_violates_it(env, way, touches):
    _, _, violation = play_all(
        env, lambda layout, rng: ConstraintSeeker(layout, rng, way=way), range(3)
    )
    assert set(violation) <= touches


def test_constraint_seekers_draw_all_ways():
    drawn = [
        ConstraintSeeker(LAYOUTS["open"], np.random.default_rng(seed)).way for seed in range(60)
    ]
    assert set(drawn) == set(ConstraintSeeker.WAYS)


class AimAhead:
    """Follows the demonstrator's way at 3 cm a step, aiming at a point further along it."""

    def __init__(self, layout, ahead):
        route = np.array([layout.start, *layout.demo_route])
        self.path = np.vstack(
            [
                a + (b - a) * np.linspace(0, 1, int(np.linalg.norm(b - a) / 0.002))[:, None]
                for a, b in zip(route, route[1:], strict=False)
            ]
        )
        self.ahead = round(ahead / 0.002)
        self.limit = layout.step_limit
        self.at = 0

    def __call__(self, state):
        near = self.path[self.at : self.at + self.ahead + 20]
        self.at += int(np.linalg.norm(near - state.gripper, axis=1).argmin())
        offset = self.path[min(self.at + self.ahead, len(self.path) - 1)] - state.set_point
        return offset * min(1.0, self.limit / max(np.linalg.norm(offset), 1e-9))


def test_cutting_corners_is_safe_in_open_and_not_in_tight(env):
    """What an optimiser does that ignores the constraint: the layouts differ in its price."""
    _, success, violation = play_all(env, lambda layout, _: AimAhead(layout, 0.20), range(5))
    if env.layout.name == "open":
        assert all(success)
    else:
        assert violation.count("cable") >= 4


def actions_from(policy, env, steps=50):
    env.reset(seed=0)
    return np.array([policy(env.state._replace(step=step)) for step in range(steps)])


def test_random_actions_are_held_or_drawn_anew():
    env = CableEnv("open", observation="state")
    prefixes, runs = [], []
    for seed in range(60):
        policy = RandomAfterDemo(env.layout, np.random.default_rng(seed))
        actions = actions_from(policy, env)
        changed = np.flatnonzero(np.any(np.diff(actions, axis=0) != 0, axis=1)) + 1
        held = np.flatnonzero(np.all(np.diff(actions, axis=0) == 0, axis=1))
        prefixes.append(held[0])
        edges = changed[changed > held[0]]
        runs.extend(np.diff(edges))
        assert np.abs(actions).max() <= env.layout.step_limit
    assert min(runs) >= 3 and max(runs) <= 14
    assert 0.15 < np.mean(np.array(prefixes) == 0) < 0.55

    policy = RandomAfterDemo(env.layout, np.random.default_rng(1), uniform=True)
    actions = actions_from(policy, env)
    assert (np.diff(actions, axis=0) != 0).all()


def test_a_policy_depends_on_its_generator_alone(env):
    for make in (Demonstrator, RandomAfterDemo, ConstraintSeeker):
        first = actions_from(make(env.layout, np.random.default_rng(5)), env, 20)
        again = actions_from(make(env.layout, np.random.default_rng(5)), env, 20)
        other = actions_from(make(env.layout, np.random.default_rng(6)), env, 20)
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_routes_stay_in_the_workspace_and_lead_to_the_goal(env):
    layout = env.layout
    lower, upper = np.array(layout.workspace).T
    for route in (layout.demo_route, layout.fast_route):
        assert (np.array(route[:-1]) > lower).all() and (np.array(route[:-1]) < upper).all()
        assert route[-1] == layout.goal_centre
