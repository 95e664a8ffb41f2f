"""Training on a drawn world: it learns, it can be killed and goes on, it says when it diverges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_episodes import episodes

from safe_skills.data.run_state import ResumeError
from safe_skills.data.segments import SegmentError, UnsafeLabel, read_steps, split
from safe_skills.data.settings import ConfigError
from safe_skills.safer import training
from safe_skills.safer.config import SaferConfig, for_method
from safe_skills.safer.encoder import shifted
from safe_skills.safer.evaluation import encode_steps, evaluate
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.ranking import auc
from safe_skills.safer.training import DivergenceError, SkillPriorTrainer

CONFIG = SaferConfig.from_dict(
    {
        "encoder": {"channels": [4, 8, 8], "features": 16},
        "flow": {"hidden": [16]},
        "posterior": {"width": 8, "heads": 2, "layers": 1, "window": 4, "size": 2},
        "optimization": {"iterations": 8, "segments": 4},
        "assurance": {"hold_out": 0.4},
    }
)


def data(count=24, **changes):
    return read_steps(episodes(count, **changes), UnsafeLabel(), image_size=24)


def changed(part, **changes):
    return replace(CONFIG, **{part: replace(getattr(CONFIG, part), **changes)})


def train(folder, config=CONFIG, method="safer", seed=0, report=lambda *_: None, steps=None):
    config = for_method(config, method)
    prior = SkillPrior(config, method=method, task="operation", action_dim=5)
    steps = data() if steps is None else steps
    trainer = SkillPriorTrainer(prior, steps, folder, seed, report, report_every=1)
    trainer.train()
    return trainer


def weights(trainer):
    return trainer.models.state_dict()


def assert_same_weights(one, other):
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(other)[name], rtol=0, atol=0, msg=name)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("at", [3, 7])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, optimizer, at):
    monkeypatch.setattr(training, "SAVE_PERIOD", 0.0)
    config = changed("optimization", optimizer=optimizer)
    whole = train(tmp_path / "whole", config)

    def kill(done, *_):
        if done == at:
            raise KilledError

    with pytest.raises(KilledError):
        train(tmp_path / "killed", config, report=kill)
    seen = []
    resumed = train(tmp_path / "killed", config, report=lambda done, *_: seen.append(done))
    assert seen == list(range(at, 9))
    assert_same_weights(whole, resumed)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train(tmp_path)
    seen = []
    again = train(tmp_path, report=lambda *call: seen.append(call))
    assert seen == []
    assert_same_weights(first, again)


def test_the_seed_decides_everything(tmp_path):
    torch.manual_seed(1)
    one = train(tmp_path / "one")
    torch.manual_seed(2)
    assert_same_weights(one, train(tmp_path / "other"))
    different = train(tmp_path / "different", seed=1)
    assert not torch.equal(
        weights(one)["encoder.net.0.weight"], weights(different)["encoder.net.0.weight"]
    )


def test_the_state_of_another_run_is_refused(tmp_path):
    train(tmp_path)
    for changes in ({"seed": 1}, {"method": "parrot"}, {"steps": data(20)}):
        with pytest.raises(ResumeError, match="another seed, configuration or data set"):
            train(tmp_path, **changes)
    state = tmp_path / training.STATE
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(ResumeError, match="damaged"):
        train(tmp_path)


def test_training_may_go_on_from_another_prior(tmp_path):
    first = train(tmp_path / "first")
    config = changed("objective", rho=4.0)
    prior = SkillPrior(config, method="safer", task="operation", action_dim=5)
    trainer = SkillPriorTrainer(prior, data(), tmp_path / "second", 1, start=first.prior)
    assert_same_weights(trainer, first)
    trainer.train()
    assert not torch.equal(
        weights(trainer)["encoder.net.0.weight"], weights(first)["encoder.net.0.weight"]
    )
    with pytest.raises(ResumeError, match="another seed, configuration"):
        SkillPriorTrainer(prior, data(), tmp_path / "second", 1)
    other = SkillPrior(changed("flow", hidden=(8,)), method="safer", task="operation", action_dim=5)
    with pytest.raises(ConfigError, match="expected a prior with the same flow"):
        SkillPriorTrainer(other, data(), tmp_path / "third", 1, start=first.prior)


def test_every_segment_comes_once_a_pass(tmp_path):
    trainer = train(tmp_path)
    count = len(trainer.segments) // 4
    passes = []
    for number in range(2):
        rows = []
        for place in range(count):
            trainer.iteration = number * count + place
            rows += trainer.batch().rows.tolist()
        assert len(rows) == len(set(rows))
        passes.append(rows)
    assert passes[0] != passes[1]


def test_parrots_learn_from_safe_steps_alone(tmp_path):
    for method in ("parrot", "context-parrot"):
        trainer = train(tmp_path / method, method=method)
        rows = np.concatenate([trainer.batch().rows for trainer.iteration in range(4)])
        assert trainer.steps.safe[rows].all()
        assert (trainer.models.posterior is None) == (method == "parrot")


@pytest.mark.parametrize("kind", ["gaussian", "deterministic", "none"])
def test_every_part_is_trained(tmp_path, kind):
    config = changed("posterior", kind=kind)
    trainer = train(tmp_path, config)
    torch.manual_seed(0)
    fresh = SkillPriorTrainer(
        SkillPrior(config, method="safer", task="operation", action_dim=5),
        trainer.steps,
        tmp_path / "fresh",
        0,
    )
    for name, tensor in weights(fresh).items():
        if name == "posterior.head.bias" and kind == "deterministic":
            continue
        assert not torch.equal(tensor, weights(trainer)[name]), name


def test_learns_the_world_and_what_is_unsafe_in_it(tmp_path):
    """Both learn where the square is; SAFER also learns how contacts come about."""
    config = replace(
        CONFIG,
        encoder=replace(CONFIG.encoder, channels=(8, 16, 16)),
        optimization=replace(CONFIG.optimization, iterations=300, learning_rate=2e-3, segments=8),
        objective=replace(CONFIG.objective, rho=4.0),
    )
    unseen = data(48, seed=1)
    contact = unseen.unsafe[unseen.safe | unseen.unsafe]
    gap, rate = {}, {}
    for method in ("parrot", "safer"):
        trainer = train(tmp_path / method, config, method, steps=data(48))
        log_prob = encode_steps(trainer.models, unseen).log_prob[unseen.safe | unseen.unsafe]
        safe, unsafe = np.median(log_prob[~contact]), np.median(log_prob[contact])
        if method == "parrot":
            # A normal distribution over both sides, which needs no image, comes to 2.9 nats.
            assert safe > 4.0
        gap[method], rate[method] = safe - unsafe, auc(log_prob, contact)
    assert gap["safer"] > gap["parrot"] + 0.5
    assert rate["safer"] > rate["parrot"] + 0.03


def test_metrics_of_a_trained_prior(tmp_path):
    parts = split(data(60), hold_out=0.5, seed=0, held_out_tasks=[2])
    trainer = train(tmp_path, steps=parts.train)
    metrics = evaluate(trainer.models, parts, CONFIG.assurance, 0)
    held_out = len(parts.calibration) + len(parts.certification)
    assert metrics["held_out_episodes"]["steps"] == held_out
    assert metrics["held_out_tasks"]["steps"] == len(parts.unseen)
    etas = [level["eta"] for level in metrics["assurance"] if level["eta"] is not None]
    assert len(metrics["assurance"]) == len(CONFIG.assurance.allowed)
    assert etas == sorted(etas)
    for level in metrics["assurance"]:
        if level["eta"] is not None:
            assert level["unsafe_share"] <= level["allowed"]
            assert level["certified_bound"] >= level["certified_share"]


def test_divergence_is_one_clear_line(tmp_path):
    config = changed("optimization", optimizer="sgd", learning_rate=1e30, clip=1e30)
    with pytest.raises(DivergenceError, match=r"^training diverged at iteration \d+: the loss is"):
        train(tmp_path, config)


def test_data_without_unsafe_steps_is_refused(tmp_path):
    with pytest.raises(SegmentError, match="no unsafe step"):
        train(tmp_path, steps=data(1))


def test_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected 1 or 5 numbers, got 2"):
        train(tmp_path, changed("optimization", dequantization_scale=(0.1, 0.2)))
    for part, change, message in (
        ("encoder", {"image_size": 20}, "a multiple of 8, got 20"),
        ("flow", {"couplings": 1}, "expected 2 or more"),
        ("posterior", {"kind": "c"}, "expected one of"),
        ("posterior", {"heads": 3}, "multiple of heads"),
        ("objective", {"freeze": "all"}, "expected one of"),
        ("objective", {"rho": -1.0}, "expected 0 or more"),
        ("optimization", {"optimizer": "lion"}, "expected"),
        ("assurance", {"hold_out": 1.0}, "expected 0..1"),
        ("assurance", {"allowed": (1.0,)}, "expected 0 to below 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            changed(part, **change)
    with pytest.raises(ConfigError, match="unknown method 'opal'"):
        for_method(CONFIG, "opal")


def test_configuration_round_trips():
    assert SaferConfig.from_dict(CONFIG.to_dict()) == CONFIG
    assert SaferConfig.from_dict(None) == SaferConfig()


def test_shifts_move_images_and_repeat_their_edges():
    images = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 4, 4, 3)
    moves = torch.tensor([[1, 1], [0, 2]])
    found = shifted(images, moves, 1)
    torch.testing.assert_close(found[0], images[0])
    padded = np.pad(images[1].numpy(), ((1, 1), (1, 1), (0, 0)), mode="edge")
    np.testing.assert_array_equal(found[1].numpy(), padded[0:4, 2:6])


def test_parrot_may_imitate_every_step_of_successful_episodes(tmp_path):
    steps = data()
    assert (steps.success & ~steps.safe).any()
    config = changed("objective", imitate="successful")
    trainer = train(tmp_path / "all", config, "parrot")
    assert set(_all_rows(trainer)) == set(np.flatnonzero(steps.success))
    safe_only = train(tmp_path / "safe", CONFIG, "parrot")
    assert set(_all_rows(safe_only)) == set(np.flatnonzero(steps.safe))
    # The objective is the mean log p of all of them, unsafe ones included.
    batch = trainer.batch()
    state = trainer.generator.get_state()
    terms = trainer.terms(batch)
    trainer.generator.set_state(state)
    as_safe = trainer.terms(replace(batch, unsafe=np.zeros_like(batch.unsafe)))
    torch.testing.assert_close(terms.loss, as_safe.loss, rtol=0, atol=0)


def _all_rows(trainer):
    """Rows of several passes: in each a remainder of the segments is left out."""
    rows = []
    for iteration in range(4 * len(trainer.segments)):
        trainer.iteration = iteration
        rows.append(trainer.batch().rows)
    return np.concatenate(rows)


def test_safer_does_not_imitate_what_it_avoids():
    with pytest.raises(ConfigError, match=r"objective.imitate: expected 'safe' for the method"):
        for_method(changed("objective", imitate="successful"), "safer")
    with pytest.raises(ConfigError, match=r"objective.imitate: expected one of"):
        changed("objective", imitate="everything")
