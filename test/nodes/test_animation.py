import numpy as np
import pytest
from PIL import Image

from safe_skills.data.vision import MaskConfig
from safe_skills.nodes.animation import Animation, task_to_pixels

RED = np.zeros((64, 64, 3), np.uint8)
RED[20:24] = (220, 25, 25)


def frames_of(path):
    with Image.open(path) as gif:
        for index in range(gif.n_frames):
            gif.seek(index)
            yield np.asarray(gif.convert("RGB")).astype(int), gif.info["duration"]


def test_the_corners_of_the_task_are_the_corners_of_the_view():
    corners = np.array([[-0.25, 0.25], [0.25, -0.25], [0.0, 0.0]])
    np.testing.assert_allclose(task_to_pixels(corners, 0.25, 100), [[0, 0], [100, 100], [50, 50]])


def test_what_is_written_shows_scene_camera_mask_plan_and_gate(tmp_path):
    animation = Animation(1, MaskConfig(), 0.25)
    scene = np.full((240, 320, 3), (10, 120, 200), np.uint8)
    for stamp in (1, 2):
        animation.camera(stamp, RED)
        animation.camera(stamp, RED)
    animation.scene(2, scene)
    animation.plan(2, np.zeros(2), np.tile([0.03, 0.0], (5, 1)))
    animation.gate(2, "HOLD", ["constraint"])
    animation.end_episode("goal reached")
    animation.camera(3, RED)
    assert len(animation) == 2
    path = tmp_path / "run.gif"
    animation.save(path)
    (first, short), (last, long) = frames_of(path)
    assert first.shape == (2 * 144 + 22, 320 + 144, 3) and (short, long) == (100, 1000)
    assert np.abs(first[144, 160] - (10, 120, 200)).max() < 40
    assert np.abs(first[50, 320 + 72] - (220, 25, 25)).max() < 40
    assert first[144 + 50, 320 + 72].min() > 215 and first[144 + 5, 320 + 72].max() < 40
    magenta = (last[:144, 320:] - (250, 0, 250)).__abs__().max(-1) < 40
    assert magenta.sum() > 40 and magenta[:, :70].sum() == 0
    assert np.abs(last[-4, -3] - (210, 90, 20)).max() < 40


def test_without_an_overview_the_camera_is_shown(tmp_path):
    animation = Animation(1, MaskConfig(), 0.25)
    animation.camera(1, RED)
    animation.save(tmp_path / "run.gif")
    ((frame, _),) = frames_of(tmp_path / "run.gif")
    assert frame.shape == (144 + 22, 288, 3)


def test_nothing_seen_is_said_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="no camera frame came"):
        Animation(1, MaskConfig(), 0.25).save(tmp_path / "run.gif")
    assert list(tmp_path.iterdir()) == []
