"""Straight lines of joint space through points at given times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.robots.joint_path import JointPath

numbers = st.floats(-3.0, 3.0)


def test_it_passes_through_its_points_in_straight_lines_and_rests_at_the_last():
    path = JointPath([0.0, 0.0], [[1.0, 0.0], [1.0, 4.0]], [2.0, 4.0])
    for time, expected in ((0, (0, 0)), (1, (0.5, 0)), (2, (1, 0)), (3, (1, 2)), (9, (1, 4))):
        np.testing.assert_allclose(path.at(time), expected)
    assert path.duration == 4.0
    np.testing.assert_array_equal(path.goal, [1.0, 4.0])


def test_a_point_at_once_is_a_jump():
    path = JointPath([0.0], [[1.0], [2.0]], [0.0, 1.0])
    assert path.at(0.0) == [1.0] and path.at(0.5) == [1.5]
    assert JointPath([0.0], [[1.0]], [0.0]).at(0.0) == [1.0]


@given(
    st.lists(st.tuples(st.floats(0.01, 5.0), numbers), min_size=1, max_size=5),
    numbers,
    st.floats(0.0, 30.0),
    st.floats(0.0, 0.1),
)
def test_it_is_never_faster_than_its_fastest_segment(segments, start, time, passed):
    gaps, points = zip(*segments, strict=True)
    path = JointPath([start], [[point] for point in points], np.cumsum(gaps))
    fastest = np.abs(np.diff([start, *points]) / np.diff([0.0, *np.cumsum(gaps)])).max()
    assert abs(path.at(time + passed) - path.at(time))[0] <= fastest * passed + 1e-9


@pytest.mark.parametrize(
    ("points", "times", "line"),
    [
        ([], [], "1 or more times"),
        ([[0.0]], [1.0], "a point of 2 joints"),
        ([[0.0, 0.0]], [1.0, 2.0], "2 times"),
        ([[0.0, np.nan]], [1.0], "finite"),
        ([[0.0, 0.0]], [-0.1], "increasing times from 0"),
        ([[0.0, 0.0]] * 2, [1.0, 1.0], "increasing times from 0"),
    ],
)
def test_what_is_no_path_is_refused_in_one_line(points, times, line):
    with pytest.raises(ValueError, match=line):
        JointPath([0.0, 0.0], points, times)
