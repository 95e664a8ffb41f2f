"""The table of a run's episodes: what is written is read, and what is damaged is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.data.run_table import (
    COLUMNS,
    EpisodeRow,
    RunTableError,
    figures,
    read_episodes,
    write_episodes,
)

HEADER = "episode,steps,return,success,violation,seconds"
rows = st.builds(
    EpisodeRow,
    episode=st.integers(0, 10**6),
    steps=st.integers(1, 1000),
    episode_return=st.integers(-1000, 0).map(float),
    success=st.booleans(),
    violation=st.booleans(),
    seconds=st.integers(0, 10**4).map(lambda n: n / 16),
)


@given(st.lists(rows, max_size=5))
def test_what_is_written_is_read(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("table") / "episodes.csv"
    write_episodes(path, written)
    assert read_episodes(path) == [
        EpisodeRow(**{**vars(row), "seconds": float(f"{row.seconds:.6g}")}) for row in written
    ]


def test_a_table_as_others_read_it(tmp_path):
    path = tmp_path / "episodes.csv"
    write_episodes(path, [EpisodeRow(0, 100, -61.0, True, False, 2.5)])
    assert path.read_text() == f"{HEADER}\n0,100,-61,1,0,2.5\n"
    assert ",".join(COLUMNS) == HEADER


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", f"expected the columns {HEADER}, got an empty file"),
        ("episode,reward\n", f"expected the columns {HEADER}, got episode,reward"),
        (f"{HEADER}\n0,100,-61,1,0\n", "line 2: expected 6 numbers, got 0,100,-61,1,0"),
        (f"{HEADER}\n0,1,-1,1,0,2\n1,x,-1,1,0,2\n", "line 3: expected 6 numbers, got 1,x"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_damaged_table_is_one_line(tmp_path, text, says):
    path = tmp_path / "episodes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RunTableError, match=says) as error:
        read_episodes(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_table_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(RunTableError, match="cannot be read"):
        read_episodes(tmp_path / "episodes.csv")


def test_figures_by_hand():
    found = figures(
        [
            EpisodeRow(0, 100, -100.0, False, True, 1.0),
            EpisodeRow(1, 40, -39.0, True, False, 1.0),
            EpisodeRow(2, 60, -59.0, True, False, 1.0),
            EpisodeRow(3, 100, -100.0, False, False, 1.0),
        ]
    )
    assert found["episodes"] == 4 and found["mean_return"] == -74.5 and found["mean_steps"] == 50.0
    assert found["success_rate"] == 0.5 and found["violation_rate"] == 0.25
    low, high = found["success_interval_95"]
    assert np.isclose(0.5 - low, high - 0.5) and 0.1 < low < 0.2
    assert figures([EpisodeRow(0, 9, -9.0, False, False, 0.1)])["mean_steps"] is None
