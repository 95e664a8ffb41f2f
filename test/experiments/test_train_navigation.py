"""LS3 on the navigation task, end to end: a short run, its files, and one that was interrupted."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from safe_skills import cli
from safe_skills.data.checkpoint import load_checkpoint
from safe_skills.data.run_table import read_episodes
from safe_skills.envs.tasks import find_task
from safe_skills.experiments import online_episodes, selection, train_ls3, training_runs
from safe_skills.experiments.ls3_settings import new_agent
from safe_skills.experiments.navigation_maps import map_figures, navigation_maps
from safe_skills.ls3.config import LS3Config

LATENT_MODELS = ("dynamics", "value", "safe_set", "constraint", "goal")
TINY = {
    "data": {"demos": 2, "random": 1, "constraint": 1},
    "model": {
        "encoder": {"iterations": 4, "batch_size": 8, "augmentation": "crop"},
        **{
            name: {"iterations": 4, "batch_size": 8, "hidden": [8], "iterations_per_update": 2}
            for name in LATENT_MODELS
        },
        "online": {
            "episodes_per_update": 2,
            "updates": 2,
            "planner": {"candidates": 8, "elites": 2, "particles": 2, "iterations": 1},
            "verify_particles": 2,
        },
    },
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    path = tmp_path / "ls3_navigation.yaml"
    path.write_text(yaml.safe_dump({"tiny": TINY}))
    monkeypatch.setattr(training_runs, "config_file", lambda name: path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(selection, "SCENES", 1)
    monkeypatch.setattr(train_ls3, "SHOWN", 1)


def command(out, *more):
    words = "train ls3 navigation --setting tiny --workers 1 --episodes 1"
    return cli.main([*words.split(), "--out", str(out), *more])


def outcome(out):
    """What a run came to, without what depends on the clock."""
    rows = [
        (r.episode, r.steps, r.episode_return, r.success, r.violation)
        for r in read_episodes(out / "episodes.csv")
    ]
    return rows, (out / "checkpoint" / "model.safetensors").read_bytes()


def test_a_run_its_files_and_one_that_was_interrupted(tiny, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    metrics_file = tmp_path / "metrics.json"
    assert command(whole, "--json", str(metrics_file)) == 0
    rows = read_episodes(whole / "episodes.csv")
    assert [row.episode for row in rows] == [0, 1, 2, 3]
    assert all(row.steps == 100 and row.seconds > 0 for row in rows)
    assert Image.open(whole / "curve.png").size[0] > 500
    assert Image.open(whole / "maps.png").size[0] > 500
    assert Image.open(whole / "episodes.gif").n_frames > 1
    metrics = load_checkpoint(whole / "checkpoint", method="ls3", task="navigation").metrics
    assert metrics == json.loads(metrics_file.read_text())
    assert metrics["training"]["all of training"]["episodes"] == 4
    assert -90 < metrics["demonstrator_return"] < -78
    assert 0 <= metrics["maps"]["constraint_accuracy"] <= 1
    assert metrics["planner"]["candidates"] == 8

    # Stopped in the second update's learning, its episodes already gathered.
    class StoppedError(Exception):
        pass

    def stop(self, update):
        episodes = gather(self, update)
        if update == 1:
            raise StoppedError
        return episodes

    cut = tmp_path / "cut"
    gather = online_episodes.OnlineEpisodes.__call__
    with monkeypatch.context() as patched:
        patched.setattr(online_episodes.OnlineEpisodes, "__call__", stop)
        with pytest.raises(StoppedError):
            command(cut)
    assert len(read_episodes(cut / "episodes.csv")) == 2
    assert command(cut) == 0
    assert outcome(cut) == outcome(whole)


def test_an_ablation_has_a_folder_and_a_checkpoint_of_its_own(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "train ls3 navigation --setting tiny --workers 1 --episodes 1 --updates 0"
    assert cli.main([*words.split(), "--ablation", "no-safe-set", "--horizon", "3"]) == 0
    (folder,) = (tmp_path / "outputs" / "train").iterdir()
    assert folder.name == "ls3_navigation_tiny_no-safe-set_horizon-3_0"
    model = load_checkpoint(folder / "checkpoint").config["model"]
    own = TINY["model"]["online"]["planner"]
    assert model["online"]["planner"] == {**own, "use_safe_set": False, "horizon": 3}
    figures = tmp_path / "figures.json"
    words = "evaluate navigation --workers 1 --episodes 1"
    options = ["--checkpoint", str(folder / "checkpoint"), "--json", str(figures)]
    assert cli.main([*words.split(), *options]) == 0
    written = json.loads(figures.read_text())
    assert written["summaries"]["LS3"]["episodes"] == 1 and written["layout"] == ""


def test_a_layout_where_there_is_none_is_one_clear_line(tiny, tmp_path, capsys):
    assert command(tmp_path / "run", "--layout", "tight") == 2
    assert "the task navigation has none" in capsys.readouterr().err


class Seer:
    """Knows where the point is; in place of an agent."""

    observation = new_agent(find_task("navigation"), "", LS3Config()).observation
    device = "cpu"
    view = staticmethod(lambda image: image)

    def __init__(self):
        self.models = self

    def encode_views(self, views):
        """The middle of the blue disc, in pixels of the window; NaN where it is hidden."""
        blue = views[..., 2].astype(float)
        weight = np.maximum(blue.sum((1, 2)), 1e-9)
        axis = np.arange(64) + 0.5
        x = (blue.sum(1) * axis).sum(1) / weight * 180 / 64
        y = (blue.sum(2) * axis).sum(1) / weight * 150 / 64
        return np.stack((x, y), -1), None

    @staticmethod
    def constraint(latents):
        x, y = latents.T
        return ((x > 75) & (x < 100) & (y > 55) & (y < 95)).float()

    @staticmethod
    def goal(latents):
        return torch.exp(-torch.hypot(latents[:, 0] - 150, latents[:, 1] - 75))

    @staticmethod
    def safe_set(latents):
        return (latents[:, 1] < 75).float()

    @staticmethod
    def value(latents):
        return latents[:, 0] - 150


def test_maps_are_measured_where_the_point_is():
    maps = navigation_maps(Seer(), spacing=5.0)
    assert maps.positions.shape == (30, 36, 2)
    np.testing.assert_array_equal(maps.positions[0, 1], [7.5, 2.5])
    away = (np.abs(maps.positions - [90, 75]) > [30, 40]).any(-1) & (
        np.abs(maps.positions - [90, 75]) < [75, 60]
    ).all(-1)
    np.testing.assert_allclose(maps.value[away], maps.positions[away][:, 0] - 150, atol=0.5)
    figures = map_figures(maps)
    assert figures["goal_distance"] < 5
    assert figures["safe_set_share"] == pytest.approx(0.5, abs=0.05)
    assert figures["constraint_accuracy"] > 0.85


def test_perfect_maps_have_perfect_figures():
    maps = navigation_maps(Seer(), spacing=5.0)
    truth = Seer.constraint(torch.from_numpy(maps.positions.reshape(-1, 2)))
    perfect = maps._replace(constraint=truth.numpy().reshape(maps.value.shape))
    figures = map_figures(perfect)
    assert figures["constraint_accuracy"] == figures["constraint_overlap"] == 1.0
    nothing = maps._replace(constraint=np.zeros_like(maps.value))
    assert map_figures(nothing)["constraint_overlap"] == 0.0


@pytest.mark.slow
def test_a_brief_training_improves(tmp_path, monkeypatch):
    """Offline alone it is better than the untrained agent, which never reaches the goal."""
    monkeypatch.setattr(train_ls3, "SHOWN", 1)
    out = tmp_path / "run"
    words = "train ls3 navigation --setting brief --workers 1 --episodes 10"
    assert cli.main([*words.split(), "--out", str(out)]) == 0
    metrics = load_checkpoint(out / "checkpoint").metrics
    evaluation = metrics["evaluation"]
    assert evaluation["success_rate"] >= 0.8
    assert evaluation["violation_rate"] <= 0.1
    assert evaluation["mean_return"] > metrics["demonstrator_return"]
    assert metrics["maps"]["constraint_accuracy"] > 0.9
    assert metrics["maps"]["goal_distance"] < 10


def test_the_shipped_agent_goes_around_the_obstacle(tmp_path):
    figures = tmp_path / "figures.json"
    words = "evaluate navigation --workers 1 --episodes 2 --json"
    assert cli.main([*words.split(), str(figures)]) == 0
    summary = json.loads(figures.read_text())["summaries"]["LS3"]
    assert summary["success_rate"] == 1.0 and summary["violation_rate"] == 0.0
    # Demonstrations take 84.
    assert summary["mean_steps"] < 60
