"""The gate's rules over DDS: the bridge's word, the proof of a stop, foreigners, rules set anew."""

import numpy as np
import pytest
import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_msgs.msg import Empty, Header
from test_safety_monitor import ask, call, see, start

from safe_skills.msg import BridgeStatus, Command, PlanStatus, SafetyStatus, Surprise
from safe_skills.nodes import qos
from safe_skills.nodes.publishers import FOREIGN
from safe_skills.safety import FORMS
from safe_skills.safety.rules import default_rules
from safe_skills.systems.shared import TIMELESS

PATIENT = {
    **dict.fromkeys(("image_timeout", "latent_timeout", "robot_timeout"), 60.0),
    **TIMELESS,
}


@pytest.fixture
def monitor(graph, checkpoint):
    return start(graph, checkpoint, **PATIENT)


def ask_anew(graph, agent, action=(0.01, 0.0)):
    stamp = graph.stamp()
    see(graph, agent, stamp)
    return ask(graph, action, stamp)


def newest(graph):
    return graph.status[-1] if graph.status else SafetyStatus()


def rules(*changed):
    names = {rule.split()[0] for rule in changed}
    return [*(str(r) for r in default_rules(FORMS) if r.check not in names), *changed]


# ---- what the bridge says


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (BridgeStatus.FAULT, "robot_fault"),
        (BridgeStatus.DISABLED, "robot_not_ready"),
        (BridgeStatus.UNHOMED, "robot_not_ready"),
        (77, "robot_fault"),
    ],
)
def test_a_robot_that_must_not_be_moved_is_not(graph, monitor, agent, state, reason):
    graph.publish("bridge_status", BridgeStatus(state=state), qos.STATUS)
    status = ask_anew(graph, agent)
    assert status.state == SafetyStatus.HOLD and list(status.reasons) == [reason]
    graph.publish("bridge_status", BridgeStatus(state=BridgeStatus.MOVING), qos.STATUS)
    assert ask_anew(graph, agent).state == SafetyStatus.OK


def test_a_robot_that_is_not_on_its_way_is_held_after_three_judgements(graph, checkpoint, agent):
    start(graph, checkpoint, **{**PATIENT, "tracking_limit": 0.05})
    ask_anew(graph, agent)
    away = BridgeStatus(state=BridgeStatus.MOVING, set_point=[0.1, 0.0], goal=[0.12, 0.0])
    graph.publish("bridge_status", away, qos.STATUS)
    seen = [ask_anew(graph, agent) for _ in range(3)]
    assert [status.state for status in seen[-1:]] == [SafetyStatus.HOLD]
    assert list(seen[-1].reasons) == ["tracking"] and "tracking" in seen[0].observed
    assert seen[-1].tracking_error == pytest.approx(0.1) and seen[-1].tracking_limit == 0.05


def test_a_plan_that_breaks_its_constraints_is_observed(graph, monitor, agent):
    graph.publish("plan_status", PlanStatus(outcome=PlanStatus.MAX_SAFE_SET), qos.COMMAND)
    status = ask_anew(graph, agent)
    assert status.state == SafetyStatus.OK and list(status.observed) == ["plan_infeasible"]


def test_surprise_of_another_model_is_none(graph, monitor, agent, lines):
    graph.publish("surprise", Surprise(model_id="cable-other"), qos.IMAGE)
    assert sum("cable-other" in text for _, text in lines) == 1
    known = Surprise(model_id=agent.model_id, reconstruction_error=0.125)
    graph.publish("surprise", known, qos.IMAGE)
    assert ask_anew(graph, agent).reconstruction_error == 0.125


# ---- stops


def test_a_stop_is_verified_by_the_robots_own_topic(graph, monitor, agent):
    ask_anew(graph, agent)
    graph.publish("PSM1/hold", Empty(), qos.COMMAND)  # before the stop it proves nothing
    call(graph, "/safety_monitor/e_stop")
    assert graph.until(lambda: newest(graph).state == SafetyStatus.STOPPED)
    assert graph.status[-1].stop_cause == "operator" and not graph.status[-1].stop_verified
    graph.publish("PSM1/hold", Empty(), qos.COMMAND)
    assert graph.until(lambda: newest(graph).stop_verified)
    call(graph, "/safety_monitor/reset")
    assert graph.until(lambda: newest(graph).stop_cause == "")
    assert not graph.status[-1].stop_verified


def test_a_stop_that_does_not_arrive_is_an_error(graph, monitor, lines):
    call(graph, "/safety_monitor/e_stop")
    assert graph.until(lambda: any(event.kind == "stop_unverified" for event in graph.violations))
    assert sum("did not reach the robot" in text for _, text in lines) == 1
    graph.spin(0.8)
    assert [event.kind for event in graph.violations].count("stop_unverified") == 1


def test_a_rule_that_stops_needs_a_reset_that_waits_for_its_end(graph, checkpoint, agent):
    start(graph, checkpoint, **PATIENT, checks=rules("robot_state stop"))
    graph.publish("bridge_status", BridgeStatus(state=BridgeStatus.FAULT), qos.STATUS)
    assert graph.until(lambda: newest(graph).stop_cause == "robot_fault")
    refused = call(graph, "/safety_monitor/reset")
    assert not refused.success and "robot_fault still stands" in refused.message
    graph.publish("bridge_status", BridgeStatus(state=BridgeStatus.READY), qos.STATUS)
    assert graph.until(lambda: "robot_fault" not in newest(graph).reasons)
    assert graph.status[-1].state == SafetyStatus.STOPPED
    assert call(graph, "/safety_monitor/reset").success
    assert ask_anew(graph, agent).state == SafetyStatus.OK


def test_a_foreign_publisher_stops_the_robot(graph, monitor, agent):
    context = rclpy.Context()
    rclpy.init(context=context)
    intruder = rclpy.create_node("intruder", context=context)
    try:
        intruder.create_publisher(Command, "command_safe", 1)
        assert graph.until(lambda: newest(graph).stop_cause == "foreign_publisher")
        refused = call(graph, "/safety_monitor/reset")
        assert not refused.success and "foreign_publisher still stands" in refused.message
        assert ask_anew(graph, agent).state == SafetyStatus.STOPPED and graph.safe == []
    finally:
        intruder.destroy_node()
        rclpy.shutdown(context=context)
    assert graph.until(lambda: call(graph, "/safety_monitor/reset").success)
    assert ask_anew(graph, agent).state == SafetyStatus.OK


def test_who_publishes_to_the_robot_beside_the_bridge_stops_it(graph, monitor, agent):
    line = f"the safety monitor has stopped the robot; {FOREIGN}: /PSM1/servo_cp: /teleop"
    told = BridgeStatus(state=BridgeStatus.HOLDING, reason=line)
    graph.publish("bridge_status", told, qos.STATUS)
    assert graph.until(lambda: newest(graph).stop_cause == "foreign_publisher_to_robot")
    assert not call(graph, "/safety_monitor/reset").success
    graph.publish("bridge_status", BridgeStatus(state=BridgeStatus.READY), qos.STATUS)
    assert call(graph, "/safety_monitor/reset").success
    assert ask_anew(graph, agent).state == SafetyStatus.OK


# ---- rules and limits, while it runs


def test_rules_and_zones_can_be_set_while_it_runs(graph, monitor, agent):
    ahead = Parameter("keep_out", value=[0.005, 0.05, -0.1, 0.1])
    assert monitor.set_parameters([ahead])[0].successful
    assert list(ask_anew(graph, agent).reasons) == ["keep_out"]
    np.testing.assert_allclose(graph.safe[-1].action, (0.005, 0.0), rtol=1e-9)
    held = Parameter("checks", value=rules("keep_out hold"))
    assert monitor.set_parameters([held])[0].successful
    assert ask_anew(graph, agent).state == SafetyStatus.HOLD


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("checks", ["form"], "checks: expected emergency_stop"),
        ("checks", rules("speed"), "checks: expected one of"),
        ("keep_out", [0.0, 0.1, 0.0], "keep_out: expected 4 numbers a zone, got 3"),
        ("keep_out", [0.1, 0.0, 0.0, 0.1], "keep_out: expected low < high"),
    ],
)
def test_rules_and_zones_that_are_none_are_refused(graph, monitor, name, value, says):
    before = monitor.param(name)
    answer = monitor.set_parameters([Parameter(name, value=value)])[0]
    assert not answer.successful and says in answer.reason
    assert monitor.param(name) == before


@pytest.mark.parametrize(("value", "ending"), [(0.02, ""), (-1.0, ": refused")])
def test_who_sets_a_limit_is_logged(graph, monitor, lines, value, ending):
    client = graph.peer.create_client(SetParameters, "/safety_monitor/set_parameters")
    assert client.wait_for_service(5.0)
    asked = Parameter("step_limit", value=value).to_parameter_msg()
    future = client.call_async(SetParameters.Request(parameters=[asked]))
    assert graph.until(future.done)
    begin = f"parameter step_limit set to {value!r} by "
    said = lambda: [text for _, text in lines if text.startswith(begin)]  # noqa: E731
    assert graph.until(said)
    assert "/peer" in said()[0] and said()[0].endswith(ending)


# ---- the heartbeat


def test_between_two_commands_the_status_of_the_last_is_said_again(graph, monitor, agent):
    status = ask_anew(graph, agent, (0.04, 0.0))
    assert list(status.reasons) == ["step_limit"]
    again = [one for one in graph.status if one.header.stamp == status.header.stamp]
    assert {str(one) for one in again} == {str(status)}
    # In silence it is the evidence alone that counts.
    assert graph.until(lambda: newest(graph).state == SafetyStatus.OK)
    assert graph.status[-1].header.stamp != status.header.stamp


def test_what_gets_worse_between_two_commands_is_said_at_once(graph, monitor, agent):
    ask_anew(graph, agent)
    graph.publish("bridge_status", BridgeStatus(state=BridgeStatus.FAULT), qos.STATUS)
    assert graph.until(lambda: "robot_fault" in newest(graph).reasons)


def test_causes_are_told_with_their_counts(graph, monitor, agent):
    for action in ((0.04, 0.0), (0.01, 0.0), (0.04, 0.0)):
        status = ask_anew(graph, agent, action)
    counts = dict(zip(status.causes, status.cause_counts, strict=True))
    assert counts["step_limit"] == 2
    graph.publish("episode_start", Header(stamp=graph.stamp()), qos.EVENT)
    status = ask_anew(graph, agent)
    episode = dict(zip(status.causes, status.cause_counts_episode, strict=True))
    assert episode["step_limit"] == 0 and status.violations_episode == 0
