"""The planner on a hand-made latent model whose optimum is known.

The latent is a point in the plane (the first two of three dimensions); an action moves it. The
value is minus the distance to (1, 0); x in (0.4, 0.6), |y| < 0.3 violates; the safe set is |y| < 1.
"""

import numpy as np
import pytest
import torch
from torch import nn

from safe_skills.data.settings import ConfigError
from safe_skills.ls3.inference import Kernels
from safe_skills.ls3.planner import Planner, PlanOutcome, WarmStart, noise_mixing
from safe_skills.ls3.planner_config import PlannerConfig, planner_profile
from safe_skills.ls3.scoring import Scores

STEP = 0.2
LIMIT = np.array([0.03, 0.06])


class Dynamics(nn.Module):
    """Moves the first two dimensions by the action; members differ by `bias` in all."""

    members = 5

    def __init__(self, stddev=1e-5, bias=0.0):
        super().__init__()
        self.stddev, self.bias = stddev, bias

    def forward(self, inputs, groups):
        change = torch.zeros_like(inputs[..., :3])
        change[..., :2] = STEP * inputs[..., 3:]
        for member, first, last in groups:
            change[first:last] += self.bias * member
        return change, torch.full_like(change, self.stddev)


class World(nn.Module):
    """What `LS3Models` is to a planner, with the functions that a test gives it."""

    latent_dim, action_dim = 3, 2

    def __init__(self, safe=None, violation=None, goal=None, value=None, **dynamics):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.dynamics = Dynamics(**dynamics)
        self.value = value or (lambda z: -10 * (z[..., :2] - torch.tensor([1.0, 0.0])).norm(dim=-1))
        self.goal = goal or (lambda z: (z[..., 0] > 0.95).float())
        self.safe_set = safe or (lambda z: (z[..., 1].abs() < 1.0).float())
        self.constraint = violation or self.in_wall

    def kernels(self, dtype):
        assert dtype == torch.float32
        value = lambda z: self.value(z).mean(0)  # noqa: E731
        return Kernels(self.dynamics, value, self.goal, self.constraint, self.safe_set)

    @staticmethod
    def in_wall(z):
        return ((z[..., 0] - 0.5).abs() < 0.1).float() * (z[..., 1].abs() < 0.3).float()


SMALL = PlannerConfig(
    candidates=200, particles=5, elites=20, iterations=4, horizon=4, precision="float32"
)


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
        violation[..., 0] = 0.0  # latents are (H, P, N, d)
        return violation

    plan = solve(planner(World(violation=only_first)))
    assert np.isfinite(plan.actions).all()


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (9, [8, 7, 6, 5]),  # of more feasible ones than elites, the best
        (3, [2, 1, 0]),  # of fewer, all of them and nothing else
        (1, [0, 7]),  # two at least, the second nearest to the safe set
        (0, [7, 6, 5, 4]),
    ],
)
def test_elites_are_feasible_candidates_alone(allowed, expected):
    """Values rise with the number of a candidate; those below 8 reach the safe set ever better."""
    controller = planner(elites=4)
    number = torch.arange(10.0)
    feasible = number < allowed
    safe_set = torch.where(feasible, 0.9, torch.where(number < 8, 0.05 * number, 0.0))
    scores = Scores(value=number, constraint=torch.zeros(10), safe_set=safe_set)
    elites = controller._elites(scores, feasible, allowed, SMALL.delta_s)
    assert elites.tolist() == expected


def test_samples_beyond_the_largest_action_are_clamped_on_both_sides():
    sampled = planner()._sampled(torch.tensor([[0.9, -0.9]]), torch.ones(1, 2), 500)
    assert sampled.amax() == 1.0 and sampled.amin() == -1.0
    assert (sampled == 1.0).any(0).all() and (sampled == -1.0).any(0).all()


def test_warm_start_is_shifted_by_one_step():
    controller = planner(p_random=0.0, min_stddev=0.0)
    mean = torch.tensor([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0], [0.4, 0.0]])
    controller.warm_start = WarmStart(mean, torch.zeros(4, 2), mean[None])
    population = controller._first_population(use_warm_start=True)
    torch.testing.assert_close(population[:, :3, 0], torch.tensor([0.2, 0.3, 0.4]).expand(200, 3))
    assert population[:, 3].std() > 0.3
    controller.reset()
    assert controller._first_population(use_warm_start=True).std() > 0.5


@pytest.mark.parametrize("p_random", [0.0, 0.3, 1.0])
def test_share_of_random_sequences(p_random):
    controller = planner(p_random=p_random, warm_start="unshifted")
    half = torch.full((4, 2), 0.5)
    controller.warm_start = WarmStart(half, torch.zeros(4, 2), half[None])
    population = controller._first_population(use_warm_start=True)
    warm = (population == 0.5).all(-1).all(-1).float().mean()
    assert float(warm) == pytest.approx(1 - p_random)


def test_kept_elites_come_again_in_the_next_population_and_shifted_in_the_next_plan():
    controller = planner(kept_elites=0.5, p_random=0.3)
    elites = 2 * torch.rand(20, 4, 2) - 1
    mean, stddev = elites.mean(0), elites.std(0)
    following = controller._next_population(mean, stddev, elites, 1)
    torch.testing.assert_close(following[:10], elites[:10])
    controller.warm_start = WarmStart(mean, stddev, elites)
    first = controller._first_population(use_warm_start=True)
    torch.testing.assert_close(first[:10, :3], elites[:10, 1:])
    torch.testing.assert_close(first[:10, 3], elites[:10, 3])
    assert first[10:].unique(dim=0).shape == (190, 4, 2)


def test_populations_shrink_down_to_twice_the_elites():
    controller = planner(decay=2.0)
    mean, stddev = torch.zeros(4, 2), torch.ones(4, 2)
    elites = torch.zeros(20, 4, 2)
    sizes = [len(controller._next_population(mean, stddev, elites, k)) for k in (1, 2, 3)]
    assert sizes == [100, 50, 40]


def test_the_search_ends_when_its_gaussian_is_narrow_enough():
    narrow = solve(planner(stop_stddev=1.0))
    assert narrow.iterations == 1
    assert solve(planner(stop_stddev=0.0)).iterations == SMALL.iterations


@pytest.mark.parametrize("exponent", [0.5, 2.0, 4.0])
def test_coloured_noise_has_the_power_it_should(exponent):
    horizon = 8
    mix = noise_mixing(horizon, exponent)
    covariance = mix @ mix.T
    torch.testing.assert_close(covariance.diagonal(), torch.ones(horizon), atol=1e-4, rtol=0)
    power = torch.fft.fft(covariance[0]).real
    frequency = torch.fft.fftfreq(horizon).abs().clamp(min=1 / horizon)
    expected = frequency**-exponent
    torch.testing.assert_close(power / power[0], expected / expected[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(noise_mixing(horizon, 0.0), torch.eye(horizon), atol=1e-5, rtol=0)


def test_coloured_noise_reaches_the_candidates():
    controller = planner(noise_exponent=4.0, candidates=4000)
    sampled = controller._sampled(torch.zeros(4, 2), torch.full((4, 2), 0.1), 4000)[..., 0]
    # Steep noise over four steps: the mean and one period in equal parts, so 1/3 from step to step.
    assert np.corrcoef(sampled.T)[0, 1] == pytest.approx(1 / 3, abs=0.06)
    assert sampled.std() == pytest.approx(0.1, abs=0.01)


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
    with pytest.raises(ConfigError, match="planner.decay: expected 1..10"):
        planner_profile("realtime", decay=0.5)
    with pytest.raises(ConfigError, match="planner.warm_start"):
        planner_profile("realtime", warm_start="sometimes")


@pytest.mark.parametrize("outcome", [PlanOutcome.FEASIBLE, PlanOutcome.RANDOM])
def test_plans_stay_within_the_range_of_a_slower_robot(outcome):
    never = (lambda z: torch.ones_like(z[..., 0])) if outcome is PlanOutcome.RANDOM else None
    slow = planner(World(violation=never), action_range=0.2, infeasible="random")
    for _ in range(3):
        plan = slow.plan(np.zeros(3), np.zeros(3))
        assert plan.outcome is outcome
        steps = np.abs(plan.actions) / LIMIT
        assert 0.05 < steps.max() <= 0.2 + 1e-6


def test_the_whole_range_is_what_it_was():
    plans = [
        planner(**changes).plan(np.zeros(3), np.zeros(3)) for changes in ({}, {"action_range": 1.0})
    ]
    np.testing.assert_array_equal(plans[0].actions, plans[1].actions)


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.1, float("nan")])
def test_a_range_that_is_none_is_refused(bad):
    with pytest.raises(ConfigError, match="action_range: expected above 0, up to 1"):
        PlannerConfig(action_range=bad)
