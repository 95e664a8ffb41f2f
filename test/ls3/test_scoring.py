"""The scorer against a straightforward rendering of the same equations, and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from safe_skills.envs.cable import CableEnv
from safe_skills.envs.cable_policies import RoutePolicy
from safe_skills.experiments.reference_scoring import ReferenceScorer
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import DynamicsConfig
from safe_skills.ls3.inference import DynamicsKernel, Group, ValueKernel, precision_of
from safe_skills.ls3.networks import DynamicsEnsemble
from safe_skills.ls3.planner_config import PlannerConfig, planner_profile
from safe_skills.ls3.scoring import BLOCK_ROWS, Chance, Scorer, Scores
from safe_skills.paths import checkpoint_dir

PAPER = planner_profile("paper", candidates=300, elites=30)
SMALL = PlannerConfig(candidates=40, elites=8, particles=5, objective_on="mean_latent")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def agent():
    return LS3Agent.load(checkpoint_dir("cable_tight"))


@pytest.fixture(scope="module")
def beliefs(agent):
    """The start, beside the obstacle, and near the goal, on the demonstrator's way."""
    env = CableEnv(agent.layout)
    observation, _ = env.reset(seed=2_000_000)
    policy = RoutePolicy(
        env.layout.demo_route, env.layout.demo_step, 1e-3, np.random.default_rng(0)
    )
    images, over = [observation["image"]], False
    while not over:
        observation, _, over, _, _ = env.step(policy(env.state))
        images.append(observation["image"])
    env.close()
    chosen = [images[0], images[len(images) // 2], images[-2]]
    return [tuple(map(torch.from_numpy, agent.encode(image))) for image in chosen]


def population(config, seed=0):
    """Candidates that drift in all directions, so that some are feasible and some are not."""
    generator = torch.Generator().manual_seed(seed)
    shape = (config.candidates, config.horizon, 2)
    drift = 2.4 * torch.rand(config.candidates, 1, 2, generator=generator) - 1.2
    return (drift + 0.3 * torch.randn(shape, generator=generator)).clamp(-1, 1)


def both(agent, config, belief, seed=0, precision="float32"):
    """Scores of the reference, and of the scorer with all that the planner would have it add."""
    actions = population(config, seed)
    result = []
    for scoring in (ReferenceScorer(agent.models), Scorer(agent.models, precision)):
        chance = Chance(seed, CPU, agent.models.dynamics.members, agent.latent_dim)
        draws = chance.draw(config, config.candidates, config.particles)
        with torch.inference_mode():
            scores = scoring.test(config, belief, actions, draws)
            feasible = scores.feasible(config.delta_s, config.delta_c)
            scoring.add_values(config, scores, feasible)
        result.append((scores, feasible, scoring))
    return result


VARIANTS = [
    {},
    {"constraint_over": "max"},
    {"objective_on": "mean_latent"},
    {"goal_reward": "indicator"},
    {"bounded_value": False},
    {"ensemble_sampling": "step"},
    {"latent_sampling": "plan"},
    {"latent_sampling": "mean"},
    {"noise": "common"},
    {"particles": 7},
    {"particles": 3},
    {"particles": 1},
    {"horizon": 1},
    {"use_safe_set": False},
    {"use_constraint": False},
    {"delta_c": 0.0},
]


@pytest.mark.parametrize("base", [PAPER, SMALL], ids=["blocks", "at once"])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_float32_scores_are_those_of_the_reference(agent, beliefs, base, changes):
    config = replace(base, **changes)
    for seed, belief in enumerate(beliefs):
        (expected, expected_set, _), (found, found_set, scorer) = both(agent, config, belief, seed)
        assert torch.equal(found_set, expected_set)
        close = {"rtol": 1e-4, "atol": 2e-4}
        torch.testing.assert_close(found.value[found_set], expected.value[found_set], **close)
        allowed = expected.allowed(config.delta_c)
        torch.testing.assert_close(found.constraint[allowed], expected.constraint[allowed], **close)
        torch.testing.assert_close(found.safe_set[allowed], expected.safe_set[allowed], **close)
        with torch.inference_mode():
            scorer.complete(config, found)
        torch.testing.assert_close(found.constraint, expected.constraint, **close)


def test_what_nobody_reads_is_left_out(agent, beliefs):
    assert PAPER.candidates * PAPER.particles > BLOCK_ROWS
    _, (scores, feasible, _) = both(agent, PAPER, beliefs[1])
    assert 0.05 < feasible.float().mean() < 0.95
    assert scores.value[~feasible].isnan().all()
    assert (scores.safe_set[~scores.allowed(PAPER.delta_c)] == 0).all()


def test_decisions_in_bfloat16_are_nearly_those_in_float32(agent, beliefs):
    """Rank correlation of values >= .99, >= 95 % of the elites and of the feasible set shared."""
    config = planner_profile("paper", candidates=1000, elites=100)
    for seed, belief in enumerate(beliefs):
        (expected, expected_set, _), (found, found_set, _) = both(
            agent, config, belief, seed, "bfloat16"
        )
        shared = found_set & expected_set
        assert shared.sum() >= 0.95 * (found_set | expected_set).sum()
        assert spearmanr(expected.value[shared], found.value[shared]).statistic >= 0.99
        ranks = [scores.rank(config.delta_s, config.delta_c) for scores in (expected, found)]
        count = min(config.elites, int(shared.sum()))
        elites = [set(rank.topk(count).indices.tolist()) for rank in ranks]
        assert len(elites[0] & elites[1]) >= 0.95 * count


def test_precision_follows_the_processor():
    assert precision_of("float32", CPU) == torch.float32
    assert precision_of("bfloat16", CPU) == torch.bfloat16
    known = torch.cpu.get_capabilities()
    native = known.get("avx512_bf16", False) or known.get("amx_bf16", False)
    assert (precision_of("auto", CPU) == torch.bfloat16) == native


@pytest.mark.parametrize("bounds", [(-10.0, 0.5), None])
@pytest.mark.parametrize("rows", [3, 600], ids=["one product", "a product a member"])
def test_dynamics_kernel_is_the_network(bounds, rows):
    network = DynamicsEnsemble(DynamicsConfig(log_variance_bounds=bounds), 4, 2)
    with torch.no_grad():
        network.net.weights[-1].mul_(20.0)  # so that the bounds matter
    latents, actions = torch.randn(10, rows, 4), torch.randn(10, rows, 2)
    groups = [Group(member, 2 * member, 2 * member + 2) for member in range(5)]
    with torch.inference_mode():
        change, stddev = DynamicsKernel(network, torch.float32)(
            torch.cat((latents, actions), -1), groups
        )
        mean, log_variance = network(latents.view(5, -1, 4), actions.view(5, -1, 2))
    torch.testing.assert_close(latents + change, mean.view(10, rows, 4), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        stddev, torch.exp(0.5 * log_variance).view(10, rows, 4), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("count", [1, 7, 900])
def test_value_kernel_is_the_mean_over_members_and_particles(agent, count):
    latents = torch.randn(6, count, agent.latent_dim)
    with torch.inference_mode():
        expected = agent.models.value(latents.flatten(0, 1)).view(6, count).mean(0)
        found = ValueKernel(agent.models.value, torch.float32)(latents)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("particles", [1, 3, 5, 7, 20])
def test_every_member_moves_equally_many_particles(particles):
    draws = Chance(0, CPU, 5, 4).draw(PlannerConfig(candidates=2, elites=2), 2, particles)
    assert draws.noise.shape == (5, particles, 2, 4)
    for order, groups in zip(draws.order.tolist(), draws.groups, strict=True):
        assert sorted(order) == list(range(particles))
        assert [g.first for g in groups] == [0, *(g.last for g in groups[:-1])]
        assert groups[-1].last == particles
        sizes = [g.last - g.first for g in groups]
        assert max(sizes) - min(sizes) <= 1
        assert len({g.member for g in groups}) == len(groups) == min(particles, 5)


def test_few_particles_meet_every_member_in_time():
    chance, config = Chance(0, CPU, 5, 4), PlannerConfig(candidates=2, elites=2)
    members = [chance.draw(config, 2, 1).groups[0][0].member for _ in range(500)]
    assert np.bincount(members, minlength=5).min() > 60


def test_one_member_a_step_for_all_particles_as_the_released_code():
    config = replace(SMALL, ensemble_sampling="step")
    draws = Chance(0, CPU, 5, 4).draw(config, 2, 5)
    assert all(len(groups) == 1 and groups[0][1:] == (0, 5) for groups in draws.groups)


def test_common_noise_gives_like_candidates_like_scores(agent, beliefs):
    config = replace(SMALL, noise="common")
    scorer, chance = Scorer(agent.models), Chance(0, CPU, 5, agent.latent_dim)
    actions = torch.zeros(4, config.horizon, 2)
    with torch.inference_mode():
        draws = chance.draw(config, 4, config.particles)
        scores = scorer.test(config, beliefs[0], actions, draws)
        torch.testing.assert_close(scores.value, scores.value[:1].expand(4), rtol=0, atol=1e-4)
        draws = chance.draw(SMALL, 4, SMALL.particles)
        assert scorer.test(SMALL, beliefs[0], actions, draws).value.std() > 1e-3


probabilities = st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4)


@given(st.lists(st.floats(-100, 5, width=32), min_size=4, max_size=4), probabilities, probabilities)
@settings(max_examples=200, deadline=None)
def test_rank_never_prefers_an_infeasible_candidate(value, constraint, safe_set):
    scores = Scores(*(torch.tensor(part) for part in (value, constraint, safe_set)))
    feasible = scores.feasible(0.8, 0.2)
    best = int(scores.rank(0.8, 0.2).argmax())
    allowed = scores.allowed(0.2)
    if feasible.any():
        assert feasible[best]
        assert scores.value[best] == scores.value[feasible].max()
    elif allowed.any():
        assert allowed[best]
