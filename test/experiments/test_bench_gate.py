"""The benchmark of the gate judges what it says, and writes its figures."""

import json

from safe_skills import cli
from safe_skills.experiments.bench_gate import FIRST, Stream, all_limits, first_limits
from safe_skills.ls3.agent import LS3Agent
from safe_skills.paths import checkpoint_dir
from safe_skills.safety import checks_of


def test_all_checks_of_a_crtk_arm_are_made_but_those_of_the_first_version_only_by_it():
    agent = LS3Agent.load(checkpoint_dir("cable_open"))
    first = [rule.check for rule, _ in checks_of(first_limits())]
    everything = {rule.check for rule, _ in checks_of(all_limits(agent.model_id))}
    assert first == list(FIRST)
    assert set(first) < everything and len(everything) >= 24
    stream = Stream(agent, all_limits(agent.model_id))
    stream.tell()
    assert stream.judge().decision.reasons == ()


def test_the_benchmark_writes_its_figures(tmp_path, capsys):
    figures = tmp_path / "figures.json"
    assert cli.main(["bench", "gate", "--commands", "20", "--json", str(figures)]) == 0
    found = json.loads(figures.read_text())["gate"]
    assert found["all"]["checks"] > found["first"]["checks"] == len(FIRST)
    assert 0 < found["first"]["p50_us"] <= found["first"]["p99_us"]
    assert "added" in capsys.readouterr().out
