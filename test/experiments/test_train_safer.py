"""The train command for skill priors, end to end on drawn episodes, and its errors."""

import json

import numpy as np
import pytest
import yaml
from drawn_episodes import episodes

from safe_skills import cli
from safe_skills.data.episodes import Episode, EpisodeStore
from safe_skills.data.settings import ConfigError
from safe_skills.data.surprise import load_surprise
from safe_skills.experiments.train_safer import load_setting
from safe_skills.paths import config_file
from safe_skills.safer.config import METHODS
from safe_skills.safer.prior import SkillPrior


def recorded(drawn, seed):
    steps = len(drawn.actions)
    return Episode(
        images=drawn.images,
        masks=None,
        actions=drawn.actions,
        rewards=np.full(steps, -1.0, np.float32),
        costs=drawn.costs,
        terminated=drawn.success,
        truncated=not drawn.success,
        success=drawn.success,
        kind="scripted",
        seed=seed,
        policy="drawn",
        revision="",
        task=drawn.task,
        noise=0.1,
    )


def store(folder, made):
    EpisodeStore(folder).append([recorded(item, seed) for seed, item in enumerate(made)])
    return folder


@pytest.fixture
def folder(tmp_path):
    return store(tmp_path / "data", episodes(60))


def command(method, folder, out, *more):
    words = ["train", method, "operation", "--setting", "small"]
    return cli.main([*words, "--data", str(folder), "--out", str(out), *more])


@pytest.mark.parametrize("method", METHODS)
def test_train_then_load_then_do_nothing_again(method, folder, tmp_path, capsys):
    out, figures = tmp_path / "run", tmp_path / "figures.json"
    assert command(method, folder, out, "--json", str(figures)) == 0
    assert "log p" in capsys.readouterr().out
    prior = SkillPrior.load(out / "checkpoint", task="operation", action_dim=5)
    assert prior.method == method
    surprise = load_surprise(out / "checkpoint", prior.model_id)
    assert surprise.latent_dim == prior.config.encoder.features
    assert prior.metrics == json.loads(figures.read_text())
    assert set(prior.metrics) >= {"held_out_episodes", "held_out_tasks", "assurance", "data"}
    assert prior.metrics["data"]["episodes"] == 24
    assert prior.context_size == (0 if method == "parrot" else 2)
    found = [level["eta"] for level in prior.metrics["assurance"]]
    assert len(found) == len(prior.config.assurance.allowed)
    history = prior.history()
    state = history.push(episodes(1)[0].images[0])
    assert prior.decode(np.zeros(5), state, history.context().mean).shape == (5,)
    assert list((out / "tensorboard").iterdir())

    written = (out / "checkpoint" / "model.safetensors").read_bytes()
    assert command(method, folder, out) == 0
    assert (out / "checkpoint" / "model.safetensors").read_bytes() == written


def test_data_may_be_in_several_folders(folder, tmp_path):
    more = store(tmp_path / "more", episodes(6, seed=1))
    assert command("parrot", folder, tmp_path / "run", "--data", str(folder), str(more)) == 0
    data = SkillPrior.load(tmp_path / "run" / "checkpoint").metrics["data"]
    assert data["episodes"] == 26


def test_freezing_is_told(folder, tmp_path, capsys):
    changes = ["--set", "objective.freeze_margin=0", "--set", "optimization.iterations=60"]
    assert command("safer", folder, tmp_path / "run", *changes) == 0
    assert "iteration 50: unsafe term frozen for" in capsys.readouterr().out


def test_shipped_settings_are_valid_and_the_papers():
    for name in yaml.safe_load(config_file("training/operation.yaml").read_text()):
        for method in METHODS:
            load_setting(name, method)
    paper = load_setting("paper", "safer").config
    assert paper.flow.couplings == 3
    assert paper.posterior.size == 8
    assert paper.posterior.window == 16
    assert paper.objective.lambda_(100, 1) == 1e-4
    assert paper.objective.kl_weight == 1.0
    assert paper.objective.contacts == "any"
    assert paper.optimization.optimizer == "sgd"
    assert paper.optimization.learning_rate == 1e-4
    assert paper.optimization.iterations == 500_000
    assert load_setting("paper", "parrot").config.optimization.optimizer == "adam"


def test_settings_are_changed_from_the_command_line():
    changes = ["objective.rho=2", "posterior.kind=deterministic", "flow.hidden=[8, 8]"]
    config = load_setting("default", "safer", changes).config
    assert config.objective.rho == 2.0
    assert config.posterior.kind == "deterministic"
    assert config.flow.hidden == (8, 8)
    for change, message in (
        ("rho=2", "expected PART.NAME=VALUE, got 'rho=2'"),
        ("objective.rho", "expected PART.NAME=VALUE"),
        ("objective.ratio=2", "unknown setting objective.ratio; known: contrastive, imitate, rho"),
        ("objective.rho=much", "objective.rho: expected"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_setting("default", "safer", [change])
    with pytest.raises(
        ConfigError, match="unknown setting 'fast'; known: default, cautious, paper"
    ):
        load_setting("fast", "safer")


def errors(capsys, *words):
    assert cli.main(list(words)) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


def test_data_that_cannot_be_used_is_one_clear_line(folder, tmp_path, capsys):
    def told(data):
        words = ["train", "safer", "operation", "--setting", "small", "--data", str(data)]
        return errors(capsys, *words, "--out", str(tmp_path / "run"))

    assert "no such folder; collect episodes with" in told(tmp_path / "nowhere")
    safe = [item for item in episodes(24) if not item.costs.any()]
    assert "no unsafe step among" in told(store(tmp_path / "safe", safe))
    failed = [item for item in episodes(24) if not item.success]
    assert "no successful episode among" in told(store(tmp_path / "failed", failed))
    large = episodes(2)
    for item in large:
        item.images = np.zeros((13, 64, 64, 3), np.uint8)
    assert "expected frames of 48x48 RGB, got 64x64x3" in told(store(tmp_path / "large", large))
    (shard,) = folder.glob("*.hdf5")
    shard.write_bytes(shard.read_bytes()[:5000])
    assert "damaged or not an episode file" in told(folder)
