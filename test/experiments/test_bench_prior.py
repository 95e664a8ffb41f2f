"""A window at a time is the same objective, and the benchmark runs."""

import json

import numpy as np
import torch

from safe_skills import cli
from safe_skills.data.segments import UnsafeLabel, read_steps
from safe_skills.experiments.bench_prior import a_window_at_a_time, drawn_episode
from safe_skills.experiments.train_safer import load_setting
from safe_skills.safer.config import METHODS
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.training import SkillPriorTrainer


def test_a_window_at_a_time_is_the_same_objective(tmp_path):
    rng = np.random.default_rng(0)
    steps = read_steps([drawn_episode(rng) for _ in range(20)], UnsafeLabel(), image_size=24)
    config = load_setting("small", "safer").config
    prior = SkillPrior(config, method="safer", task="drawn", action_dim=5)
    trainer = SkillPriorTrainer(prior, steps, tmp_path, seed=0)
    batch = trainer.batch()
    plain = a_window_at_a_time(batch)
    assert len(plain.frames) > 2 * len(batch.frames)
    state = trainer.generator.get_state()
    found = trainer.terms(batch)
    trainer.generator.set_state(state)
    for one, other in zip(found, trainer.terms(plain), strict=True):
        torch.testing.assert_close(one, other)


def test_the_benchmark_writes_its_figures(tmp_path, capsys):
    figures = tmp_path / "figures.json"
    words = "bench prior --setting small --rounds 2 --episodes 20 --json"
    threads = torch.get_num_threads()
    assert cli.main([*words.split(), str(figures)]) == 0
    assert torch.get_num_threads() == threads
    found = json.loads(figures.read_text())["priors"]
    assert set(found) == set(METHODS)
    for row in found.values():
        assert row["iterations_per_s"] > 0
        assert row["ratio_quartiles"][0] <= row["ratio"] <= row["ratio_quartiles"][1]
        assert row["encode_ms"]["p50"] > 0
    assert found["parrot"]["frames"] == found["parrot"]["plain_frames"]
    assert found["safer"]["frames"] < found["safer"]["plain_frames"]
