"""The benchmark of the environments runs, and counts whole episodes."""

import argparse
import json

import gymnasium
import pytest

from safe_skills.experiments import bench_envs


def test_the_benchmark_writes_its_figures(tmp_path):
    figures = tmp_path / "figures.json"
    parser = argparse.ArgumentParser()
    bench_envs.configure(parser)
    words = f"--layout tight --processes 2 --episodes 1 --rounds 2 --json {figures}"
    names = ["cable", "operation", "navigation"]
    assert bench_envs.run(parser.parse_args([*words.split(), "--envs", *names])) == 0
    found = json.loads(figures.read_text())["environments"]
    assert set(found) == set(names)
    for environment in found.values():
        assert set(environment["processes"]) == {"2"}
        for row in environment["processes"].values():
            assert row["steps_per_s"] > 0
            reference = environment["reference"]
            expected = row["steps_per_processor_s"] / reference if reference else None
            assert row["to_reference"] == expected


def test_every_environment_of_the_package_is_measured():
    registered = {name for name in gymnasium.registry if name.startswith("safe_skills/")}
    assert {f"safe_skills/{name.capitalize()}-v0" for name in bench_envs.ENVIRONMENTS} == registered


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("cable", 20),
        ("operation", 8),
        ("navigation", 99),
        ("reacher", 99),
        pytest.param("pushing", 149, marks=pytest.mark.slow),
    ],
)
def test_work_depends_on_the_number_of_the_process_alone(name, least):
    first, again = (bench_envs.steps_of(name, "open", 0, 1) for _ in range(2))
    assert first.steps == again.steps > least
    assert first.seconds > 0
