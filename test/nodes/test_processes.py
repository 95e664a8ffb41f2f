"""The graph as it runs for real: a process a node, over DDS; and what happens when one dies."""

import json
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from processes import Processes

from safe_skills.msg import EpisodeStatus
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.middleware import PROFILES
from safe_skills.systems import DISCOVERY, SYSTEMS

SYSTEM = SYSTEMS["ls3_cable"]
CONTROLLERS = ("camera_encoder", "cem_planner", "safety_monitor", "hardware_bridge")


class Run(Processes):
    """The system, whose steps are counted."""

    def __init__(self, folder, **options):
        super().__init__(folder, SYSTEM.nodes(options), SYSTEM.config)
        self.statuses = []
        self.reported = set()
        self.node.create_subscription(EpisodeStatus, "episode", self.statuses.append, qos.EVENT)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note_pids, qos.LOG)

    def _note_pids(self, message):
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        if "pid" in values:
            self.reported.add(int(values["pid"]))

    def heard_of(self, name):
        """Whether a node's process has told its memory, as it does once a second."""
        return self.until(lambda: self.children[name].pid in self.reported)

    def steps(self):
        return len({nanoseconds(status.header.stamp) for status in self.statuses})

    def advance(self, steps):
        target = self.steps() + steps
        return self.until(lambda: self.steps() >= target)

    def still(self, seconds=1.0):
        """Whether nothing moves for a while."""
        before = self.steps()
        return not self.until(lambda: self.steps() > before, seconds)


@pytest.fixture
def processes(tmp_path):
    rclpy.init()
    made = []

    def make(**options):
        made.append(Run(tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    rclpy.shutdown()


def test_a_run_in_processes_of_their_own(processes, checkpoint, tmp_path):
    path = tmp_path / "run.json"
    graph = processes(checkpoint=str(checkpoint), episodes="2", json=str(path))
    graph.start()
    recorder = graph.children["run_recorder"]
    assert graph.until(lambda: recorder.poll() is not None, 90.0), graph.log("simulator")
    assert recorder.returncode == 0
    summary = json.loads(path.read_text())
    assert summary["complete"] and summary["episodes"] == 2
    assert summary["processes"] == 6 and summary["peak_rss_mb"] > 600
    # It hears the simulator from the start, and the planner, which came at the same time, soon.
    assert summary["plans"] >= sum(done["steps"] for done in summary["episode_list"]) - 5
    graph.close()
    for name, child in graph.children.items():
        assert child.returncode == 0, (name, graph.log(name))
        assert "Traceback" not in graph.log(name)


def test_a_node_shares_no_memory_that_its_death_could_spoil(processes, checkpoint, monkeypatch):
    monkeypatch.delenv(PROFILES)
    monkeypatch.setenv(DISCOVERY, "LOCALHOST")
    graph = processes(checkpoint=str(checkpoint), episodes="0")
    graph.start("hardware_bridge")
    assert graph.heard_of("hardware_bridge"), graph.log("hardware_bridge")
    bridge = graph.children["hardware_bridge"].pid
    mapped = Path(f"/proc/{bridge}/maps").read_text()
    assert "libfastdds" in mapped and "/dev/shm/fastdds_port" not in mapped


@pytest.mark.slow
def test_whoever_is_killed_nothing_moves_until_it_is_back(processes, checkpoint):
    graph = processes(checkpoint=str(checkpoint), episodes="0")
    graph.start()
    assert graph.advance(5)
    for name in CONTROLLERS:
        graph.kill(name)
        assert graph.still(1.5), name
        graph.start(name)
        assert graph.advance(5), (name, graph.log(name))
    graph.kill("simulator")
    assert graph.still(1.5)
    graph.start("simulator")
    assert graph.advance(5), graph.log("simulator")
    for name in (*CONTROLLERS, "simulator"):
        assert "Traceback" not in graph.log(name)


@pytest.mark.slow
def test_the_summary_survives_the_death_of_every_node(processes, checkpoint, tmp_path):
    path = tmp_path / "run.json"
    graph = processes(checkpoint=str(checkpoint), episodes="10", json=str(path))
    graph.start()
    for name in CONTROLLERS:
        assert graph.advance(3) and graph.heard_of(name)
        graph.kill(name)
        graph.start(name)
    recorder = graph.children["run_recorder"]
    assert graph.until(lambda: recorder.poll() is not None, 120.0)
    summary = json.loads(path.read_text())
    assert summary["episodes"] == 10 and summary["complete"]
    assert summary["processes"] == 6 + len(CONTROLLERS)


@pytest.mark.slow
def test_a_dead_camera_in_realtime_is_said_and_the_robot_holds(processes, checkpoint):
    graph = processes(checkpoint=str(checkpoint), episodes="0", clock="realtime")
    graph.start()
    assert graph.advance(5)
    # It may have said the same before the first image.
    begun = len(graph.log("camera_encoder"))
    said = lambda: graph.log("camera_encoder")[begun:]  # noqa: E731
    graph.kill("simulator")
    assert graph.until(lambda: "no image on /camera/image_raw" in said(), 10.0)
    assert "image_stale" in graph.log("safety_monitor")
    assert "hold" in graph.log("hardware_bridge")
    graph.start("simulator")
    assert graph.advance(5)
    assert "images are coming again" in said()
