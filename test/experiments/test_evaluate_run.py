"""The agents of a training, measured one after another: LS3's and a baseline's."""

import json
import shutil

import pytest

from safe_skills import cli
from safe_skills.data.run_table import read_episodes
from safe_skills.experiments.collect_task import collect_task
from safe_skills.experiments.evaluate_run import SHARED, TrainingRun

FIGURES = {"updates", "trajectories", *SHARED}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of LS3 and of a baseline by `safe-skills train`, of two updates each."""
    folder = tmp_path_factory.mktemp("trained")
    counts = {"demo": 4, "constraint": 2, "random": 0}  # as the setting `small` names
    collect_task(folder / "data", "navigation", counts, workers=1)
    for method, own in (("ls3", ["--keep", "last"]), ("awac", [])):
        words = f"train {method} navigation --setting small --updates 2 --episodes 1 --workers 1"
        places = ["--data", str(folder / "data"), "--out", str(folder / method)]
        assert cli.main([*words.split(), *own, *places]) == 0
    return folder


def evaluated(folder, out, *more):
    words = ["evaluate", "run", str(folder), "--json", str(out), "--workers", "1", *more]
    assert cli.main(words) == 0
    return json.loads(out.read_text())


@pytest.mark.parametrize(("method", "first"), [("ls3", 0), ("awac", 1)])
def test_every_agent_of_a_run_is_measured_on_scenes_of_its_own(trained, tmp_path, method, first):
    found = evaluated(trained / method, tmp_path / "found.json", "--episodes", "2")
    assert (found["method"], found["task"], found["seed"]) == (method, "navigation", 1_000_000)
    rows = found["rows"]
    assert [row["updates"] for row in rows] == list(range(first, 3))
    assert [row["trajectories"] for row in rows] == [2 * n for n in range(first, 3)]
    assert all(set(row) == FIGURES and row["episodes"] == 2 for row in rows)
    assert len(read_episodes(trained / method / "episodes.csv")) == rows[-1]["trajectories"]
    assert all(-100.0 <= row["mean_return"] <= 0.0 for row in rows)


def test_the_first_agent_the_last_one_and_some_between_are_chosen(trained):
    run = TrainingRun.read(trained / "ls3")
    assert {n: path.name for n, path in run.checkpoints.items()} == {
        0: "actor-000", 1: "actor-001", 2: "last",
    }  # fmt: skip
    assert list(run.chosen(1)) == [0, 1, 2]
    assert list(run.chosen(2)) == list(run.chosen(5)) == [0, 2]
    assert run._replace(checkpoints=dict.fromkeys(range(1, 8))).chosen(3).keys() == {3, 6, 7}
    assert run.episodes_per_update == 2 and run.layout == ""
    baseline = TrainingRun.read(trained / "awac")
    assert [path.name for path in baseline.checkpoints.values()] == ["update-0001", "update-0002"]


def test_what_is_no_finished_training_is_refused_in_a_line(trained, tmp_path, capsys):
    def refused(folder):
        assert cli.main(["evaluate", "run", str(folder), "--workers", "1"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    capsys.readouterr()
    assert "expected the folder of a training that is done" in refused(tmp_path)
    cut = tmp_path / "cut"
    shutil.copytree(trained / "awac", cut)
    shutil.rmtree(cut / "checkpoints" / "update-0001")
    assert "expected a checkpoint an update, found none in" in refused(cut)
    metrics = cut / "checkpoint" / "metrics.json"
    metrics.unlink()
    assert "metrics.json is missing" in refused(cut)
