"""LS3's tables and figures: from measurements by hand, and, slowly, from nothing."""

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from safe_skills import cli
from safe_skills.data.run_table import EpisodeRow, read_episodes, write_episodes
from safe_skills.data.settings import ConfigError
from safe_skills.experiments import collect, evaluate, reproduce, reproduce_ls3, train
from safe_skills.experiments.ls3_curves import curve
from safe_skills.experiments.ls3_runs import METHODS, SWEEPS, Run, load_scale, run_folder
from safe_skills.experiments.ls3_settings import load_setting
from safe_skills.experiments.reproduce_ls3 import PAPER, RESULTS, TABLE_METHODS
from safe_skills.experiments.results import SCALES

FIGURES = ("fig2", "fig4", "fig5", "fig6", "fig7", "fig8", "fig9")


def written(stage, values):
    stage.result.parent.mkdir(parents=True, exist_ok=True)
    stage.result.write_text(json.dumps(values))


def measured(stage, returns, violations=()):
    """A training that came to these returns; a return above -100 is a success."""
    rows = [
        EpisodeRow(n, 100, value, value > -100, n in violations, 1.0)
        for n, value in enumerate(returns)
    ]
    run_folder(stage).mkdir(parents=True)
    write_episodes(run_folder(stage) / "episodes.csv", rows)
    written(stage, {"seed": 0})


@pytest.fixture
def run(tmp_path):
    """The scale `cpu`, with its data and nothing else."""
    made = Run(load_scale("cpu"), tmp_path / "runs")
    for task in made.scale.tasks:
        written(made.data(task), {"kinds": {"demo": {"mean_return": -84.0}}})
    return made


def available(run, name, out):
    words = ["reproduce", name, "--runs", str(run.folder), "--out", str(out), "--available"]
    assert cli.main(words) == 0
    found = json.loads((out / f"{name}.json").read_text())
    with (out / f"{name}.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(found["rows"])
    assert (out / f"{name}.png").stat().st_size > 5000
    assert found["sizes"]["tasks"]["navigation"]["updates"] == 25
    return found


def row_of(found, **values):
    (row,) = [r for r in found["rows"] if all(r[key] == v for key, v in values.items())]
    return row


def test_the_tables_have_means_and_errors_over_seeds_beside_the_papers(run, tmp_path):
    # Successes .5, 1 and 1 of 30; the last twenty returns -50, -40 and -45.
    for seed, returns in enumerate(
        ([-100.0] * 10 + [-60.0] * 5 + [-40.0] * 5 + [-50.0] * 10, [-40.0] * 30, [-45.0] * 30)
    ):
        measured(run.training("ls3", "navigation", seed), returns, violations=range(3 * seed))
    measured(run.training("ls3", "reacher", 1), [-90.0] * 4)
    found = available(run, "ls3-table1", tmp_path / "out")
    assert len(found["rows"]) == 3 * len(TABLE_METHODS)
    row = row_of(found, task="navigation", method="LS3")
    assert (row["seeds"], row["trajectories"]) == (3, 90)
    assert row["success"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert row["success_se"] == pytest.approx(1 / 9)  # of 2/3, 1 and 1
    assert row["last_20_return"] == pytest.approx(-45.0)
    assert row["last_20_return_se"] == pytest.approx(5 / 3**0.5)
    assert (row["demo_return"], row["paper_success"], row["paper_success_se"]) == (
        -84.0, 0.988, 0.004,
    )  # fmt: skip
    single = row_of(found, task="reacher", method="LS3")
    assert (single["seeds"], single["success"], single["success_se"]) == (1, 1.0, None)
    # What has not been run yet has no seeds; what the scale does not name says nothing of them.
    waiting = row_of(found, task="pushing", method="LS3")
    assert (waiting["seeds"], waiting["success"], waiting["paper_success"]) == (0, None, 0.648)
    assert row_of(found, task="pushing", method="AWAC")["seeds"] is None
    named = sum(len(run.trainings(m, t)) for m in TABLE_METHODS for t in run.scale.tasks)
    named -= len(run.trainings("sacfd", "cable")) + len(run.trainings("ls3", "cable"))
    assert len(found["missing"]) == named - 4
    assert any("train sacfd navigation" in line for line in found["missing"])
    assert all("collect" in line or "train ls3" in line for line in found["commands"])

    found = available(run, "ls3-table2", tmp_path / "out")
    row = row_of(found, task="navigation", method="LS3")
    assert row["violations"] == pytest.approx(0.1) and row["paper_violations"] == 0.005
    assert row["violations_se"] == pytest.approx(0.1 / 3**0.5)


def test_the_papers_tables_are_those_of_the_paper():
    for table in PAPER.values():
        assert list(table) == ["navigation", "reacher", "pushing"]
        assert all(len(row) == len(TABLE_METHODS) for row in table.values())
    best = {task: max(row)[0] for task, row in PAPER["success"].items()}
    assert best == {"navigation": 0.988, "reacher": 0.870, "pushing": 0.648}
    assert [row[-1][0] for row in PAPER["violations"].values()] == [0.005, 0.102, 0.107]


def test_a_curve_goes_as_far_as_all_seeds_do(run):
    stages = run.trainings("ls3", "navigation")[:2]
    measured(stages[0], [-100.0] * 10 + [-50.0] * 5, violations=[3])
    measured(stages[1], [-80.0] * 10 + [-60.0] * 20)
    first, second = curve(stages)
    assert (first["trajectories"], first["seeds"], first["return"]) == (10, 2, -90.0)
    assert first["return_se"] == pytest.approx(10.0)
    assert (first["success"], first["violations"]) == (0.5, pytest.approx(0.05))
    assert (second["trajectories"], second["return"]) == (15, -55.0)
    assert [row["trajectories"] for row in curve(stages, limit=10)] == [10]
    assert curve(run.trainings("sacfd", "navigation")) == []


def test_figures_4_and_5_have_a_curve_a_task_and_method(run, tmp_path):
    measured(run.training("ls3", "navigation", 0), [-50.0] * 250)
    measured(run.training("ls3-no-safe-set", "pushing", 1), [-120.0] * 20)
    found = available(run, "ls3-fig4", tmp_path / "out")
    assert len(found["rows"]) == 25 + 2
    row = row_of(found, task="pushing", method="LS3(-SS)", trajectories=20)
    assert (row["return"], row["return_se"], row["demo_return"]) == (-120.0, None, -84.0)

    for method in ("ls3", "sacfd"):
        measured(run.training(method, "cable", 0), [-30.0, -20.0] * 10)
    found = available(run, "ls3-fig5", tmp_path / "out")
    assert {(row["task"], row["method"]) for row in found["rows"]} == {
        ("cable", "LS3"), ("cable", "SACfD"),
    }  # fmt: skip
    assert found["rows"][0]["return"] == -25.0 and found["missing"] == []


def test_figure_6_has_the_agents_that_all_seeds_have(run, tmp_path):
    for seed, rates in enumerate(([0.2, 0.4], [0.6, 0.8, 1.0])):
        stage = run.training("ls3", "navigation", seed)
        measured(stage, [-50.0] * 10)
        rows = [
            {"updates": 5 * n, "trajectories": 50 * n, "episodes": 10, "success_rate": rate}
            for n, rate in enumerate(rates)
        ]
        written(run.checkpoints(stage), {"rows": rows})
    found = available(run, "ls3-fig6", tmp_path / "out")
    assert [row["trajectories"] for row in found["rows"]] == [0, 50]
    row = found["rows"][1]
    assert (row["seeds"], row["rollouts"]) == (2, 20)
    assert row["success"] == pytest.approx(0.6) and row["success_se"] == pytest.approx(0.2)
    assert any("evaluate run" in line for line in found["missing"])


def test_a_sweep_reads_its_own_value_from_the_longer_run(run, tmp_path):
    measured(run.training("ls3", "navigation", 0), [-50.0] * 250)
    (without,) = run.sweep("delta_c", "none")
    assert without.result.name == "ls3_navigation_delta_c-none_0.json"
    assert "--ablation no-constraint" in without.line and "--updates 4" in without.line
    measured(without, [-70.0] * 40, violations=range(6))
    found = available(run, "ls3-fig7", tmp_path / "out")
    own = [row for row in found["rows"] if row["delta_c"] == 0.2]
    assert [row["trajectories"] for row in own] == [10, 20, 30, 40]
    assert all(row["own"] and row["return"] == -50.0 for row in own)
    row = row_of(found, delta_c="none", trajectories=10)
    assert not row["own"] and row["violations"] == pytest.approx(0.6)
    assert sum("--delta_c" in line for line in found["missing"]) == 2


@pytest.mark.parametrize(("name", "own"), [("delta_c", 0.2), ("delta_s", 0.8), ("horizon", 8)])
def test_the_values_of_a_sweep_are_run_once_each_and_the_settings_own_is_among_them(run, name, own):
    values = run.values(name)
    assert len(values) == 4 and own in values
    stages = [stage for value in values for stage in run.sweep(name, value)]
    assert [stage for stage in stages if stage == run.training("ls3", "navigation", 0)]
    assert len({stage.result for stage in stages}) == 4
    other = [value for value in values if value not in (own, "none")][0]
    (stage,) = run.sweep(name, other)
    text = f"{other:g}"
    assert run_folder(stage).name == f"ls3_navigation_{name}-{text}_0"
    assert f"--{name} {text} " in stage.line


def test_the_commands_are_those_of_the_documents(tmp_path):
    run = Run(load_scale("cpu"), Path("F"))
    counts, _ = load_setting("pushing", "default")
    assert run.data("pushing").line == (
        f"safe-skills collect pushing --demos {counts['demos']} --random {counts['random']} "
        "--varied --seed 0 --workers 1 --out F/data/pushing"
    )
    stage = run.training("ls3-no-safe-set", "navigation", 2)
    assert stage.result == Path("F/runs/ls3-no-safe-set_navigation_2.json")
    assert stage.line == (
        "safe-skills train ls3 navigation --setting default --ablation no-safe-set --seed 2 "
        "--data F/data/navigation --data-seed 0 --keep last --offline F/runs/ls3_navigation_2 "
        "--updates 25 --episodes 20 --workers 1 --out F/runs/ls3-no-safe-set_navigation_2"
    )
    assert run.training("ls3", "navigation", 2).result in stage.after
    assert "--offline" not in run.training("ls3-bc-safe-set", "navigation", 2).line
    assert run.training("recovery", "navigation", 0).line == (
        "safe-skills train recovery navigation --setting cpu --seed 0 --data F/data/navigation "
        "--updates 25 --episodes 20 --workers 1 --out F/runs/recovery_navigation_0"
    )
    assert run.checkpoints(stage).line == (
        "safe-skills evaluate run F/runs/ls3-no-safe-set_navigation_2 --every 5 --episodes 5 "
        "--workers 1"
    )


@pytest.mark.parametrize("module", [collect, train, evaluate])
def test_commands_have_known_options(module):
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    module.configure(parser)
    command = module.__name__.rpartition(".")[2]
    for scale in SCALES:
        run = Run(load_scale(scale), Path("runs"))
        every = {stage.words for result in RESULTS.values() for stage in result.stages(run)}
        chosen = [words for words in every if words[0] == command]
        assert chosen
        for words in chosen:
            parser.parse_args([*words[1:], "--json", "x.json"])


def test_every_result_of_the_paper_is_there():
    assert set(RESULTS) == {f"ls3-{name}" for name in ("table1", "table2", *FIGURES)}
    assert set(SWEEPS) == {"delta_c", "delta_s", "horizon"}
    assert set(TABLE_METHODS) < set(METHODS)
    paper = load_scale("paper")
    assert all(len(paper.tasks[task].seeds) == 10 for task in reproduce_ls3.SIMULATED)
    assert len(paper.tasks["cable"].seeds) == 3 and paper.sweeps.task == "pushing"


def test_runs_of_ls3_lie_apart_from_those_of_safer(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert reproduce.FAMILIES["ls3-fig4"].folder / "cpu" == Path("outputs/reproduce/ls3/cpu")
    assert reproduce.FAMILIES["safer-fig4"].folder / "cpu" == Path("outputs/reproduce/cpu")
    assert cli.main(["reproduce", "ls3-fig4", "--available"]) == 2
    said = capsys.readouterr().err
    assert "ls3-fig4: nothing to show yet, missing" in said
    assert "outputs/reproduce/ls3/cpu/data/navigation.json" in said and said.count("\n") == 1
    assert cli.main(["reproduce", "safer-table1", "--available"]) == 2
    assert "expected all stages to have been run" in capsys.readouterr().err


def test_scales_that_do_not_go_together_are_refused():
    scale = load_scale("cpu")
    with pytest.raises(ConfigError, match="sweeps: expected a task that ls3 is trained on"):
        replace(scale, sweeps=replace(scale.sweeps, updates=26))
    with pytest.raises(ConfigError, match="sweeps: expected a task"):
        replace(scale, sweeps=replace(scale.sweeps, seeds=(3,)))
    with pytest.raises(ConfigError, match="methods: expected some of sacfd, .*, got .'sac'"):
        replace(scale.tasks["cable"], methods=("sac",))
    with pytest.raises(ConfigError, match="tasks: expected some of navigation"):
        replace(scale, tasks={"flying": scale.tasks["cable"]})
    with pytest.raises(ConfigError, match="scale: expected one of smoke, cpu, paper, got 'huge'"):
        load_scale("huge")


@pytest.mark.slow
def test_everything_is_made_from_nothing_and_only_once(tmp_path):
    words = ["--scale", "smoke", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    for name in RESULTS:
        assert cli.main(["reproduce", name, *words]) == 0
        found = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert found["rows"] and found["missing"] == []
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5000
    times = {path: path.stat().st_mtime for path in (tmp_path / "runs").rglob("*.json")}
    assert cli.main(["reproduce", "ls3-table1", *words]) == 0
    assert {path: path.stat().st_mtime for path in times} == times
    rows = read_episodes(tmp_path / "runs" / "runs" / "ls3_navigation_0" / "episodes.csv")
    table = json.loads((tmp_path / "out" / "ls3-table1.json").read_text())
    row = row_of(table, task="navigation", method="LS3")
    assert row["trajectories"] == len(rows) == 2
    assert row["success"] == sum(r.success for r in rows) / 2
