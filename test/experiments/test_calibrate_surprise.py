"""The command that calibrates surprise, end to end on a few drawn episodes, and its errors."""

import json

import numpy as np
import pytest
import torch
from drawn_episodes import episodes
from skill_checkpoints import save_policy, save_prior
from test_train_safer import store

from safe_skills import cli
from safe_skills.data.checkpoint import load_checkpoint
from safe_skills.data.episodes import Episode, EpisodeStore
from safe_skills.data.surprise import FILE, load_surprise
from safe_skills.experiments import encoder_subjects
from safe_skills.experiments.calibrate_surprise import calibrate_checkpoint
from safe_skills.experiments.encoder_subjects import subject_of
from safe_skills.experiments.picture_faults import FAULTS
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.safer.prior import SkillPrior


@pytest.fixture
def prior(tmp_path):
    return save_prior(tmp_path / "prior")


@pytest.fixture
def agent(tmp_path):
    torch.manual_seed(0)
    made = LS3Agent(LS3Config(), task="cable", layout="open", action_limit=np.full(2, 0.03))
    made.save(tmp_path / "agent", {"seed": 2})
    return tmp_path / "agent"


def cables(folder, count=8, steps=6):
    """Episodes of a red bar that moves."""
    made = []
    for number in range(count):
        images = np.full((steps + 1, 64, 64, 3), 200, np.uint8)
        for t, image in enumerate(images):
            image[20:50, 4 * t + number : 4 * t + number + 6] = (220, 25, 25)
        made.append(
            Episode(
                images=images,
                masks=None,
                actions=np.zeros((steps, 2), np.float32),
                rewards=np.zeros(steps, np.float32),
                costs=np.zeros(steps, np.float32),
                terminated=True,
                truncated=False,
                success=True,
                kind="demo",
                seed=number,
                policy="drawn",
                revision="",
            )
        )
    EpisodeStore(folder).append(made)
    return folder


def calibrate(checkpoint, *more):
    return cli.main(["calibrate", "surprise", str(checkpoint), *map(str, more)])


def test_an_agent_gets_both_limits_and_keeps_its_weights(agent, tmp_path, capsys):
    weights = (agent / "model.safetensors").read_bytes()
    figures = tmp_path / "figures.json"
    assert calibrate(agent, "--data", cables(tmp_path / "data"), "--json", figures) == 0
    assert (agent / "model.safetensors").read_bytes() == weights
    model_id = load_checkpoint(agent).model_id
    model = load_surprise(agent, model_id)
    written = json.loads(figures.read_text())
    assert written["model_id"] == model_id and written["episodes"] == 8
    for name in ("latent_distance", "reconstruction_error"):
        assert written["levels"][name]["limit"] == getattr(model, name).limit
    assert set(written["shares_above"]) == {"none", *FAULTS}
    assert written["shares_above"]["black"]["reconstruction_error"] == 1.0
    assert written["shares_above"]["black"]["any"] == 1.0
    out = capsys.readouterr().out
    assert "red blob over it" in out and "written:" in out


def test_a_prior_gets_a_distance_alone(prior, tmp_path, capsys):
    out = tmp_path / "elsewhere"
    data = store(tmp_path / "data", episodes(12))
    assert calibrate(prior, "--data", data, "--out", out) == 0
    assert not (prior / FILE).exists()
    model = load_surprise(out, SkillPrior.load(prior).model_id)
    assert model.reconstruction_error is None
    assert model.latent_dim == SkillPrior.load(prior).config.encoder.features
    assert "reconstruction" not in capsys.readouterr().out


def test_the_same_seed_finds_the_same_limits(prior, tmp_path):
    data = store(tmp_path / "data", episodes(12))
    model_id = SkillPrior.load(prior).model_id
    found = []
    for _ in range(2):
        assert calibrate(prior, "--data", data) == 0
        found.append(load_surprise(prior, model_id))
    np.testing.assert_array_equal(found[0].whitening, found[1].whitening)
    assert found[0].latent_distance == found[1].latent_distance


def test_without_data_episodes_are_collected_whose_scenes_were_not_trained_on(
    agent, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encoder_subjects, "FOREIGN_DEMOS", 1)
    figures = tmp_path / "figures.json"
    assert calibrate(agent, "--episodes", 9, "--workers", 1, "--json", figures) == 0
    written = json.loads(figures.read_text())
    assert written["seed"] == 2 + encoder_subjects.HELD_OUT
    assert "layout tight" in written["shares_above"]
    (held_out,) = (tmp_path / "outputs" / "calibrate").glob("*/held_out")
    assert EpisodeStore(held_out).count() == {
        **dict.fromkeys(("online", "scripted"), 0),
        **{"demo": 3, "random": 3, "constraint": 1},
    }
    # The agent's own, which are as good as any other for its encoder.
    assert EpisodeStore(held_out / load_checkpoint(agent).model_id).count()["online"] == 2
    # What a training does at its end, on the same episodes.
    model_id = load_checkpoint(agent).model_id
    before = load_surprise(agent, model_id)
    (agent / FILE).unlink()
    path = calibrate_checkpoint(agent, held_out, 9, workers=1)
    assert path == agent / FILE
    assert load_surprise(agent, model_id).latent_distance == before.latent_distance


def test_what_has_no_encoder_is_refused_in_one_line(prior, tmp_path, capsys):
    policy = save_policy(tmp_path / "policy", SkillPrior.load(prior))
    assert calibrate(policy) == 2
    assert "expected an encoder of method ls3 for the cable, or of" in capsys.readouterr().err


def test_a_folder_without_episodes_is_refused_in_one_line(agent, tmp_path, capsys):
    assert calibrate(agent, "--data", tmp_path / "nothing") == 2
    assert "no such folder of episodes" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert calibrate(agent, "--data", tmp_path / "empty") == 2
    assert "no episode" in capsys.readouterr().err


def test_a_shipped_checkpoint_is_known_by_its_name(capsys):
    assert calibrate("no_such") == 2
    assert "no pretrained checkpoint 'no_such'" in capsys.readouterr().err


def test_the_shipped_encoders_are_subjects():
    from safe_skills.paths import checkpoint_dir

    for name in ("cable_open", "cable_tight", "operation"):
        assert subject_of(checkpoint_dir(name)).seed == encoder_subjects.HELD_OUT
