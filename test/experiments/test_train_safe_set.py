"""A safe set over a prior's features from the command line, then watching; and its errors."""

import json

import pytest
import yaml
from drawn_episodes import episodes
from test_train_safer import store

from safe_skills import cli
from safe_skills.experiments import training_runs
from safe_skills.experiments.train_safe_set import load_setting
from safe_skills.ls3.calibration import CalibrationError
from safe_skills.ls3.watcher import Watcher
from safe_skills.paths import config_file
from safe_skills.safer.prior import SkillPrior


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("safe-set")
    data, run = store(folder / "data", episodes(60)), folder / "prior"
    words = ["train", "safer", "operation", "--setting", "small", "--data", str(data)]
    assert cli.main([*words, "--out", str(run)]) == 0
    return data, run / "checkpoint"


def train(folders, out, *more):
    data, prior = folders
    words = ["train", "safe-set", "operation", "--setting", "small", "--out", str(out)]
    return cli.main([*words, "--prior", str(prior), "--data", str(data), *more])


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    assert train(folders, out, "--json", str(out / "figures.json")) == 0
    return out


def test_train_then_load_then_do_nothing_again(folders, run):
    prior = SkillPrior.load(folders[1])
    watcher = Watcher.load(run / "checkpoint", task="operation", encoder_id=prior.model_id)
    metrics = watcher.metrics
    assert metrics == json.loads((run / "figures.json").read_text())
    assert (watcher.latent_dim, watcher.action_dim) == (16, 5)
    for part in ("held_out_episodes", "held_out_tasks"):
        assert 0 <= metrics[part]["constraint_auc"] <= 1
        assert 0 <= metrics[part]["let_through"] <= 1
    # Sixty episodes, a third of them of the task that is kept apart, half of the others held out.
    assert metrics["data"]["train_episodes"] == 20
    assert metrics["data"]["unseen_episodes"] == 20
    assert metrics["levels"]["delta_c"]["value"] == watcher.thresholds().delta_c.value
    assert metrics["calibration"]["delta_c"]["trials"][-1] <= 20
    assert list((run / "tensorboard").iterdir())
    written = (run / "checkpoint" / "model.safetensors").read_bytes()
    assert train(folders, run) == 0
    assert (run / "checkpoint" / "model.safetensors").read_bytes() == written


def test_what_was_trained_is_kept_where_no_level_keeps_the_promise(
    folders, tmp_path, monkeypatch, capsys
):
    sections = yaml.safe_load(config_file("training/ls3_operation.yaml").read_text())
    sections["small"]["model"]["calibration"]["allowed"] = 0.001
    path = tmp_path / "ls3_operation.yaml"
    path.write_text(yaml.safe_dump(sections))
    monkeypatch.setattr(training_runs, "config_file", lambda name: path)
    assert train(folders, tmp_path / "run") == 0
    watcher = Watcher.load(tmp_path / "run" / "checkpoint")
    assert watcher.metrics["levels"] == {}
    assert watcher.metrics["no_levels_because"].startswith("delta_C: not even 0.2 keeps")
    assert watcher.metrics["held_out_tasks"]["let_through"] is None
    with pytest.raises(CalibrationError, match="not even 0.2"):
        watcher.thresholds()
    assert watcher.thresholds(allowed=0.8).delta_c.value >= 0.2
    assert "not even 0.2" in capsys.readouterr().out


def evaluate(folders, out, *more):
    words = ["evaluate", "operation", "--prior", str(folders[1]), "--tasks", "34"]
    return cli.main([*words, "--episodes", "1", "--workers", "1", "--json", str(out), *more])


@pytest.mark.parametrize("gate", ["eta", "safe-set", "both"])
def test_each_gate_is_measured(folders, run, gate, tmp_path, capsys):
    out = tmp_path / "figures.json"
    words = ["--eta", "1", "--gate", gate]
    if gate != "eta":
        words += ["--watch", str(run / "checkpoint"), "--response", "hold", "--levels", "0", "0"]
    assert evaluate(folders, out, *words) == 0
    found = json.loads(out.read_text())
    assert found["gate"] == gate
    row = found["rows"][-1]
    assert row["eta"] == (3.0 if gate == "safe-set" else 1.0)
    assert row["held_steps"] == (0.0 if gate == "eta" else 1.0)
    assert f"gate {gate}" in capsys.readouterr().out
    if gate != "eta":
        assert found["watching"]["delta_c"] == 0.0
        assert row["steps"] == 30


def test_what_does_not_go_together_is_one_clear_line(folders, run, tmp_path, capsys):
    def told(*words):
        assert evaluate(folders, tmp_path / "figures.json", *words) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    capsys.readouterr()
    assert "--gate both: expected --watch CHECKPOINT" in told("--gate", "both")
    watch = ["--watch", str(run / "checkpoint")]
    assert "--gate eta: expected no --watch" in told("--gate", "eta", *watch)
    assert "expected method 'safe-set'" in told("--watch", str(folders[1]))
    missing = ["train", "safe-set", "operation", "--prior", str(folders[1]), "--data", "nowhere"]
    assert cli.main(missing) == 2
    assert "no such folder; collect episodes" in capsys.readouterr().err


def test_shipped_settings_are_valid():
    for name in yaml.safe_load(config_file("training/ls3_operation.yaml").read_text()):
        load_setting(name)
    assert load_setting("default").config.constraint.balanced is False
