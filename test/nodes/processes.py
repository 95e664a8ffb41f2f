"""A graph as it runs for real: a process a node, which may be killed and started again."""

import json
import signal
import subprocess
import sys
import time

import rclpy

from safe_skills.paths import config_file


class Processes:
    """Starts, kills and starts again nodes; a node of our own watches.

    Args:
        folder: for their logs.
        specs: of the nodes, as `System.nodes` gives them.
        config: name of a parameter file; none where empty.
    """

    def __init__(self, folder, specs, config=""):
        self._folder = folder
        self._specs = {spec.name: spec for spec in specs}
        self._config = ["--params-file", str(config_file(config))] if config else []
        self.children = {}
        self.node = rclpy.create_node("watcher")

    def start(self, *names):
        for name in names or self._specs:
            spec = self._specs[name]
            command = [sys.executable, "-m", f"safe_skills.nodes.{spec.executable}", "--ros-args"]
            command += self._config
            if spec.node:
                command += ["-r", f"__node:={spec.node}"]
            for key, value in spec.parameters.items():
                if value != "":
                    command += ["-p", f"{key}:={json.dumps(value)}"]
            log = (self._folder / f"{name}.log").open("a")
            self.children[name] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
            log.close()

    def kill(self, name):
        self.children[name].kill()
        self.children[name].wait()

    def log(self, name):
        return (self._folder / f"{name}.log").read_text()

    def until(self, condition, patience=60.0):
        deadline = time.monotonic() + patience
        while not condition() and time.monotonic() < deadline:
            rclpy.spin_once(self.node, timeout_sec=0.05)
        return condition()

    def close(self):
        for child in self.children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        for child in self.children.values():
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.node.destroy_node()


def train_in_graph(system, checkpoint, out, episodes, *more):
    """Start `safe-skills run SYSTEM --train true` in a process; its log lies beside `out`."""
    command = [sys.executable, "-m", "safe_skills.cli", "run", system, "--train", "true"]
    command += ["--checkpoint", str(checkpoint), "--episodes", str(episodes)]
    parameters = {
        "trainer.out": out,
        "trainer.episodes_per_update": 2,
        "simulator.pause_every": 2,
    }
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    with (out.parent / "log").open("a") as log:
        return subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=log)


def wait_for(condition, patience):
    """Wait until a condition holds, for so many seconds at most."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
