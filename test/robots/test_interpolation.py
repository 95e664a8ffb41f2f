"""Set-points on the way to a goal: bounded, inside the box, there in the end, never a NaN."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safe_skills.robots.interpolation import LONGEST_TICK, Interpolator, MotionLimits

LOW, HIGH = np.array([-0.15, -0.14]), np.array([0.18, 0.085])
PERIOD = 0.01

share = st.floats(0.0, 1.0)
points = st.tuples(share, share).map(lambda at: LOW + np.array(at) * (HIGH - LOW))
corners = st.sampled_from([LOW, HIGH, np.array([LOW[0], HIGH[1]])])
ticks = st.one_of(st.just(PERIOD), st.floats(0.0, 0.05), st.floats(1e-6, 1e-3))
bounds = st.builds(
    MotionLimits, max_speed=st.floats(0.005, 2.0), max_acceleration=st.floats(0.02, 50.0)
)
events = st.lists(
    st.one_of(
        st.tuples(st.just("aim"), st.one_of(points, corners)),
        st.tuples(st.just("brake"), st.none()),
        st.tuples(st.just("ticks"), st.lists(ticks, min_size=1, max_size=12)),
    ),
    max_size=25,
)


def make(limits=MotionLimits(0.05, 0.2), start=(0.0, 0.0)):  # noqa: B008
    made = Interpolator(limits, PERIOD)
    made.start(start)
    return made


def run(interpolator, count, tick=PERIOD):
    return np.array([interpolator.advance(tick) for _ in range(count)])


@settings(max_examples=150, deadline=None)
@given(bounds, points, events)
def test_every_pair_of_set_points_keeps_all_bounds(limits, start, sequence):
    made = make(limits, start)
    before, velocity = np.array(start), np.zeros(2)
    for event, what in sequence:
        if event != "ticks":
            made.aim(what) if event == "aim" else made.brake()
            continue
        for tick in what:
            after = made.advance(tick)
            step = min(tick, LONGEST_TICK * PERIOD)
            assert np.isfinite(after).all()
            assert (after >= LOW - 1e-12).all() and (after <= HIGH + 1e-12).all()
            if step > 0.0:
                # By the positions alone, as a robot sees them, up to their rounding.
                new, rounding = (after - before) / step, 1e-15 / step
                assert np.linalg.norm(new) <= limits.max_speed * (1 + 1e-9) + rounding
                change = np.linalg.norm(new - velocity)
                assert change <= limits.max_acceleration * step * (1 + 1e-9) + 2 * rounding + 1e-9
                velocity = made.velocity
            else:
                np.testing.assert_array_equal(after, before)
            before = after


@settings(max_examples=80, deadline=None)
@given(bounds, points, points, points, st.lists(ticks, min_size=3, max_size=3))
def test_it_comes_to_the_goal_that_was_given_last_and_stays(limits, start, first, goal, odd):
    made = make(limits, start)
    made.aim(first)
    for tick in odd:
        made.advance(tick)
    made.aim(goal)
    speed, a = limits.max_speed, limits.max_acceleration / math.sqrt(2)
    longest = 1.0 / (speed / math.sqrt(2)) + 4.0 * speed / a + 2.0
    run(made, int(longest / PERIOD), PERIOD)
    np.testing.assert_allclose(made.position, goal, atol=1e-7)
    assert np.abs(made.velocity).max() < 1e-5


@settings(max_examples=80, deadline=None)
@given(bounds, points, points, st.lists(ticks, max_size=40))
def test_braking_comes_to_rest_within_the_stopping_distance(limits, start, goal, before):
    made = make(limits, start)
    made.aim(goal)
    for tick in before:
        made.advance(tick)
    position, velocity = made.position, made.velocity
    made.brake()
    a = limits.max_acceleration / math.sqrt(2)
    run(made, math.ceil(limits.max_speed / (a * PERIOD)) + 1)
    assert made.still
    way = np.abs(made.position - position)
    assert (way <= velocity**2 / (2.0 * a) + 1e-12).all()
    np.testing.assert_array_equal(run(made, 3), np.tile(made.position, (3, 1)))


def test_a_long_way_is_a_trapezoid_as_fast_as_allowed():
    made = make()
    made.aim((0.1, 0.0))
    path = run(made, 400)[:, 0]
    speed = np.diff(path, prepend=0.0) / PERIOD
    a = 0.2 / math.sqrt(2)
    assert speed.max() == pytest.approx(0.05, rel=1e-12)
    assert np.sum(speed > 0.05 - 1e-12) >= 100
    time = 0.1 / 0.05 + 0.05 / a
    arrived = np.flatnonzero(np.abs(path - 0.1) < 1e-6)[0] * PERIOD
    assert time - PERIOD <= arrived <= time + 6 * PERIOD
    assert path.max() <= 0.1


def test_the_speed_is_that_of_the_tool_whatever_its_direction():
    made = make()
    made.aim((0.1, 0.08))
    path = run(made, 200)
    speeds = np.linalg.norm(np.diff(path, axis=0), axis=1) / PERIOD
    assert speeds.max() == pytest.approx(0.05, rel=1e-9)


def test_a_goal_behind_is_reached_by_braking_first():
    made = make()
    made.aim((0.1, 0.0))
    run(made, 100)
    turn = made.position[0]
    made.aim((0.0, 0.0))
    path = run(made, 1500)[:, 0]
    assert path[0] > turn and path.max() <= turn + 0.05**2 / (2 * 0.2 / math.sqrt(2)) + 1e-12
    assert path[-1] == pytest.approx(0.0, abs=1e-9)


def test_after_a_pause_it_does_not_catch_up():
    made = make()
    made.aim((0.1, 0.0))
    run(made, 100)
    before = made.position
    assert made.advance(30.0)[0] - before[0] <= 0.05 * LONGEST_TICK * PERIOD + 1e-12


def test_a_lower_speed_is_taken_up_by_braking():
    made = make()
    made.aim((0.1, 0.0))
    run(made, 100)
    made.limits = MotionLimits(0.01, 0.2)
    speeds = np.diff(run(made, 60)[:, 0]) / PERIOD
    assert (np.diff(speeds) >= -0.2 * PERIOD - 1e-12).all()
    assert speeds[-1] == pytest.approx(0.01)


@example(math.nan)
@example(math.inf)
@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_not_finite_is_refused_and_changes_nothing(bad):
    made = make()
    made.aim((0.01, 0.0))
    for call in (
        lambda: made.aim((bad, 0.0)),
        lambda: made.aim((0.0,)),
        lambda: made.start((0.0, bad)),
        lambda: made.advance(bad),
        lambda: made.advance(-1.0),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()
    assert np.isfinite(made.advance(PERIOD)).all()


def test_without_a_start_there_is_no_set_point():
    made = Interpolator(MotionLimits(0.05, 0.2), PERIOD)
    assert made.advance(PERIOD) is None and made.still and not made.active
    with pytest.raises(ValueError, match="expected a start"):
        made.aim((0.0, 0.0))
    made.start((0.1, 0.0))
    made.forget()
    assert made.advance(PERIOD) is None and made.position is None


@pytest.mark.parametrize("change", [{"max_speed": 0.0}, {"max_acceleration": math.nan}])
def test_limits_that_make_no_sense_are_named(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}: expected"):
        MotionLimits(**{"max_speed": 0.05, "max_acceleration": 0.2, **change})
    with pytest.raises(ValueError, match="period: expected"):
        Interpolator(MotionLimits(0.05, 0.2), 0.0)
