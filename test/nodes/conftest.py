"""A graph under test: real nodes, real DDS, one executor; and checkpoints to run it with."""

import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import torch
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter

from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.nodes.base import make_executor

torch.set_num_threads(1)


def make_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Random weights; but nothing is a violation and everything is safe, so that plans move."""
    torch.manual_seed(seed)
    agent = LS3Agent(LS3Config(), task="cable", layout="open", action_limit=np.full(2, 0.03))
    with torch.no_grad():
        for classifier, logit in ((agent.models.constraint, -8.0), (agent.models.safe_set, 8.0)):
            final = [m for m in classifier.modules() if hasattr(m, "bias")][-1]
            final.bias.fill_(logit)
    agent.save(folder, {"note": "random weights"})
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def agent(checkpoint) -> LS3Agent:
    return LS3Agent.load(checkpoint)


class Graph:
    """Nodes under test and a peer that talks to them, all spun by the test itself."""

    def __init__(self):
        self.executor = make_executor()
        self.nodes = []
        self.peer = self.add(rclpy.create_node("peer"))
        self._publishers = {}
        self._stamp = 1000

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def start(self, node_class, **parameters):
        """Create a node and bring it up; the caller looks at `fault` or `is_active`."""
        values = {"autostart": False, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = self.add(node_class(parameter_overrides=overrides))
        node.bring_up()
        return node

    def collect(self, kind, topic, profile):
        messages = []
        self.peer.create_subscription(kind, topic, messages.append, profile)
        return messages

    def publish(self, topic, message, profile):
        if topic not in self._publishers:
            made = self.peer.create_publisher(type(message), topic, profile)
            self._publishers[topic] = made
            assert self.until(lambda: made.get_subscription_count() > 0), f"nobody reads {topic}"
        self._publishers[topic].publish(message)

    def stamp(self):
        """Return a new stamp, later than all before."""
        self._stamp += 1
        return Time(sec=self._stamp, nanosec=5)

    def spin(self, seconds):
        self.until(lambda: False, seconds)

    def until(self, condition, patience=5.0):
        deadline = time.monotonic() + patience
        while not condition() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
        return condition()

    def matched(self, *nodes):
        """Wait until everyone has found everyone."""
        publishers = [p for node in nodes for p in node.publishers if "/rosout" not in p.topic_name]
        wanted = {s.topic_name for s in self.peer.subscriptions}
        assert self.until(
            lambda: all(
                p.get_subscription_count() > 0 for p in publishers if p.topic_name in wanted
            )
        )

    def close(self):
        self.executor.shutdown()
        for node in self.nodes:
            node.destroy_node()


@pytest.fixture
def graph():
    rclpy.init()
    made = Graph()
    yield made
    made.close()
    rclpy.shutdown()


@pytest.fixture
def lines(monkeypatch):
    """Every line that a node logs, as (severity, text)."""
    from rclpy.impl.rcutils_logger import RcutilsLogger

    logged = []

    def log(self, message, severity, **kwargs):
        logged.append((severity.name, str(message)))
        return True

    monkeypatch.setattr(RcutilsLogger, "log", log)
    return logged
