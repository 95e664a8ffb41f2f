import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panel_messages import Clock

from safe_skills.rqt.buttons import PATIENCE, Buttons
from safe_skills.rqt.inbox import Inbox
from safe_skills.rqt.series import Series, Stream

TIMES = st.lists(st.floats(0.0, 2.0), max_size=60)


# ---- inbox


def test_what_is_put_is_taken_once_in_order_and_of_pictures_the_newest():
    clock = Clock()
    inbox = Inbox(clock=clock)
    for number in range(3):
        clock.now = 100.0 + number
        inbox.put("status", number)
        inbox.put_newest("picture", f"picture {number}")
    items = inbox.drain()
    assert [item.value for item in items if item.kind == "status"] == [0, 1, 2]
    assert [item.value for item in items if item.kind == "picture"] == ["picture 2"]
    assert [item.received for item in items] == sorted(item.received for item in items)
    assert inbox.drain() == [] and inbox.dropped == 0


def test_a_reader_that_hangs_stops_no_writer_and_what_is_lost_is_counted():
    inbox = Inbox(size=100)

    def write():
        for number in range(5000):
            inbox.put("status", number)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    items = inbox.drain()
    assert len(items) == 100 and inbox.dropped == 4 * 5000 - 100
    assert items[-1].value == 4999


def test_nothing_is_lost_between_many_writers_and_a_reader():
    inbox, taken = Inbox(size=100_000), []

    def write(number):
        for count in range(2000):
            inbox.put("status", (number, count))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        taken += inbox.drain()
    taken += inbox.drain()
    assert inbox.dropped == 0
    for number in range(4):
        own = [item.value[1] for item in taken if item.value[0] == number]
        assert own == list(range(2000))


# ---- series and streams


@given(steps=TIMES, wait=st.floats(0.0, 10.0))
def test_a_series_is_what_came_within_its_time(steps, wait):
    series, now, all_of_it = Series(5.0), 0.0, []
    for number, step in enumerate(steps):
        now += step
        series.add(now, float(number))
        all_of_it.append((now, float(number)))
    now += wait
    expected = [(then - now, value) for then, value in all_of_it if then >= now - 5.0]
    np.testing.assert_array_equal(series.points(now), np.reshape(expected, (-1, 2)))


def test_a_series_has_a_greatest_number_of_values():
    series = Series(5.0, size=10)
    for number in range(100):
        series.add(0.0, float(number))
    assert series.points(0.0)[:, 1].tolist() == list(range(90, 100))


@given(rate=st.floats(1.0, 200.0), seconds=st.floats(1.0, 20.0))
def test_rate_age_and_times_of_a_steady_stream(rate, seconds):
    stream = Stream()
    count = int(rate * seconds) + 1
    for number in range(count):
        stream.note(number / rate, 0.004)
    last = (count - 1) / rate
    assert stream.rate(last) == pytest.approx(rate, abs=1.5)
    assert stream.age(last + 0.25) == pytest.approx(0.25)
    assert stream.quantiles(last) == pytest.approx((0.004, 0.004))
    assert stream.rate(last + 6.0) == 0.0 and stream.quantiles(last + 6.0) is None


def test_of_a_stream_that_never_came_nothing_is_known():
    stream = Stream()
    assert math.isinf(stream.age(3.0)) and stream.rate(3.0) == 0.0
    assert stream.quantiles(3.0) is None
    stream.note(3.0)
    assert stream.quantiles(3.0) is None


# ---- buttons


def test_a_stop_is_believed_when_the_monitor_says_stopped_not_when_it_is_answered():
    buttons = Buttons()
    buttons.asked(0.0, "e_stop")
    assert buttons.outcome(0.1, stopped=False).good is None
    buttons.answered(0.2, "e_stop", True, "stopped by operator")
    assert buttons.outcome(0.3, stopped=False).good is None
    shown = buttons.outcome(0.4, stopped=True)
    assert shown.good and shown.text == "Emergency stop: the monitor says STOPPED"


def test_an_answer_without_an_effect_is_an_alarm():
    buttons = Buttons()
    buttons.asked(0.0, "e_stop")
    buttons.answered(0.1, "e_stop", True, "stopped")
    shown = buttons.outcome(0.2 + PATIENCE, stopped=False)
    assert shown.good is False and "does not say STOPPED" in shown.text
    assert "robot's own emergency stop" in shown.text


@pytest.mark.parametrize(
    ("verb", "resort"), [("e_stop", True), ("reset", False), ("snapshot", False)]
)
def test_no_answer_is_an_alarm(verb, resort):
    buttons = Buttons()
    buttons.asked(0.0, verb)
    shown = buttons.outcome(0.1 + PATIENCE, stopped=False)
    assert shown.good is False and "NO ANSWER in 2 s" in shown.text
    assert ("robot's own emergency stop" in shown.text) == resort


def test_a_stop_that_is_seen_counts_without_an_answer():
    buttons = Buttons()
    buttons.asked(0.0, "e_stop")
    assert buttons.outcome(0.1, stopped=True).good is None
    assert buttons.outcome(0.1 + PATIENCE, stopped=True).good


def test_a_refused_reset_says_why():
    buttons = Buttons()
    buttons.asked(0.0, "reset")
    buttons.answered(0.1, "reset", False, "the robot is outside its workspace")
    shown = buttons.outcome(0.1, stopped=True)
    assert shown.good is False and shown.text.endswith("the robot is outside its workspace")


def test_a_snapshot_tells_its_file_or_why_there_is_none():
    buttons = Buttons()
    for success, message in ((True, "wrote a.mcap"), (False, "not written: no space")):
        buttons.asked(0.0, "snapshot")
        buttons.answered(0.1, "snapshot", success, message)
        shown = buttons.outcome(0.1, stopped=False)
        assert shown.good is success and shown.text.endswith(message)
        assert "robot's own" not in shown.text


def test_an_answer_to_another_call_is_left_out():
    buttons = Buttons()
    buttons.asked(0.0, "reset")
    buttons.asked(0.1, "e_stop")
    buttons.answered(0.2, "reset", True, "released")
    assert buttons.outcome(0.2, stopped=False).good is None
    buttons.say(0.2, "Picture: there", True)
    assert "Emergency stop" in buttons.outcome(0.2, stopped=False).text
