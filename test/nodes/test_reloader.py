"""All nodes get a new checkpoint, or none; one that was started again gets the present one."""

import time

import pytest
from conftest import make_checkpoint
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from safe_skills.ls3.agent import LS3Agent
from safe_skills.nodes import qos
from safe_skills.nodes.camera_encoder import CameraEncoder
from safe_skills.nodes.cem_planner import CemPlanner
from safe_skills.nodes.conversions import TASK_FRAME
from safe_skills.nodes.reloader import Reloader


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("newer"), seed=1)


class Users:
    def __init__(self, graph, checkpoint):
        self.graph = graph
        self.nodes = [
            graph.start(n, checkpoint=str(checkpoint)) for n in (CemPlanner, CameraEncoder)
        ]
        names = [node.get_name() for node in self.nodes]
        self.now = 0.0
        self.reloader = Reloader(graph.peer, names, str(checkpoint), clock=lambda: self.now)
        clients = [
            client
            for kind in (self.reloader._get, self.reloader._set, self.reloader._reload)
            for client in kind.values()
        ]
        assert graph.until(lambda: all(client.service_is_ready() for client in clients))

    def until(self, condition):
        """Whether it comes true; looked at once a poll, as it may poll itself."""
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            self.reloader.poll()
            if condition():
                return True
            self.graph.executor.spin_once(timeout_sec=0.02)
        return False

    def settled(self):
        """Whether it has looked twice with nothing left to do."""
        for _ in range(2):
            self.now += 3.0
            self.reloader.poll()
            assert self.until(lambda: not self.reloader._asked)
        return not self.reloader.busy

    def wanted(self):
        return {node.param("checkpoint") for node in self.nodes}

    def used(self):
        return {node._successor.model.model_id for node in self.nodes}

    def begin_episode(self):
        header = Header(stamp=self.graph.stamp(), frame_id=TASK_FRAME)
        self.graph.publish("episode_start", header, qos.EVENT)
        self.reloader.episode_began()


@pytest.fixture
def users(graph, checkpoint):
    return Users(graph, checkpoint)


def id_of(checkpoint):
    return LS3Agent.load(checkpoint).model_id


def test_all_take_it_up_when_the_next_episode_begins(users, checkpoint, newer):
    assert users.settled()
    users.reloader.use(str(newer))
    assert users.reloader.busy
    assert users.until(lambda: users.wanted() == {str(newer)} and users.settled())
    assert users.used() == {id_of(checkpoint)}
    users.begin_episode()
    assert users.used() == {id_of(newer)}


def test_if_one_refuses_all_keep_the_old_one(users, checkpoint, newer, lines):
    def refuse(values):
        if values["checkpoint"] == str(newer):
            raise ValueError("not this one")

    planner = users.nodes[0]
    judge = planner.judge_parameters
    planner.judge_parameters = lambda values: (refuse(values), judge(values))
    users.reloader.use(str(newer))
    assert users.until(lambda: users.reloader.refusal != "")
    assert users.reloader.refusal == "cem_planner: not this one"
    assert users.until(lambda: users.wanted() == {str(checkpoint)} and users.settled())
    users.begin_episode()
    assert users.used() == {id_of(checkpoint)}
    assert users.reloader.wanted == str(checkpoint)
    errors = [text for severity, text in lines if severity == "ERROR"]
    assert errors == [f"{newer} is not used: cem_planner: not this one"]


def test_one_that_was_started_again_gets_the_present_one_at_once(users, checkpoint, newer):
    users.reloader.use(str(newer))
    assert users.until(lambda: users.wanted() == {str(newer)} and users.settled())
    users.begin_episode()
    # As it comes up again: with the checkpoint of its launch.
    encoder = users.nodes[1]
    encoder.set_parameters([Parameter("checkpoint", value=str(checkpoint))])
    encoder._successor.take_up()
    assert len(users.used()) == 2
    users.now += 3.0
    assert users.until(lambda: users.used() == {id_of(newer)})


def test_an_episode_that_begins_meanwhile_leaves_no_two_models(users, checkpoint, newer):
    users.nodes[0].set_parameters([Parameter("checkpoint", value=str(newer))])
    users.reloader.use(str(newer))
    users.begin_episode()
    assert len(users.used()) == 2
    assert users.until(lambda: users.used() == {id_of(newer)})


def test_a_node_that_is_gone_is_waited_for(graph, checkpoint, newer):
    users = Users(graph, checkpoint)
    gone = users.nodes[1]
    graph.executor.remove_node(gone)
    graph.nodes.remove(gone)
    gone.destroy_node()
    client = users.reloader._set["camera_encoder"]
    assert graph.until(lambda: not client.service_is_ready())
    users.reloader.use(str(newer))
    planner = users.nodes[0]
    assert users.until(lambda: planner._successor.model.model_id == id_of(newer))
    again = graph.start(CameraEncoder, checkpoint=str(checkpoint))
    users.nodes[1] = again
    assert graph.until(client.service_is_ready)

    def looked():
        users.now += 0.5
        return users.used() == {id_of(newer)}

    assert users.until(looked)
    assert users.settled()
