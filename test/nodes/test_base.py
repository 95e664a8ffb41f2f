import signal
import subprocess
import sys
import textwrap
import time

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from std_msgs.msg import String

from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.spinning import make_executor


class Echo(SkillNode):
    NAME = "echo"
    PARAMETERS = {
        "rate": Param(10.0, "Rate [Hz].", low=1.0, high=100.0, runtime=True),
        "folder": Param("", "Folder to load; `missing` fails."),
        "limits": Param([1.0, 2.0], "Limits.", low=0.0, high=5.0),
    }

    def configure(self):
        if self.param("folder") == "missing":
            raise ValueError("folder missing:\n no such folder")
        self.heard = []
        self.ticks = 0
        self.changed = set()
        self.said = self.advertise(String, "said", qos.COMMAND)
        self.subscribe(String, "heard", self.hear, qos.COMMAND)
        self.every(0.01, self.tick)

    def hear(self, message, info):
        assert info["source_timestamp"] > 0
        self.heard.append(message.data)
        self.said.publish(message)

    def tick(self):
        self.ticks += 1

    def parameters_changed(self, names):
        self.changed |= names


@pytest.fixture(params=[SingleThreadedExecutor, make_executor])
def graph(request):
    rclpy.init()
    executor = request.param()
    nodes = []

    def add(node):
        nodes.append(node)
        executor.add_node(node)
        return node

    def until(condition, patience=5.0):
        deadline = time.monotonic() + patience
        while not condition() and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.05)
        return condition()

    yield add, until
    executor.shutdown()
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def override(**values):
    return [Parameter(name, value=value) for name, value in values.items()]


def test_it_starts_by_itself_and_answers(graph):
    add, until = graph
    node = add(Echo())
    assert until(lambda: node.is_active)
    peer = add(rclpy.create_node("peer"))
    answers = []
    peer.create_subscription(String, "said", answers.append, qos.COMMAND)
    mouth = peer.create_publisher(String, "heard", qos.COMMAND)
    assert until(lambda: mouth.get_subscription_count() and node.said.get_subscription_count())
    mouth.publish(String(data="hello"))
    assert until(lambda: answers and node.ticks)
    assert [a.data for a in answers] == ["hello"]


def test_without_autostart_it_waits_and_is_deaf_until_active(graph):
    add, until = graph
    node = add(Echo(parameter_overrides=override(autostart=False)))
    assert not until(lambda: node.is_active, patience=0.3)
    node.trigger_configure()
    peer = add(rclpy.create_node("peer"))
    mouth = peer.create_publisher(String, "heard", qos.COMMAND)
    assert until(lambda: mouth.get_subscription_count())
    mouth.publish(String(data="too early"))
    assert not until(lambda: node.heard or node.ticks, patience=0.3)
    node.trigger_activate()
    mouth.publish(String(data="now"))
    assert until(lambda: node.heard == ["now"])


def test_it_can_be_cleaned_up_and_brought_up_again(graph):
    add, until = graph
    node = add(Echo(parameter_overrides=override(autostart=False)))
    topics = {p.topic_name for p in node.publishers}
    for _ in range(3):
        assert node.bring_up()
        assert "/said" in {p.topic_name for p in node.publishers}
        node.trigger_deactivate()
        assert not node.is_active
        node.trigger_cleanup()
        assert {p.topic_name for p in node.publishers} == topics
    assert not node._made


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"folder": "missing"}, "folder missing: no such folder"),
        ({"rate": 0.0}, "rate: expected 1 to 100, got 0.0"),
        ({"limits": [1.0, 9.0]}, "limits: expected 0 to 5, got 9.0"),
        (
            {"rat": 3.0},
            "unknown parameter rat; this node knows autostart, folder, limits, rate",
        ),
    ],
)
def test_a_refused_configuration_leaves_it_unconfigured_with_one_line(graph, values, says):
    add, _ = graph
    node = add(Echo(parameter_overrides=override(autostart=False, **values)))
    assert not node.bring_up()
    assert node.fault == says
    assert {p.topic_name for p in node.publishers}.isdisjoint({"/said"})


def test_a_refusal_can_be_mended_and_tried_again(graph):
    add, _ = graph
    node = add(Echo(parameter_overrides=override(autostart=False, folder="missing")))
    assert not node.bring_up()
    assert node.set_parameters(override(folder="there"))[0].successful
    assert node.bring_up() and node.fault == ""


def test_a_mistake_in_the_program_is_seen_and_leaves_nothing_running(graph, monkeypatch):
    add, _ = graph
    node = add(Echo(parameter_overrides=override(autostart=False)))
    with monkeypatch.context() as patch:
        patch.setattr(node, "activate", lambda: {}["missing"])
        assert not node.bring_up()
    assert node.fault == "internal error: KeyError('missing')" and not node.is_active
    assert "/said" not in {p.topic_name for p in node.publishers}
    assert node.bring_up() and node.fault == ""


def test_it_can_be_shut_down_in_every_state(graph):
    add, _ = graph
    for steps in ([], ["trigger_configure"], ["trigger_configure", "trigger_activate"]):
        node = add(Echo(parameter_overrides=override(autostart=False)))
        for step in steps:
            getattr(node, step)()
        node.shut_down()
        node.shut_down()
        assert not node.is_active and not node._made


def test_runtime_changes_are_checked_and_taken_up(graph):
    add, _ = graph
    node = add(Echo(parameter_overrides=override(autostart=False)))
    node.bring_up()
    assert node.set_parameters(override(rate=20.0))[0].successful
    assert node.changed == {"rate"} and node.param("rate") == 20.0
    too_fast = node.set_parameters(override(rate=2000.0))[0]
    not_a_number = node.set_parameters(override(rate=float("nan")))[0]
    late = node.set_parameters(override(folder="other"))[0]
    assert not (too_fast.successful or not_a_number.successful or late.successful)
    assert "only while the node is unconfigured" in late.reason
    assert node.param("rate") == 20.0


def test_descriptors_carry_description_and_range(graph):
    add, _ = graph
    node = add(Echo())
    descriptor = node.describe_parameter("rate")
    assert descriptor.description == "Rate [Hz]."
    bounds = descriptor.floating_point_range[0]
    assert (bounds.from_value, bounds.to_value) == (1.0, 100.0)


def test_diagnostics_follow_the_convention(graph):
    add, until = graph
    node = add(Echo(parameter_overrides=override(folder="missing")))
    node.diagnostics.add("forgetful", lambda status: None)
    peer = add(rclpy.create_node("peer"))
    arrays = []
    peer.create_subscription(DiagnosticArray, "/diagnostics", arrays.append, qos.DIAGNOSTICS)
    assert until(lambda: len(arrays) >= 2)
    by_name = {status.name: status for status in arrays[-1].status}
    assert by_name["echo: forgetful"].level == DiagnosticStatus.ERROR
    state = by_name["echo: state"]
    assert state.level == DiagnosticStatus.ERROR and state.hardware_id == "none"
    assert state.message == "unconfigured: folder missing: no such folder"
    assert {"pid", "peak_rss_mb"} <= {pair.key for pair in state.values}
    stamps = [a.header.stamp.sec + a.header.stamp.nanosec * 1e-9 for a in arrays]
    assert stamps[1] - stamps[0] == pytest.approx(1.0, abs=0.3)


ALONE = """
    import sys
    from safe_skills.nodes.base import SkillNode, main_for

    class Alone(SkillNode):
        NAME = "alone"
        def configure(self):
            self.every(0.01, lambda: None)
        def activate(self):
            print("active", flush=True)
        def deactivate(self):
            print("held", flush=True)

    sys.exit(main_for(Alone))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_ends_cleanly_on_a_signal(number):
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ALONE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "active\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=10)
    assert (child.returncode, out, err) == (0, "held\n", "")


def test_a_command_line_that_ros_does_not_understand_is_one_line_more():
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ALONE), "--ros-args", "-p", "rate"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert child.returncode == 2
    assert "alone: " in child.stderr and "Traceback" not in child.stderr


def test_what_is_left_for_later_runs_once_each_time(graph):
    order = []

    class Late(SkillNode):
        NAME = "late"

        def configure(self):
            self.speak = self.advertise(String, "spoken", qos.COMMAND)
            self.subscribe(String, "spoken", lambda message: order.append("heard"), qos.COMMAND)
            self.tell = self.later(lambda: order.append("later"))

    add, until = graph
    node = add(Late(parameter_overrides=override(autostart=False)))
    assert node.bring_up()
    assert until(lambda: node.speak.get_subscription_count() > 0)
    until(lambda: False, 0.1)
    assert order == []
    node.speak.publish(String(data="a"))
    node.tell()
    node.tell()
    assert until(lambda: len(order) >= 2)
    until(lambda: False, 0.1)
    assert sorted(order) == ["heard", "later"]
    node.tell()
    assert until(lambda: len(order) == 3)


def test_timers_go_on_where_somebody_takes_the_clock_away(graph):
    add, until = graph
    node = add(Echo())
    assert until(lambda: node.is_active)
    node.set_parameters([Parameter("use_sim_time", value=True)])
    before = node.ticks
    assert until(lambda: node.ticks > before + 5)
