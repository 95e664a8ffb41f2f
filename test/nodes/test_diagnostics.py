import subprocess
import sys

from safe_skills.nodes.diagnostics import (
    ERROR,
    OK,
    WARN,
    FrequencyStatus,
    Refusals,
    Status,
    peak_rss_mb,
)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def report(task):
    status = Status()
    task(status)
    return status


def test_a_status_that_was_not_set_is_an_error():
    assert Status().level == ERROR


def test_merging_keeps_the_worst():
    status = Status()
    status.merge(OK, "fine")
    status.merge(WARN, "slow")
    assert (status.level, status.message) == (WARN, "slow")
    status.merge(OK, "fine again")
    assert (status.level, status.message) == (WARN, "slow")
    status.merge(ERROR, "dead")
    assert (status.level, status.message) == (ERROR, "slow; dead")


def test_frequency_none_low_fine_high():
    clock = Clock()
    rate = FrequencyStatus(low=9.0, high=11.0, window=1, clock=clock)
    levels = []
    for events in (0, 5, 10, 20):
        clock.now += 1.0
        for _ in range(events):
            rate.tick()
        levels.append(report(rate).level)
    assert levels == [ERROR, WARN, OK, WARN]


def test_frequency_after_reset_counts_from_there():
    clock = Clock()
    rate = FrequencyStatus(low=9.0, window=5, clock=clock)
    clock.now += 60.0
    rate.reset()
    clock.now += 1.0
    for _ in range(10):
        rate.tick()
    assert report(rate).level == OK


def test_refusals_are_throttled_counted_and_forgotten():
    clock = Clock()
    refusals = Refusals(period=2.0, memory=3.0, clock=clock)
    assert report(refusals).level == OK
    assert refusals.note("image", "bad image")
    assert not refusals.note("image", "bad image")
    assert refusals.note("latent", "bad latent")
    status = report(refusals)
    assert (status.level, status.message) == (WARN, "bad latent")
    assert status.values == {"image": "2", "latent": "1"}
    clock.now += 2.5
    assert refusals.note("image", "bad image")
    clock.now += 3.5
    assert report(refusals).level == OK


def test_peak_memory_is_this_processs_own():
    ballast = bytearray(300_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    assert peak_rss_mb() > 300
    code = "from safe_skills.nodes.diagnostics import peak_rss_mb; print(peak_rss_mb())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5 < float(child.stdout) < 250
