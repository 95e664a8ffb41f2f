"""The agent: saving and loading, encoding frames, probabilities, refusals."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from safe_skills.data.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config

RED = (200, 20, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    agent = LS3Agent(LS3Config(), task="cable", layout="tight", action_limit=np.array([0.03, 0.03]))
    agent.save(path, {"success_rate": 1.0})
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def frame(size=64):
    image = np.full((size, size, 3), 230, np.uint8)
    image[size // 4 : size // 2, size // 2 : size // 2 + size // 16] = RED
    return image


def test_save_and_load_give_the_same_agent(folder):
    one, other = LS3Agent.load(folder), LS3Agent.load(folder)
    assert one.model_id == other.model_id
    assert one.model_id.startswith("cable-")
    assert one.layout == "tight"
    assert one.metrics == {"success_rate": 1.0}
    assert one.mask_config == other.mask_config
    for first, second in zip(one.encode(frame()), other.encode(frame()), strict=True):
        np.testing.assert_array_equal(first, second)
        assert first.shape == (32,)


def test_larger_frames_give_nearly_the_same_latent(folder):
    agent = LS3Agent.load(folder)
    small, large = agent.encode(frame(64))[0], agent.encode(frame(256))[0]
    np.testing.assert_allclose(small, large, atol=1e-4)


@pytest.mark.parametrize(
    "image",
    [np.zeros((32, 32, 3), np.uint8), np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3))],
)
def test_other_images_are_refused(folder, image):
    with pytest.raises(ValueError, match="expected"):
        LS3Agent.load(folder).encode(image)


def test_predicted_constraint_is_the_worst_member(folder):
    agent = LS3Agent.load(folder)
    mean = np.linspace(-1, 1, 32).astype(np.float32)
    action = np.array([0.03, -0.015])
    latents, _ = agent.models.dynamics(torch.tensor(mean)[None], torch.tensor([[1.0, -0.5]]))
    expected = [agent.constraint_probability(member[0].numpy()) for member in latents]
    found = agent.predicted_constraint_probability(mean, action)
    assert found == pytest.approx(max(expected), abs=1e-6)


def refused(path, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        LS3Agent.load(path)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_files(copy, tmp_path):
    refused(tmp_path / "nowhere", "no such folder")
    (copy / "model.safetensors").unlink()
    refused(copy, "model.safetensors is missing")


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_damaged_weights(copy, keep):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    refused(copy, "damaged or foreign")


def test_one_flipped_bit_is_noticed(copy):
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    refused(copy, "damaged or foreign")


def edit(copy, **changes):
    path = copy / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, **changes}))


def test_another_task_or_method(copy):
    edit(copy, task="reacher")
    refused(copy, "expected task 'cable', found 'reacher'")
    edit(copy, task="cable", method="safer")
    refused(copy, "expected method 'ls3', found 'safer'")


def test_another_format(copy):
    edit(copy, format=2)
    refused(copy, "expected format 1, found 2")


def test_damaged_configuration(copy):
    (copy / "config.yaml").write_text("model: [unclosed")
    refused(copy, "config.yaml is damaged")
    (copy / "config.yaml").write_text("[]")
    refused(copy, "must have the keys")


def test_weights_of_another_size(copy):
    model = load_checkpoint(copy).config["model"]
    model["encoder"]["latent_dim"] = 16
    edit(copy, model=model)
    refused(copy, "expected shape")


def test_unknown_setting_in_a_checkpoint(copy):
    model = load_checkpoint(copy).config["model"]
    model["decoder"] = {}
    edit(copy, model=model)
    refused(copy, "unknown setting decoder")


def test_missing_and_infinite_tensors(copy):
    checkpoint = load_checkpoint(copy)
    tensors = load_file(copy / "model.safetensors")
    config = {k: v for k, v in checkpoint.config.items() if k not in ("format", "sha256")}
    broken = {**tensors, "latent_scale": torch.full((32,), float("nan"))}
    save_checkpoint(copy, config=config, tensors=broken, metrics={})
    refused(copy, "latent_scale has NaN")
    del tensors["latent_scale"]
    save_checkpoint(copy, config=config, tensors=tensors, metrics={})
    refused(copy, "latent_scale is missing")


def test_pickles_are_not_read(copy, tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "pickled")
    (copy / "model.safetensors").write_bytes((tmp_path / "pickled").read_bytes())
    refused(copy, "damaged or foreign")


def test_readable_without_us(folder, tmp_path):
    tensors = load_file(folder / "model.safetensors")
    assert tensors["vae.mean.weight"].shape == (32, 256)
    assert json.loads((folder / "metrics.json").read_text()) == {"success_rate": 1.0}
    save_file(tensors, tmp_path / "again.safetensors")
