"""What is learned from noisy latents: the blurred labels, as in closed form."""

import numpy as np
import pytest
import torch

from safe_skills.data.latents import EpisodeLabels, LatentReplay
from safe_skills.data.settings import ConfigError
from safe_skills.ls3.config import ClassifierConfig, LS3Config, SafeSetConfig
from safe_skills.ls3.learners import ConstraintLearner, ValueLearner
from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.networks import Classifier


def replay():
    """Frames at z = -1, and the last at z = 1, where the episode violates."""
    result = LatentReplay(1, 1, discount=0.99)
    for _ in range(4):
        latents = np.float32([[-1], [-1], [-1], [1]])
        rewards, costs = np.float32([-1, -1, -1]), np.float32([0, 0, 1])
        actions = np.zeros((3, 1), np.float32)
        labels = EpisodeLabels(actions, rewards, costs, on_policy=True)
        result.add(latents, np.zeros_like(latents), labels)
    return result


def learned(noise):
    """f_C at z from -1.5 to 1.5."""
    torch.manual_seed(0)
    classifier = Classifier((32,), 1)
    config = ClassifierConfig(learning_rate=1e-2, batch_size=256, noise=noise)
    learner = ConstraintLearner(classifier, config, replay(), torch.Generator().manual_seed(0))
    for _ in range(1500):
        learner.step()
    places = torch.linspace(-1.5, 1.5, 13)[:, None]
    with torch.no_grad():
        return places.squeeze(1).numpy(), classifier(places).numpy()


def test_a_classifier_of_noisy_latents_becomes_the_share_of_blurred_frames():
    # Balanced and blurred by sigma, frames at -1 and 1 have densities whose ratio is
    # exp(2 z / sigma^2).
    places, found = learned(noise=1.0)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-2 * places)), atol=0.04)


def test_without_noise_it_is_sure_wherever_frames_are():
    places, found = learned(noise=0.0)
    assert found[places <= -1].max() < 0.01 and found[places >= 1].min() > 0.99


def value_batches(noise):
    config = LS3Config.from_dict({"value": {"noise": noise, "batch_size": 4000, "members": 2}})
    one_dimension = LS3Config.from_dict({**config.to_dict(), "encoder": {"latent_dim": 1}})
    models = LS3Models(one_dimension, 1, 1)
    generator = torch.Generator().manual_seed(0)
    return ValueLearner(models, one_dimension, replay(), generator).sample()


def test_values_are_learned_around_latents_and_their_targets_made_at_them():
    batch = value_batches(noise=0.5)
    assert (batch.latents + 1).std().item() == pytest.approx(0.5, rel=0.05)
    assert set(batch.next_latents.unique().tolist()) == {-1.0, 1.0}
    assert (value_batches(noise=0.0).latents == -1).all()


@pytest.mark.parametrize("part", ["value", "safe_set", "constraint", "goal"])
def test_noise_is_not_negative(part):
    with pytest.raises(ConfigError, match=r"noise: expected at least 0, got -0\.1"):
        LS3Config.from_dict({part: {"noise": -0.1}})
    assert SafeSetConfig(noise=0.2).noise == 0.2
