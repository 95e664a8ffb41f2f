import numpy as np
import pytest
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from safe_skills.ls3.planner import PlanOutcome
from safe_skills.msg import Command, LatentState, PlanStatus
from safe_skills.nodes import answers, qos
from safe_skills.nodes.cem_planner import CemPlanner
from safe_skills.nodes.conversions import latent_message

PROFILE = "realtime"


@pytest.fixture
def planner(graph, checkpoint):
    node = graph.start(CemPlanner, checkpoint=str(checkpoint), seed=3, step_limit=0.0)
    assert node.is_active, node.fault
    graph.commands = graph.collect(Command, "command", qos.COMMAND)
    graph.plans = graph.collect(PlanStatus, "plan_status", qos.COMMAND)
    graph.matched(node)
    return node


@pytest.fixture
def belief(agent):
    return np.linspace(-1, 1, agent.latent_dim, dtype=np.float32), np.full(
        agent.latent_dim, 0.1, np.float32
    )


def send(graph, agent, belief, stamp=None, **changes):
    header = Header(stamp=stamp or graph.stamp(), frame_id="camera")
    message = latent_message(*belief, agent.model_id, header)
    for name, value in changes.items():
        setattr(message, name, value)
    graph.publish("latent", message, qos.IMAGE)
    return header


def start_episode(graph):
    graph.publish("episode_start", Header(stamp=graph.stamp()), qos.EVENT)


def test_a_latent_becomes_the_first_step_of_the_plan(graph, planner, agent, belief):
    header = send(graph, agent, belief)
    assert graph.until(lambda: graph.plans and graph.commands)
    command, status = graph.commands[0], graph.plans[0]
    plan = agent.planner(PROFILE, seed=3).plan(*belief)
    np.testing.assert_allclose(command.action, plan.actions[0])
    assert command.header == Header(stamp=header.stamp, frame_id="task")
    assert command.source == "cem_planner" and any(command.action)
    assert status.header == header and status.model_id == agent.model_id
    assert status.outcome == PlanStatus.FEASIBLE and status.horizon == len(plan.actions)
    np.testing.assert_allclose(status.planned_actions, plan.actions.ravel())
    assert status.constraint_probability == pytest.approx(plan.constraint_probability)
    assert status.safe_set_probability == pytest.approx(plan.safe_set_probability)
    assert status.solve_time > 0 and status.iterations == plan.iterations


def test_no_planned_step_is_longer_than_a_slow_robot_can_make(graph, checkpoint, agent, belief):
    node = graph.start(CemPlanner, checkpoint=str(checkpoint))
    plans = graph.collect(PlanStatus, "plan_status", qos.COMMAND)
    graph.matched(node)
    send(graph, agent, belief)
    assert graph.until(lambda: plans)
    steps = np.abs(plans[0].planned_actions)
    assert 0.001 < steps.max() <= 0.005 + 1e-6


def test_the_warm_start_goes_on_and_an_episode_start_clears_it(graph, planner, agent, belief):
    reference = agent.planner(PROFILE, seed=3)
    expected = [reference.plan(*belief).actions[0] for _ in range(2)]
    reference.reset()
    expected.append(reference.plan(*belief).actions[0])
    for step in range(3):
        if step == 2:
            start_episode(graph)
        send(graph, agent, belief)
        assert graph.until(lambda step=step: len(graph.commands) > step)
    np.testing.assert_allclose([c.action for c in graph.commands], expected)


def test_a_repeat_is_answered_with_the_same_command_and_not_planned_again(
    graph, planner, agent, belief, monkeypatch
):
    monkeypatch.setattr(answers, "REPEAT_AFTER", 0.1)
    header = send(graph, agent, belief)
    assert graph.until(lambda: graph.commands)
    send(graph, agent, belief, header.stamp)
    graph.spin(0.15)
    assert len(graph.commands) == 1
    send(graph, agent, belief, header.stamp)
    assert graph.until(lambda: len(graph.commands) == 2)
    assert graph.commands[0] == graph.commands[1] and len(graph.plans) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_id": "cable-000000000000"}, "got one of model cable-000000000000"),
        ({"mean": [0.0]}, "expected a latent state of 32 means and deviations, got 1 and 32"),
        ({"mean": [float("nan")] * 32}, "with 32 that are not"),
        ({"stddev": [-1.0] * 32}, "deviations >= 0"),
    ],
)
def test_a_bad_latent_is_one_line_and_no_command(
    graph, planner, agent, belief, lines, changes, says
):
    for _ in range(3):
        send(graph, agent, belief, **changes)
    errors = [text for severity, text in lines if severity == "ERROR"]
    assert graph.commands == [] and graph.plans == []
    assert len(errors) == 1 and says in errors[0]
    send(graph, agent, belief)
    assert graph.until(lambda: graph.commands)


def test_an_image_of_the_attempt_before_is_not_answered(graph, planner, agent, belief):
    old = graph.stamp()
    start_episode(graph)
    send(graph, agent, belief, old)
    graph.spin(0.2)
    assert graph.commands == []


def test_without_a_plan_it_asks_for_no_motion_and_says_so(graph, planner, agent, belief):
    planner.set_parameters([Parameter("delta_c", value=0.0)])
    send(graph, agent, belief)
    assert graph.until(lambda: graph.plans)
    assert graph.plans[0].outcome == PlanStatus.HOLD == PlanOutcome.HOLD
    assert graph.commands[0].source == "cem_planner: hold"
    assert list(graph.commands[0].action) == [0.0, 0.0]


def test_levels_can_be_changed_while_it_runs_and_not_out_of_range(graph, planner):
    assert planner.set_parameters([Parameter("delta_s", value=0.5)])[0].successful
    assert planner._planner.config.delta_s == 0.5
    assert not planner.set_parameters([Parameter("delta_s", value=1.5)])[0].successful
    assert not planner.set_parameters([Parameter("profile", value="paper")])[0].successful


def test_it_plans_for_the_newest_latent_only(graph, planner, agent, belief):
    send(graph, agent, belief)
    assert graph.until(lambda: graph.commands)
    publisher = graph._publishers["latent"]
    stamps = [graph.stamp() for _ in range(4)]
    for stamp in stamps:
        message = LatentState(header=Header(stamp=stamp), model_id=agent.model_id)
        message.mean, message.stddev = belief[0].tolist(), belief[1].tolist()
        publisher.publish(message)
    assert graph.until(lambda: len(graph.commands) == 2)
    graph.spin(0.3)
    assert [c.header.stamp for c in graph.commands[1:]] == [stamps[-1]]
