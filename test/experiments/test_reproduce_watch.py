"""SAFER under LS3's eyes: the table from episodes by hand, and, slowly, from nothing."""

import json

import pytest

from safe_skills import cli
from safe_skills.experiments.reproduce_watch import CASES, evaluation, learned, stages
from safe_skills.experiments.safer_runs import Run, load_scale


def written(stage, values):
    stage.result.parent.mkdir(parents=True, exist_ok=True)
    stage.result.write_text(json.dumps(values))


def episode(success, costs, held=0):
    seeds = {"task": 34, "seed": 1, "episode_return": -float(len(costs)), "eta": 1.5}
    return {**seeds, "success": success, "costs": costs, "held": held, "replaced": 0}


def test_the_episodes_of_all_policies_count_together(tmp_path):
    run = Run(load_scale("cpu"), tmp_path / "runs")
    for stage in stages(run):
        written(stage, {"episodes": [episode(True, [0.0, 0.0]), episode(True, [1.0, 0.0], 2)]})
    task, first = learned(run)[0]
    held = evaluation(run, CASES[1], first, task)
    written(held, {"episodes": [episode(False, [0.0] * 10, 10)]})
    words = ["reproduce", "safer-watch", "--runs", str(run.folder), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    found = json.loads((tmp_path / "out" / "safer-watch.json").read_text())
    rows = {(row["actor"], row["gate"], row["response"]): row for row in found["rows"]}
    assert len(rows) == 2 * len(CASES)
    prior = rows["prior", "eta", ""]
    assert (prior["runs"], prior["episodes"]) == (1, 2)
    assert (prior["success"], prior["clean_success"], prior["contact"]) == (1.0, 0.5, 0.5)
    assert (prior["unsafe_steps"], prior["held_steps"]) == (0.25, 0.5)
    assert prior["violations_an_episode"] == 0.5
    assert prior["clean_success_low"] < 0.5 < prior["clean_success_high"]
    policies = rows["policies", "safe-set", "hold"]
    runs = len(learned(run))
    assert (policies["runs"], policies["episodes"]) == (runs, 2 * runs - 1)
    assert policies["held_steps"] == (2 * (runs - 1) + 10) / (4 * (runs - 1) + 10)
    for suffix in ("csv", "png"):
        assert (tmp_path / "out" / f"safer-watch.{suffix}").stat().st_size > 0
    assert any("--gate both --watch" in command for command in found["commands"])


@pytest.mark.slow
def test_everything_is_made_from_nothing_and_only_once(tmp_path):
    words = ["reproduce", "safer-watch", "--scale", "smoke", "--runs", str(tmp_path / "runs")]
    words += ["--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    times = {path: path.stat().st_mtime for path in (tmp_path / "runs").rglob("*.json")}
    assert cli.main(words) == 0
    assert {path: path.stat().st_mtime for path in times} == times
    assert json.loads((tmp_path / "out" / "safer-watch.json").read_text())["rows"]
