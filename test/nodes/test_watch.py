from safe_skills.nodes.watch import DropCounter, Silence, StopLatch


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_silence_begins_once_and_ends_once():
    clock = Clock()
    silence = Silence(2.0, clock)
    clock.now = 1.9
    assert not silence.begins()
    clock.now = 2.1
    assert silence.begins() and not silence.begins() and silence.silent
    assert silence.age == 2.1
    assert silence.feed() and not silence.feed()
    clock.now = 4.0
    assert not silence.begins()


def test_gaps_count_as_drops_and_a_new_publisher_does_not():
    drops = DropCounter()
    for publisher, sequence in (
        (b"a", 1),
        (b"a", 2),
        (b"a", 6),
        (b"b", 1),
        (b"b", 3),
        (b"b", None),
    ):
        drops.count(publisher, sequence)
    assert drops.dropped == 3 + 1


def test_only_who_stopped_may_release():
    latch = StopLatch()
    assert not latch.note(False, b"monitor 1") and not latch.stopped
    assert latch.note(True, b"monitor 1") and latch.stopped
    assert not latch.note(True, b"monitor 1")
    assert not latch.note(False, b"monitor 2") and latch.stopped
    assert latch.note(True, b"monitor 2") and latch.stopped
    assert not latch.note(False, b"monitor 1")
    assert latch.note(False, b"monitor 2") and not latch.stopped
