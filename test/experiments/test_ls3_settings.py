"""Settings of LS3's runs, and that an ablation changes what it says and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from safe_skills.data.latents import EpisodeLabels, LatentReplay
from safe_skills.data.settings import ConfigError
from safe_skills.envs.tasks import TASKS, find_task
from safe_skills.experiments.ls3_settings import (
    ABLATIONS,
    ablated,
    layout_of,
    load_setting,
    new_agent,
)
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.learners import SafeSetLearner
from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.observation import FrameObservation, MaskObservation
from safe_skills.ls3.planner_config import TABLE_3, PlannerConfig, planner_profile
from safe_skills.paths import config_file


def changed(one, other, place=""):
    """Names of the settings in which two nested mappings differ."""
    names = set()
    for key in one.keys() | other.keys():
        here, there = one.get(key), other.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            names |= changed(here, there, f"{place}{key}.")
        elif here != there:
            names.add(f"{place}{key}")
    return names


@pytest.mark.parametrize(
    ("name", "planner", "expected"),
    [
        ("none", {}, {}),
        ("none", {"horizon": None, "delta_c": None}, {}),
        ("no-safe-set", {}, {"online.planner.use_safe_set": False}),
        ("bc-safe-set", {}, {"safe_set.gamma_s": 0.0}),
        ("no-constraint", {}, {"online.planner.use_constraint": False}),
        ("none", {"horizon": 3}, {"online.planner.horizon": 3}),
        ("none", {"delta_c": 0.5}, {"online.planner.delta_c": 0.5}),
        (
            "no-safe-set",
            {"delta_s": 0.4, "delta_c": None},
            {"online.planner.use_safe_set": False, "online.planner.delta_s": 0.4},
        ),
    ],
)
def test_an_ablation_changes_what_it_says(name, planner, expected):
    whole = LS3Config()
    values = ablated(whole, name, **planner).to_dict()
    assert changed(whole.to_dict(), values) == set(expected)
    for place, value in expected.items():
        section, *keys = place.split(".")
        found = values[section]
        for key in keys:
            found = found[key]
        assert found == value


@pytest.mark.parametrize("profile", ["realtime", "paper"])
def test_the_planner_that_acts_differs_in_the_ablated_setting_alone(profile):
    task = find_task("navigation")
    whole = new_agent(task, "", LS3Config()).planner_config(profile)
    agent = new_agent(task, "", ablated(LS3Config(), "no-safe-set", horizon=3))
    assert agent.planner_config(profile) == replace(whole, use_safe_set=False, horizon=3)
    assert agent.planner(profile).config == agent.planner_config(profile)
    given = PlannerConfig(horizon=7)
    assert agent.planner(given).config == given


def test_bc_safe_set_is_plain_cross_entropy():
    config = ablated(LS3Config(), "bc-safe-set")
    torch.manual_seed(0)
    models = LS3Models(config, 2)
    replay = LatentReplay(32, 2, 0.99)
    rng = np.random.default_rng(0)
    for success in (True, False):
        rewards = np.full(5, -1.0, np.float32)
        rewards[-1] = 0.0 if success else -1.0
        labels = EpisodeLabels(np.zeros((5, 2), np.float32), rewards, np.zeros(5, np.float32), True)
        mean = rng.normal(size=(6, 32)).astype(np.float32)
        replay.add(mean, np.zeros((6, 32), np.float32), labels)
    generator = torch.Generator().manual_seed(0)
    learner = SafeSetLearner(models.safe_set, config.safe_set, replay, generator, 100)
    batch = learner.sample()
    assert 0 < batch.label.mean() < 1
    torch.testing.assert_close(learner.target_of(batch), batch.label, rtol=0, atol=0)
    loss = learner.gradient(batch)
    probability = models.safe_set(batch.latents)
    chosen = torch.where(batch.label == 1, probability, 1 - probability)
    torch.testing.assert_close(loss, -chosen.log().mean())
    (-chosen.log().mean()).backward()
    own = [parameter.grad.clone() for parameter in models.safe_set.parameters()]
    learner.gradient(batch)
    for parameter, gradient in zip(models.safe_set.parameters(), own, strict=True):
        # backward added to what was there, the gradient of the same loss.
        torch.testing.assert_close(2 * parameter.grad, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_shipped_settings_of_every_task_are_valid(task):
    names = list(yaml.safe_load(config_file(f"training/ls3_{task}.yaml").read_text()))
    assert {"default", "paper", "brief"} <= set(names)
    for name in names:
        counts, config = load_setting(task, name)
        agent = new_agent(find_task(task), layout_of(task, None), config)
        agent.planner_config(config.online.profile)
        assert counts["demos"] > 0
    counts, paper = load_setting(task, "paper")
    kinds = TASKS[task].episodes
    assert counts["demos"] == kinds["demo"] and counts["random"] == kinds["random"]
    assert paper.encoder.architecture == "planet" and paper.encoder.beta == 1e-6
    assert paper.online.profile == "paper"
    gamma_s = {"navigation": 0.3, "reacher": 0.3, "pushing": 0.9, "cable": 0.9}
    assert paper.safe_set.gamma_s == gamma_s[task]
    assert paper.online.episodes_per_update == (5 if task == "cable" else 10)


def test_the_papers_planner_is_that_of_the_task():
    for task, column in TABLE_3.items():
        assert planner_profile("paper", task) == column
    assert planner_profile("paper", "reacher").delta_s == 0.5
    assert planner_profile("realtime", "reacher") == planner_profile("realtime")


def test_what_an_agent_of_a_task_sees_and_how_far_it_moves():
    reacher = new_agent(find_task("reacher"), "", LS3Config())
    assert reacher.observation == FrameObservation(size=32, stack=3)
    np.testing.assert_array_equal(reacher.action_limit, [1.0, 1.0])
    cable = new_agent(find_task("cable"), "tight", LS3Config())
    assert cable.observation == MaskObservation()
    np.testing.assert_array_equal(cable.action_limit, [0.03, 0.03])


@pytest.mark.parametrize(
    ("planner", "line"),
    [
        ({"depth": 3}, "unknown setting online.planner.depth"),
        ({"horizon": 0}, "planner.horizon: expected at least 1"),
        ({"delta_s": "high"}, "online.planner.delta_s: expected"),
    ],
)
def test_settings_of_the_planner_are_checked(planner, line):
    with pytest.raises(ConfigError, match=line):
        LS3Config.from_dict({"online": {"planner": planner}})


def test_what_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="expected one of none, no-safe-set, bc-safe-set"):
        ablated(LS3Config(), "no-goal")
    with pytest.raises(ConfigError, match="the task navigation has none, got 'tight'"):
        layout_of("navigation", "tight")
    assert ABLATIONS[0] == "none"
