import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.data.checkpoint import CheckpointError
from safe_skills.safer.config import EncoderConfig
from safe_skills.safer.policy import PriorActor, SkillPolicy, truncated_normal

SETTINGS = {
    "features": 4,
    "action_dim": 2,
    "bound": 0.8,
    "hidden": (8, 8),
    "actions": "skill",
    "prior_id": "operation-abc",
    "task": "operation",
    "task_number": 34,
}


def made(**changes):
    torch.manual_seed(0)
    return SkillPolicy(**{**SETTINGS, **changes})


def test_the_action_is_bounded_tanh_of_the_last_layer():
    policy = made()
    features = np.array([0.5, -1.0, 2.0, 0.1], np.float32)
    hidden = torch.from_numpy(features)
    for index in (0, 2):
        layer = policy.layers[index]
        hidden = torch.relu(layer.weight @ hidden + layer.bias)
    last = policy.layers[4]
    expected = 0.8 * torch.tanh(last.weight @ hidden + last.bias)
    np.testing.assert_allclose(policy.act(features), expected.detach(), atol=1e-6)


@given(st.floats(-1e6, 1e6), st.floats(0.01, 10.0))
def test_no_state_leads_out_of_the_bound(scale, bound):
    action = made(bound=bound).act(np.full(4, scale, np.float32))
    assert (np.abs(action) <= np.float32(bound)).all()


def test_what_was_saved_acts_the_same(tmp_path):
    policy = made()
    policy.save(tmp_path, {"evaluation": {"success_rate": 0.5}})
    loaded = SkillPolicy.load(tmp_path, prior_id="operation-abc")
    features = np.ones(4, np.float32)
    np.testing.assert_array_equal(loaded.act(features), policy.act(features))
    assert loaded.bound == 0.8 and loaded.actions == "skill" and loaded.task == "operation"
    assert loaded.metrics["evaluation"]["success_rate"] == 0.5
    assert loaded.model_id.startswith("operation-") and loaded.model_id != "operation-untrained"


def test_a_policy_with_an_encoder_of_its_own_takes_frames(tmp_path):
    config = EncoderConfig(image_size=8, channels=(4,), features=4)
    policy = made(encoder=config)
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    features = policy.encoder(torch.from_numpy(frame)[None])
    expected = 0.8 * torch.tanh(policy.layers(features))[0]
    np.testing.assert_allclose(policy.act(frame), expected.detach(), atol=1e-6)
    policy.save(tmp_path, {})
    loaded = SkillPolicy.load(tmp_path)
    np.testing.assert_array_equal(loaded.act(frame), policy.act(frame))
    assert loaded.observation == "pixels" and made().observation == "features"


def test_a_policy_over_another_prior_is_refused(tmp_path):
    made().save(tmp_path, {})
    with pytest.raises(CheckpointError, match="expected a policy over the prior operation-xyz"):
        SkillPolicy.load(tmp_path, prior_id="operation-xyz")


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    made().save(tmp_path, {})
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("features: 4", "features: 5"))
    with pytest.raises(CheckpointError, match=r"layers\.0\.weight: expected shape"):
        SkillPolicy.load(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("actions", "joint"), ("bound", 0.0)])
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        made(**{name: value})


@pytest.mark.parametrize("bound", [0.3, 1.0, 3.0])
def test_the_truncated_prior_has_the_moments_of_a_truncated_normal(bound):
    from scipy.stats import kstest, truncnorm

    z = truncated_normal(np.random.default_rng(0), bound, 4000)
    assert np.abs(z).max() <= bound
    assert kstest(z, truncnorm(-bound, bound).cdf).pvalue > 0.01


def test_the_prior_acts_by_its_draws_alone():
    actors = [PriorActor(0.5, 3, np.random.default_rng(7)) for _ in range(2)]
    first = [actor.act(np.zeros(4)) for actor in actors]
    np.testing.assert_array_equal(*first)
    assert first[0].shape == (3,) and not np.array_equal(actors[0].act(np.ones(4)), first[0])
