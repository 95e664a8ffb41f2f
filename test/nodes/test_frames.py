import numpy as np
import pytest

from safe_skills.nodes.frames import task_area

WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_the_whole_frame_is_taken_as_it_is():
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(task_area(frame, WHOLE, 64), frame)


def test_the_square_in_a_camera_frame_is_cut_out():
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[:, 80:560] = 7
    area = task_area(frame, (0.0, 0.125, 1.0, 0.75), 64)
    assert area.shape == (480, 480, 3) and (area == 7).all()


@pytest.mark.parametrize(
    ("shape", "crop", "says"),
    [
        ((32, 32, 3), WHOLE, "at least 64x64 pixels, got 32x32"),
        ((480, 640, 3), WHOLE, "square and at least 64x64 pixels, got 640x480"),
        ((480, 640, 3), (0.5, 0.5, 0.6, 0.5), "inside the frame"),
        ((480, 640, 3), (0.0, 0.0, 0.0, 1.0), "inside the frame"),
    ],
)
def test_another_size_is_refused_in_one_line(shape, crop, says):
    with pytest.raises(ValueError, match="expected") as caught:
        task_area(np.zeros(shape, np.uint8), crop, 64)
    assert says in str(caught.value) and "\n" not in str(caught.value)
