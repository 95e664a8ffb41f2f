"""Learning an Operation task over a prior, and measuring both, end to end; and the errors."""

import json

import numpy as np
import pytest

from safe_skills import cli
from safe_skills.baselines.sac import SacConfig, SacRun
from safe_skills.experiments.skill_rollout import (
    SkillEpisode,
    SkillJob,
    run_jobs,
    skill_env,
    summarize,
)
from safe_skills.experiments.train_sac import smoothed
from safe_skills.safer.config import SaferConfig
from safe_skills.safer.encoder import StateEncoder
from safe_skills.safer.policy import SkillPolicy
from safe_skills.safer.prior import SkillPrior

SMALL = {
    "encoder": {"channels": [4, 8, 8], "features": 16},
    "flow": {"hidden": [16]},
    "posterior": {"width": 8, "heads": 2, "layers": 1, "window": 4, "size": 2},
}
ASSURANCE = [{"allowed": 0.0, "eta": None}, {"allowed": 0.15, "eta": 0.5}]


@pytest.fixture(scope="module")
def priors(tmp_path_factory):
    folders = {}
    for method in ("safer", "parrot"):
        settings = SMALL
        if method == "parrot":
            settings = {**SMALL, "posterior": {"kind": "none"}, "objective": {"contrastive": False}}
        prior = SkillPrior(
            SaferConfig.from_dict(settings), method=method, task="operation", action_dim=5
        )
        folders[method] = tmp_path_factory.mktemp(method)
        prior.save(folders[method], {"assurance": ASSURANCE})
    return folders


def call(capsys, *words):
    status = cli.main([str(word) for word in words])
    return status, capsys.readouterr()


def test_a_policy_is_learned_over_a_prior_and_measured(priors, tmp_path, capsys):
    out, path = tmp_path / "run", tmp_path / "metrics.json"
    words = ("train", "sac", "--prior", priors["safer"], "--task", 34, "--steps", 50)
    words += ("--episodes", 2, "--out", out, "--json", path)
    status, said = call(capsys, *words)
    assert status == 0 and "eta 0.50" in said.out
    metrics = json.loads(path.read_text())
    assert metrics["method"] == "safer" and metrics["eta"] == 0.5 and metrics["steps"] == 50
    assert metrics["training"]["episodes"] == 1 and metrics["evaluation"]["episodes"] == 2
    prior = SkillPrior.load(priors["safer"])
    policy = SkillPolicy.load(out / "checkpoint", prior_id=prior.model_id)
    assert (policy.bound, policy.actions) == (0.5, "skill")
    assert (out / "curve.png").stat().st_size > 1000
    assert len((out / "curve.csv").read_text().splitlines()) == 2

    status, said = call(
        capsys, "evaluate", "operation", "--prior", priors["safer"], "--policy", out / "checkpoint",
        "--tasks", 34, "--episodes", 2, "--workers", 1, "--json", path,
    )  # fmt: skip
    assert status == 0
    measured = json.loads(path.read_text())["rows"][0]
    assert {name: measured[name] for name in metrics["evaluation"]} == metrics["evaluation"]


def test_a_policy_from_frames_acts_as_the_agent_that_learned_it(priors, tmp_path, capsys):
    out = tmp_path / "run"
    words = ("train", "sac", "--prior", priors["safer"], "--task", 34, "--observation", "pixels")
    assert call(capsys, *words, "--steps", 35, "--episodes", 1, "--out", out)[0] == 0
    policy = SkillPolicy.load(out / "checkpoint")
    assert policy.observation == "pixels"
    encoder = StateEncoder(SaferConfig.from_dict(SMALL).encoder)
    size = SMALL["encoder"]["features"]
    env = skill_env(SkillPrior.load(priors["safer"]), 34, "skill", 0.5, "pixels")
    identity = json.loads((out / "checkpoint" / "metrics.json").read_text())
    assert identity["observation"] == "pixels"
    run = SacRun(env, SacConfig(steps=5), tmp_path / "other", 0, encoder=(lambda: encoder, size))
    observation, _ = env.reset(seed=1)
    copy = SkillPolicy(
        **{**policy.settings, "encoder": SaferConfig.from_dict(SMALL).encoder}, task="operation"
    )
    copy.load_state_dict(run.actor_tensors())
    expected, _ = run.agent.predict(observation, deterministic=True)
    np.testing.assert_allclose(copy.act(observation), expected, atol=1e-5)
    env.close()


@pytest.mark.parametrize(
    ("method", "actions", "bound"),
    [("parrot", "skill", 3.0), ("safer", "raw", 1.0), ("safer", "explore", 1.0)],
)
def test_the_baselines_have_their_bounds(priors, tmp_path, capsys, method, actions, bound):
    out = tmp_path / "run"
    words = ("train", "sac", "--prior", priors[method], "--task", 35, "--actions", actions)
    assert call(capsys, *words, "--steps", 35, "--episodes", 1, "--out", out)[0] == 0
    policy = SkillPolicy.load(out / "checkpoint")
    assert policy.bound == bound
    assert policy.actions == ("skill" if actions == "skill" else "raw")


def test_a_prior_is_measured_within_each_of_its_bounds(priors, tmp_path, capsys):
    path = tmp_path / "calibration.json"
    status, said = call(
        capsys, "evaluate", "operation", "--prior", priors["safer"], "--tasks", 34, 35,
        "--episodes", 2, "--workers", 2, "--json", path,
    )  # fmt: skip
    assert status == 0 and "0.15" in said.out
    written = json.loads(path.read_text())
    assert [(row["allowed"], row["task"]) for row in written["rows"]] == [
        (0.15, 34), (0.15, 35), (0.15, None),
    ]  # fmt: skip
    assert written["rows"][2]["episodes"] == len(written["episodes"]) == 4
    again = SkillJob(priors["safer"], None, 0.5, 35, (1_000_001,))
    episode = next(run_jobs([again], 1))[0]
    same = [e for e in written["episodes"] if e["task"] == 35 and e["seed"] == 1_000_001]
    assert same[0]["costs"] == list(episode.costs)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train", "sac", "--task", 40), "task: expected 0 to 39, got 40"),
        (("train", "sac", "--task", 3, "--allowed", 0), "no eta for an unsafe share of 0"),
        (("train", "sac", "--task", 3, "--eta", -1), "eta: expected a bound above 0"),
        (("evaluate", "operation", "--eta", 0), "--eta: expected bounds above 0"),
        (("evaluate", "operation", "--allowed", 0.3), "no eta for an unsafe share of 0.3"),
        (("evaluate", "operation", "--policy", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_what_makes_no_sense_is_one_line(priors, tmp_path, capsys, words, says):
    extra = ("--out", tmp_path) if words[0] == "train" else ()
    status, said = call(capsys, *words, "--prior", priors["safer"], *extra)
    errors = [line for line in said.err.splitlines() if line.startswith("safe-skills")]
    assert status == 2 and len(errors) == 1 and says in errors[0]


def test_figures_of_episodes_by_hand():
    episodes = [
        SkillEpisode(34, 0, True, (0.0, 1.0), 0.0),
        SkillEpisode(34, 1, False, (0.0,) * 6, -6.0),
    ]
    found = summarize(episodes)
    assert found["success_rate"] == found["contact_rate"] == 0.5
    assert found["unsafe_steps"] == 1 / 8 and found["violations"] == 1
    assert found["mean_return"] == -3.0 and found["mean_length"] == 4.0
    low, high = found["unsafe_interval_95"]
    assert (low, high) == (0.0, 0.5)
    assert summarize(episodes[:1])["unsafe_interval_95"] == (0.0, 1.0)


def test_a_curve_is_smoothed_by_the_values_before():
    np.testing.assert_allclose(smoothed([0, 1, 1, 0, 0], 2), [0, 0.5, 1, 0.5, 0])
    assert len(smoothed([], 3)) == 0
