"""The lines of a training on disk, and that an interrupted one goes on with them."""

import csv

import gathered_episodes
import pytest
from PIL import Image

from safe_skills.nodes.learning_curve import LearningCurve, figures


def episodes():
    yield gathered_episodes.episode(5, success=False)
    yield gathered_episodes.episode(6, violation=True)
    yield gathered_episodes.episode(7)


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_lines_and_figures_of_episodes(tmp_path):
    curve = LearningCurve(tmp_path)
    lines = [curve.add_episode(episode) for episode in episodes()]
    assert [line.steps for line in lines] == [6, 3, 6]
    rows = read(tmp_path / "episodes.csv")
    assert [row["violation"] for row in rows] == ["", "cable", ""]
    assert [row["success"] for row in rows] == ["False", "False", "True"]
    assert figures(lines) == {
        "success_rate": pytest.approx(1 / 3),
        "violation_rate": pytest.approx(1 / 3),
        "unsafe_steps": 1,
        "mean_return": pytest.approx((-6 - 6 - 5) / 3),
        "mean_steps": 6.0,
    }
    assert figures(lines[:2])["mean_steps"] is None


def test_an_episode_is_told_after_how_many_updates_its_agent_acted(tmp_path):
    curve = LearningCurve(tmp_path)
    curve.add_update({"update": 1, "model": "cable-1", "success_rate": 0.2})
    curve.add_update({"update": 2, "model": "test", "accepted": True})
    assert read(tmp_path / "metrics.csv")[1]["success_rate"] == ""
    again = LearningCurve(tmp_path)
    assert again.add_episode(next(episodes())).update == 2
    assert again.updates_of("ls3 cable-1") == 1 and again.updates_of("ls3 cable-0") == 0
    again.add_update({"update": 3, "model": "cable-3"})
    assert [row["update"] for row in read(tmp_path / "metrics.csv")] == ["1", "2", "3"]


def test_the_curve_is_a_picture(tmp_path):
    curve = LearningCurve(tmp_path)
    curve.draw()
    assert not (tmp_path / "curve.png").exists()
    for _ in range(4):
        for episode in episodes():
            curve.add_episode(episode)
    curve.draw()
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.width > 500 and len(picture.getcolors(10**6)) > 20


def test_where_a_violation_freezes_nothing_all_steps_count(tmp_path):
    episode = gathered_episodes.episode(6, violation=True)
    line = LearningCurve(tmp_path, freezes=False).add_episode(episode)
    assert (line.steps, line.unsafe_steps) == (6, 4)
    frozen = LearningCurve(tmp_path).add_episode(episode)
    assert (frozen.steps, frozen.unsafe_steps) == (3, 1)
    assert figures([line, frozen])["unsafe_steps"] == 5
