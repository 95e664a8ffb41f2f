"""The planner on a hand-made latent model whose optimum is known.

The latent is a point in the plane (the first two of three dimensions); an action moves it. The
value is minus the distance to (1, 0); x in (0.4, 0.6), |y| < 0.3 violates; the safe set is |y| < 1.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from safe_skills.ls3.config import ConfigError, PlannerConfig, planner_profile
from safe_skills.ls3.planner import Planner, PlanOutcome, Scores

STEP = 0.2
LIMIT = np.array([0.03, 0.06])


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


class Dynamics(nn.Module):
    members = 5

    def __init__(self, log_variance=-20.0, bias=0.0):
        super().__init__()
        self.log_variance, self.bias = log_variance, bias

    def forward(self, latents, actions, member=None):
        move = torch.zeros_like(latents)
        move[..., :2] = STEP * actions
        mean = latents + move
        if mean.dim() == 2:
            mean = mean.expand(1 if member is not None else self.members, *mean.shape)
        offset = self.bias * torch.arange(len(mean), dtype=torch.float32).view(-1, 1, 1)
        return mean + offset, torch.full_like(mean, self.log_variance)


class World(nn.Module):
    latent_dim, action_dim = 3, 2

    def __init__(self, safe=None, violation=None, **dynamics):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.dynamics = Dynamics(**dynamics)
        self.value = Function(lambda z: -10 * (z[..., :2] - torch.tensor([1.0, 0.0])).norm(dim=-1))
        self.goal = Function(lambda z: (z[..., 0] > 0.95).float())
        self.safe_set = Function(safe or (lambda z: (z[..., 1].abs() < 1.0).float()))
        self.constraint = Function(violation or self.in_wall)

    @staticmethod
    def in_wall(z):
        return ((z[..., 0] - 0.5).abs() < 0.1).float() * (z[..., 1].abs() < 0.3).float()


SMALL = PlannerConfig(candidates=200, particles=5, elites=20, iterations=4, horizon=4)


def planner(world=None, seed=0, config=SMALL, **changes):
    return Planner(world or World(), planner_profile(config, **changes), LIMIT, seed)


def solve(the_planner, x=0.0, y=0.0):
    return the_planner.plan(np.array([x, y, 0.0]), np.zeros(3))


def test_moves_towards_the_value_in_si_units():
    plan = solve(planner(), y=0.6)
    assert plan.outcome is PlanOutcome.FEASIBLE
    assert plan.actions.shape == (4, 2)
    assert plan.actions[0, 0] > 0.5 * LIMIT[0]
    assert (np.abs(plan.actions) <= LIMIT + 1e-9).all()


def test_does_not_plan_through_a_violation():
    position = np.array([0.35, 0.0])
    controller = planner()
    for _ in range(25):
        plan = solve(controller, *position)
        position = position + STEP * plan.actions[0] / LIMIT
        assert not World.in_wall(torch.tensor([*position, 0.0]))
    unconstrained = solve(planner(use_constraint=False), 0.35, 0.0)
    assert unconstrained.actions[0, 0] > 0.8 * LIMIT[0]


def test_terminal_latent_must_be_in_the_safe_set():
    def fades(z):
        return (z[..., 0] < 0.3).float()

    plan = solve(planner(World(safe=fades)))
    assert plan.outcome is PlanOutcome.FEASIBLE
    reached = STEP * (plan.actions[:, 0] / LIMIT[0]).sum()
    assert reached < 0.31
    free = solve(planner(World(safe=fades), use_safe_set=False))
    assert STEP * (free.actions[:, 0] / LIMIT[0]).sum() > reached


def test_delta_s_is_lowered_until_a_plan_is_feasible():
    plan = solve(planner(World(safe=lambda z: torch.full(z.shape[:-1], 0.5))))
    assert plan.outcome is PlanOutcome.FEASIBLE
    assert plan.restarts == 3
    assert plan.delta_s == pytest.approx(0.8 * 0.8**3)


def test_restarting_relaxes_the_same_way():
    world = World(safe=lambda z: torch.full(z.shape[:-1], 0.5))
    plan = solve(planner(world, relax_on="restart"))
    assert plan.restarts == 3
    assert plan.delta_s == pytest.approx(0.8 * 0.8**3)
    assert plan.iterations == 3 + SMALL.iterations


def test_max_safe_set_plan_when_the_set_is_out_of_reach():
    def faint(z):
        return 0.1 * torch.sigmoid(z[..., 1])

    plan = solve(planner(World(safe=faint)))
    assert plan.outcome is PlanOutcome.MAX_SAFE_SET
    assert plan.restarts == SMALL.max_relaxations
    assert plan.actions[0, 1] > 0.5 * LIMIT[1]


@pytest.mark.parametrize("relax_on", ["population", "restart"])
def test_holds_when_every_plan_violates(relax_on):
    world = World(violation=lambda z: torch.ones(z.shape[:-1]))
    controller = planner(world, relax_on=relax_on)
    plan = solve(controller)
    assert plan.outcome is PlanOutcome.HOLD
    assert (plan.actions == 0).all()
    assert plan.feasible_share == 0


def test_random_action_only_where_it_is_asked_for():
    world = World(violation=lambda z: torch.ones(z.shape[:-1]))
    plan = solve(planner(world, relax_on="restart", infeasible="random"))
    assert plan.outcome is PlanOutcome.RANDOM
    assert plan.restarts == SMALL.max_relaxations
    assert (plan.actions != 0).any()


def test_infeasible_hold_option_holds_even_below_delta_c():
    plan = solve(planner(World(safe=lambda z: torch.zeros(z.shape[:-1])), infeasible="hold"))
    assert plan.outcome is PlanOutcome.HOLD


def test_same_seed_same_plans():
    one, other = planner(), planner()
    for _ in range(3):
        np.testing.assert_array_equal(solve(one).actions, solve(other).actions)
    assert not np.array_equal(solve(planner()).actions, solve(planner(seed=1)).actions)


def test_one_feasible_candidate_gives_no_nan():
    def only_first(z):
        violation = torch.ones(z.shape[:-1])
        violation[..., 0, :] = 0.0
        return violation

    plan = solve(planner(World(violation=only_first)))
    assert np.isfinite(plan.actions).all()


def test_warm_start_is_shifted_by_one_step():
    controller = planner(p_random=0.0, min_stddev=0.0)
    mean = torch.tensor([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0], [0.4, 0.0]])
    controller._warm = (mean, torch.zeros(4, 2))
    population = controller._first_population(use_warm_start=True)
    torch.testing.assert_close(population[:, :3, 0], torch.tensor([0.2, 0.3, 0.4]).expand(200, 3))
    assert population[:, 3].std() > 0.3
    controller.reset()
    assert controller._first_population(use_warm_start=True).std() > 0.5


@pytest.mark.parametrize("p_random", [0.0, 0.3, 1.0])
def test_share_of_random_sequences(p_random):
    controller = planner(p_random=p_random, warm_start="unshifted")
    controller._warm = (torch.full((4, 2), 0.5), torch.zeros(4, 2))
    population = controller._first_population(use_warm_start=True)
    warm = (population == 0.5).all(-1).all(-1).float().mean()
    assert float(warm) == pytest.approx(1 - p_random)


def test_particles_use_every_member_equally_often():
    controller = planner(World(bias=1.0, log_variance=-40.0), ensemble_sampling="particle")
    latents = controller.rollout(torch.zeros(10, 5, 3), torch.zeros(10, 1, 2))
    drawn = latents[0, ..., 2].flatten().round().long()
    assert torch.bincount(drawn, minlength=5).tolist() == [10] * 5


def test_one_member_a_step_for_all_particles_as_the_released_code():
    controller = planner(World(log_variance=-40.0), ensemble_sampling="step")
    latents = controller.rollout(torch.zeros(4, 5, 3), torch.zeros(4, 3, 2))
    assert latents.shape == (3, 4, 5, 3)


def test_scores_by_brute_force():
    config = planner_profile(SMALL, latent_sampling="mean")
    controller = Planner(World(log_variance=-60.0), config, LIMIT, 0)
    actions = 2 * torch.rand(50, 4, 2) - 1
    scores = controller.score(torch.zeros(50, 5, 3), actions)
    for n in range(50):
        z, path = torch.zeros(3), []
        for action in actions[n]:
            z = z + torch.cat((STEP * action, torch.zeros(1)))
            path.append(z)
        world = World()
        value = world.value(path[-1]) + sum(world.goal(z) for z in path[:-1])
        assert float(scores.value[n]) == pytest.approx(float(value), abs=1e-4)
        assert float(scores.constraint[n]) == max(float(world.in_wall(z)) for z in path)
        assert float(scores.safe_set[n]) == float(world.safe_set(path[-1]))


def test_goal_reward_as_probability_or_indicator():
    world = World(log_variance=-60.0)
    world.goal = Function(lambda z: torch.full(z.shape[:-1], 0.6))
    world.value = Function(lambda z: torch.zeros(z.shape[:-1]))
    actions, start = torch.zeros(3, 4, 2), torch.zeros(3, 5, 3)
    for reward, expected in (("probability", 1.8), ("indicator", 3.0)):
        scores = planner(world, goal_reward=reward).score(start, actions)
        torch.testing.assert_close(scores.value, torch.full((3,), expected))


def test_constraint_over_particles_max_and_mean():
    def one_in_five(z):
        probability = torch.zeros(z.shape[:-1])
        probability[..., 0] = 1.0
        return probability

    actions, start = torch.zeros(3, 4, 2), torch.zeros(3, 5, 3)
    for over, expected in (("max", 1.0), ("mean", 0.2)):
        scores = planner(World(violation=one_in_five), constraint_over=over).score(start, actions)
        torch.testing.assert_close(scores.constraint, torch.full((3,), expected))


probabilities = st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4)


@given(st.lists(st.floats(-100, 5, width=32), min_size=4, max_size=4), probabilities, probabilities)
@settings(max_examples=200, deadline=None)
def test_rank_never_prefers_an_infeasible_candidate(value, constraint, safe_set):
    scores = Scores(*(torch.tensor(part) for part in (value, constraint, safe_set)))
    feasible = scores.feasible(0.8, 0.2)
    best = int(scores.rank(0.8, 0.2).argmax())
    allowed = scores.constraint <= 0.2
    if feasible.any():
        assert feasible[best]
        assert scores.value[best] == scores.value[feasible].max()
    elif allowed.any():
        assert allowed[best]


@pytest.mark.parametrize(
    ("mean", "stddev", "message"),
    [
        (np.zeros(2), np.zeros(3), "expected 3 values"),
        (np.zeros(3), np.zeros((1, 3)), "expected 3 values"),
        (np.array([0, np.nan, 0]), np.zeros(3), "NaN"),
        (np.zeros(3), np.array([0, np.inf, 0]), "NaN or infinity"),
        (np.zeros(3), np.array([0, -1.0, 0]), ">= 0"),
    ],
)
def test_bad_latents_are_refused(mean, stddev, message):
    with pytest.raises(ValueError, match=message):
        planner().plan(mean, stddev)


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="unknown planner profile 'fast'; known: paper, realtime"):
        planner_profile("fast")
    with pytest.raises(ConfigError, match="planner.elites"):
        planner_profile("realtime", elites=1)
    with pytest.raises(ConfigError, match="planner.warm_start"):
        planner_profile("realtime", warm_start="sometimes")
