"""A graph under test: real nodes, real DDS, one executor; and checkpoints to run it with."""

import functools
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import torch
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from skill_checkpoints import save_policy, save_prior

from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.nodes.spinning import make_executor
from safe_skills.safer.prior import SkillPrior

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


@pytest.fixture(scope="session")
def prior_checkpoint(tmp_path_factory) -> Path:
    return save_prior(tmp_path_factory.mktemp("prior"))


@pytest.fixture(scope="session")
def prior(prior_checkpoint) -> SkillPrior:
    return SkillPrior.load(prior_checkpoint)


@pytest.fixture(scope="session")
def policy_checkpoint(prior, tmp_path_factory) -> Path:
    return save_policy(tmp_path_factory.mktemp("policy"), prior)


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
        """Publish, and return when all readers here have dealt with it and been heard."""
        if topic not in self._publishers:
            made = self._publishers[topic] = self.peer.create_publisher(
                type(message), topic, profile
            )
            assert self.until(lambda: self.joined(made)), f"nobody reads {topic}"
        self._await_replies(self._publishers[topic], message)

    def _await_replies(self, publisher, message):
        readers = self._readers(publisher.topic_name)
        for node in self.nodes:
            for writer in node.publishers:
                _count_sent(writer)
            for reader in node.subscriptions:
                _count_taken(reader)
        before = [reader.taken for reader in readers]
        publisher.publish(message)
        assert self.until(lambda: all(r.taken > n for r, n in zip(readers, before, strict=True))), (
            f"not taken: {publisher.topic_name}"
        )
        # Reliable writers with a depth of 1 may lose what is published in a burst.
        self.until(self._quiet, 1.0)

    def _readers(self, topic):
        return [s for node in self.nodes for s in node.subscriptions if s.topic_name == topic]

    def joined(self, publisher):
        """Whether writer and readers know of each other; each side finds out for itself."""
        readers = self._readers(publisher.topic_name)
        writers = self._writers(publisher.topic_name)
        return publisher.get_subscription_count() >= max(1, len(readers)) and all(
            reader.get_publisher_count() >= writers for reader in readers
        )

    def _writers(self, topic):
        return sum(p.topic_name == topic for node in self.nodes for p in node.publishers)

    def _quiet(self):
        """Whether the peer has received what the nodes have sent since it began to count.

        Only readers that keep more than the newest message receive them all.
        """
        sent = {}
        for writer in (p for node in self.nodes for p in node.publishers):
            sent[writer.topic_name] = sent.get(writer.topic_name, 0) + getattr(writer, "sent", 0)
        return all(
            s.taken >= sent.get(s.topic_name, 0)
            for s in self.peer.subscriptions
            if s.qos_profile.depth > 1
        )

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
        heard = {s.topic_name for s in self.peer.subscriptions}
        publishers = [p for node in nodes for p in node.publishers if p.topic_name in heard]
        assert self.until(lambda: all(self.joined(p) for p in publishers))

    def close(self):
        self.executor.shutdown()
        for node in self.nodes:
            node.destroy_node()


def _count_taken(subscription):
    """Have a subscription count, as `taken`, the messages that its callback has dealt with."""
    if hasattr(subscription, "taken"):
        return
    callback = subscription.callback
    subscription.taken = 0

    def counted(*message):
        # rclpy's EventsExecutor hands over message and info as one tuple.
        callback(*message)
        subscription.taken += 1

    subscription.callback = functools.wraps(callback)(counted)


def _count_sent(publisher):
    """Have a publisher count, as `sent`, what it has published."""
    if hasattr(publisher, "sent"):
        return
    publish = publisher.publish
    publisher.sent = 0

    def counted(message):
        publisher.sent += 1
        publish(message)

    publisher.publish = counted


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
