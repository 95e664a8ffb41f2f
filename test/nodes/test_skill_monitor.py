"""The gate of the SAFER graph over DDS: what passes, and what each missing or wrong part stops."""

import numpy as np
import pytest
import torch
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from skill_checkpoints import ETA, make_prior, save_prior
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.ls3.calibration import constraint_curve, safe_set_curve
from safe_skills.ls3.watcher import Watcher
from safe_skills.ls3.watcher_config import WatcherConfig
from safe_skills.msg import AbstractAction, Command, SafetyStatus
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import image_from_rgb, latent_message
from safe_skills.nodes.skill_conversions import context_message
from safe_skills.nodes.skill_monitor import SkillMonitor, WatchedCommands
from safe_skills.robots import arm5_kinematics as kinematics
from safe_skills.safer.prior import SkillPrior
from safe_skills.systems.shared import TIMELESS

PATIENT = {
    **dict.fromkeys(("image_timeout", "latent_timeout", "robot_timeout", "context_timeout"), 60.0),
    **TIMELESS,
}
STEP = (0.02, -0.01, 0.025, 0.3, -0.4)
HIGH = (0.21, 0.0, 0.15)


@pytest.fixture
def monitor(graph, prior_checkpoint):
    return start(graph, prior_checkpoint, **PATIENT)


def start(graph, folder, **parameters):
    node = graph.start(SkillMonitor, checkpoint=str(folder), **parameters)
    assert node.is_active, node.fault
    graph.safe = graph.collect(Command, "command_safe", qos.LOG)
    graph.status = graph.collect(SafetyStatus, "safety_status", qos.LOG)
    graph.matched(node)
    return node


def joints_at(position=HIGH, yaw=0.0):
    return kinematics.inverse(kinematics.downward(np.array(position), yaw))


def see(graph, prior, stamp, *, without=(), largest=0.5 * ETA, joints=None, **changes):
    """Publish all that the monitor wants to know about a frame, but for what is left out."""
    header = Header(stamp=stamp, frame_id="camera")
    size = prior.config.encoder.features
    c, model = np.zeros(prior.context_size, np.float32), prior.model_id
    z = np.array([0.0, -largest, 0.1, 0.0, 0.2], np.float32)
    positions = joints_at() if joints is None else joints
    everything = {
        "camera/image_raw": (image_from_rgb(np.zeros((48, 48, 3), np.uint8), header), qos.IMAGE),
        "latent": (
            latent_message(np.zeros(size, np.float32), np.zeros(size, np.float32), model, header),
            qos.IMAGE,
        ),
        "safety_context": (context_message(c, c, 1.0, model, header), qos.COMMAND),
        "abstract_action": (
            AbstractAction(header=header, model_id=model, source="test", eta=ETA, z=z),
            qos.COMMAND,
        ),
        "joint_states": (
            JointState(
                header=header, name=list(kinematics.JOINT_NAMES), position=positions.tolist()
            ),
            qos.CRTK_STATE,
        ),
    }
    for topic, (message, profile) in everything.items():
        if topic not in without:
            graph.publish(topic, changes.get(topic, message), profile)


def ask(graph, stamp, action=STEP):
    before = len(graph.status)
    message = Command(header=Header(stamp=stamp, frame_id="task"), source="skill_decoder")
    message.action = [float(entry) for entry in action]
    graph.publish("command", message, qos.COMMAND)
    judged = lambda: [s for s in graph.status[before:] if s.header.stamp == stamp]  # noqa: E731
    assert graph.until(judged)
    return judged()[0]


def test_a_step_with_all_its_evidence_passes_to_the_last_digit(graph, monitor, prior):
    stamp = graph.stamp()
    see(graph, prior, stamp)
    status = ask(graph, stamp)
    assert status.state == SafetyStatus.OK and list(status.reasons) == []
    assert list(graph.safe[-1].action) == list(STEP)
    assert graph.safe[-1].source == "skill_decoder"
    assert np.isnan(status.safe_set_probability)
    assert status.eta == ETA and status.abstract_action == pytest.approx(0.5 * ETA)
    assert np.isnan(status.constraint_limit) and np.isnan(status.safe_set_limit)


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("camera/image_raw", "image_missing"),
        ("latent", "latent_missing"),
        ("safety_context", "context_missing"),
        ("abstract_action", "abstract_action_unknown"),
        ("joint_states", "robot_missing"),
    ],
)
def test_without_one_of_them_the_robot_holds(graph, monitor, prior, topic, reason):
    stamp = graph.stamp()
    see(graph, prior, stamp, without=[topic])
    status = ask(graph, stamp)
    assert status.state == SafetyStatus.HOLD and reason in status.reasons
    assert list(graph.safe[-1].action) == [0.0] * 5
    assert graph.safe[-1].source == "skill_monitor: hold"
    stamp = graph.stamp()
    see(graph, prior, stamp)
    assert ask(graph, stamp).state == SafetyStatus.OK


def test_beyond_eta_nothing_moves_whatever_bound_the_message_claims(graph, monitor, prior):
    stamp = graph.stamp()
    header = Header(stamp=stamp)
    larger = AbstractAction(
        header=header, model_id=prior.model_id, eta=100.0, z=np.full(5, 1.01 * ETA, np.float32)
    )
    see(graph, prior, stamp, abstract_action=larger)
    status = ask(graph, stamp)
    assert status.state == SafetyStatus.HOLD and list(status.reasons) == ["abstract_action"]


def test_a_second_action_for_the_same_image_does_not_hide_the_first(graph, monitor, prior):
    stamp = graph.stamp()
    see(graph, prior, stamp, largest=2 * ETA)
    see(graph, prior, stamp, largest=0.1)
    assert list(ask(graph, stamp).reasons) == ["abstract_action"]


def test_an_action_for_another_image_is_no_evidence(graph, monitor, prior):
    see(graph, prior, graph.stamp())
    stamp = graph.stamp()
    see(graph, prior, stamp, without=["abstract_action"])
    assert "abstract_action_unknown" in ask(graph, stamp).reasons


@pytest.mark.parametrize("topic", ["latent", "safety_context", "abstract_action"])
def test_what_another_model_says_is_no_evidence(graph, monitor, prior, topic, lines):
    stamp = graph.stamp()
    foreign = make_prior(seed=1)
    foreign.model_id = "operation-foreign"
    see(graph, prior, stamp, without=[topic])
    see(graph, foreign, stamp, without={"latent", "safety_context", "abstract_action"} - {topic})
    assert ask(graph, stamp).state == SafetyStatus.HOLD
    assert any("operation-foreign" in text for severity, text in lines if severity == "ERROR")


def test_joints_are_read_by_name_and_bad_ones_refused(graph, monitor, prior, lines):
    stamp = graph.stamp()
    order = [3, 1, 4, 0, 2]
    names = [kinematics.JOINT_NAMES[k] for k in order]
    low = joints_at((0.21, 0.0, 0.01))
    shuffled = JointState(header=Header(stamp=stamp), name=names, position=low[order].tolist())
    see(graph, prior, stamp, joint_states=shuffled)
    # 5 mm above the lowest place: a step down is cut there.
    status = ask(graph, stamp, (0.0, 0.0, -0.025, 0.0, 1.0))
    assert list(status.reasons) == ["workspace"]
    np.testing.assert_allclose(graph.safe[-1].action, (0.0, 0.0, -0.005, 0.0, 1.0), atol=1e-9)
    wrong = JointState(header=Header(stamp=stamp), name=["a"] * 5, position=[0.0] * 5)
    graph.publish("joint_states", wrong, qos.CRTK_STATE)
    stamp = graph.stamp()
    see(graph, prior, stamp, without=["joint_states"])
    ask(graph, stamp)
    assert any("joint_states refused" in text for severity, text in lines if severity == "ERROR")


def test_a_stop_stays_until_it_is_reset(graph, monitor, prior):
    def call(name):
        client = graph.peer.create_client(Trigger, name)
        assert client.wait_for_service(5.0)
        future = client.call_async(Trigger.Request())
        assert graph.until(future.done)
        return future.result()

    assert call("skill_monitor/e_stop").success
    stamp = graph.stamp()
    see(graph, prior, stamp)
    assert ask(graph, stamp).state == SafetyStatus.STOPPED and graph.safe == []
    assert call("skill_monitor/reset").success
    stamp = graph.stamp()
    see(graph, prior, stamp)
    assert ask(graph, stamp).state == SafetyStatus.OK


def test_without_c_no_context_is_asked_for(graph, tmp_path):
    folder = save_prior(tmp_path / "parrot", method="parrot")
    start(graph, folder, eta=ETA, **PATIENT)
    prior = SkillPrior.load(folder)
    stamp = graph.stamp()
    see(graph, prior, stamp, without=["safety_context"])
    assert ask(graph, stamp).state == SafetyStatus.OK


CURVES = {
    "delta_c": constraint_curve(np.linspace(0.0, 1.0, 400), np.linspace(0.0, 1.0, 400) > 0.9),
    "delta_s": safe_set_curve(np.linspace(0.3, 1.0, 400)),
}
SMALL = {
    "dynamics": {"members": 2, "hidden": [8]},
    "safe_set": {"hidden": [8]},
    "constraint": {"hidden": [8]},
}


@pytest.fixture(scope="module")
def watcher(prior, tmp_path_factory):
    """Random weights, but an even chance of a contact whatever happens."""
    torch.manual_seed(0)
    size = prior.config.encoder.features
    made = Watcher(
        WatcherConfig.from_dict(SMALL),
        task="operation",
        encoder_id=prior.model_id,
        latent_dim=size,
        action_dim=5,
    )
    with torch.no_grad():
        for classifier in (made.models.constraint, made.models.safe_set):
            last = [part for part in classifier.modules() if hasattr(part, "bias")][-1]
            last.weight.zero_()
            last.bias.zero_()
    folder = tmp_path_factory.mktemp("watcher")
    made.save(folder, {"calibration": {name: curve.to_dict() for name, curve in CURVES.items()}})
    return folder


def test_a_watcher_is_a_second_opinion(graph, prior_checkpoint, prior, watcher):
    # Calibrated, it lets an even chance pass.
    node = start(graph, prior_checkpoint, watcher=str(watcher), **PATIENT)
    stamp = graph.stamp()
    see(graph, prior, stamp)
    status = ask(graph, stamp)
    assert status.state == SafetyStatus.OK
    assert status.constraint_probability == status.safe_set_probability == 0.5
    assert status.predicted_constraint_probability == 0.5
    assert status.constraint_limit == node.limits().constraint_limit > 0.5
    assert np.isnan(status.safe_set_limit)
    node.set_parameters([Parameter("constraint_limit", value=0.4)])
    stamp = graph.stamp()
    see(graph, prior, stamp)
    status = ask(graph, stamp)
    assert status.state == SafetyStatus.HOLD and status.reasons[0] == "constraint"
    node.set_parameters(
        [
            Parameter("use_constraint", value=False),
            Parameter("use_safe_set", value=True),
            Parameter("safe_set_limit", value=0.6),
        ]
    )
    stamp = graph.stamp()
    see(graph, prior, stamp)
    status = ask(graph, stamp)
    assert status.state == SafetyStatus.LIMITED and list(status.reasons) == ["safe_set"]
    np.testing.assert_allclose(graph.safe[-1].action[:4], np.array(STEP[:4]) / 2)
    assert graph.safe[-1].action[4] == STEP[4]


def test_a_watcher_reads_commands_in_units_of_the_priors_actions(watcher):
    made = Watcher.load(watcher)
    asked = []
    made.predicted_constraint_probability = lambda mean, action: asked.append(action) or 0.25
    models = WatchedCommands(made)
    command = np.array([0.025, -0.025, 0.0, 0.35, -1.0])
    assert models.predicted_constraint_probability(np.zeros(12), command) == 0.25
    np.testing.assert_allclose(asked[0], [1.0, -1.0, 0.0, 1.0, -1.0])


def test_a_watcher_over_another_priors_features_is_refused(graph, tmp_path, watcher):
    other = save_prior(tmp_path / "other", seed=1)
    node = graph.start(SkillMonitor, checkpoint=str(other), watcher=str(watcher))
    assert not node.is_active and "expected latents of" in node.fault


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"checkpoint": "cable_open"}, "expected"),
        ({"checkpoint": "nowhere"}, "nowhere"),
        ({"allowed": 0.2}, "no eta for an unsafe share of 0.2"),
        ({"workspace": [0.0, 1.0]}, "workspace: expected 8 numbers"),
        ({"step_limit": 0.0}, "step_limit: expected"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(graph, prior_checkpoint, parameters, says):
    node = graph.start(SkillMonitor, **{"checkpoint": str(prior_checkpoint), **parameters})
    assert not node.is_active
    assert says in node.fault and "\n" not in node.fault
