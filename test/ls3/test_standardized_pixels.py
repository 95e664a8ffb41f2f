"""Standardized pixels: against NumPy, there and back, in the loss, and kept with the checkpoint."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from safe_skills.data.settings import ConfigError
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.learners import EncoderLearner, generator_of
from safe_skills.ls3.losses import kl_to_standard_normal
from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.observation import FrameObservation
from safe_skills.ls3.pixels import LEAST_DEVIATION, PlainPixels, StandardizedPixels
from safe_skills.ls3.surprise import reconstruction_error

SIDE = 32


def frames(count=40, channels=9, side=8):
    """Noise in the left half only, most of it in one pixel of the first channel."""
    generator = torch.Generator().manual_seed(0)
    images = torch.full((count, channels, side, side), 100, dtype=torch.uint8)
    shape = (count, channels, side, side // 2)
    images[..., : side // 2] = torch.randint(90, 111, shape, generator=generator).byte()
    images[:, 0, 0, 0] = torch.randint(0, 256, (count,), generator=generator).byte()
    return images


def config(pixels, **encoder):
    values = {"pixels": pixels, "augmentation": "none", "batch_size": 8, **encoder}
    return LS3Config.from_dict({"encoder": values})


def test_mean_and_deviation_are_those_of_the_frames():
    images = frames()
    pixels = StandardizedPixels(9, 8)
    pixels.fit(images)
    values = images.numpy() / 255.0
    deviation = values.std(0)
    for number in range(3):
        channels = slice(3 * number, 3 * number + 3)
        overall = np.sqrt(np.square(deviation[channels]).mean())
        expected = np.maximum(deviation[channels], LEAST_DEVIATION * overall)
        np.testing.assert_allclose(pixels.deviation[channels], expected, rtol=1e-5)
    np.testing.assert_allclose(pixels.mean, values.mean(0), rtol=1e-5)
    assert (pixels.deviation[..., 4:] > 0).all()


def test_frames_that_never_change_have_a_deviation():
    pixels = StandardizedPixels(3, 8)
    pixels.fit(torch.full((5, 3, 8, 8), 77, dtype=torch.uint8))
    torch.testing.assert_close(pixels.deviation, torch.full((3, 8, 8), 1 / 255))


def test_differences_are_what_changed_to_the_next_frame():
    images = frames()
    pixels = StandardizedPixels(9, 8, differences=True)
    pixels.fit(images)
    raw = pixels(images.float() / 255.0) * pixels.deviation + pixels.mean
    first, second, last = (images.float() / 255.0).split(3, 1)
    expected = torch.cat((second - first, last - second, last), 1)
    torch.testing.assert_close(raw, expected, rtol=0, atol=1e-6)
    assert pixels(images.float() / 255.0).mean().abs() < 1e-5


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 6, 9])
def test_images_come_back(channels, differences):
    images = frames(channels=channels)
    pixels = StandardizedPixels(channels, 8, differences)
    pixels.fit(images)
    plain = images.float() / 255.0
    torch.testing.assert_close(pixels.images(pixels(plain)), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["plain", "standardized", "differences"])
def test_the_loss_is_measured_in_what_the_encoder_sees(kind):
    images = frames(side=SIDE)
    models = LS3Models(config(kind, beta=0.1), 2, channels=9)
    learner = EncoderLearner(models, config(kind, beta=0.1), images, generator_of(0, 0))
    batch, noise = learner.sample()
    found = learner.gradient((batch, noise))
    gradients = [parameter.grad for parameter in models.vae.parameters()]

    vae = models.vae
    seen = batch
    if kind != "plain":
        first, second, last = batch.split(3, 1)
        seen = torch.cat((second - first, last - second, last), 1) if kind[0] == "d" else batch
        seen = (seen - vae.pixels.mean) / vae.pixels.deviation
    mean, stddev = vae.encode(batch)
    decoded = vae.decoder(mean + stddev * noise)
    loss = F.mse_loss(decoded, seen) + 0.1 * kl_to_standard_normal(mean, stddev).mean()
    torch.testing.assert_close(found, loss.detach())
    expected = torch.autograd.grad(loss, list(vae.parameters()))
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_default_leaves_checkpoints_as_they_were():
    models = LS3Models(LS3Config(), 2)
    assert isinstance(models.vae.pixels, PlainPixels)
    assert not [name for name in models.state_dict() if "pixels" in name]
    images = torch.rand(2, 1, SIDE, SIDE)
    torch.testing.assert_close(models.vae.pixels(images), images, rtol=0, atol=0)


def new_agent():
    observation = FrameObservation(size=SIDE, stack=3)
    limit = np.ones(2)
    return LS3Agent(
        config("differences"),
        task="reacher",
        layout="",
        action_limit=limit,
        observation=observation,
    )


def test_a_checkpoint_keeps_them(tmp_path):
    agent = new_agent()
    agent.models.vae.pixels.fit(frames(side=SIDE))
    agent.save(tmp_path / "checkpoint", {})
    again = LS3Agent.load(tmp_path / "checkpoint", task="reacher")
    views = frames(channels=3, side=SIDE)[:5].permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(agent.encode_views(views)[0], again.encode_views(views)[0])
    torch.testing.assert_close(again.models.vae.pixels.mean, agent.models.vae.pixels.mean)


def test_reconstruction_errors_are_those_of_the_image():
    agent = new_agent()
    images = frames(side=SIDE)
    pixels = agent.models.vae.pixels
    pixels.fit(images)
    last = [m for m in agent.models.vae.decoder if isinstance(m, nn.ConvTranspose2d)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    frame = images[0, 6:].permute(1, 2, 0).numpy()
    # A decoder that says nothing reconstructs the mean image, of which nothing has changed.
    shown = np.tile(frame.transpose(2, 0, 1), (3, 1, 1)) / 255.0
    expected = pixels.images(torch.zeros(1, 9, SIDE, SIDE))[0].numpy()
    mean, _ = agent.encode(frame)
    error = np.square(shown - expected).sum() / np.square(shown).sum()
    assert reconstruction_error(agent, frame, mean) == pytest.approx(error, rel=1e-4)


def test_an_unknown_way_is_refused():
    with pytest.raises(ConfigError, match="encoder.pixels: expected plain, standardized or"):
        config("whitened")
