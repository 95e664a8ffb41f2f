"""Whatever the order, the losses and the repeats: whole frames only, each once, none backwards."""

from hypothesis import given
from hypothesis import strategies as st

from safe_skills.nodes.stamps import StampMatcher

NAMES = ("latent", "context", "action")


@st.composite
def traffic(draw):
    """Messages (name, stamp, serial number) as they arrive: shuffled, some lost, some twice."""
    stamps = range(draw(st.integers(1, 12)))
    sent = [(name, stamp) for name in NAMES for stamp in stamps]
    lost = draw(st.sets(st.sampled_from(sent)))
    twice = draw(st.lists(st.sampled_from(sent), max_size=6))
    arriving = [message for message in [*sent, *twice] if message not in lost]
    order = draw(st.permutations(arriving))
    return [(name, stamp, number) for number, (name, stamp) in enumerate(order)]


def feed(matcher, messages):
    matches = []
    for name, stamp, number in messages:
        values = matcher.put(name, stamp, (name, stamp, number))
        if values is not None:
            matches.append((stamp, values))
    return matches


@given(traffic(), st.integers(1, 16))
def test_every_match_is_whole_and_stamps_rise(messages, depth):
    matcher = StampMatcher(NAMES, depth)
    matches = feed(matcher, messages)
    stamps = [stamp for stamp, _ in matches]
    assert all(earlier < later for earlier, later in zip(stamps, stamps[1:], strict=False))
    for stamp, values in matches:
        assert set(values) == set(NAMES)
        assert all(value[:2] == (name, stamp) for name, value in values.items())
    assert len(matcher.waiting) <= depth


@given(traffic(), st.integers(1, 16))
def test_no_message_is_unaccounted_for(messages, depth):
    """Each is in a match, waits, came too late, is a repeat, or went with its frame."""
    matcher = StampMatcher(NAMES, depth)
    matches = feed(matcher, messages)
    in_matches = sum(len(values) for _, values in matches)
    waiting = sum(len(values) for values in matcher.waiting.values())
    rest = len(messages) - in_matches - waiting - matcher.late
    repeats = len(messages) - len({message[:2] for message in messages})
    # A frame that is dropped incomplete has at most all but one of its parts.
    assert 0 <= rest <= repeats + (len(NAMES) - 1) * matcher.unmatched


@given(st.data(), st.integers(1, 10), st.sets(st.tuples(st.sampled_from(NAMES), st.integers(0, 9))))
def test_in_order_every_frame_that_arrives_whole_is_matched(data, count, lost):
    """However far one source lags behind the others, within the depth."""
    queues = {
        name: [stamp for stamp in range(count) if (name, stamp) not in lost] for name in NAMES
    }
    whole = set.intersection(*(set(queue) for queue in queues.values()))
    messages = []
    while any(queues.values()):
        name = data.draw(st.sampled_from([name for name, queue in queues.items() if queue]))
        messages.append((name, queues[name].pop(0), len(messages)))
    matches = feed(StampMatcher(NAMES, count), messages)
    assert {stamp for stamp, _ in matches} == whole


@given(st.permutations(range(8)))
def test_one_source_may_be_out_of_order_while_another_is_in_order(order):
    matcher = StampMatcher(NAMES[:2], 8)
    assert feed(matcher, [("latent", stamp, 0) for stamp in order]) == []
    matches = feed(matcher, [("context", stamp, 0) for stamp in range(8)])
    assert [stamp for stamp, _ in matches] == list(range(8))


def test_what_is_older_than_the_last_match_is_dropped_and_counted():
    matcher = StampMatcher(NAMES[:2], 4)
    matcher.put("latent", 1, "a")
    matcher.put("latent", 2, "b")
    assert matcher.put("context", 2, "c") == {"latent": "b", "context": "c"}
    assert matcher.unmatched == 1 and matcher.waiting == {}
    assert matcher.put("context", 1, "d") is None and matcher.late == 1
    assert matcher.put("latent", 2, "again") is None and matcher.late == 1


def test_the_first_of_two_values_counts():
    matcher = StampMatcher(NAMES[:2], 4)
    matcher.put("latent", 5, "first")
    matcher.put("latent", 5, "second")
    assert matcher.put("context", 5, "c") == {"latent": "first", "context": "c"}


def test_of_too_many_frames_the_oldest_goes():
    matcher = StampMatcher(NAMES[:2], 2)
    for stamp in (3, 1, 2):
        matcher.put("latent", stamp, stamp)
    assert list(matcher.waiting) == [2, 3] and matcher.unmatched == 1
    assert matcher.put("context", 1, "c") is None
    assert matcher.put("context", 2, "c") == {"latent": 2, "context": "c"}


def test_a_closed_stamp_is_not_matched_and_those_before_it_neither():
    matcher = StampMatcher(NAMES[:2], 8)
    for stamp in (1, 2, 3):
        matcher.put("latent", stamp, stamp)
    assert matcher.missing(2) == ["context"] and matcher.missing(9) == ["latent", "context"]
    matcher.close(2)
    assert list(matcher.waiting) == [3] and matcher.unmatched == 1
    for stamp in (1, 2):
        assert matcher.put("context", stamp, "c") is None
    assert matcher.late == 2
    matcher.close(1)
    assert matcher.put("context", 2, "c") is None
    assert matcher.put("context", 3, "c") == {"latent": 3, "context": "c"}
