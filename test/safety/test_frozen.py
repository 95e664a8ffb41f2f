"""A picture that stays while the robot moves, told from one that stays because nothing does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.safety.frozen import FrozenView, picture_digest

LIMIT = 0.01


def view(frames=3):
    return FrozenView(LIMIT, frames)


def play(found, pictures, positions, stamp=0):
    """Position, then picture, step by step; the distances after each."""
    distances = []
    for step, (picture, position) in enumerate(zip(pictures, positions, strict=True)):
        found.note_position((position, 0.0))
        found.note_image(stamp + step, picture)
        distances.append(found.distance)
    return distances


def test_a_robot_that_moves_under_one_picture_is_noticed_after_some_frames():
    found = play(view(frames=3), [7] * 6, [0.0, 0.02, 0.04, 0.06, 0.06, 0.06])
    assert found == [0.0, 0.0, 0.0, pytest.approx(0.06), pytest.approx(0.06), pytest.approx(0.06)]


def test_a_scene_in_which_nothing_moves_may_repeat_for_ever():
    assert not any(play(view(), [7] * 100, [0.03] * 100))


def test_a_robot_that_trembles_does_not_move():
    assert not any(play(view(), [7] * 100, [0.004, -0.004] * 50))


def test_a_picture_that_changes_ends_it():
    found = view(frames=1)
    assert play(found, [7, 7, 7], [0.0, 0.02, 0.02])[-1] == pytest.approx(0.02)
    found.note_image(99, 8)
    assert found.distance == 0.0
    # From here on it counts from where the robot was then.
    assert not any(play(found, [8] * 5, [0.025] * 5, stamp=100))


def test_a_robot_that_came_back_was_away():
    assert play(view(frames=2), [7] * 4, [0.0, 0.02, 0.0, 0.0])[-1] == pytest.approx(0.02)


def test_the_same_image_twice_is_one():
    found = view(frames=2)
    found.note_position((0.0, 0.0))
    found.note_image(1, 7)
    found.note_position((0.05, 0.0))
    for _ in range(10):
        found.note_image(2, 7)
    assert found.distance == 0.0
    found.note_image(3, 7)
    assert found.distance == pytest.approx(0.05)


def test_a_picture_that_lags_behind_a_robot_that_begins_to_move_is_no_fault():
    """Every picture shows where the robot was two frames ago; it stood still before."""
    positions = [0.0] * 10 + [0.02 * k for k in range(1, 10)] + [0.18] * 10
    pictures = [0] * 2 + [round(1e3 * position) for position in positions[:-2]]
    assert not any(play(view(frames=3), pictures, positions))


def test_where_the_robot_is_not_known_nothing_is_said():
    found = view(frames=1)
    for stamp in range(5):
        found.note_image(stamp, 7)
    assert found.distance == 0.0
    # The first that is known is where counting begins.
    found.note_position((0.3, 0.1))
    found.note_image(6, 7)
    assert found.distance == 0.0


def test_numbers_that_are_none_move_nothing():
    assert play(view(frames=1), [7] * 4, [0.0, np.nan, np.inf, 0.0]) == [0.0] * 4


def test_forgotten_is_forgotten():
    found = view(frames=1)
    assert play(found, [7] * 3, [0.0, 0.02, 0.02])[-1] > 0
    found.reset()
    assert not any(play(found, [7] * 3, [0.5] * 3, stamp=10))


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(-1, 1)), min_size=1, max_size=60),
    st.integers(1, 4),
)
def test_frozen_is_what_the_definition_says(steps, frames):
    """By brute force: repeats that came after the robot had been farther than the limit."""
    found = FrozenView(LIMIT, frames)
    pictures, positions = zip(*steps, strict=True)
    start, last, seen = positions[0], None, []
    for step, distance in enumerate(play(found, pictures, positions)):
        if pictures[step] != last:
            start, last, seen = positions[step], pictures[step], []
        else:
            seen.append(abs(positions[step] - start))
        farthest = np.maximum.accumulate(seen) if seen else np.zeros(0)
        frozen = (farthest > LIMIT).sum() >= frames
        assert distance == (pytest.approx(farthest[-1]) if frozen else 0.0)
        assert (distance > LIMIT) == frozen


@pytest.mark.parametrize("bad", [(-0.1, 3), (np.nan, 3), (np.inf, 3), (0.01, 0)])
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        FrozenView(*bad)


def test_a_digest_sees_one_changed_byte():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    changed = picture.copy()
    changed[3, 4, 1] ^= 1
    assert picture_digest(picture.tobytes()) == picture_digest(picture.copy().tobytes())
    assert picture_digest(picture.tobytes()) != picture_digest(changed.tobytes())
