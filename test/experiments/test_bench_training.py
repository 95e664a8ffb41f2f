"""The plain updates are the learners', and the benchmark runs."""

import json

import numpy as np
import pytest
import torch

from safe_skills.experiments import bench_training
from safe_skills.experiments.plain_updates import members_of, plain
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.networks import EnsembleMLP

SMALL = {"batch_size": 16, "hidden": [12, 8]}
CONFIG = LS3Config.from_dict(
    {
        "encoder": {"batch_size": 4},
        "dynamics": SMALL,
        "value": SMALL | {"monte_carlo_share": 0.0, "target_period": 2},
        "safe_set": SMALL | {"target_period": 2},
        "constraint": SMALL,
        "goal": SMALL,
    }
)


@pytest.fixture(scope="module")
def learners():
    torch.manual_seed(0)
    agent = LS3Agent(CONFIG, task="cable", layout="open", action_limit=np.array([0.03, 0.03]))
    found, seconds = bench_training._learners(agent, episodes=20)
    assert seconds > 0
    return {learner.name: learner for learner in found}


@pytest.mark.parametrize("name", ["encoder", "dynamics", "value", "safe_set", "constraint", "goal"])
def test_plain_updates_lead_to_the_same_weights(learners, name, monkeypatch):
    learner = learners[name]
    slow = plain(learner)
    for _ in range(4):
        batch = learner.sample()
        slow.update(batch)
        monkeypatch.setattr(learner, "sample", lambda batch=batch: batch)
        learner.step()
        monkeypatch.undo()
    net = getattr(learner.module, "net", None)
    after = members_of(net) if isinstance(net, EnsembleMLP) else [learner.module]
    for one, other in zip(after, slow.networks, strict=True):
        for parameter, expected in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(parameter, expected, rtol=1e-3, atol=2e-5)


def test_the_benchmark_writes_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_training, "LS3Config", lambda: CONFIG)
    figures = tmp_path / "figures.json"
    parser = bench_training.argparse.ArgumentParser()
    bench_training.configure(parser)
    words = f"--rounds 2 --iterations 2 --episodes 20 --json {figures}"
    threads = torch.get_num_threads()
    assert bench_training.run(parser.parse_args(words.split())) == 0
    assert torch.get_num_threads() == threads
    found = json.loads(figures.read_text())
    names = {"encoder", "dynamics", "value", "safe_set", "constraint", "goal", "over latents"}
    assert set(found["learners"]) == names
    for row in found["learners"].values():
        assert row["updates_per_s"] > 0
        assert row["ratio_quartiles"][0] <= row["ratio"] <= row["ratio_quartiles"][1]
    assert 0 < found["data"]["share"] < 1
    assert found["machine"]["cores"] >= 1
