"""Labels, splits, windows and batches over episodes; bad data is refused in one line."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_episodes import episode, episodes
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.data.segments import (
    PADDING,
    SegmentError,
    UnsafeLabel,
    batch_of,
    read_steps,
    segments_of,
    split,
)

OMEGA = np.array([0, 0, 1, 1, 0, 0, 0, 1, 0], bool)


def steps_of(count=24):
    return read_steps(episodes(count), UnsafeLabel(), image_size=24)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (UnsafeLabel("any"), [2, 3, 7]),
        (UnsafeLabel("first"), [2, 7]),
        (UnsafeLabel("first", 2), [0, 1, 2, 5, 6, 7]),
        (UnsafeLabel("any", 1), [1, 2, 3, 6, 7]),
    ],
)
def test_unsafe_labels(label, expected):
    assert np.flatnonzero(label.of(OMEGA)).tolist() == expected


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 4))
def test_labels_by_their_definition(omega, ahead):
    omega = np.array(omega)
    first = [bool(now) and not (t and omega[t - 1]) for t, now in enumerate(omega)]
    for contacts, begins in (("any", omega), ("first", first)):
        expected = [any(begins[t : t + ahead + 1]) for t in range(len(omega))]
        assert UnsafeLabel(contacts, ahead).of(omega).tolist() == expected


def test_safe_steps_are_those_without_contact_of_successful_episodes():
    rng = np.random.default_rng(0)
    made = [episode(rng, unsafe=[5, 6]), episode(rng, success=False), episode(rng, unsafe=[0])]
    steps = read_steps(made, UnsafeLabel("first"), image_size=48)
    assert np.flatnonzero(~steps.safe).tolist() == [5, 6, *range(12, 24), 24]
    assert np.flatnonzero(steps.unsafe).tolist() == [5, 24]
    assert np.flatnonzero(steps.omega).tolist() == [5, 6, 24]
    ahead = read_steps(made, UnsafeLabel("first", 2), image_size=48)
    assert np.flatnonzero(ahead.unsafe).tolist() == [3, 4, 5, 24]
    assert not (ahead.safe & ahead.unsafe).any()
    assert steps.summary() == {
        "episodes": 3,
        "steps": 36,
        "tasks": 1,
        "contact_steps": 3,
        "first_contacts": 2,
        "safe_steps": 21,
        "unsafe_steps": 2,
    }


def test_a_step_has_the_frame_in_which_it_was_decided():
    made = episodes(3)
    steps = read_steps(made, UnsafeLabel(), image_size=48)
    rows = np.concatenate([item.images[:-1] for item in made])
    np.testing.assert_array_equal(steps.images, rows)
    np.testing.assert_array_equal(steps.actions, np.concatenate([item.actions for item in made]))
    small = read_steps(made, UnsafeLabel(), image_size=24)
    means = rows.reshape(len(rows), 24, 2, 24, 2, 3).mean((2, 4))
    np.testing.assert_allclose(small.images, means, atol=0.51)


def test_windows_end_with_the_step_and_begin_with_the_episode():
    steps = steps_of(2)
    expected = [[PADDING, PADDING, 0], [PADDING, 0, 1], [0, 1, 2], [PADDING, PADDING, 12]]
    assert steps.windows(np.array([0, 1, 2, 12]), 3).tolist() == expected


@pytest.mark.parametrize("length", [1, 5, 30])
def test_every_wanted_step_is_in_one_segment(length):
    steps = steps_of()
    wanted = steps.safe | steps.unsafe
    segments = segments_of(steps, length, wanted)
    found = np.concatenate(
        [np.arange(a, b) for a, b in zip(segments.first, segments.last, strict=True)]
    )
    assert len(found) == len(set(found))
    assert set(np.flatnonzero(wanted)) <= set(found)
    assert (segments.last - segments.first).max() <= length
    assert (steps.start[segments.first] == steps.start[segments.last - 1]).all()


def test_a_batch_has_every_frame_once_and_every_window_whole():
    steps = steps_of()
    segments = segments_of(steps, 5, steps.safe | steps.unsafe)
    chosen = np.array([3, 0, 7])
    batch = batch_of(steps, segments, chosen, window=4)
    assert len(batch.frames) == len(set(batch.frames))
    rows = [r for k in chosen for r in range(segments.first[k], segments.last[k])]
    assert batch.rows.tolist() == [r for r in rows if steps.safe[r] or steps.unsafe[r]]
    np.testing.assert_array_equal(batch.frames[batch.current], batch.rows)
    found = np.where(batch.windows == PADDING, PADDING, batch.frames[batch.windows])
    np.testing.assert_array_equal(found, steps.windows(batch.rows, 4))
    np.testing.assert_array_equal(batch.unsafe, steps.unsafe[batch.rows])


def test_no_episode_is_in_two_parts_and_held_out_tasks_are_apart():
    steps = steps_of()
    parts = split(steps, hold_out=0.4, seed=0, held_out_tasks=[1])
    assert set(parts.unseen.task) == {1}
    chosen = [parts.train, parts.calibration, parts.certification, parts.unseen]
    numbers = [set(part.episode) for part in chosen]
    assert sum(map(len, numbers)) == len(set.union(*numbers)) == 24
    assert [len(part) for part in numbers] == [8, 4, 4, 8]
    for part in chosen[:3]:
        assert 1 not in part.task
        for number in np.unique(part.episode):
            rows = np.flatnonzero(part.episode == number)
            assert (part.start[rows] == rows[0]).all()
            original = np.flatnonzero(steps.episode == number)
            np.testing.assert_array_equal(part.images[rows], steps.images[original])
    again = split(steps, hold_out=0.4, seed=0, held_out_tasks=[1])
    np.testing.assert_array_equal(again.train.episode, parts.train.episode)
    other = split(steps, hold_out=0.4, seed=1, held_out_tasks=[1])
    assert set(other.train.episode) != set(parts.train.episode)
    assert split(steps, hold_out=0.4, seed=0).unseen is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([], "no episodes"),
        ([replace(episodes(1)[0], images=np.zeros((13, 32, 32, 3), np.uint8))], "48x48 RGB, got"),
        ([*episodes(1), *episodes(1, dim=4)], "episode 1: expected actions of 5 numbers"),
        ([replace(episodes(1)[0], actions=np.full((12, 5), 2.0, np.float32))], r"in \[-1, 1\]"),
        ([replace(episodes(1)[0], costs=np.full(12, 0.5))], "costs of 0 or 1"),
    ],
    ids=["none", "image size", "action size", "action range", "costs"],
)
def test_data_that_cannot_be_read_is_refused(made, message):
    with pytest.raises(SegmentError, match=message) as caught:
        read_steps(made, UnsafeLabel(), image_size=24)
    assert "\n" not in str(caught.value)


def test_data_without_unsafe_steps_or_successes_is_refused():
    rng = np.random.default_rng(0)
    for made, message in (
        ([episode(rng)], "no unsafe step among 12"),
        ([episode(rng, unsafe=[3], success=False)], "no successful episode among 1"),
        ([episode(rng, unsafe=slice(0, 12))], "no safe step of a successful episode"),
    ):
        with pytest.raises(SegmentError, match=message):
            read_steps(made, UnsafeLabel(), image_size=24).require_both()


def test_a_split_that_leaves_a_part_empty_is_refused():
    with pytest.raises(SegmentError, match="cannot hold out 0.5 of 2 episodes"):
        split(steps_of(2), hold_out=0.5, seed=0)


def test_unknown_labels_are_refused():
    with pytest.raises(SegmentError, match="expected 'first' or 'any', got 'last'"):
        UnsafeLabel("last")
    with pytest.raises(SegmentError, match="ahead: expected 0 or more"):
        UnsafeLabel(ahead=-1)
