"""SAFER's trainer in a running graph: steps of z, new policies in use, whatever dies."""

import csv
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from processes import Processes, train_in_graph, wait_for
from skill_checkpoints import ETA
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.data.episodes import EpisodeStore
from safe_skills.data.updates import newest_update, update_folder
from safe_skills.msg import AbstractAction, EpisodeStatus
from safe_skills.nodes import online_trainer, qos
from safe_skills.nodes.conversions import TASK_FRAME, image_from_rgb
from safe_skills.nodes.skill_conversions import abstract_action_message
from safe_skills.nodes.skill_policy import SkillPolicy
from safe_skills.nodes.skill_trainer import SkillTrainer
from safe_skills.safer.policy import SkillPolicy as Policy
from safe_skills.systems import find_system

STEPS = 4


def picture(number, size=48):
    """A frame that says which it is."""
    return np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)


class Robot:
    """What a graph says of an episode, one message at a time."""

    def __init__(self, graph, prior):
        self.graph, self.prior, self.stamp = graph, prior, 0

    def header(self, frame):
        return Header(stamp=Time(sec=10, nanosec=self.stamp), frame_id=frame)

    def episode(self, number, size=48, eta=ETA):
        """Shows frames 0 to STEPS; z of step k is k tenths of the bound; step 1 touches."""
        self.stamp += 1
        self.graph.publish("episode_start", self.header(TASK_FRAME), qos.EVENT)
        for k in range(STEPS):
            self.stamp += 1
            image = image_from_rgb(picture(k, size), self.header("camera"))
            self.graph.publish("camera/image_raw", image, qos.IMAGE)
            z = np.full(5, 0.1 * k * eta, np.float32)
            chosen = abstract_action_message(
                z, eta, self.prior.model_id, "prior", self.header("camera")
            )
            self.graph.publish("abstract_action", chosen, qos.COMMAND)
            done = k == STEPS - 1
            if done:
                final = image_from_rgb(picture(STEPS, size), self.header("camera"))
                final.header.stamp.nanosec += 1
                self.graph.publish("outcome/image_raw", final, qos.COMMAND)
            status = EpisodeStatus(
                header=self.header(TASK_FRAME),
                episode=number,
                step=k + 1,
                reward=1.0 if done else -1.0,
                cost=float(k == 1),
                violation=k == 1,
                violation_kind="finger" if k == 1 else "",
                success=done,
                done=done,
                episode_cost=1.0,
            )
            self.graph.publish("episode", status, qos.EVENT)
        self.stamp += 1


@pytest.fixture
def start(graph, prior_checkpoint, tmp_path):
    def started(**parameters):
        values = {
            "checkpoint": str(prior_checkpoint),
            "out": str(tmp_path / "online"),
            "episodes_per_update": 2,
            "task": 35,
            **parameters,
        }
        node = graph.start(SkillTrainer, **values)
        if node.is_active:
            assert graph.until(lambda: node._listening)
        return node

    return started


def test_steps_of_z_make_a_policy_and_the_policy_node_takes_it_up(
    graph, start, prior, prior_checkpoint, tmp_path
):
    policy = graph.start(SkillPolicy, checkpoint=str(prior_checkpoint), explore=True)
    node = start()
    assert node.is_active and policy.is_active, node.fault + policy.fault
    robot = Robot(graph, prior)
    for number in range(2):
        robot.episode(number)
    assert graph.until(lambda: len(node._store.shards()) == 2)
    for episode in node._store:
        assert (episode.kind, episode.task, episode.policy) == ("online", 35, "safer prior")
        expected = np.float32(0.1 * ETA) * np.arange(STEPS, dtype=np.float32)[:, None]
        np.testing.assert_allclose(episode.actions, np.tile(expected, 5), atol=1e-6)
        np.testing.assert_array_equal(episode.images, [picture(k) for k in range(STEPS + 1)])
        assert episode.rewards.tolist() == [-1, -1, -1, 1] and episode.terminated
        assert episode.costs.tolist() == [0, 1, 0, 0] and episode.violation == "finger"
    assert graph.until(lambda: node._updates == 1, 120.0)
    folder = update_folder(tmp_path / "online", 1)
    assert graph.until(lambda: policy.param("policy") == str(folder))
    assert policy._chooser.model_id == "prior"
    graph.publish("episode_start", robot.header(TASK_FRAME), qos.EVENT)
    assert policy._chooser.model_id == Policy.load(folder).model_id
    with (tmp_path / "online" / "metrics.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["success_rate"], row["unsafe_steps"], row["accepted"]) == ("1.0", "2", "True")
    with (tmp_path / "online" / "episodes.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["steps"], row["unsafe_steps"]) for row in rows] == [("4", "1")] * 2
    node.shut_down()
    assert node._worker is None


def test_larger_frames_are_kept_as_the_prior_takes_them(graph, start, prior):
    from safe_skills.data.segments import shrink

    node = start(users="")
    Robot(graph, prior).episode(0, size=96)
    assert graph.until(lambda: len(node._store.shards()) == 1)
    (episode,) = node._store
    np.testing.assert_array_equal(episode.images[1], shrink(picture(1, 96), 48))


def test_an_abstract_action_beyond_the_bound_is_not_learned_from(graph, start, prior, lines):
    node = start(users="")
    # 0.3 of this bound is beyond eta: the last step, and with it the whole episode, is left out.
    Robot(graph, prior).episode(0, eta=4.0 * ETA)
    assert graph.until(lambda: node._assembler.incomplete == 1)
    assert node._store.shards() == []
    errors = [text for severity, text in lines if severity == "ERROR"]
    assert len(errors) == 1 and "expected |z| <= 0.7, got 0.84 from prior" in errors[0]


def test_the_death_of_the_updates_process_loses_no_episode(graph, start, prior, lines):
    node = start(users="")
    assert graph.until(lambda: node._ready, 60.0)
    robot = Robot(graph, prior)
    robot.episode(0)
    os.kill(node._worker.pid, signal.SIGKILL)
    assert graph.until(lambda: node._worker is None)
    for number in (1, 2):
        robot.episode(number)
    assert graph.until(lambda: len(node._store.shards()) == 3)
    errors = [text for severity, text in lines if severity == "ERROR"]
    assert errors == ["no update: safe_skills.baselines.online_sac has ended with status -9"]
    # The next trainer of the folder makes the update that is due.
    node.shut_down()
    again = start(users="")
    assert len(again._curve.episodes) == 3
    assert graph.until(lambda: again._updates == 1, 120.0)


def test_who_waits_for_an_end_that_was_not_heard_is_let_go_on(graph, start, monkeypatch):
    monkeypatch.setattr(online_trainer, "SILENCE", 0.2)
    asked = []

    def resume(request, response):
        asked.append(request)
        return response

    graph.peer.create_service(Trigger, "simulator/resume", resume)
    start(users="", resume="simulator/resume")
    # A predecessor may have died while the simulator waited for it; and this one may not have heard
    # how an episode ended that began before it.
    assert graph.until(lambda: len(asked) >= 2, 20.0)


def test_another_trainings_folder_is_refused(start):
    node = start()
    node.shut_down()
    for changes, has in (
        ({"task": 36}, "task 35, eta 0.7 with 2 episodes an update"),
        ({"eta": 0.5}, "task 35, eta 0.7 with 2"),
        ({"episodes_per_update": 3}, "eta 0.7 with 2 episodes"),
    ):
        other = start(**changes)
        assert not other.is_active and has in other.fault and "\n" not in other.fault
        assert other.fault.startswith("out: expected a new folder, or a training of operation-")


def test_what_is_no_prior_is_refused(start, policy_checkpoint):
    node = start(checkpoint=str(policy_checkpoint))
    assert "expected method safer, parrot, context-parrot, found 'sac'" in node.fault


@pytest.mark.slow
def test_it_learns_in_the_graph_and_a_kill_loses_no_finished_episode(prior_checkpoint, tmp_path):
    out, summary = tmp_path / "online", tmp_path / "run.json"
    store = EpisodeStore(out / "episodes")
    first = train_in_graph("safer_grasp", prior_checkpoint, out, 0, "--task=35")
    try:
        wait_for(lambda: newest_update(out) >= 1 and len(store.shards()) >= 3, 180.0)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    kept = list(store)
    assert [episode.seed for episode in kept] == list(range(750_000, 750_000 + len(kept)))
    acted = [episode.policy.split()[-1] for episode in kept]
    assert acted[:3] == ["prior", "prior", Policy.load(update_folder(out, 1)).model_id]
    for episode in kept:
        assert np.abs(episode.actions).max() <= np.float32(ETA) and episode.actions.any(1).all()
        assert len(episode) == 30 or episode.success

    # The same again goes on where that stopped.
    log = tmp_path / "log"
    again = train_in_graph(
        "safer_grasp", prior_checkpoint, out, 5, f"--json={summary}", "--task=35"
    )
    assert again.wait(240) == 0, log.read_text()
    assert len(store.shards()) == len(kept) + 5
    assert newest_update(out) >= 2
    with (out / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["update"]) for row in rows] == list(range(1, len(rows) + 1))
    assert json.loads(summary.read_text())["complete"] and (out / "curve.png").is_file()


@pytest.fixture
def training(tmp_path, prior_checkpoint):
    """The system in processes of their own; two episodes make an update."""
    rclpy.init()
    more = {
        "trainer": {"out": str(tmp_path / "online"), "episodes_per_update": 2},
        "simulator": {"pause_every": 2},
    }
    system = find_system("safer_grasp")
    options = {"train": "true", "episodes": "0", "checkpoint": str(prior_checkpoint)}
    specs = [
        replace(spec, parameters={**spec.parameters, **more.get(spec.name, {})})
        for spec in system.nodes(options)
    ]
    made = Processes(tmp_path, specs, system.config)
    yield made
    made.close()
    rclpy.shutdown()


@pytest.mark.slow
def test_whoever_dies_in_a_training_no_finished_episode_is_lost(training, tmp_path):
    out = tmp_path / "online"
    store, sources = EpisodeStore(out / "episodes"), []
    training.node.create_subscription(
        AbstractAction, "abstract_action", lambda message: sources.append(message.source), qos.LOG
    )

    def acts(update):
        """Whether a policy of this update or a later one acts."""
        folders = sorted((out / "checkpoints").glob("update-*"))[update - 1 :]
        made = {Policy.load(folder).model_id for folder in folders}
        return bool(sources) and sources[-1] in made

    training.start()
    assert training.until(lambda: acts(1), 240.0), training.log("trainer")
    assert sources[0] == "prior"

    # The trainer, also while a simulator waits for it: what was finished is there.
    kept = len(list(store))
    assert kept >= 2
    training.kill("trainer")
    training.until(lambda: False, 3.0)
    assert len(list(store)) >= kept
    training.start("trainer")
    assert training.until(lambda: newest_update(out) >= 2 and acts(2), 240.0), training.log(
        "trainer"
    )

    # The policy comes up with the draws of its launch, and is given the present policy.
    training.kill("skill_policy")
    del sources[:]
    training.start("skill_policy")
    assert training.until(lambda: acts(2), 240.0), training.log("skill_policy")
    for name in training.children:
        assert "Traceback" not in training.log(name)
