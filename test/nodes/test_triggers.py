"""When a black box writes: what happened and the reaction are in the file, and not too many."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_skills.nodes.triggers import Triggers


def test_a_file_is_due_after_its_tail_and_events_until_then_belong_to_it():
    triggers = Triggers(20.0, 2.0, 10.0)
    triggers.note(100.0, "violation_step")
    assert triggers.pending and triggers.due(101.9) is None
    triggers.note(101.9, "violation_workspace")
    assert triggers.due(102.5) is None
    event = triggers.due(103.9)
    assert (event.reason, event.first, event.count) == ("violation_step", 100.0, 2)
    assert not triggers.pending and triggers.due(200.0) is None


def test_after_a_file_violations_wait_and_a_stop_does_not():
    triggers = Triggers(20.0, 2.0, 10.0)
    triggers.note(0.0, "violation_step")
    assert triggers.due(2.0)
    triggers.note(3.0, "violation_step")
    assert triggers.due(11.9) is None
    triggers.note(11.9, "stop_emergency_stop", urgent=True)
    event = triggers.due(13.0) or triggers.due(13.9)
    assert event.reason == "stop_emergency_stop" and event.count == 2 and event.first == 3.0


def test_what_happens_all_the_time_does_not_put_off_a_file_for_ever():
    triggers, now = Triggers(20.0, 2.0, 10.0), 0.0
    while triggers.due(now) is None:
        triggers.note(now, "violation_step")
        now += 0.1
    assert now <= 10.2


def test_settings_by_which_an_event_would_be_forgotten_are_refused():
    with pytest.raises(ValueError, match="expected at least after"):
        Triggers(10.0, 2.0, 10.0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 8.0), st.integers(0, 2)), max_size=80))
def test_every_event_is_in_a_file_before_it_is_forgotten_and_files_keep_their_distance(pauses):
    seconds, after, interval = 20.0, 2.0, 10.0
    triggers, now, files, waiting = Triggers(seconds, after, interval), 0.0, [], []
    for pause, kind in [*pauses, (100.0, 0)]:
        end = now + pause
        while now < end:
            now = min(now + 0.1, end)
            if (event := triggers.due(now)) is not None:
                assert event.first == waiting[0] and event.count == len(waiting)
                assert now - event.first <= max(seconds / 2, interval) + 0.2
                if files and not event.urgent:
                    assert now - files[-1] >= interval - 1e-9
                files.append(now)
                waiting = []
        if kind and pause < 100.0:
            triggers.note(now, "x", urgent=kind == 2)
            waiting.append(now)
    assert not waiting
