"""A training in processes of their own: whoever dies, no finished episode is lost."""

from dataclasses import replace

import pytest
import rclpy
from processes import Processes
from std_srvs.srv import Trigger

from safe_skills.data.episodes import EpisodeStore
from safe_skills.ls3.agent import LS3Agent
from safe_skills.msg import LatentState, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.paths import checkpoint_dir
from safe_skills.systems import SYSTEMS

SYSTEM = SYSTEMS["ls3_cable"]
LOADED = 300.0
"""Patience on a loaded machine [s]."""


class Training(Processes):
    """The system with its trainer; what it gathers and which model encodes are looked at."""

    def __init__(self, folder):
        options = {"train": "true", "episodes": "0"}
        out = {"trainer": {"out": str(folder / "out")}}
        specs = [
            replace(spec, parameters={**spec.parameters, **out.get(spec.name, {})})
            for spec in SYSTEM.nodes(options)
        ]
        super().__init__(folder, specs, SYSTEM.config)
        self.store = EpisodeStore(folder / "out" / "episodes")
        self.models, self.state = [], None
        self.node.create_subscription(LatentState, "latent", self._encoded, qos.IMAGE)
        self.node.create_subscription(SafetyStatus, "safety_status", self._judged, qos.STATUS)

    def _encoded(self, message):
        self.models.append(message.model_id)

    def _judged(self, message):
        self.state = message.state

    def kept(self):
        return len(self.store.shards())

    def call(self, service):
        client = self.node.create_client(Trigger, service)
        assert client.wait_for_service(10.0)
        answer = client.call_async(Trigger.Request())
        assert self.until(answer.done, 20.0)
        return answer.result().success


@pytest.fixture
def training(tmp_path):
    rclpy.init()
    made = Training(tmp_path)
    yield made
    made.close()
    rclpy.shutdown()


@pytest.mark.slow
def test_whoever_dies_in_a_training_no_finished_episode_is_lost(training, tmp_path):
    first = LS3Agent.load(checkpoint_dir("cable_open")).model_id
    training.start()
    # Five episodes, an update, and the new agent acts.
    assert training.until(lambda: set(training.models) - {first, ""}, LOADED)
    kept = training.kept()
    assert kept >= 5

    # The encoder comes up with the model of its launch, and is given the present one.
    training.kill("camera_encoder")
    training.start("camera_encoder")
    assert training.until(lambda: training.kept() > kept, LOADED), training.log("trainer")
    acted = {episode.policy.split()[-1] for episode in training.store}
    assert len(acted) >= 2 and first in acted

    # Stopped, and killed while it is: what was finished is there, and the run goes on.
    assert training.call("safety_monitor/e_stop")
    assert training.until(lambda: training.state == SafetyStatus.STOPPED)
    kept = training.kept()
    training.kill("trainer")
    assert len(list(training.store)) == training.kept() == kept
    training.start("trainer")
    assert training.call("safety_monitor/reset")
    assert training.until(lambda: training.kept() > kept, LOADED), training.log("trainer")
    for episode in training.store:
        assert len(episode.images) == len(episode) + 1
    for name in training.children:
        assert "Traceback" not in training.log(name)
