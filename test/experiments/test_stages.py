import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from safe_skills.experiments import stages
from safe_skills.experiments.stages import Stage, StageError, read, run_stages


@pytest.fixture
def commands(monkeypatch):
    """Commands of Python in place of safe-skills: {result} is where the result belongs."""
    prelude = "import json, sys; path = sys.argv[-1]; words = sys.argv[1:-2]\n"
    script = (
        prelude + "if words[0] == 'fail': sys.exit('it is broken')\n"
        "if words[0] == 'silent': sys.exit(0)\n"
        "with open(path, 'w') as f: json.dump({'words': words}, f)\n"
        "with open(words[-1], 'a') as f: f.write(words[0] + ' ')\n"
    )
    python = stages.sys.executable

    def command(stage):
        return [python, "-c", script, *stage.words, "--json", str(stage.result)]

    monkeypatch.setattr(Stage, "command", property(command))


def made(folder, name, after=()):
    log = str(folder / "order")
    needs = tuple(folder / f"{need}.json" for need in after)
    return Stage((name, log), folder / f"{name}.json", needs)


@pytest.mark.parametrize("workers", [1, 3])
def test_stages_run_after_what_they_need_and_only_once(tmp_path, commands, workers):
    work = [made(tmp_path, "c", "ab"), made(tmp_path, "a"), made(tmp_path, "b", "a")]
    run_stages(work, workers)
    assert (tmp_path / "order").read_text().split() == ["a", "b", "c"]
    assert read(work[0])["words"][0] == "c"
    work[2].result.unlink()
    run_stages(work, workers)
    assert (tmp_path / "order").read_text().split() == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("name", "says"), [("fail", "it is broken"), ("silent", "it said nothing")]
)
def test_a_failure_is_one_line_with_its_reason_and_stops_what_follows(
    tmp_path, commands, name, says
):
    work = [made(tmp_path, name), made(tmp_path, "after", (name,))]
    with pytest.raises(StageError, match=f"^safe-skills {name} .*: {says} .*log"):
        run_stages(work, 2)
    assert not (tmp_path / "after.json").exists()


def test_a_need_that_nothing_makes_is_named(tmp_path, commands):
    with pytest.raises(StageError, match=r"no stage makes .*nothing\.json"):
        run_stages([made(tmp_path, "a", ("nothing",))], 1)


def test_the_command_is_the_installed_one(tmp_path):
    stage = Stage(("train", "sac"), tmp_path / "x.json")
    assert stage.command[1:] == [
        "-m", "safe_skills.cli", "train", "sac", "--json", str(tmp_path / "x.json"),
    ]  # fmt: skip


class Recorder:
    """Runs stages and notes it; the first that is named `stop` is interrupted."""

    def __init__(self):
        self.ran, self.cancelled = [], 0

    def run(self, stage):
        if stage.words[0] == "stop":
            raise KeyboardInterrupt
        self.ran.append(stage.words[0])
        stage.run()

    def cancel(self):
        self.cancelled += 1


def test_stages_run_where_the_runner_runs_them(tmp_path, commands):
    runner = Recorder()
    run_stages([made(tmp_path, "b", "a"), made(tmp_path, "a")], 2, runner)
    assert runner.ran == ["a", "b"] and runner.cancelled == 0
    with pytest.raises(KeyboardInterrupt):
        run_stages([made(tmp_path, "stop")], 2, runner)
    assert runner.cancelled == 1


PARENT = """
import sys
from pathlib import Path
from safe_skills.experiments.stages import Stage

child = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(3600)"
Stage.command = property(lambda self: [sys.executable, "-c", child, sys.argv[1]])
Stage((), Path(sys.argv[2])).run()
"""


def awaited(condition):
    last = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.05)


def test_a_command_ends_with_the_process_that_waits_for_it(tmp_path):
    pid = tmp_path / "pid"
    words = [sys.executable, "-c", PARENT, str(pid), str(tmp_path / "result.json")]
    with subprocess.Popen(words) as parent:
        awaited(lambda: pid.is_file() and pid.read_text())
        status = Path("/proc") / pid.read_text() / "stat"
        assert status.read_text().rpartition(")")[2].split()[0] in "RSD"
        os.kill(parent.pid, signal.SIGKILL)

    def gone():
        try:
            return status.read_text().rpartition(")")[2].split()[0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    awaited(gone)
