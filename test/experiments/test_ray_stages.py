"""Stages on a Ray cluster: what a machine of it does, and, where Ray is there, a lost process."""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import safe_skills
from safe_skills import cli
from safe_skills.experiments import ray_stages
from safe_skills.experiments.ray_stages import RETRIES, RayRunner, ray_cluster, run_words
from safe_skills.experiments.stages import Stage, StageError

VERSION = safe_skills.__version__


@pytest.fixture
def command(monkeypatch):
    """In place of safe-skills: writes its words as the result; `fail` fails."""
    script = (
        "import json, sys; words = sys.argv[1:-1]\n"
        "if words[0] == 'fail': sys.exit('it is broken')\n"
        "with open(sys.argv[-1], 'w') as f: json.dump(words, f)\n"
    )

    def words(stage):
        return [sys.executable, "-c", script, *stage.words, str(stage.result)]

    monkeypatch.setattr(Stage, "command", property(words))


def test_a_machine_runs_a_command_in_the_shared_folder(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared").mkdir()
    assert run_words(["a", "b"], "runs/x.json", str(tmp_path / "shared"), VERSION) == ""
    assert json.loads((tmp_path / "shared" / "runs" / "x.json").read_text()) == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "folder", "version", "says"),
    [
        (["fail"], "", VERSION, "safe-skills fail: it is broken"),
        (["a"], "elsewhere", VERSION, "elsewhere to be shared: .*No such file"),
        (["a"], "", "0.0", f"expected safe_skills 0.0, found {VERSION}"),
    ],
)
def test_what_goes_wrong_on_a_machine_is_said_in_a_line(
    tmp_path, command, monkeypatch, words, folder, version, says
):
    monkeypatch.chdir(tmp_path)
    (failure,) = run_words(words, "x.json", str(tmp_path / folder), version).splitlines()
    assert failure and re.search(says, failure)
    assert not (tmp_path / "x.json").exists()


class LostError(Exception):
    """What Ray raises when a task was lost too often."""


class Cluster:
    """The part of Ray that is used, in this process; its tasks are lost where they are told to."""

    exceptions = SimpleNamespace(RayError=LostError)

    def __init__(self, lost=False):
        self.lost, self.options, self.cancelled = lost, {}, []

    def remote(self, **options):
        self.options = options
        return lambda function: SimpleNamespace(remote=lambda *values: (function, values))

    def get(self, task):
        function, values = task
        if self.lost:
            raise LostError("\n  The worker died unexpectedly.\nMore of it")
        return function(*values)

    def cancel(self, task, force):
        self.cancelled.append((task, force))

    def cluster_resources(self):
        return {"memory": 1.0}


def test_a_stage_is_a_task_on_one_core_that_is_tried_again(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cluster = Cluster()
    runner = RayRunner(cluster, tmp_path)
    assert cluster.options == {"num_cpus": 1, "max_retries": RETRIES} and runner.cores == 1
    stage = Stage(("a",), Path("x.json"))
    runner.run(stage)
    assert stage.result.is_file()
    with pytest.raises(StageError, match="^safe-skills fail: it is broken"):
        runner.run(Stage(("fail",), Path("y.json")))
    runner.cancel()
    assert cluster.cancelled == []


def test_a_stage_that_is_lost_too_often_is_named(tmp_path, command):
    runner = RayRunner(Cluster(lost=True), tmp_path)
    with pytest.raises(StageError, match="^safe-skills a b: The worker died unexpectedly.$"):
        runner.run(Stage(("a", "b"), tmp_path / "x.json"))


def test_a_result_that_only_another_machine_sees_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_stages, "PATIENCE", 0.0)
    cluster = Cluster()
    cluster.get = lambda task: ""  # it ran well, in a folder of its own
    runner = RayRunner(cluster, tmp_path)
    with pytest.raises(StageError, match="x.json: .* must be shared by all machines"):
        runner.run(Stage(("a",), tmp_path / "x.json"))


def test_stages_under_way_are_ended(tmp_path):
    began, end = threading.Event(), threading.Event()
    cluster = Cluster()
    cluster.get = lambda task: (began.set(), end.wait(), "ended")[-1]
    runner = RayRunner(cluster, tmp_path)

    def cancel():
        began.wait()
        runner.cancel()
        end.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(StageError, match="ended"):
        runner.run(Stage(("a",), tmp_path / "x.json"))
    thread.join()
    assert [force for _, force in cluster.cancelled] == [True]


def test_without_ray_the_command_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", "ls3-fig2", "--scale", "smoke", "--ray-address", "auto"]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Ray is not installed: pip install '.[ray]'" in said


@pytest.fixture
def cluster():
    """A cluster of this machine with one core."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as LocalCluster

    options = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    made = LocalCluster(initialize_head=True, head_node_args=options)
    yield made
    made.shutdown()


def command_of(result):
    """Process of the command that writes a result, and the one that waits for it."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, UnicodeDecodeError):
            continue
        if "safe_skills.cli" in words and str(result) in words:
            return int(folder.name), parent
    return None


def test_a_command_whose_process_is_lost_comes_again_and_goes_on(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "collect navigation --demos 40 --constraint 0 --random 0 --workers 1 --out data"
    stage = Stage(tuple(words.split()), Path("data.json"))
    processes = []

    def lose():
        while not list((tmp_path / "data").glob("*.hdf5")):
            time.sleep(0.02)
        processes.append(command_of(stage.result))
        os.kill(processes[0][1], signal.SIGKILL)
        while (again := command_of(stage.result)) in (None, processes[0]):
            time.sleep(0.02)
        processes.append(again)

    thread = threading.Thread(target=lose, daemon=True)
    thread.start()
    with ray_cluster(cluster.address) as runner:
        assert runner.cores == 1
        runner.run(stage)
        with pytest.raises(StageError, match="^safe-skills train awac navigation.*: "):
            runner.run(Stage(("train", "awac", "navigation", "--data", "x"), Path("no.json")))
    thread.join(60)
    assert len(processes) == 2 and processes[0][0] != processes[1][0]
    assert json.loads(Path("data.json").read_text())["kinds"]["demo"]["episodes"] == 40


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:{free}", r"expected a cluster at 127\.0\.0\.1:\d+: .*refused"),
        ("somewhere", "expected HOST:PORT or auto, got 'somewhere'"),
        ("ray://somewhere:x", "expected HOST:PORT or auto"),
    ],
)
def test_an_address_without_a_cluster_is_named(monkeypatch, address, says):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nothing listens there
        with pytest.raises(StageError, match=f"^--ray-address: {says}"):
            with ray_cluster(address.format(free=unused.getsockname()[1])):
                pass
