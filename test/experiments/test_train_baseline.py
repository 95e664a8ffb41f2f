"""The commands of LS3's baselines, end to end on a small setting, and their errors."""

import dataclasses
import json

import numpy as np
import pytest

from safe_skills import cli
from safe_skills.baselines.config import (
    AwacConfig,
    BaselineConfig,
    OnlineConfig,
    RecoveryConfig,
    SacfdConfig,
    VisionConfig,
)
from safe_skills.baselines.methods import METHODS, load_agent
from safe_skills.data.run_table import read_episodes
from safe_skills.data.settings import ConfigError
from safe_skills.envs.tasks import TASKS
from safe_skills.experiments import train_baseline
from safe_skills.experiments.collect_cable import collect_cable
from safe_skills.experiments.collect_task import collect_task
from safe_skills.experiments.train_baseline import load_setting, view_of

SMALL = BaselineConfig(
    vision=VisionConfig(image_size=16, channels=(4, 4), features=8),
    online=OnlineConfig(episodes_per_update=1, updates=1, steps_per_gradient=25),
    sacfd=SacfdConfig(hidden=(8,), batch_size=8, clone_iterations=3, critic_iterations=3),
    recovery=RecoveryConfig(hidden=(8,), iterations=3),
    awac=AwacConfig(actor_hidden=(8,), critic_hidden=(8,), batch_size=8, iterations=3),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("navigation")
    collect_task(folder, "navigation", {"demo": 2, "constraint": 1}, workers=1)
    return folder


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(train_baseline, "load_setting", lambda task, scale: SMALL)


def call(capsys, *words):
    status = cli.main([str(word) for word in words])
    return status, capsys.readouterr()


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_trained_measured_and_goes_on(small, data, tmp_path, capsys, method):
    out, path = tmp_path / "run", tmp_path / "metrics.json"
    words = ("train", method, "navigation", "--data", data, "--out", out, "--json", path)
    status, said = call(capsys, *words, "--episodes", 2)
    assert status == 0 and f"{method}, navigation" in said.out
    metrics = json.loads(path.read_text())
    assert metrics["data"] == {"demo": 2, "constraint": 1} and metrics["updates"] == 1
    (row,) = read_episodes(out / "episodes.csv")
    assert metrics["training"]["all of training"]["mean_return"] == row.episode_return
    assert 0.0 <= metrics["training"]["recovery_share"] <= 1.0
    assert metrics["evaluation"]["episodes"] == 2
    assert (out / "curve.png").stat().st_size > 1000
    agent, limit = load_agent(out / "checkpoint", task="navigation")
    assert agent.method == method and limit.tolist() == [3.0, 3.0]
    saved = json.loads((out / "checkpoint" / "metrics.json").read_text())
    assert saved["evaluation"] == metrics["evaluation"]

    status, _ = call(capsys, *words, "--episodes", 2, "--updates", 2)
    longer = json.loads(path.read_text())
    assert status == 0 and longer["updates"] == 2
    assert read_episodes(out / "episodes.csv")[0] == row
    again, _ = load_agent(out / "checkpoints" / "update-0001")
    seen = np.zeros(again.spaces.observation.shape, np.uint8)
    first, then = (a.choose(seen, explore=False).executed for a in (agent, again))
    np.testing.assert_array_equal(first, then)


def test_the_cable_is_seen_as_its_mask(small, tmp_path, capsys):
    counts = {"demos": 1, "random": 0, "constraint": 1}
    folder = collect_cable(tmp_path / "data", "tight", **counts, workers=1).folder
    words = ("train", "sacfd", "cable", "--layout", "tight", "--data", folder)
    status, _ = call(capsys, *words, "--episodes", 1, "--out", tmp_path / "run")
    assert status == 0
    agent, limit = load_agent(tmp_path / "run" / "checkpoint", task="cable")
    assert agent.spaces.colours == 1 and limit == pytest.approx([0.03, 0.03])


def test_nothing_online_is_a_run_too(small, data, tmp_path, capsys):
    path = tmp_path / "metrics.json"
    words = ("train", "awac", "navigation", "--data", data, "--out", tmp_path / "run")
    status, _ = call(capsys, *words, "--updates", 0, "--episodes", 1, "--json", path)
    assert status == 0 and json.loads(path.read_text())["training"] == {}


def test_missing_data_is_collected_in_the_run(small, tmp_path, capsys, monkeypatch):
    few = dataclasses.replace(TASKS["navigation"], episodes={"demo": 1, "constraint": 1})
    monkeypatch.setitem(TASKS, "navigation", few)
    out = tmp_path / "run"
    words = ("train", "sacfd", "navigation", "--out", out, "--updates", 0, "--episodes", 1)
    assert call(capsys, *words, "--workers", 1)[0] == 0
    assert sorted(p.name for p in (out / "data").iterdir()) == [
        "constraint-00000.hdf5", "demo-00000.hdf5",
    ]  # fmt: skip


def test_an_interrupted_command_says_how_to_go_on(small, data, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    words = ("train", "sacfd", "navigation", "--data", data, "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(train_baseline, "write_curve", interrupt)
        status, said = call(capsys, *words, "--episodes", 1)
    assert status == 130 and "run the same command again to go on" in said.err
    before = read_episodes(tmp_path / "run" / "episodes.csv")
    assert call(capsys, *words, "--episodes", 1)[0] == 0
    assert read_episodes(tmp_path / "run" / "episodes.csv") == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--layout", "tight"), "--layout: the task navigation has none, got 'tight'"),
        (("--data", "nowhere"), "nowhere: expected demonstrations, found none"),
    ],
)
def test_what_makes_no_sense_is_one_line(small, tmp_path, capsys, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    status, said = call(capsys, "train", "sacfd", "navigation", *words, "--out", "run")
    errors = [line for line in said.err.splitlines() if line.startswith("safe-skills")]
    assert status == 2 and len(errors) == 1 and says in errors[0]


def test_episodes_of_another_task_are_refused(small, data, tmp_path, capsys):
    words = ("train", "sacfd", "cable", "--data", data, "--out", tmp_path / "run")
    status, said = call(capsys, *words)
    assert status == 2 and "expected actions of this task, at most 0.03, 0.03, got 3, 3" in said.err


def test_the_same_folder_for_another_seed_is_refused(small, data, tmp_path, capsys):
    words = ("train", "sacfd", "navigation", "--data", data, "--out", tmp_path / "run")
    assert call(capsys, *words, "--episodes", 1)[0] == 0
    status, said = call(capsys, *words, "--seed", 1)
    assert status == 2 and "written with another seed" in said.err


@pytest.mark.parametrize("words", [("swimming",), ("navigation", "--setting", "gpu")])
def test_unknown_names_end_with_the_usage(capsys, words):
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "sacfd", *words])
    assert end.value.code == 2 and "invalid choice" in capsys.readouterr().err


PAPER = {  # penalty, (gamma_risk, eps_risk), penalty of AWAC (LS3 sec. 7.1.2 to 7.1.4)
    "navigation": (3.0, (0.95, 0.8), 1.0),
    "reacher": (1.0, (0.55, 0.7), 1.0),
    "pushing": (3.0, (0.75, 0.7), 1.0),
    "cable": (3.0, (0.55, 0.7), 1.0),
}


@pytest.mark.parametrize("scale", train_baseline.SCALES)
@pytest.mark.parametrize("task", PAPER)
def test_what_the_paper_chose_by_task_is_in_the_settings(task, scale):
    config = load_setting(task, scale)
    recovery = (config.recovery.gamma_risk, config.recovery.eps_risk)
    assert (config.sacfd.penalty, recovery, config.awac.penalty) == PAPER[task]
    assert config.sacfd.learning_rate == config.awac.learning_rate == 3e-4
    assert config.sacfd.discount == config.awac.discount == 0.99
    count = config.online.episodes_per_update
    assert count == (5 if task == "cable" else 10) and config.online.updates == 25
    assert (scale == "paper") == (config.online.steps_per_gradient == 1)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_settings_fit_the_tasks(task):
    for scale in train_baseline.SCALES:
        assert load_setting(task.name, scale).vision.frames == task.frame_stack
    view, colours = view_of(task)
    seen = view(np.zeros((64, 64, 3), np.uint8))
    assert (seen.shape[2] if seen.ndim == 3 else 1) == colours == (1 if task.masked else 3)


def test_a_section_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="unknown setting 'flying'; known: cpu, paper"):
        load_setting("flying", "cpu")


def test_velocities_are_seen_in_stacked_frames(tmp_path, capsys, monkeypatch):
    stacked = dataclasses.replace(SMALL, vision=dataclasses.replace(SMALL.vision, frames=3))
    monkeypatch.setattr(train_baseline, "load_setting", lambda task, scale: stacked)
    counts = {"demo": 1, "constraint": 1, "random": 1}
    folder = collect_task(tmp_path / "data", "reacher", counts, workers=1).folder
    words = ("train", "recovery", "reacher", "--data", folder, "--out", tmp_path / "run")
    assert call(capsys, *words, "--episodes", 1)[0] == 0
    agent, _ = load_agent(tmp_path / "run" / "checkpoint", task="reacher")
    assert agent.spaces.observation.shape == (9, 16, 16)
