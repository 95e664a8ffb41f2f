import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from safe_skills.msg import Command, LatentState
from safe_skills.nodes import conversions

HEADER = Header(stamp=Time(sec=3, nanosec=7), frame_id="camera")


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_image_survives_the_way_there_and_back(height, width, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    message = conversions.image_from_rgb(rgb, HEADER)
    assert message.encoding == "rgb8" and message.header == HEADER
    np.testing.assert_array_equal(conversions.rgb_from_image(message), rgb)


def test_bgr_and_padded_rows_are_understood():
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded = np.zeros((2, 12), np.uint8)
    padded[:, :9] = rgb[:, :, ::-1].reshape(2, 9)
    message = Image(height=2, width=3, encoding="bgr8", step=12, data=padded.tobytes())
    np.testing.assert_array_equal(conversions.rgb_from_image(message), rgb)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encoding": "mono8"}, "encoding rgb8 or bgr8, got 'mono8' of 4x2"),
        ({"height": 0}, "rows of at least 3 x width bytes, got 4x0"),
        ({"step": 11}, "got 4x2 with rows of 11 bytes"),
        (
            {"data": bytes(23)},
            "expected 24 bytes for an image of 4x2 with rows of 12 bytes, got 23",
        ),
    ],
)
def test_bad_images_are_refused_in_one_line(changes, says):
    fields = {"height": 2, "width": 4, "encoding": "rgb8", "step": 12, "data": bytes(24)}
    with pytest.raises(ValueError, match="expected") as caught:
        conversions.rgb_from_image(Image(**{**fields, **changes}))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_latent_survives_the_way_there_and_back():
    mean, stddev = np.float32([0.5, -1.25]), np.float32([0.0, 2.0])
    message = conversions.latent_message(mean, stddev, "abc", HEADER)
    got = conversions.belief_from_latent(message, "abc", 2)
    np.testing.assert_array_equal(got, (mean, stddev))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model_id": "xyz"}, "expected a latent state of model abc, got one of model xyz"),
        ({"model_id": ""}, "got one of model (none)"),
        ({"mean": [1.0]}, "expected a latent state of 2 means and deviations, got 1 and 2"),
        ({"mean": [1.0, float("nan")]}, "expected finite numbers"),
        ({"stddev": [1.0, float("inf")]}, "expected finite numbers"),
        ({"stddev": [1.0, -1.0]}, "expected deviations >= 0"),
    ],
)
def test_bad_latents_are_refused_in_one_line(fields, says):
    good = {"model_id": "abc", "mean": [1.0, 2.0], "stddev": [1.0, 1.0]}
    with pytest.raises(ValueError, match="expected") as caught:
        conversions.belief_from_latent(LatentState(**{**good, **fields}), "abc", 2)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_latent_that_is_not_finite_is_never_made():
    with pytest.raises(ValueError, match="finite"):
        conversions.latent_message(np.float32([np.nan]), np.float32([1.0]), "abc", HEADER)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"header": Header(frame_id="camera")}, "expected a command in frame 'task'"),
        ({"action": [0.1]}, "expected a command of 2 entries, got 1 from planner"),
        ({"action": [0.1, float("inf")]}, "expected a finite command, got [0.1, inf] from planner"),
    ],
)
def test_bad_commands_are_refused_in_one_line(fields, says):
    good = {"header": Header(frame_id="task"), "action": [0.1, 0.2], "source": "planner"}
    with pytest.raises(ValueError, match="expected") as caught:
        conversions.action_from_command(Command(**{**good, **fields}), 2, "task")
    assert says in str(caught.value)


def test_command_survives_the_way_there_and_back():
    message = conversions.command_message(np.array([0.01, -0.02]), "planner", HEADER.stamp, "task")
    action = conversions.action_from_command(message, 2, "task")
    np.testing.assert_array_equal(action, [0.01, -0.02])
    assert conversions.nanoseconds(message.header.stamp) == 3_000_000_007
