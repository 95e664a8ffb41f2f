import argparse
import json

import pytest

from safe_skills.experiments import bench_loop, graph_processes
from safe_skills.experiments.bench import BENCHMARKS
from safe_skills.nodes.summary import HOPS
from safe_skills.systems import NodeSpec, find_system


def parse(*words):
    parser = argparse.ArgumentParser()
    bench_loop.configure(parser)
    return parser.parse_args(words)


def times(p99):
    return {"p50": p99 / 4, "p95": p99 / 2, "p99": p99}


def summary(p99, plans=10):
    hops = {name: times(p99 + k) for k, name in enumerate(HOPS)}
    return {"hops_ms": hops, "overhead_ms": times(p99), "plan_ms": times(30.0), "plans": plans}


def load_encoder(system):
    return bench_loop.load_encoder(find_system(system).nodes({}))


def test_it_is_one_of_the_benchmarks():
    assert "loop" in BENCHMARKS


def test_a_mode_has_the_median_of_its_runs_and_each_runs_p99():
    found = bench_loop.combine([summary(4.0), summary(9.0), summary(5.0)])
    assert found["overhead_p99_ms"] == 5.0 and found["overhead_ms"] == times(5.0)
    assert list(found["hops"]) == list(HOPS)
    assert found["hops"]["image_to_latent"] == times(5.0)
    assert found["runs"]["overhead_p99_ms"] == [4.0, 9.0, 5.0]
    assert found["frames"] == 30


def test_what_no_run_measured_is_unknown():
    unknown = dict.fromkeys(("p50", "p95", "p99"))
    nothing = {**summary(4.0), "overhead_ms": unknown}
    assert bench_loop.combine([nothing])["overhead_p99_ms"] is None
    assert bench_loop.combine([nothing, summary(4.0)])["overhead_p99_ms"] == 4.0


@pytest.mark.parametrize("system", ["ls3_cable", "safer_grasp"])
def test_the_encoder_is_timed_with_one_thread_and_the_setting_comes_back(system):
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    found = bench_loop.time_encoder(*load_encoder(system), rounds=3)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    assert list(found) == ["64x64", "640x480"]
    for name in found:
        assert 0.0 < found[name]["p50"] <= found[name]["p99"]


def test_a_node_gets_its_parameters_and_those_that_were_asked_for():
    spec = NodeSpec("cem_planner", {"checkpoint": "c", "threads": 1, "profile": ""})
    words = graph_processes.node_command(spec, "ls3_cable.yaml", {"threads": 2})
    assert words[2] == "safe_skills.nodes.cem_planner"
    assert 'checkpoint:="c"' in words and "threads:=2" in words
    assert not any(word.startswith("profile") for word in words)


@pytest.mark.parametrize(
    ("text", "says"), [("robot.speed:=3", "unknown node robot"), ("seed:=7", "expected NODE")]
)
def test_a_parameter_that_cannot_be_used_is_refused_before_anything_runs(text, says):
    with pytest.raises(ValueError, match=says):
        bench_loop.run(parse("-p", text))


def test_a_graph_that_refuses_to_run_ends_the_benchmark_with_what_it_said():
    args = parse("--episodes=1", "-p", "simulator.state_rate:=0.5")
    with pytest.raises(
        bench_loop.RunFailedError, match=r"did not end well \(2\).*state_rate: expected 1"
    ):
        bench_loop.measure("composed-lockstep", args)


def test_hops_of_the_real_graph_in_one_process_and_in_many(tmp_path, capsys):
    path = tmp_path / "loop.json"
    words = ["--episodes=2", "--rounds=1", f"--json={path}", "--modes"]
    assert bench_loop.run(parse(*words, "composed-lockstep", "separate-lockstep")) == 0
    written = json.loads(path.read_text())
    assert list(written["modes"]) == ["composed-lockstep", "separate-lockstep"]
    assert written["hops"] == written["modes"]["composed-lockstep"]["hops"]
    assert written["overhead_p99_ms"] == written["modes"]["composed-lockstep"]["overhead_p99_ms"]
    assert written["machine"]["cores"] >= 1
    for figures in written["modes"].values():
        hops = {name: hop["p50"] for name, hop in figures["hops"].items()}
        assert all(milliseconds > 0.0 for milliseconds in hops.values())
        assert hops["latent_to_command"] > hops["command_to_servo"] / 100
        assert 0.0 < figures["overhead_ms"]["p50"] < hops["image_to_servo"]
    assert "beyond both models" in capsys.readouterr().out
