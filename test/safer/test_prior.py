"""The prior as its users see it: inverse pair, frame by frame, checkpoints and their errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from drawn_episodes import episodes

from safe_skills.data.checkpoint import CheckpointError, save_checkpoint
from safe_skills.data.segments import UnsafeLabel, read_steps
from safe_skills.safer.assurance import AssuranceError
from safe_skills.safer.config import SaferConfig, for_method
from safe_skills.safer.evaluation import encode_steps
from safe_skills.safer.prior import SkillPrior

CONFIG = SaferConfig.from_dict(
    {
        "encoder": {"channels": [4, 8, 8], "features": 16},
        "flow": {"hidden": [16]},
        "posterior": {"width": 8, "heads": 2, "window": 5, "size": 3},
    }
)
RNG = np.random.default_rng(0)


def prior_of(method="safer", config=CONFIG, action_dim=5):
    torch.manual_seed(0)
    config = for_method(config, method)
    prior = SkillPrior(config, method=method, task="operation", action_dim=action_dim)
    for coupling in prior.models.flow.couplings:
        torch.nn.init.normal_(coupling.net[-1].weight, std=0.3)
    return prior


def frames(count):
    return RNG.integers(0, 256, (count, 48, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("method", ["safer", "parrot", "context-parrot"])
def test_decode_and_encode_are_inverse_for_one_and_for_many(method):
    prior = prior_of(method)
    states = prior.features(frames(6))
    contexts = RNG.standard_normal((6, prior.context_size))
    z = RNG.standard_normal((6, 5))
    actions = prior.decode(z, states, contexts, clip=False)
    found, log_prob = prior.encode(actions, states, contexts)
    np.testing.assert_allclose(found, z, atol=1e-4)
    assert log_prob.shape == (6,)
    for i in range(6):
        one = prior.decode(z[i], states[i], contexts[i], clip=False)
        np.testing.assert_allclose(one, actions[i], atol=1e-5)
        found, single = prior.encode(one, states[i], contexts[i])
        assert found.shape == (5,)
        assert single == pytest.approx(log_prob[i], abs=1e-4)
    assert (np.abs(actions) > 1).any()
    np.testing.assert_array_equal(prior.decode(z, states, contexts), np.clip(actions, -1, 1))


@pytest.mark.parametrize("method", ["safer", "parrot"])
def test_frame_by_frame_is_what_training_sees(method):
    prior = prior_of(method)
    made = episodes(3)
    steps = read_steps(made, UnsafeLabel(), image_size=24)
    encoded = encode_steps(prior.models, steps)
    row = 0
    history = prior.history()
    for episode in made:
        history.reset()
        for t, action in enumerate(episode.actions):
            state = history.push(episode.images[t])
            context = history.context()
            assert context.fill == (min(t + 1, 5) / 5 if method == "safer" else 1.0)
            z, log_prob = prior.encode(action, state, context.mean)
            assert log_prob == pytest.approx(encoded.log_prob[row], abs=1e-4)
            assert np.abs(z).max() == pytest.approx(encoded.radius[row], abs=1e-4)
            row += 1


def test_a_context_needs_a_frame():
    with pytest.raises(ValueError, match="expected a frame before"):
        prior_of().history().context()


def test_features_from_elsewhere_make_the_same_context():
    prior = prior_of()
    pushed, given = prior.history(), prior.history()
    for frame in frames(7):
        given.push_features(pushed.push(frame))
        for one, other in zip(pushed.context(), given.context(), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"history: expected 16 features, got \(15,\)"):
        given.push_features(np.zeros(15, np.float32))


def test_without_c_the_past_does_not_matter_and_with_c_it_does():
    past, present = frames(2)
    for method, same in (("parrot", True), ("safer", False)):
        prior = prior_of(method)
        alone, after = prior.history(), prior.history()
        after.push(past)
        actions = [
            prior.decode(np.ones(5), h.push(present), h.context().mean) for h in (alone, after)
        ]
        assert np.allclose(*actions, atol=1e-7) == same


def test_kinds_of_context():
    features, windows = torch.randn(4, 16), torch.arange(4)[:, None] - torch.arange(5)
    for kind, size, spread, divergence in (
        ("gaussian", 3, True, True),
        ("deterministic", 3, False, False),
        ("none", 0, False, False),
    ):
        config = replace(CONFIG, posterior=replace(CONFIG.posterior, kind=kind))
        models = prior_of(config=config).models
        mean, stddev = models.context(features, windows)
        assert mean.shape == (4, size)
        assert bool((stddev > 0).any()) == spread
        assert bool((models.kl(mean, stddev) > 0).any()) == divergence


def test_frames_of_another_size_are_refused():
    prior = prior_of()
    with pytest.raises(ValueError, match="expected frames of 48x48 RGB, uint8, got"):
        prior.features(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        prior.features(np.zeros((48, 48, 3)))


@pytest.fixture
def saved(tmp_path):
    prior = prior_of()
    level = {"allowed": 0.15, "eta": 0.7}
    prior.save(tmp_path / "prior", {"assurance": [level, {"allowed": 0.3, "eta": None}]})
    return prior, tmp_path / "prior"


def test_a_checkpoint_is_the_same_prior(saved):
    prior, folder = saved
    again = SkillPrior.load(folder, task="operation", action_dim=5)
    assert again.config == prior.config
    assert again.method == "safer"
    assert again.model_id.startswith("operation-")
    images = frames(2)
    np.testing.assert_array_equal(again.features(images), prior.features(images))
    assert again.eta(0.15) == 0.7


def test_a_missing_eta_is_one_clear_line(saved):
    prior, folder = saved
    with pytest.raises(AssuranceError, match=r"no eta for an unsafe share of 0.3; there is: 0.15$"):
        SkillPrior.load(folder).eta(0.3)
    with pytest.raises(AssuranceError, match="untrained: no eta .* there is: none$"):
        prior.eta()


def test_a_checkpoint_that_does_not_fit_is_one_clear_line(saved, tmp_path):
    _, folder = saved
    for options, message in (
        ({"action_dim": 8}, "expected actions of 8 numbers, found 5"),
        ({"task": "cable"}, "expected task 'cable', found 'operation'"),
    ):
        with pytest.raises(CheckpointError, match=message):
            SkillPrior.load(folder, **options)
    foreign = tmp_path / "foreign"
    save_checkpoint(foreign, config={"method": "ls3", "task": "cable"}, tensors={}, metrics={})
    with pytest.raises(CheckpointError, match="expected method safer, parrot, context-parrot"):
        SkillPrior.load(foreign)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for change, message in (
        ({"action_dim": 4}, "expected shape"),
        ({"frame_size": None, "model": {"flow": {"depth": 2}}}, "unknown setting flow.depth"),
    ):
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, **change}))
        with pytest.raises(CheckpointError, match=message) as caught:
            SkillPrior.load(folder)
        assert "\n" not in str(caught.value)
