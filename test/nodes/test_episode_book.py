"""The operator's book: steps, labels, returns and costs as LS3's tasks count them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.nodes.episode_book import OUTCOMES, EpisodeBook


def run(book, steps, outcome, start=100, kind=""):
    book.start(start)
    told = [step for k in range(steps) for step in book.command(start + 10 * k)]
    return told + book.end(outcome, kind)


@given(st.integers(1, 30), st.sampled_from(OUTCOMES))
def test_every_step_is_told_once_and_sums_are_those_of_the_steps(steps, outcome):
    told = run(EpisodeBook(horizon=40), steps, outcome)
    assert [step.step for step in told] == list(range(1, steps + 1))
    assert [step.stamp for step in told] == [100 + 10 * k for k in range(steps)]
    assert [step.done for step in told] == [False] * (steps - 1) + [True]
    last = told[-1]
    assert last.success is (outcome == "success")
    assert bool(last.violation_kind) is (outcome == "violation")
    if outcome != "violation":
        assert last.episode_return == sum(step.reward for step in told)
        assert last.episode_cost == 0.0
    else:
        # As the environments count: frozen, at -1 and a cost of 1 a step, until the horizon.
        assert last.episode_return == -40.0
        assert last.episode_cost == 40 - steps + 1


def test_the_horizon_ends_an_episode_as_a_failure():
    book = EpisodeBook(horizon=3)
    book.start(0)
    told = [step for stamp in (10, 20, 30, 40, 50) for step in book.command(stamp)]
    assert [(step.stamp, step.done) for step in told] == [(10, False), (20, False), (30, True)]
    assert not book.open and book.ended == {"success": 0, "failure": 1, "violation": 0}


def test_commands_that_repeat_or_answer_an_earlier_attempt_are_no_steps():
    book = EpisodeBook(horizon=0)
    assert book.command(10) == []
    book.start(100)
    assert book.command(90) == [] and book.command(110) == []
    assert book.command(110) == [] and book.command(105) == []
    (step,) = book.end("success")
    assert step.step == 1


def test_what_makes_no_sense_is_one_line():
    book = EpisodeBook(horizon=5)
    with pytest.raises(ValueError, match="no episode is open"):
        book.end("success")
    assert book.start(0) == 0
    with pytest.raises(ValueError, match="episode 0 has not ended"):
        book.start(1)
    with pytest.raises(ValueError, match="episode 0 has no step yet"):
        book.end("failure")
    book.discard()
    with pytest.raises(ValueError, match="no episode is open"):
        book.discard()
    assert book.start(2) == 1


def test_only_what_was_seen_after_the_first_step_is_an_outcome():
    book = EpisodeBook(horizon=5)
    assert not book.is_present(10)
    book.start(5)
    assert not book.is_present(10)
    book.command(10)
    assert not book.is_present(10) and book.is_present(20)
    book.command(20)
    assert book.is_present(20)
    book.end("violation", "seen_contact")
    assert not book.is_present(30)
