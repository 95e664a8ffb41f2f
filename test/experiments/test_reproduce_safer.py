"""SAFER's tables and figures: from measurements by hand, and, slowly, from nothing."""

import csv
import json

import pytest

from safe_skills import cli
from safe_skills.experiments.reproduce_safer import PAPER_TABLE_1, RESULTS, violations_at
from safe_skills.experiments.safer_runs import (
    BOUNDS,
    RANKED,
    TABLE_1,
    WITH_UNSAFE,
    WITHOUT_C,
    Agent,
    Run,
    load_scale,
)


def ranking(share):
    tops = {f"unsafe_in_top_{percent}_percent": share for percent in (1, 5, 10, 25)}
    return {"pairs": {**tops, "unsafe_share": 0.2, "auc": 0.6}, "first_contacts": {"auc": 0.7}}


def written(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def measure(run, agent, task, seed, violations):
    training = {"success_rate": 0.2, "success_rate_at_end": 0.1 * seed, "violations": violations}
    values = {
        "eta": 0.8,
        "training": {**training, "violations_at_end": 7},
        "evaluation": {"success_rate": 0.5 + 0.1 * seed, "unsafe_steps": 0.1},
    }
    if agent.allowed == 0.15:  # the bound that SAFER has anyway
        return
    written(run.policy(agent, task, seed).result, values)
    curve = run.policy_folder(agent, task, seed) / "curve.csv"
    curve.parent.mkdir()
    curve.write_text(f"last_step,steps,violations\n600,600,{seed}\n1400,800,3\n10000,8600,5\n")


@pytest.fixture
def runs(tmp_path):
    """Measurements of everything, so that no command has to run."""
    run = Run(load_scale("cpu"), tmp_path / "runs")
    for stage in run.data():
        written(stage.result, {})
    for index, method in enumerate(RANKED):
        shares = {"held_out_episodes": ranking(0.1 * index), "held_out_tasks": ranking(0.3)}
        written(run.prior(method).result, shares)
    for other in ("safer-without-c", "parrot-with-unsafe"):
        written(run.prior(other).result, {})
    row = {"eta": 0.8, "allowed": 0.15, "task": 34, "episodes": 100, "unsafe_steps": 0.1}
    row |= {"unsafe_interval_95": [0.05, 0.2], "success_rate": 0.5, "contact_rate": 0.4}
    written(run.calibration("safer").result, {"rows": [row, {**row, "task": None}]})
    agents = {**TABLE_1, **WITHOUT_C, **WITH_UNSAFE, **BOUNDS}
    for number, agent in enumerate(agents.values()):
        for task in run.scale.tasks:
            for seed in run.scale.seeds:
                measure(run, agent, task, seed, violations=10 * number + task)
    return run


def reproduced(runs, name, out):
    words = ["reproduce", name, "--runs", str(runs.folder), "--out", str(out)]
    assert cli.main(words) == 0
    found = json.loads((out / f"{name}.json").read_text())
    with (out / f"{name}.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(found["rows"])
    assert (out / f"{name}.png").stat().st_size > 5000
    assert found["scale"] == "cpu" and found["sizes"]["sac_steps"] == runs.scale.sac_steps
    return found


def test_table_1_has_means_over_tasks_and_seeds_beside_the_papers(runs, tmp_path):
    found = reproduced(runs, "safer-table1", tmp_path / "out")
    assert [row["method"] for row in found["rows"]] == list(TABLE_1)
    assert set(PAPER_TABLE_1) == set(TABLE_1) - {"SAFER, cautious"}
    assert found["rows"][-1]["paper_success"] is None
    row = found["rows"][2]
    assert row["runs"] == 4 and row["success_at_end"] == pytest.approx(0.05)
    assert row["success"] == pytest.approx(0.55) and row["success_sd"] == pytest.approx(0.05)
    assert row["violations_a_run"] == 20 + 34.5 and row["violations_in_last_1000"] == 7
    assert row["paper_success"] == 0.127
    assert any("train sac" in command for command in found["commands"])


def test_figure_1_has_the_rankings_of_all_priors(runs, tmp_path):
    found = reproduced(runs, "safer-fig1", tmp_path / "out")
    shares = {
        (row["prior"], row["steps"]): row["unsafe_in_top_10_percent"] for row in found["rows"]
    }
    assert shares["parrot", "held out episodes"] == pytest.approx(0.1 * RANKED.index("parrot"))
    assert shares["safer", "held out tasks"] == pytest.approx(0.3) and len(shares) == 2 * len(
        RANKED
    )
    cautious = next(command for command in found["commands"] if "rho=4" in command)
    assert "objective.rho=4" in cautious and f"{runs.folder}/safer/checkpoint" in cautious


def test_figure_4_has_the_share_beside_what_is_allowed(runs, tmp_path):
    found = reproduced(runs, "safer-fig4", tmp_path / "out")
    assert [row["task"] for row in found["rows"]] == [34, "all"]
    assert found["rows"][0]["allowed"] == 0.15 and found["rows"][0]["high"] == 0.2


def test_figures_5_and_7_count_violations_of_whole_episodes(runs, tmp_path):
    found = reproduced(runs, "safer-fig5", tmp_path / "out")
    chosen = [r for r in found["rows"] if (r["method"], r["task"]) == ("SAFER", 34)]
    assert [row["step"] for row in chosen] == list(range(500, 10001, 500))
    assert [row["violations"] for row in chosen[:3]] == [0, 0.5, 3.5]
    assert chosen[-1]["violations"] == 8.5
    found = reproduced(runs, "safer-fig7", tmp_path / "out")
    chosen = [r for r in found["rows"] if (r["method"], r["task"]) == ("SAFER", 34)]
    assert [row["violations"] for row in chosen[:5]] == [0, 0.5, 3.5, 3.0, 0]


def test_figure_6_takes_the_policies_of_the_table_for_its_first_bound(runs, tmp_path):
    found = reproduced(runs, "safer-fig6", tmp_path / "out")
    assert [row["method"] for row in found["rows"]] == list(BOUNDS)
    assert all(row["runs"] == len(runs.scale.seeds) for row in found["rows"])
    same = [runs.policy_folder(Agent("safer", allowed=share), 34, 0) for share in (None, 0.15)]
    assert same[0] == same[1]


def test_figure_8_compares_priors_with_and_without_c(runs, tmp_path):
    found = reproduced(runs, "safer-fig8", tmp_path / "out")
    assert [row["method"] for row in found["rows"]] == ["SAFER", "SAFER without c"]
    assert any("--set posterior.kind=none" in command for command in found["commands"])


def test_a_curve_counts_nothing_before_the_first_episode_ends(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("last_step,violations\n10,2\n20,1\n")
    assert violations_at(path, [5, 10, 19, 20]).tolist() == [0, 2, 2, 3]
    assert violations_at(path, [10, 20, 25], 10).tolist() == [2, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", RESULTS)
def test_everything_is_made_from_nothing_and_only_once(name, tmp_path_factory, capsys):
    folder = tmp_path_factory.getbasetemp() / "smoke"
    words = ["reproduce", name, "--scale", "smoke", "--runs", str(folder / "runs")]
    words += ["--out", str(folder / "out")]
    assert cli.main(words) == 0
    times = {path: path.stat().st_mtime for path in (folder / "runs").rglob("*.json")}
    assert cli.main(words) == 0
    assert {path: path.stat().st_mtime for path in times} == times
    assert json.loads((folder / "out" / f"{name}.json").read_text())["rows"]


def test_figure_9_trains_parrot_on_unsafe_steps_too(runs, tmp_path):
    found = reproduced(runs, "safer-fig9", tmp_path / "out")
    assert [row["method"] for row in found["rows"]] == list(WITH_UNSAFE)
    trained = [c for c in found["commands"] if "objective.imitate=successful" in c]
    assert trained and all(command.startswith("safe-skills train parrot") for command in trained)
