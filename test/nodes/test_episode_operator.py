"""Episodes by an operator: what is told, and that the robot stands still in between."""

import numpy as np
import pytest
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from safe_skills.msg import Command, EpisodeStatus, SafetyStatus, Violation
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import TASK_FRAME, command_message, image_from_rgb, nanoseconds
from safe_skills.nodes.episode_operator import EpisodeOperator


class Gate:
    """A gate as the operator sees it: e_stop, reset and a status on every change."""

    def __init__(self, graph):
        self.graph, self.stopped, self.calls = graph, False, []
        self._status = graph.peer.create_publisher(SafetyStatus, "safety_status", qos.STATUS)
        graph.peer.create_service(Trigger, "safety_monitor/e_stop", self._e_stop)
        graph.peer.create_service(Trigger, "safety_monitor/reset", self._reset)
        graph.peer.create_service(Trigger, "hardware_bridge/resume", self._resume)
        self.deaf = 0
        graph.peer.create_timer(0.05, self.tell)

    def tell(self):
        state = SafetyStatus.STOPPED if self.stopped else SafetyStatus.OK
        self._status.publish(SafetyStatus(state=state))

    def _e_stop(self, _, response):
        return self._answer("e_stop", True, response)

    def _reset(self, _, response):
        return self._answer("reset", False, response)

    def _resume(self, _, response):
        """The bridge, which may hear of the reset later than this is called."""
        self.calls.append("resume")
        self.deaf, response.success = max(self.deaf - 1, 0), self.deaf == 0
        response.message = "resumed" if response.success else "not resumed"
        return response

    def _answer(self, call, stopped, response):
        self.calls.append(call)
        self.stopped = stopped
        self.tell()
        response.success = True
        return response


class Desk:
    """The operator's node, a gate, and who listens."""

    def __init__(self, graph, **parameters):
        self.graph = graph
        self.gate = Gate(graph)
        self.told = graph.collect(EpisodeStatus, "episode", qos.EVENT)
        self.starts = graph.collect(Header, "episode_start", qos.EVENT)
        self.node = graph.start(EpisodeOperator, **parameters)
        assert self.node.is_active, self.node.fault
        graph.matched(self.node)
        assert graph.until(lambda: self.gate.stopped), "it stops the gate before the first episode"

    def call(self, name, data=None):
        kind = Trigger if data is None else SetBool
        client = self.graph.peer.create_client(kind, f"episode_operator/{name}")
        assert client.wait_for_service(5.0)
        request = Trigger.Request() if data is None else SetBool.Request(data=data)
        answer = client.call_async(request)
        assert self.graph.until(answer.done)
        self.graph.peer.destroy_client(client)
        return answer.result()

    def start(self):
        answer = self.call("start")
        assert answer.success, answer.message
        assert self.graph.until(lambda: not self.gate.stopped)

    def now(self):
        return self.node.get_clock().now().to_msg()

    def step(self):
        stamp = self.now()
        command = command_message(np.array([0.01, 0.0]), "test", stamp, TASK_FRAME)
        self.graph.publish("command_safe", command, qos.COMMAND)
        return stamp

    def show(self, rgb):
        image = image_from_rgb(rgb, Header(stamp=self.now(), frame_id="camera"))
        self.graph.publish("camera/image_raw", image, qos.IMAGE)

    def last(self):
        assert self.graph.until(lambda: self.told and self.told[-1].done)
        return self.told[-1]


def test_an_episode_is_told_as_a_simulator_tells_it(graph):
    desk = Desk(graph)
    desk.start()
    assert graph.until(lambda: desk.starts)
    stamps = [desk.step() for _ in range(3)]
    assert desk.call("success").message == "episode 0: success"
    last = desk.last()
    assert [nanoseconds(t.header.stamp) for t in desk.told] == [nanoseconds(s) for s in stamps]
    assert nanoseconds(desk.starts[0].stamp) < nanoseconds(stamps[0])
    assert last.success and last.step == 3 and last.reward == 0.0 and last.episode_return == -2.0
    assert graph.until(lambda: desk.gate.stopped)
    desk.step()
    graph.spin(0.2)
    assert len(desk.told) == 3


@pytest.mark.parametrize("label", ["failure", "violation"])
def test_other_labels(graph, label):
    desk = Desk(graph, horizon=10)
    desk.start()
    desk.step()
    desk.step()
    assert desk.call(label).success
    last = desk.last()
    assert last.violation is (label == "violation") and not last.success
    assert last.episode_cost == (9.0 if label == "violation" else 0.0)
    assert graph.until(lambda: desk.gate.stopped)


def test_what_cannot_be_is_said(graph):
    desk = Desk(graph)
    assert desk.call("success").message == "no episode is open"
    assert "no episode is open" in desk.call("pause", True).message
    desk.start()
    assert desk.call("start").message == "episode 0 has not ended"
    assert desk.call("failure").message == "episode 0 has no step yet"
    assert desk.call("discard").success
    assert graph.until(lambda: desk.gate.stopped) and not desk.told


def test_a_pause_holds_the_robot_and_the_episode_goes_on(graph):
    desk = Desk(graph)
    desk.start()
    desk.step()
    assert desk.call("pause", True).success
    assert graph.until(lambda: desk.gate.stopped)
    graph.spin(0.5)
    assert desk.gate.stopped
    assert desk.call("pause", False).success
    assert graph.until(lambda: not desk.gate.stopped)
    graph.spin(0.5)
    assert not desk.gate.stopped
    desk.step()
    desk.call("success")
    assert desk.last().step == 2


def test_someone_elses_stop_is_not_released_by_the_operator(graph):
    desk = Desk(graph)
    desk.start()
    desk.step()
    graph.spin(0.3)
    desk.gate.stopped = True
    assert graph.until(lambda: desk.node._foreign)
    assert "stopped by someone else" in desk.call("pause", False).message
    assert desk.call("failure").success
    assert "stopped by someone else" in desk.call("start").message
    assert desk.gate.stopped
    # Whoever stopped it resets it; between episodes the operator stops it again, as its own.
    desk.gate.stopped = False
    assert graph.until(lambda: desk.gate.stopped)
    assert graph.until(lambda: not desk.node._foreign)
    desk.start()


def test_a_gate_that_was_started_again_is_stopped_again(graph):
    desk = Desk(graph)
    desk.gate.stopped = False
    assert graph.until(lambda: desk.gate.stopped)


def test_cable_in_the_goal_is_a_success_by_itself(graph):
    desk = Desk(graph, goal=[0.05, 0.12, -0.17, -0.10])
    table = np.full((64, 64, 3), 200, np.uint8)
    reached = table.copy()
    reached[50, 42] = (220, 25, 25)  # 0.08 m to the right, 0.14 m down
    beside = table.copy()
    beside[50, 20] = (220, 25, 25)
    desk.start()
    desk.show(reached)
    desk.step()
    desk.show(beside)
    assert not desk.told
    desk.show(reached)
    assert desk.last().success and desk.last().step == 1
    assert graph.until(lambda: desk.gate.stopped)


@pytest.mark.parametrize("ends", [True, False])
def test_a_contact_that_is_seen_is_a_violation_where_asked_for(graph, ends):
    desk = Desk(graph, contact_ends=ends)
    desk.start()
    desk.step()
    header = Header(stamp=desk.now(), frame_id="camera")
    other = Violation(header=header, kind="workspace", command=Command())
    graph.publish("violation", other, qos.EVENT)
    assert not desk.told
    graph.publish("violation", Violation(header=header, kind="seen_contact"), qos.EVENT)
    if ends:
        assert desk.last().violation_kind == "seen_contact"
    else:
        graph.spin(0.2)
        assert not desk.told


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"goal": [0.0, 0.1, 0.2]}, "goal: expected xmin, xmax, ymin, ymax"),
        ({"cable_hsv": [1, 2, 3]}, "cable_hsv: expected six numbers a range, got 3"),
    ],
)
def test_bad_parameters_are_refused(graph, parameters, says):
    node = graph.start(EpisodeOperator, **parameters)
    assert not node.is_active and says in node.fault


def test_the_bridge_is_told_to_resume_after_the_gate_is_reset_until_it_does(graph):
    desk = Desk(graph)
    desk.gate.deaf = 2
    assert desk.call("start").success
    assert graph.until(lambda: desk.gate.calls.count("resume") == 3)
    assert desk.gate.calls.index("reset") < desk.gate.calls.index("resume")
    assert desk.call("pause", True).success
    assert graph.until(lambda: desk.gate.stopped)
    graph.spin(0.5)
    assert desk.gate.calls.count("resume") == 3
    assert desk.call("pause", False).success
    assert graph.until(lambda: desk.gate.calls.count("resume") == 4)
    assert desk.call("discard").success
    assert graph.until(lambda: desk.gate.stopped)
    graph.spin(0.5)
    assert desk.gate.calls.count("resume") == 4
