"""What agents see: masks as ever, frames, stacks of them; in checkpoints, too."""

import cv2
import numpy as np
import pytest
import torch

from safe_skills.data.checkpoint import CheckpointError, load_checkpoint
from safe_skills.data.vision import MaskConfig, cable_mask
from safe_skills.ls3.agent import FrameEncoder, LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.observation import FrameObservation, MaskObservation, observation_from
from safe_skills.paths import checkpoint_dir


def frames(count, size=64):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def red_bar(size=96):
    image = np.full((size, size, 3), 200, np.uint8)
    image[20:60, 30:34] = (200, 30, 30)
    return image


def agent(stack=1, architecture="compact", side=32):
    torch.manual_seed(0)
    config = LS3Config.from_dict({"encoder": {"architecture": architecture, "image_size": side}})
    return LS3Agent(
        config,
        task="navigation",
        layout="",
        action_limit=np.full(2, 3.0),
        observation=FrameObservation(size=side, stack=stack),
    )


@pytest.mark.parametrize("name", ["cable_open", "cable_tight"])
def test_shipped_agents_see_and_encode_exactly_as_before(name):
    shipped = LS3Agent.load(checkpoint_dir(name))
    checkpoint = load_checkpoint(checkpoint_dir(name))
    assert shipped.model_id == checkpoint.model_id
    assert shipped.mask_config == MaskConfig.from_dict(checkpoint.config["mask"])
    mask = cable_mask(red_bar(), shipped.mask_config)
    np.testing.assert_array_equal(shipped.view(red_bar()), mask)
    shrunk = cv2.resize(mask, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    with torch.inference_mode():
        expected = shipped.models.encode(torch.from_numpy(shrunk[None, None]))
    for found, wanted in zip(shipped.encode(red_bar()), expected, strict=True):
        np.testing.assert_array_equal(found, wanted[0].numpy())


def test_a_frame_is_scaled_and_has_its_colours_in_channels():
    image = frames(1)
    inputs = FrameObservation(size=64).inputs(image, 64)
    assert inputs.shape == (1, 3, 64, 64) and inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[0, 1], image[0, ..., 1] / np.float32(255))


def test_larger_frames_are_shrunk_by_area():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 200
    assert (FrameObservation(size=32).view(image) == 100).all()


def test_a_stack_has_the_frames_before_oldest_first_and_repeats_the_first():
    views = frames(4, 16)
    inputs = FrameObservation(size=16, stack=3).inputs(views, 16)
    single = FrameObservation(size=16).inputs(views, 16)
    wanted = [(0, 0, 0), (0, 0, 1), (0, 1, 2), (1, 2, 3)]
    for row, numbers in zip(inputs, wanted, strict=True):
        np.testing.assert_array_equal(row, np.concatenate([single[k] for k in numbers]))


@pytest.mark.parametrize("stack", [1, 3])
def test_frames_encoded_one_by_one_are_those_of_the_whole_episode(stack):
    learner = agent(stack)
    images = frames(6)
    views = np.stack([learner.view(image) for image in images])
    means, stddevs = learner.encode_views(views)
    encode = FrameEncoder(learner)
    for _ in range(2):
        encode.reset()
        for k, image in enumerate(images):
            mean, stddev = encode(image)
            np.testing.assert_allclose(mean, means[k], atol=1e-5)
            np.testing.assert_allclose(stddev, stddevs[k], rtol=1e-4)
    np.testing.assert_allclose(learner.encode(images[0])[0], means[0], atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "side"), [("compact", 32), ("compact", 64), ("planet", 64)]
)
def test_encoder_and_decoder_have_the_channels_of_the_stack(architecture, side):
    learner = agent(3, architecture, side)
    with torch.inference_mode():
        images = torch.from_numpy(learner.inputs(frames(2, side)))
        mean, _ = learner.models.encode(images)
        assert learner.models.decode(mean).shape == images.shape == (2, 9, side, side)


def test_a_checkpoint_of_frames_is_the_same_agent_again(tmp_path):
    learner = agent(3)
    learner.save(tmp_path, {})
    loaded = LS3Agent.load(tmp_path, task="navigation")
    assert loaded.observation == FrameObservation(size=32, stack=3)
    np.testing.assert_array_equal(loaded.encode(frames(1)[0]), learner.encode(frames(1)[0]))
    with pytest.raises(ValueError, match="sees masks, that of navigation sees frames"):
        loaded.mask_config  # noqa: B018


@pytest.mark.parametrize("observation", [MaskObservation(), FrameObservation(size=32, stack=3)])
def test_settings_of_an_observation_round_trip(observation):
    assert observation_from(observation.to_dict()) == observation


@pytest.mark.parametrize("values", [{"size": 4}, {"stack": 0}, {"depth": 3}])
def test_a_checkpoint_with_other_settings_is_refused(tmp_path, values):
    agent().save(tmp_path, {})
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("size: 32\n  stack: 1", str(values)))
    broken = config.read_text().replace("frames:\n  {", "frames: {")
    config.write_text(broken)
    with pytest.raises(CheckpointError, match="config.yaml"):
        LS3Agent.load(tmp_path, task="navigation")


@pytest.mark.parametrize("image", [np.zeros((16, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)])
def test_frames_that_do_not_fit_are_refused(image):
    with pytest.raises(ValueError, match="expected"):
        FrameObservation(size=32).view(image)
