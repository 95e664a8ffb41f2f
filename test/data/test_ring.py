"""The ring never exceeds its bounds and never loses what is within them."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safe_skills.data.ring import OVERHEAD, Entry, Ring

SECOND = 10**9
MESSAGES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 3 * SECOND)), max_size=60
)


def entries_of(messages):
    now, made = 0, []
    for number, (channel, size, pause) in enumerate(messages):
        now += pause
        made.append(Entry(channel, bytes(size), now, now, number))
    return made


@example([(0, 0, 0), (0, 1, SECOND + 1)], OVERHEAD, 1, False)
@example([(0, 0, 0), (0, 1, SECOND + 1)], OVERHEAD, 1, True)
@settings(max_examples=200, deadline=None)
@given(MESSAGES, st.integers(OVERHEAD, 6000), st.integers(1, 8), st.booleans())
def test_it_never_exceeds_its_bounds_and_keeps_what_is_within(messages, max_bytes, seconds, latch):
    ring, sent = Ring(float(seconds), max_bytes), entries_of(messages)
    if latch:
        ring.latch(0)
    for count, entry in enumerate(sent, 1):
        ring.add(entry)
        held, now = list(ring), entry.received
        assert ring.bytes == sum(one.size for one in held) <= max_bytes
        assert len(ring) == len(held)
        beyond = [one for one in held if now - one.received > seconds * SECOND]
        fitting = [one for one in sent[:count] if one.size <= max_bytes]
        # Beyond its age there is at most the last message of the latched channel.
        assert not beyond or latch
        assert beyond in ([], [one for one in fitting if one.channel == 0][-1:])
        # What is held is a whole stretch of what came last, and as much as the bytes allow.
        lone = held[:1] if latch and held[:1] and held[0].channel == 0 else []
        stretch = held
        if stretch != fitting[len(fitting) - len(stretch) :]:
            stretch = held[len(lone) :]
        assert stretch == fitting[len(fitting) - len(stretch) :]
        if len(stretch) < len(fitting):
            missing = fitting[-len(stretch) - 1]
            if now - missing.received <= seconds * SECOND and missing not in held:
                assert ring.squeezed > 0
                assert latch or ring.bytes + missing.size > max_bytes


def test_the_last_message_of_a_latched_channel_stays_until_a_newer_one_comes():
    ring = Ring(1.0, 10_000)
    ring.latch(7)
    state = Entry(7, b"state", 0, 0)
    ring.add(state)
    for k in range(1, 50):
        ring.add(Entry(1, b"x", k * SECOND, 0))
    assert list(ring)[0] is state and len(ring) == 3
    newer = Entry(7, b"newer", 50 * SECOND, 0)
    ring.add(newer)
    assert state not in list(ring) and newer in list(ring)
    ring.forget(100 * SECOND)
    assert list(ring) == [newer] and ring.bytes == newer.size and ring.seconds == 0.0


def test_what_is_larger_than_the_ring_is_left_out_and_counted():
    ring = Ring(10.0, 1000)
    small = Entry(1, bytes(100), 0, 0)
    ring.add(small)
    ring.add(Entry(1, bytes(2000), 1, 0))
    assert list(ring) == [small] and ring.squeezed == 1


def test_a_clock_that_is_set_back_does_not_fill_the_memory_with_what_is_old():
    ring = Ring(5.0, 10**6)
    for k in range(10):
        ring.add(Entry(1, b"before", 1000 * SECOND + k, 0))
    ring.add(Entry(1, b"after", 100 * SECOND, 0))
    assert [entry.data for entry in ring] == [b"after"]


@pytest.mark.parametrize("bounds", [(0.0, 10), (-1.0, 10), (1.0, 0)])
def test_bounds_that_keep_nothing_are_refused(bounds):
    with pytest.raises(ValueError, match="expected bounds above 0"):
        Ring(*bounds)
