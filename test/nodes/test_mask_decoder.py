"""The node's decoder against PyTorch's: every pixel, every error, and weights that do not fit."""

import numpy as np
import pytest
import torch
from torch import nn

from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.surprise import reconstruction_error
from safe_skills.nodes import mask_decoder
from safe_skills.nodes.mask_decoder import MaskDecoder


@pytest.mark.parametrize(("inputs", "outputs", "side"), [(3, 5, 4), (8, 1, 6), (1, 2, 1)])
def test_a_layer_is_the_transposed_convolution(inputs, outputs, side):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    image = torch.randn(1, inputs, side, side)
    with torch.inference_mode():
        expected = layer(image)[0].permute(1, 2, 0).numpy()
    found = mask_decoder._Upsampling(layer)(image[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["cable_open", "cable_tight"])
def test_masks_and_errors_are_the_agents(name):
    from safe_skills.paths import checkpoint_dir

    agent = LS3Agent.load(checkpoint_dir(name))
    decoder = MaskDecoder(agent)
    rng = np.random.default_rng(0)
    for _ in range(10):
        mean = rng.standard_normal(agent.latent_dim).astype(np.float32)
        image = np.full((64, 64, 3), 200, np.uint8)
        row, column = rng.integers(0, 56, 2)
        image[row : row + 30, column : column + 6] = (220, 25, 25)
        with torch.inference_mode():
            expected = agent.models.decode(torch.from_numpy(mean[None]))[0, 0].numpy()
        np.testing.assert_allclose(decoder.decode(mean), expected, atol=1e-5)
        error = reconstruction_error(agent, image, mean)
        assert decoder.error(image, mean) == pytest.approx(error, rel=1e-4)
    assert decoder.error(np.zeros((64, 64, 3), np.uint8), mean) == np.inf


def test_weights_are_copied(agent):
    decoder = MaskDecoder(agent)
    mean = np.ones(agent.latent_dim, np.float32)
    before = decoder.decode(mean)
    layer = agent.models.vae.decoder[0]
    kept = layer.bias.detach().clone()
    try:
        layer.bias.data.add_(1.0)
        np.testing.assert_array_equal(decoder.decode(mean), before)
    finally:
        layer.bias.data.copy_(kept)


def test_a_decoder_of_another_form_is_refused_in_one_line(agent, monkeypatch):
    monkeypatch.setattr(mask_decoder, "reconstruction_error", lambda *_: 0.123)
    with pytest.raises(ValueError, match="expected the node's decoder to agree with the agent's"):
        MaskDecoder(agent)
