"""Faults over a real graph: processes, DDS, realtime."""

import argparse
import json

import pytest

from safe_skills.experiments import faults

KEYS = {"injected", "unsafe_passed", "crashes", "hold_p99_periods", "recovered_share", "by_kind"}


def inject(tmp_path, *words):
    parser = argparse.ArgumentParser()
    faults.configure(parser)
    path = tmp_path / "faults.json"
    words = [*words, "--json", str(path), "--logs", str(tmp_path / "logs")]
    status = faults.run(parser.parse_args([str(word) for word in words]))
    return status, json.loads(path.read_text())


@pytest.mark.timeout(300)
def test_a_few_faults_over_the_running_graph(tmp_path):
    status, found = inject(tmp_path, "--count", 60, "--out", tmp_path / "results")
    assert set(found) >= KEYS and found["injected"] == 60
    what = (found["breaches"], found["accepted"], found["crash_lines"])
    assert found["unsafe_passed"] == 0 and found["crashes"] == 0, what
    assert status == 0 and found["judged"]["commands"] > 10 and found["judged"]["set_points"] > 10
    written = {path.name for path in (tmp_path / "results").iterdir()}
    assert written == {"faults.json", "faults.md", "faults.png"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("system", ["ls3_cable", "safer_grasp"])
def test_some_hundred_faults_over_the_running_graph(tmp_path, system):
    status, found = inject(tmp_path, "--count", 800, "--system", system)
    assert found["injected"] == 800 and sum(k["injected"] for k in found["by_kind"].values()) == 800
    assert status == 0, (found["breaches"], found["accepted"], found["crash_lines"])
    assert found["recovered_share"] > 0.95, found["not_recovered"]


def test_what_cannot_be_used_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match="-p: unknown node nobody"):
        inject(tmp_path, "--count", 1, "-p", "nobody.x:=1")
