"""The train and evaluate commands, end to end on a few short episodes."""

import json

import pytest
import torch
import yaml

from safe_skills import cli
from safe_skills.data.checkpoint import load_checkpoint
from safe_skills.data.settings import ConfigError
from safe_skills.experiments import selection, train_ls3, training_runs
from safe_skills.experiments.ls3_settings import load_setting
from safe_skills.ls3.config import LS3Config
from safe_skills.paths import config_file

TINY = {
    "data": {"demos": 2, "random": 1, "constraint": 1},
    "model": {
        "encoder": {"iterations": 4, "batch_size": 8},
        **{
            name: {"iterations": 4, "batch_size": 8, "hidden": [8], "iterations_per_update": 2}
            for name in ("dynamics", "value", "safe_set", "constraint", "goal")
        },
        "online": {"episodes_per_update": 1, "updates": 1},
    },
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    path = tmp_path / "ls3_cable.yaml"
    path.write_text(yaml.safe_dump({"tiny": TINY}))
    monkeypatch.setattr(training_runs, "config_file", lambda name: path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(selection, "SCENES", 1)
    monkeypatch.setattr(train_ls3, "SHOWN", 1)


def command(out, *more):
    words = "train ls3 cable --layout tight --setting tiny --workers 1 --episodes 1"
    return cli.main([*words.split(), "--out", str(out), *more])


def test_train_then_evaluate_then_do_nothing_again(tiny, tmp_path, capsys):
    out = tmp_path / "run"
    assert command(out) == 0
    checkpoint = load_checkpoint(out / "checkpoint", method="ls3", task="cable")
    assert checkpoint.config["layout"] == "tight"
    metrics = checkpoint.metrics
    assert metrics["evaluation"]["episodes"] == 1
    assert metrics["data"] == TINY["data"]
    assert 25 < metrics["demonstrator_steps"] < 45
    parts = {"data", "loading", "latents", "online episodes", "online updates"}
    parts |= {"selection", "evaluation", "calibration", "pictures"}
    assert set(metrics["selection"]) == {"0", str(metrics["updates"])}
    assert str(metrics["selected_update"]) in metrics["selection"]
    learners = {"encoder", "dynamics", "value", "safe_set", "constraint", "goal"}
    assert set(metrics["seconds"]) == parts | learners | {"all"}
    assert list((out / "tensorboard").iterdir())
    assert len(list((out / "online" / "update-000").glob("*.hdf5"))) == 1

    figures = tmp_path / "figures.json"
    words = "evaluate cable --episodes 1 --workers 1 --ablations"
    checkpoint_option = ["--checkpoint", str(out / "checkpoint"), "--json", str(figures)]
    assert cli.main([*words.split(), *checkpoint_option]) == 0
    summaries = json.loads(figures.read_text())["summaries"]
    assert set(summaries) == {"LS3", "without safe set", "without constraint", "without both"}
    assert summaries["LS3"]["episodes"] == 1
    assert summaries["LS3"]["plan_ms"]["p50"] > 0

    written = (out / "checkpoint" / "model.safetensors").read_bytes()
    assert command(out) == 0
    assert (out / "checkpoint" / "model.safetensors").read_bytes() == written


@pytest.mark.slow
def test_evaluation_does_not_depend_on_how_episodes_are_shared_out(tiny, tmp_path):
    out = tmp_path / "run"
    assert command(out, "--updates", "0") == 0
    outcomes = []
    for workers in ("1", "2"):
        figures = tmp_path / f"{workers}.json"
        words = ["evaluate", "cable", "--episodes", "2", "--workers", workers]
        files = ["--checkpoint", str(out / "checkpoint"), "--json", str(figures)]
        assert cli.main([*words, *files]) == 0
        episodes = json.loads(figures.read_text())["episodes"]["LS3"]
        outcomes.append([(e["seed"], e["steps"], e["success"], e["outcomes"]) for e in episodes])
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
def test_training_does_not_depend_on_how_the_work_is_shared_out(tiny, tmp_path):
    written = []
    for workers in ("1", "2"):
        out = tmp_path / workers
        assert command(out, "--workers", workers) == 0
        written.append((out / "checkpoint" / "model.safetensors").read_bytes())
    assert written[0] == written[1]


def test_shipped_settings_are_valid_and_the_papers():
    for name in yaml.safe_load(config_file("training/ls3_cable.yaml").read_text()):
        load_setting("cable", name)
    counts, paper = load_setting("cable", "paper")
    assert counts == {"demos": 420, "random": 150, "constraint": 100}
    assert paper.encoder.latent_dim == 32
    assert paper.encoder.beta == 1e-6
    assert paper.safe_set.gamma_s == 0.9
    assert paper.value.discount == 0.99
    assert paper.online.episodes_per_update == 5


def test_unknown_settings_are_one_clear_line(capsys):
    line = "unknown setting 'fast'; known: default, brief, wide, small, paper"
    with pytest.raises(ConfigError, match=line):
        load_setting("cable", "fast")
    assert cli.main(["train", "ls3", "cable", "--setting", "fast"]) == 2
    assert "unknown setting 'fast'" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_is_one_clear_line(tmp_path, capsys):
    missing = str(tmp_path / "nowhere")
    assert cli.main(["evaluate", "cable", "--checkpoint", missing]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_gpu_that_is_not_there_is_one_clear_line(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert cli.main(["evaluate", "cable", "--device", "cuda"]) == 2
    line = "safe-skills evaluate: device: expected cpu, PyTorch finds no CUDA GPU here; got cuda\n"
    assert capsys.readouterr().err == line


def test_default_configuration_round_trips():
    config = LS3Config()
    assert LS3Config.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config
