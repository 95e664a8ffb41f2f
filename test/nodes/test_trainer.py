"""The trainer in a running graph: episodes on disk, updates, new agents in use, whatever dies."""

import csv
import json
import signal

import gathered_episodes
import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from processes import train_in_graph, wait_for
from std_msgs.msg import Header

from safe_skills.data.episodes import EpisodeStore
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.online import newest_update, update_folder
from safe_skills.msg import EpisodeStatus, PlanStatus
from safe_skills.nodes import qos
from safe_skills.nodes.arm import arm_of
from safe_skills.nodes.conversions import TASK_FRAME, image_from_rgb, pose_message
from safe_skills.nodes.trainer import Trainer
from safe_skills.paths import checkpoint_dir


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """An agent of random weights whose updates are short; nothing is a violation to it."""
    torch.manual_seed(0)
    config = LS3Config.from_dict(gathered_episodes.SHORT)
    agent = LS3Agent(config, task="cable", layout="open", action_limit=np.full(2, 0.03))
    with torch.no_grad():
        for classifier, logit in ((agent.models.constraint, -8.0), (agent.models.safe_set, 8.0)):
            classifier.net[-1].bias.fill_(logit)
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    agent.save(folder, {})
    return folder


@pytest.mark.slow
def test_it_learns_in_the_graph_and_a_kill_loses_no_finished_episode(tmp_path):
    # An agent that is soon at the goal: what an episode takes is mostly its steps.
    start = checkpoint_dir("cable_open")
    out, summary = tmp_path / "online", tmp_path / "run.json"
    store = EpisodeStore(out / "episodes")
    first = train_in_graph("ls3_cable", start, out, 0)
    try:
        wait_for(lambda: newest_update(out) >= 1 and len(store.shards()) >= 3, 300.0)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    kept = list(store)
    assert len(kept) >= 3 and all(episode.kind == "online" for episode in kept)
    assert [episode.seed for episode in kept] == list(range(750_000, 750_000 + len(kept)))
    log = tmp_path / "log"
    assert f"in use: model {LS3Agent.load(update_folder(out, 1)).model_id}" in log.read_text()

    # The same again goes on where that stopped, with the agent that was in use.
    again = train_in_graph("ls3_cable", start, out, 5, f"--json={summary}")
    assert again.wait(300) == 0, log.read_text()
    assert len(store.shards()) == len(kept) + 5
    assert newest_update(out) >= 2
    with (out / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    acted = {episode.policy.split()[-1] for episode in store}
    assert LS3Agent.load(update_folder(out, 1)).model_id in acted
    assert (out / "curve.png").is_file()
    assert json.loads(summary.read_text())["complete"]


def test_another_agents_folder_is_refused(graph, start, checkpoint, tmp_path):
    (tmp_path / "start.json").write_text(json.dumps({"model": "other", "episodes_per_update": 5}))
    node = graph.start(Trainer, checkpoint=str(start), out=str(tmp_path))
    assert not node.is_active and "has one of other with 5 episodes an update" in node.fault
    node = graph.start(Trainer, checkpoint=str(start), data=str(tmp_path), out=str(tmp_path / "o"))
    assert not node.is_active and node.fault.startswith("data: expected a folder of episodes")


def test_a_prior_is_not_what_it_can_train(graph, prior_checkpoint, tmp_path):
    node = graph.start(Trainer, checkpoint=str(prior_checkpoint), out=str(tmp_path))
    assert not node.is_active and "expected method 'ls3', found 'safer'" in node.fault


class Robot:
    """What a graph says of an episode, one message at a time."""

    def __init__(self, graph, node, stamp=0):
        self.graph, self.node, self.stamp = graph, node, stamp

    def header(self, frame):
        stamp = Time(sec=10, nanosec=self.stamp)
        return Header(stamp=stamp, frame_id=frame)

    def episode(self, number, steps=4, success=True):
        self.stamp += 1
        self.graph.publish("episode_start", self.header(TASK_FRAME), qos.EVENT)
        for k in range(steps):
            self.stamp += 1
            place = arm_of(self.node).target((0.01 * k, 0.0))
            pose = pose_message(place, self.header("PSM1_base"))
            self.graph.publish("PSM1/measured_cp", pose, qos.CRTK_STATE)
            image = image_from_rgb(gathered_episodes.frame(5 + k), self.header("camera"))
            self.graph.publish("camera/image_raw", image, qos.IMAGE)
            plan = PlanStatus(header=self.header(TASK_FRAME), model_id="cable-1")
            self.graph.publish("plan_status", plan, qos.COMMAND)
            place = arm_of(self.node).target((0.01 * (k + 1), 0.0))
            pose = pose_message(place, self.header("PSM1_base"))
            self.graph.publish("PSM1/servo_cp", pose, qos.COMMAND)
            done = k == steps - 1
            if done:
                final = image_from_rgb(gathered_episodes.frame(40), self.header("camera"))
                final.header.stamp.nanosec += 1
                self.graph.publish("outcome/image_raw", final, qos.COMMAND)
            status = EpisodeStatus(
                header=self.header(TASK_FRAME),
                episode=number,
                step=k + 1,
                reward=0.0 if done and success else -1.0,
                success=done and success,
                done=done,
            )
            self.graph.publish("episode", status, qos.EVENT)
        self.stamp += 1


def test_episodes_come_from_topics_and_an_update_from_episodes(graph, start, tmp_path):
    node = graph.start(
        Trainer, checkpoint=str(start), out=str(tmp_path), episodes_per_update=2, users=""
    )
    assert node.is_active, node.fault
    assert graph.until(lambda: node._listening)
    robot = Robot(graph, node)
    for number in range(2):
        robot.episode(number)
    assert graph.until(lambda: len(node._store.shards()) == 2)
    for episode in node._store:
        assert len(episode) == 4 and episode.success and episode.policy == "ls3 cable-1"
        np.testing.assert_allclose(episode.actions, np.tile([0.01, 0.0], (4, 1)), atol=1e-6)
        np.testing.assert_array_equal(episode.images[-1], gathered_episodes.frame(40))
    assert graph.until(lambda: node._updates == 1, 60.0)
    assert node._reloader.wanted == str(update_folder(tmp_path, 1))
    node.shut_down()
    assert node._worker is None
    graph.executor.remove_node(node)
    graph.nodes.remove(node)
    node.destroy_node()

    # Started again, it goes on: with what was gathered, and with the agent of the update.
    again = graph.start(
        Trainer, checkpoint=str(start), out=str(tmp_path), episodes_per_update=2, users=""
    )
    assert again.is_active, again.fault
    assert again._reloader.wanted == str(update_folder(tmp_path, 1))
    assert len(again._curve.episodes) == 2 and len(again._curve.updates) == 1
    assert graph.until(lambda: again._ready and again._updates == 1, 60.0)
    assert graph.until(lambda: again._listening)
    Robot(graph, again, stamp=500).episode(0, success=False)
    assert graph.until(lambda: len(again._store.shards()) == 3)
    again.shut_down()
