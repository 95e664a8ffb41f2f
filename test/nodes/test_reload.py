"""A new checkpoint while the graph runs: from the next episode on, or not at all."""

import shutil

import numpy as np
import pytest
import torch
from conftest import make_checkpoint
from rclpy.parameter import Parameter
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.msg import Command, LatentState, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.nodes.camera_encoder import CameraEncoder
from safe_skills.nodes.cem_planner import CemPlanner
from safe_skills.nodes.conversions import TASK_FRAME, image_from_rgb, pose_message
from safe_skills.nodes.safety_monitor import SafetyMonitor
from safe_skills.safety import GateState

NODES = [CameraEncoder, CemPlanner, SafetyMonitor]


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("newer"), seed=1)


def model_of(node):
    return node._successor.model.model_id


def want(node, checkpoint):
    (result,) = node.set_parameters([Parameter("checkpoint", value=str(checkpoint))])
    return result


def begin_episode(graph):
    header = Header(stamp=graph.stamp(), frame_id=TASK_FRAME)
    graph.publish("episode_start", header, qos.EVENT)


def id_of(checkpoint):
    return LS3Agent.load(checkpoint).model_id


@pytest.mark.parametrize("node_class", NODES)
def test_a_new_checkpoint_is_used_from_the_next_episode_on(graph, checkpoint, newer, node_class):
    node = graph.start(node_class, checkpoint=str(checkpoint))
    begin_episode(graph)
    assert want(node, newer).successful
    assert model_of(node) == id_of(checkpoint)
    begin_episode(graph)
    assert model_of(node) == id_of(newer)
    begin_episode(graph)
    assert model_of(node) == id_of(newer)


@pytest.mark.parametrize("node_class", NODES)
def test_what_is_wanted_no_more_is_not_used(graph, checkpoint, newer, node_class):
    node = graph.start(node_class, checkpoint=str(checkpoint))
    assert want(node, newer).successful and want(node, checkpoint).successful
    begin_episode(graph)
    assert model_of(node) == id_of(checkpoint)


@pytest.mark.parametrize("node_class", NODES)
def test_reload_uses_it_at_once(graph, checkpoint, newer, node_class):
    node = graph.start(node_class, checkpoint=str(checkpoint))
    want(node, newer)
    client = graph.peer.create_client(Trigger, f"{node.get_name()}/reload")
    assert client.wait_for_service(5.0)
    answer = client.call_async(Trigger.Request())
    assert graph.until(answer.done)
    assert answer.result().success and answer.result().message == model_of(node) == id_of(newer)


def missing(folder):
    shutil.rmtree(folder)
    return "no such folder"


def damaged(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return "damaged"


def of_another_task(folder):
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("task: cable", "task: grasp"))
    return "found 'grasp'"


def of_another_size(folder):
    config = LS3Config.from_dict({"encoder": {"latent_dim": 16}})
    agent = LS3Agent(config, task="cable", layout="open", action_limit=np.full(2, 0.03))
    agent.save(folder, {})
    return "expected latents of 32 as of the model in use, found 16"


@pytest.mark.parametrize("node_class", NODES)
@pytest.mark.parametrize("harm", [missing, damaged, of_another_task, of_another_size])
def test_a_checkpoint_that_cannot_be_used_is_one_line_and_the_old_one_stays(
    graph, lines, checkpoint, newer, tmp_path, node_class, harm
):
    node = graph.start(node_class, checkpoint=str(checkpoint))
    shutil.copytree(newer, tmp_path / "copy")
    says = harm(tmp_path / "copy")
    del lines[:]
    result = want(node, tmp_path / "copy")
    # The encoder knows of no task by itself: what it is asked for is an encoder.
    if node_class is CameraEncoder and harm is of_another_task:
        says = "expected task 'cable', found 'grasp'"
    assert not result.successful and says in result.reason and "\n" not in result.reason
    warnings = [text for severity, text in lines if severity in ("WARN", "ERROR")]
    assert len(warnings) == 1 and says in warnings[0]
    assert node.param("checkpoint") == str(checkpoint)
    begin_episode(graph)
    assert model_of(node) == id_of(checkpoint)


def test_other_limits_of_motion_are_refused(graph, checkpoint, tmp_path):
    torch.manual_seed(0)
    agent = LS3Agent(LS3Config(), task="cable", layout="open", action_limit=np.full(2, 0.1))
    agent.save(tmp_path / "faster", {})
    for node_class in (CemPlanner, SafetyMonitor):
        node = graph.start(node_class, checkpoint=str(checkpoint))
        assert "largest step" in want(node, tmp_path / "faster").reason


class Loop:
    """Encoder, planner and monitor, and what comes out of the gate."""

    def __init__(self, graph, checkpoint):
        self.graph = graph
        common = {"checkpoint": str(checkpoint)}
        ages = dict.fromkeys(("image_timeout", "latent_timeout", "robot_timeout"), 3600.0)
        self.monitor = graph.start(SafetyMonitor, **common, **ages)
        self.planner = graph.start(CemPlanner, **common)
        self.encoder = graph.start(CameraEncoder, **common)
        self.safe = graph.collect(Command, "command_safe", qos.LOG)
        self.commands = graph.collect(Command, "command", qos.LOG)
        self.latents = graph.collect(LatentState, "latent", qos.LATENT_WINDOW)
        self.statuses = graph.collect(SafetyStatus, "safety_status", qos.LOG)
        graph.matched(self.monitor, self.planner, self.encoder)
        begin_episode(graph)
        self.place()

    @property
    def nodes(self):
        return self.encoder, self.planner, self.monitor

    def place(self):
        header = Header(stamp=self.graph.stamp(), frame_id="PSM1_base")
        pose = pose_message(self.monitor._arm.target((0.0, 0.0)), header)
        self.graph.publish("PSM1/measured_cp", pose, qos.CRTK_STATE)

    def show(self):
        """Show a frame; returns whether the gate let a motion pass."""
        del self.safe[:]
        rgb = np.full((64, 64, 3), 200, np.uint8)
        rgb[32:, 20:30] = (220, 25, 25)
        header = Header(stamp=self.graph.stamp(), frame_id="camera")
        self.graph.publish("camera/image_raw", image_from_rgb(rgb, header), qos.IMAGE)
        self.graph.until(lambda: self.safe, 1.0)
        return any(np.any(command.action) for command in self.safe)


def test_while_models_differ_nothing_moves(graph, checkpoint, newer):
    loop = Loop(graph, checkpoint)
    assert loop.show()
    for node in loop.nodes:
        want(node, newer)
    assert loop.show()
    orders = [(0,), (0, 1), (2,), (1,), (1, 2), (0, 2)]
    other = newer
    for first in orders:
        for node in loop.nodes:
            want(node, other)
        for number in first:
            loop.nodes[number]._successor.take_up()
        assert not loop.show(), first
        for node in loop.nodes:
            node._successor.take_up()
        assert loop.show(), first
        other = checkpoint if other is newer else newer
    assert loop.monitor.supervisor.counters.received > 0


def test_the_gate_forgets_what_the_old_model_said(graph, checkpoint, newer):
    loop = Loop(graph, checkpoint)
    assert loop.show()
    command = loop.commands[-1]
    want(loop.monitor, newer)
    loop.monitor._successor.take_up()
    del loop.safe[:]
    graph.publish("command", command, qos.COMMAND)
    assert graph.until(lambda: loop.safe)
    assert not np.any(loop.safe[-1].action)
    assert loop.statuses[-1].state == GateState.HOLD
