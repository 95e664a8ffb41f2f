"""The benchmark of the environments runs, and counts whole episodes."""

import argparse
import json

import pytest

from safe_skills.experiments import bench_envs


def test_the_benchmark_writes_its_figures(tmp_path):
    figures = tmp_path / "figures.json"
    parser = argparse.ArgumentParser()
    bench_envs.configure(parser)
    words = f"--layout tight --processes 2 --episodes 1 --rounds 2 --json {figures}"
    assert bench_envs.run(parser.parse_args(words.split())) == 0
    found = json.loads(figures.read_text())["environments"]
    assert set(found) == set(bench_envs.ENVIRONMENTS) == {"cable", "operation"}
    for environment in found.values():
        assert set(environment["processes"]) == {"2"}
        for row in environment["processes"].values():
            assert row["steps_per_s"] > 0
            assert row["to_reference"] == row["steps_per_processor_s"] / environment["reference"]


@pytest.mark.parametrize(("name", "least"), [("cable", 20), ("operation", 8)])
def test_work_depends_on_the_number_of_the_process_alone(name, least):
    first, again = (bench_envs.steps_of(name, "open", 0, 1) for _ in range(2))
    assert first.steps == again.steps > least
    assert first.seconds > 0
