import itertools

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from skill_checkpoints import ETA, save_prior
from std_msgs.msg import Header

from safe_skills.envs.operation import STEP_LIMIT
from safe_skills.msg import AbstractAction, Command, LatentState, SafetyContext, SkillStatus
from safe_skills.nodes import answers, qos
from safe_skills.nodes.conversions import latent_message
from safe_skills.nodes.diagnostics import OK, WARN, Status
from safe_skills.nodes.skill_conversions import context_message
from safe_skills.nodes.skill_decoder import SkillDecoder
from safe_skills.safer.prior import SkillPrior

NAN = float("nan")
PARTS = ("latent", "safety_context", "abstract_action")
PROFILES = {"latent": qos.IMAGE, "safety_context": qos.COMMAND, "abstract_action": qos.COMMAND}
FOREVER, SOON = 60.0, 0.01


@pytest.fixture(autouse=True)
def no_answer_is_repeated(monkeypatch):
    """However slow the machine."""
    monkeypatch.setattr(answers, "REPEAT_AFTER", 60.0)


@pytest.fixture
def start(graph, prior_checkpoint):
    def started(**parameters):
        values = {"checkpoint": str(prior_checkpoint), "patience": FOREVER, **parameters}
        node = graph.start(SkillDecoder, **values)
        assert node.is_active, node.fault
        graph.commands = graph.collect(Command, "command", qos.LOG)
        graph.statuses = graph.collect(SkillStatus, "skill_status", qos.LOG)
        graph.matched(node)
        return node

    return started


class Frame:
    """What the other nodes say of one frame."""

    def __init__(self, graph, prior, seed=0, stamp=None):
        rng = np.random.default_rng(seed)
        self.graph, self.prior = graph, prior
        self.header = Header(stamp=stamp or graph.stamp(), frame_id="camera")
        self.state = rng.standard_normal(prior.config.encoder.features).astype(np.float32)
        self.c = rng.standard_normal(prior.context_size).astype(np.float32)
        self.z = rng.uniform(-ETA, ETA, 5).astype(np.float32)

    def message(self, part):
        model = self.prior.model_id
        if part == "latent":
            return latent_message(self.state, np.zeros_like(self.state), model, self.header)
        if part == "safety_context":
            return context_message(self.c, np.ones_like(self.c), 0.4, model, self.header)
        return AbstractAction(
            header=self.header, model_id=model, source="policy", eta=ETA, z=self.z.tolist()
        )

    def send(self, *parts, **changes):
        for part in parts or PARTS:
            message = self.message(part)
            for name, value in changes.items():
                setattr(message, name, value)
            self.graph.publish(part, message, PROFILES[part])
        return self

    @property
    def action(self):
        action = self.prior.decode(self.z, self.state, self.c)
        return [*(action[:4].astype(np.float64) * STEP_LIMIT), action[4]]


def errors(lines):
    return [text for severity, text in lines if severity == "ERROR"]


def lose_patience(node):
    """Give up what waits; all that was sent has arrived, however slow the machine."""
    assert node.set_parameters([Parameter("patience", value=SOON)])[0].successful


def report(node):
    status = Status()
    node._report_skills(status)
    return status


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)))
def test_a_frame_becomes_a_command_once_all_of_it_is_there(graph, start, prior, order):
    node = start()
    frame = Frame(graph, prior)
    frame.send(*order[:2])
    assert graph.commands == graph.statuses == []
    frame.send(order[2])
    (command,), (status,) = graph.commands, graph.statuses
    np.testing.assert_array_equal(command.action, frame.action)
    assert command.header == Header(stamp=frame.header.stamp, frame_id="task")
    assert command.source == "skill_decoder"
    assert status.header == command.header and status.model_id == prior.model_id
    assert (status.outcome, status.reason) == (SkillStatus.DECODED, "")
    assert status.decode_time > 0 and status.wait_time > 0
    assert (status.fill, status.eta) == (0.4, ETA)
    assert status.largest == np.abs(frame.z).max()
    assert report(node).level == OK


@pytest.mark.parametrize("missing", PARTS)
def test_a_frame_that_lacks_a_part_is_a_hold_with_its_reason(graph, start, prior, lines, missing):
    node = start()
    frame = Frame(graph, prior)
    frame.send(*(part for part in PARTS if part != missing))
    assert graph.commands == []
    lose_patience(node)
    assert graph.until(lambda: graph.statuses and graph.commands)
    (command,), (status,) = graph.commands, graph.statuses
    reason = {"safety_context": "no_context"}.get(missing, f"no_{missing}")
    assert (status.outcome, status.reason) == (SkillStatus.HOLD, reason)
    assert command.source == "skill_decoder: hold" and list(command.action) == [0.0] * 5
    assert command.header == Header(stamp=frame.header.stamp, frame_id="task")
    assert ("WARN", f"hold: {reason}") in lines
    assert report(node).level == WARN and report(node).values[reason] == "1"
    # What comes too late is not carried out.
    frame.send(missing)
    assert [c.source for c in graph.commands] == ["skill_decoder: hold"]
    node.set_parameters([Parameter("patience", value=FOREVER)])
    Frame(graph, prior, 1).send()
    assert graph.commands[-1].source == "skill_decoder" and report(node).level == OK


def test_a_policy_that_leaves_the_bound_is_held(graph, start, prior):
    start()
    z = [0.0, 0.0, -0.701, 0.0, 0.0]
    frame = Frame(graph, prior).send("latent", "safety_context")
    frame.send("abstract_action", z=z, eta=9.0)
    (command,), (status,) = graph.commands, graph.statuses
    assert status.reason == "abstract_action_too_large" and status.eta == ETA
    assert status.largest == np.float32(0.701)
    assert command.source == "skill_decoder: hold" and not any(command.action)
    Frame(graph, prior, 1).send()
    assert graph.commands[-1].source == "skill_decoder"


def test_a_short_window_is_held_where_that_is_asked_for(graph, start, prior):
    node = start(min_fill=0.5)
    Frame(graph, prior).send()
    assert graph.statuses[-1].reason == "window_too_short"
    assert node.set_parameters([Parameter("min_fill", value=0.4)])[0].successful
    Frame(graph, prior).send()
    assert graph.statuses[-1].reason == ""


BAD = [
    ("latent", {"model_id": "operation-000000000000"}, "latent state of model operation-"),
    ("latent", {"mean": [0.0]}, "expected a latent state of 12 means and deviations"),
    ("latent", {"mean": [NAN] * 12}, "with 12 that are not"),
    ("safety_context", {"model_id": "cable-000000000000"}, "got one of model cable-000000000000"),
    ("safety_context", {"mean": [], "stddev": []}, "expected a context of 3 means"),
    ("safety_context", {"mean": [NAN] * 3}, "got a context with 3 that are not"),
    ("safety_context", {"fill": -1.0}, "expected a window filled by 0 to 1, got -1"),
    ("abstract_action", {"model_id": ""}, "expected an abstract action of model operation-"),
    ("abstract_action", {"z": [0.0] * 4}, "expected an abstract action of 5 entries, got 4"),
    ("abstract_action", {"z": [NAN] * 5}, "expected a finite abstract action"),
]


@pytest.mark.parametrize(("part", "changes", "says"), BAD)
def test_a_bad_part_is_one_line_and_has_no_effect(graph, start, prior, lines, part, changes, says):
    start()
    frame = Frame(graph, prior).send(*(other for other in PARTS if other != part))
    for _ in range(3):
        frame.send(part, **changes)
    assert graph.commands == []
    assert len(errors(lines)) == 1 and says in errors(lines)[0] and "refused" in errors(lines)[0]
    frame.send(part)
    np.testing.assert_array_equal(graph.commands[0].action, frame.action)


def test_parts_of_different_frames_make_no_command(graph, start, prior):
    start()
    first, second, third = (Frame(graph, prior, seed) for seed in range(3))
    first.send("latent")
    second.send("safety_context")
    third.send("abstract_action")
    assert graph.commands == []


def test_stamps_out_of_order_never_make_an_older_command(graph, start, prior):
    node = start()
    frames = [Frame(graph, prior, seed) for seed in range(4)]
    for frame in reversed(frames):
        frame.send("latent")
    for frame in frames[1:3]:
        frame.send("abstract_action")
    for frame in (frames[1], frames[2], frames[0], frames[1]):
        frame.send("safety_context", "abstract_action")
    assert [c.header.stamp for c in graph.commands] == [f.header.stamp for f in frames[1:3]]
    for command, frame in zip(graph.commands, frames[1:3], strict=True):
        np.testing.assert_array_equal(command.action, frame.action)
    assert int(report(node).values["late"]) > 0 and report(node).values["unmatched"] == "1"
    frames[3].send("safety_context", "abstract_action")
    np.testing.assert_array_equal(graph.commands[-1].action, frames[3].action)


def test_a_stamp_from_the_future_blocks_nothing(graph, start, prior):
    node = start(patience=SOON)
    future = Frame(graph, prior, stamp=Time(sec=2**31 - 1)).send("abstract_action")
    graph.spin(0.1)
    assert graph.commands == []
    node.set_parameters([Parameter("patience", value=FOREVER)])
    frame = Frame(graph, prior, 1).send()
    assert graph.commands[-1].header.stamp == frame.header.stamp != future.header.stamp


@pytest.mark.parametrize("whole", [True, False])
def test_a_frame_that_is_shown_again_gets_the_same_answer_again(
    graph, start, prior, monkeypatch, whole
):
    monkeypatch.setattr(answers, "REPEAT_AFTER", 0.0)
    node = start()
    frame = Frame(graph, prior).send(*(PARTS if whole else PARTS[:2]))
    if not whole:
        lose_patience(node)
    assert graph.until(lambda: graph.statuses and graph.commands)
    frame.send("latent")
    assert len(graph.commands) == 2 and graph.commands[0] == graph.commands[1]
    assert len(graph.statuses) == 1
    monkeypatch.setattr(answers, "REPEAT_AFTER", 60.0)
    frame.send()
    assert len(graph.commands) == 2


def test_an_image_of_the_attempt_before_is_not_answered(graph, start, prior):
    start()
    old = Frame(graph, prior)
    old.send("latent")
    graph.publish("episode_start", Header(stamp=graph.stamp()), qos.EVENT)
    old.send()
    assert graph.commands == []
    Frame(graph, prior, 1).send()
    assert len(graph.commands) == 1


def test_after_a_pause_it_waits_for_whole_frames(graph, start, prior):
    node = start()
    frame = Frame(graph, prior).send("latent", "safety_context")
    node.trigger_deactivate()
    frame.send("abstract_action")
    node.trigger_activate()
    frame.send("abstract_action")
    assert graph.commands == []
    frame.send("latent", "safety_context")
    np.testing.assert_array_equal(graph.commands[0].action, frame.action)


def test_a_prior_without_c_needs_no_context(graph, start, tmp_path):
    folder = save_prior(tmp_path / "parrot", "parrot")
    node = start(checkpoint=str(folder), eta=ETA)
    assert "/safety_context" not in {s.topic_name for s in node.subscriptions}
    frame = Frame(graph, SkillPrior.load(folder)).send("latent", "abstract_action")
    np.testing.assert_array_equal(graph.commands[0].action, frame.action)
    assert np.isnan(graph.statuses[0].fill)


def test_its_bound_is_its_own(graph, start, prior):
    start(eta=0.1)
    Frame(graph, prior).send()
    assert graph.statuses[0].reason == "abstract_action_too_large" and graph.statuses[0].eta == 0.1


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"allowed": 0.5}, "no eta for an unsafe share of 0.5; there is: 0.15, 0.3"),
        ({"full_step": [0.025] * 3}, "full_step: expected 4 numbers for a prior of 5"),
        ({"patience": 0.0}, "patience: expected 0.01 to 3600, got 0.0"),
        ({"min_fill": 1.5}, "min_fill: expected 0 to 1, got 1.5"),
    ],
)
def test_parameters_that_do_not_fit_are_one_line(graph, prior_checkpoint, parameters, says):
    node = graph.start(SkillDecoder, checkpoint=str(prior_checkpoint), **parameters)
    assert not node.is_active and says in node.fault and "\n" not in node.fault


def test_a_prior_that_assures_nothing_needs_a_bound(graph, tmp_path):
    node = graph.start(SkillDecoder, checkpoint=str(save_prior(tmp_path, "parrot")))
    assert node.fault.startswith("eta: expected a bound above 0 for a prior of method parrot")


def test_messages_of_the_right_kind_only_are_read(start):
    kinds = {s.topic_name: s.msg_type for s in start().subscriptions}
    assert kinds["/latent"] is LatentState and kinds["/safety_context"] is SafetyContext
