"""A worker process: answers, mistakes, and that it never outlives who started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from safe_skills.data.background import Worker

MODULE = """
import sys, time
from safe_skills.data.background import serve

def start(settings):
    print("this is no answer")
    if settings["start"] == "badly":
        raise ValueError("start: expected well,\\ngot badly")
    def answer(request):
        if request.get("do") == "fail":
            raise ValueError("do: expected something else")
        if request.get("do") == "crash":
            raise RuntimeError("a mistake")
        if request.get("do") == "sleep":
            time.sleep(60)
        return {"settings": settings, "request": request}
    return answer

if __name__ == "__main__":
    sys.exit(serve(start))
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / "echoing.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = []

    def make(**settings):
        made.append(Worker("echoing", {"start": "well", **settings}, niceness=1))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def answer_of(worker, patience=30.0):
    deadline = time.monotonic() + patience
    while (found := worker.answer()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def gone(pid, patience=20.0):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_requests_are_answered_in_turn_and_prints_are_not_answers(start):
    worker = start(number=3)
    assert answer_of(worker)["settings"] == {"start": "well", "number": 3}
    worker.ask({"do": "this"})
    worker.ask({"do": "that"})
    assert [answer_of(worker)["request"]["do"] for _ in range(2)] == ["this", "that"]
    assert worker.answer() is None


def test_a_refusal_is_a_line_and_the_worker_goes_on(start):
    worker = start()
    answer_of(worker)
    worker.ask({"do": "fail"})
    assert answer_of(worker) == {"error": "do: expected something else"}
    worker.ask({"do": "this"})
    assert answer_of(worker)["request"] == {"do": "this"}


def test_a_bad_start_and_a_crash_end_it_with_a_line(start):
    worker = start(start="badly")
    assert answer_of(worker) == {"error": "start: expected well, got badly"}
    assert answer_of(worker) == {"error": "echoing has ended with status 2", "ended": 2}
    worker = start()
    answer_of(worker)
    worker.ask({"do": "crash"})
    assert answer_of(worker)["ended"] == 1
    worker.ask({"do": "this"})
    assert worker.answer() is None


def test_it_is_nice_and_ends_when_closed_whatever_it_does(start):
    worker = start()
    answer_of(worker)
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 1
    worker.ask({"do": "sleep"})
    worker.close()
    assert gone(worker.pid)


def test_it_does_not_outlive_an_owner_that_was_killed(start, tmp_path):
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; from safe_skills.data.background import Worker\n"
            "w = Worker('echoing', {'start': 'well'}, niceness=0)\n"
            "while w.answer() is None: time.sleep(0.01)\n"
            "w.ask({'do': 'sleep'}); print(w.pid, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert gone(pid)
