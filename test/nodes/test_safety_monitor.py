import math

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.msg import Command, SafetyStatus, Violation
from safe_skills.nodes import qos
from safe_skills.nodes.arm import WORKSPACE
from safe_skills.nodes.conversions import (
    command_message,
    image_from_rgb,
    latent_message,
    pose_message,
)
from safe_skills.nodes.safety_monitor import SafetyMonitor
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.systems.shared import TIMELESS

ARM = DvrkArm(workspace=((-0.15, 0.18), (-0.14, 0.085)))
TABLE, RED, BLUE = (235, 230, 220), (220, 25, 25), (38, 76, 217)


PATIENT = {
    **dict.fromkeys(("image_timeout", "latent_timeout", "robot_timeout"), 60.0),
    **TIMELESS,
}


@pytest.fixture
def monitor(graph, checkpoint):
    return start(graph, checkpoint, **PATIENT)


def start(graph, checkpoint, **parameters):
    node = graph.start(SafetyMonitor, checkpoint=str(checkpoint), **parameters)
    assert node.is_active, node.fault
    graph.safe = graph.collect(Command, "command_safe", qos.LOG)
    graph.status = graph.collect(SafetyStatus, "safety_status", qos.LOG)
    graph.violations = graph.collect(Violation, "violation", qos.EVENT)
    graph.matched(node)
    return node


def picture(touching=False):
    rgb = np.full((64, 64, 3), TABLE, np.uint8)
    rgb[20:40, 30:36] = BLUE
    rgb[28:30, 10 : 30 if touching else 24] = RED
    return rgb


def see(graph, agent, stamp, touching=False, position=(0.0, 0.0), latent=True):
    """Publish everything the monitor wants to know about one frame."""
    header = Header(stamp=stamp, frame_id="camera")
    graph.publish("camera/image_raw", image_from_rgb(picture(touching), header), qos.IMAGE)
    pose = pose_message(ARM.target(np.array(position)), Header(stamp=stamp, frame_id="PSM1_base"))
    graph.publish("PSM1/measured_cp", pose, qos.CRTK_STATE)
    if latent:
        belief = np.zeros(agent.latent_dim, np.float32)
        graph.publish("latent", latent_message(belief, belief, agent.model_id, header), qos.IMAGE)


def ask(graph, action, stamp, frame="task", source="cem_planner"):
    before = len(graph.status)
    message = Command(header=Header(stamp=stamp, frame_id=frame), source=source)
    message.action = [float(entry) for entry in action]
    graph.publish("command", message, qos.COMMAND)
    judged = lambda: [s for s in graph.status[before:] if s.header.stamp == stamp]  # noqa: E731
    assert graph.until(judged)
    return judged()[0]


def call(graph, name):
    client = graph.peer.create_client(Trigger, name)
    assert client.wait_for_service(5.0)
    future = client.call_async(Trigger.Request())
    assert graph.until(future.done)
    return future.result()


def test_a_good_command_passes_unchanged(graph, monitor, agent):
    stamp = graph.stamp()
    see(graph, agent, stamp)
    status = ask(graph, (0.01, -0.02), stamp)
    assert status.state == SafetyStatus.OK and list(status.reasons) == []
    assert graph.safe == [command_message((0.01, -0.02), "cem_planner", stamp, "task")]
    assert 0 <= status.constraint_probability < 0.1 < 0.9 < status.safe_set_probability <= 1
    assert 0 <= status.predicted_constraint_probability < 0.1
    assert status.constraint_limit == 0.5 and math.isnan(status.safe_set_limit)
    assert math.isnan(status.eta) and math.isnan(status.abstract_action)
    assert status.latency > 0
    assert (status.commands_received, status.commands_passed) == (1, 1)
    assert graph.violations == []


def test_too_long_a_step_is_made_shorter_and_reported(graph, monitor, agent):
    stamp = graph.stamp()
    see(graph, agent, stamp)
    status = ask(graph, (0.04, 0.0), stamp)
    assert status.state == SafetyStatus.LIMITED and list(status.reasons) == ["step_limit"]
    np.testing.assert_allclose(graph.safe[0].action, (0.03, 0.0))
    assert graph.until(lambda: graph.violations)
    event = graph.violations[0]
    assert (event.kind, event.value, event.limit) == ("step_limit", 0.04, 0.03)
    np.testing.assert_allclose(event.command.action, (0.04, 0.0))


@pytest.mark.parametrize(
    ("action", "frame", "reason"),
    [
        ((0.01,), "task", "size"),
        ((0.01, 0.0, 0.0), "task", "size"),
        ((), "task", "size"),
        ((math.nan, 0.0), "task", "not_finite"),
        ((math.inf, 0.0), "task", "not_finite"),
        ((0.01, 0.0), "camera", "frame"),
        ((1.0, 0.0), "task", "step_rejected"),
    ],
)
def test_a_command_that_is_no_motion_is_answered_by_no_motion(
    graph, monitor, agent, action, frame, reason
):
    stamp = graph.stamp()
    see(graph, agent, stamp)
    status = ask(graph, action, stamp, frame)
    assert status.state == SafetyStatus.HOLD and reason in status.reasons
    assert list(graph.safe[0].action) == [0.0, 0.0]
    assert graph.safe[0].source == "safety_monitor: hold" and graph.safe[0].header.stamp == stamp


def test_a_command_without_its_latent_is_held(graph, monitor, agent):
    stamp = graph.stamp()
    see(graph, agent, stamp)
    newer = graph.stamp()
    see(graph, agent, newer, latent=False)
    assert "latent_mismatch" in ask(graph, (0.01, 0.0), newer).reasons


def test_a_latent_of_other_weights_is_no_evidence(graph, monitor, agent, lines):
    stamp = graph.stamp()
    see(graph, agent, stamp, latent=False)
    message = latent_message(np.zeros(32), np.zeros(32), "cable-other", Header(stamp=stamp))
    graph.publish("latent", message, qos.IMAGE)
    assert "latent_missing" in ask(graph, (0.01, 0.0), stamp).reasons
    assert sum("cable-other" in text for _, text in lines) == 1


def test_a_zero_stamp_is_no_position(graph, monitor, agent):
    stamp = graph.stamp()
    graph.publish("PSM1/measured_cp", PoseStamped(), qos.CRTK_STATE)
    belief = np.zeros(agent.latent_dim, np.float32)
    header = Header(stamp=stamp)
    graph.publish("latent", latent_message(belief, belief, agent.model_id, header), qos.IMAGE)
    assert "robot_missing" in ask(graph, (0.01, 0.0), stamp).reasons


def test_it_holds_when_the_camera_dies(graph, checkpoint, agent):
    ages = ("image_timeout", "latent_timeout", "robot_timeout")
    start(graph, checkpoint, **dict.fromkeys(ages, 2.0))
    stamp = graph.stamp()
    see(graph, agent, stamp)
    assert ask(graph, (0.01, 0.0), stamp).state == SafetyStatus.OK
    graph.spin(2.3)
    status = ask(graph, (0.01, 0.0), stamp)
    assert status.state == SafetyStatus.HOLD
    assert {"image_stale", "latent_stale", "robot_stale"} <= set(status.reasons)


def test_in_silence_the_status_is_true_and_nothing_is_sent(graph, checkpoint, agent):
    ages = ("image_timeout", "latent_timeout", "robot_timeout")
    start(graph, checkpoint, **dict.fromkeys(ages, 2.0))
    assert graph.until(lambda: any("image_missing" in s.reasons for s in graph.status))
    see(graph, agent, graph.stamp())
    assert graph.until(lambda: graph.status[-1].state == SafetyStatus.OK)
    assert math.isnan(graph.status[-1].latency)
    assert graph.until(lambda: "image_stale" in graph.status[-1].reasons)
    before = len(graph.status)
    graph.spin(1.0)
    # Twenty-five times a second; fewer reach a machine that is busy.
    assert 8 <= len(graph.status) - before <= 30
    assert graph.safe == [] and graph.status[-1].commands_received == 0


def test_the_emergency_stop_passes_nothing_until_reset(graph, monitor, agent):
    stamp = graph.stamp()
    see(graph, agent, stamp)
    assert ask(graph, (0.01, 0.0), stamp).state == SafetyStatus.OK
    answer = call(graph, "/safety_monitor/e_stop")
    assert answer.success and "stopped by operator" in answer.message
    assert graph.until(lambda: graph.status[-1].state == SafetyStatus.STOPPED)
    for _ in range(2):
        stamp = graph.stamp()
        see(graph, agent, stamp)
        status = ask(graph, (0.01, 0.0), stamp)
        assert status.state == SafetyStatus.STOPPED and status.reasons[0] == "emergency_stop"
    assert len(graph.safe) == 1
    answer = call(graph, "/safety_monitor/reset")
    assert answer.success and "released" in answer.message
    stamp = graph.stamp()
    see(graph, agent, stamp)
    assert ask(graph, (0.01, 0.0), stamp).state == SafetyStatus.OK and len(graph.safe) == 2


def test_the_stop_outlives_a_reconfiguration(graph, monitor, agent):
    call(graph, "/safety_monitor/e_stop")
    monitor.trigger_deactivate()
    monitor.trigger_cleanup()
    assert monitor.bring_up()
    stamp = graph.stamp()
    see(graph, agent, stamp)
    assert ask(graph, (0.01, 0.0), stamp).state == SafetyStatus.STOPPED


def test_contacts_that_the_camera_sees_are_counted_and_do_not_stop(graph, monitor, agent):
    for touching in (False, True, True, False):
        stamp = graph.stamp()
        see(graph, agent, stamp, touching)
        status = ask(graph, (0.0, 0.0), stamp)
        assert status.state == SafetyStatus.OK
    assert status.seen_contacts == 2
    assert [event.kind for event in graph.violations] == ["seen_contact"]


def test_limits_can_be_changed_while_it_runs(graph, monitor, agent):
    assert monitor.set_parameters([Parameter("step_limit", value=0.005)])[0].successful
    stamp = graph.stamp()
    see(graph, agent, stamp)
    ask(graph, (0.01, 0.0), stamp)
    np.testing.assert_allclose(graph.safe[0].action, (0.005, 0.0))
    assert not monitor.set_parameters([Parameter("step_limit", value=-1.0)])[0].successful


def test_a_new_episode_forgets_the_old_images(graph, monitor, agent):
    old = graph.stamp()
    see(graph, agent, old)
    graph.publish("episode_start", Header(stamp=graph.stamp()), qos.EVENT)
    graph.publish("command", command_message((0.01, 0.0), "cem_planner", old, "task"), qos.COMMAND)
    graph.spin(0.3)
    assert graph.safe == []


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"workspace": [0.0, 1.0]}, "workspace: expected xmin, xmax, ymin, ymax"),
        ({"workspace": [1.0, 0.0, 0.0, 1.0]}, "workspace: expected"),
        ({"obstacle_hsv": [1, 2, 3]}, "obstacle_hsv: expected six numbers a range, got 3"),
        ({"robot": "dvrk"}, "task_in_arm: expected the measured pose"),
        ({"task_in_arm": [0.0, 1.0]}, "task_in_arm: expected 7 finite numbers"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(graph, checkpoint, parameters, says):
    node = graph.start(SafetyMonitor, checkpoint=str(checkpoint), **parameters)
    assert not node.is_active and says in node.fault


def test_the_workspace_is_the_cable_tasks():
    from safe_skills.envs.cable_layouts import LAYOUTS

    for layout in LAYOUTS.values():
        assert np.ravel(layout.workspace).tolist() == WORKSPACE
