import numpy as np
import pytest
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from safe_skills.msg import SafetyContext
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import latent_message
from safe_skills.nodes.diagnostics import WARN, Status
from safe_skills.nodes.safety_posterior import SafetyPosterior

SIZE = 12
NAN = float("nan")


def start(graph, checkpoint, **parameters):
    # Stamps of the graph are whole seconds apart.
    node = graph.start(SafetyPosterior, checkpoint=str(checkpoint), **{"gap": 60.0, **parameters})
    assert node.is_active, node.fault
    graph.contexts = graph.collect(SafetyContext, "safety_context", qos.LOG)
    graph.matched(node)
    return node


@pytest.fixture
def posterior(graph, prior_checkpoint):
    return start(graph, prior_checkpoint)


def states(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype(np.float32)


def send(graph, prior, state, stamp=None, **changes):
    header = Header(stamp=stamp or graph.stamp(), frame_id="camera")
    message = latent_message(state, np.zeros(SIZE), prior.model_id, header)
    for name, value in changes.items():
        setattr(message, name, value)
    graph.publish("latent", message, qos.IMAGE)
    return header


def start_episode(graph):
    graph.publish("episode_start", Header(stamp=graph.stamp()), qos.EVENT)


def expected_of(prior, given):
    history = prior.history()
    for state in given:
        history.push_features(state)
    return history.context()


def check(message, prior, given):
    expected = expected_of(prior, given)
    np.testing.assert_array_equal(message.mean, expected.mean)
    np.testing.assert_array_equal(message.stddev, expected.stddev)
    assert message.fill == expected.fill


def errors(lines):
    return [text for severity, text in lines if severity == "ERROR"]


def test_the_window_fills_and_then_slides(graph, posterior, prior):
    given = states(8)
    headers = [send(graph, prior, state) for state in given]
    assert [message.header for message in graph.contexts] == headers
    for k, message in enumerate(graph.contexts):
        assert message.model_id == prior.model_id and message.infer_time > 0
        check(message, prior, given[: k + 1])
    assert [message.fill for message in graph.contexts] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0]


def test_a_state_that_comes_again_is_answered_again_and_counts_once(graph, posterior, prior):
    given = states(3)
    header = send(graph, prior, given[0])
    for _ in range(3):
        send(graph, prior, given[0], header.stamp)
    assert len(graph.contexts) == 4
    assert all(message == graph.contexts[0] for message in graph.contexts)
    send(graph, prior, given[1])
    check(graph.contexts[-1], prior, given[:2])


def test_a_new_episode_begins_with_an_empty_window(graph, posterior, prior):
    given = states(4)
    send(graph, prior, given[0])
    old = graph.stamp()
    start_episode(graph)
    send(graph, prior, given[1], old)
    assert len(graph.contexts) == 1
    for state in given[2:]:
        send(graph, prior, state)
    check(graph.contexts[1], prior, given[2:3])
    check(graph.contexts[2], prior, given[2:])


def test_after_a_gap_the_window_is_forgotten(graph, prior, prior_checkpoint, lines):
    node = start(graph, prior_checkpoint, gap=1.5)
    given = states(5)
    for state in given[:3]:
        send(graph, prior, state)
    assert graph.contexts[-1].fill == 0.6
    graph.stamp()
    send(graph, prior, given[3])
    check(graph.contexts[-1], prior, given[3:4])
    assert ("WARN", "window forgotten: no latent state for 2.000 s") in lines
    status = Status()
    node._report_contexts(status)
    assert status.values["gaps"] == "1" and status.values["fill"] == "0.2"
    assert node.set_parameters([Parameter("gap", value=3.0)])[0].successful
    graph.stamp()
    send(graph, prior, given[4])
    check(graph.contexts[-1], prior, given[3:])


def test_a_stamp_that_goes_backwards_is_refused_and_changes_nothing(graph, posterior, prior, lines):
    given = states(3)
    early = graph.stamp()
    send(graph, prior, given[0])
    send(graph, prior, given[1], early)
    assert len(graph.contexts) == 1
    assert errors(lines) == [
        "latent state refused: expected stamps that rise, got one 1.000 s before the newest in "
        "the window"
    ]
    send(graph, prior, given[2])
    check(graph.contexts[-1], prior, given[[0, 2]])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_id": "operation-000000000000"}, "got one of model operation-000000000000"),
        ({"model_id": ""}, "got one of model (none)"),
        ({"mean": [0.0]}, "expected a latent state of 12 means and deviations, got 1 and 12"),
        ({"mean": [NAN] * SIZE}, "with 12 that are not"),
    ],
)
def test_a_bad_latent_is_one_line_and_does_not_enter_the_window(
    graph, posterior, prior, lines, changes, says
):
    given = states(3)
    send(graph, prior, given[0])
    for _ in range(3):
        send(graph, prior, given[1], **changes)
    assert len(graph.contexts) == 1
    assert len(errors(lines)) == 1 and says in errors(lines)[0]
    status = Status()
    posterior._report_contexts(status)
    assert status.level == WARN and status.values["latent refused"] == "3"
    send(graph, prior, given[2])
    check(graph.contexts[-1], prior, given[[0, 2]])


def test_a_context_that_is_not_finite_is_not_published(graph, posterior, prior, lines, monkeypatch):
    bad = np.full(3, np.nan, np.float32)
    monkeypatch.setattr(posterior._prior, "context", lambda *_: (bad[None], bad[None]))
    header = send(graph, prior, states(1)[0])
    send(graph, prior, states(1)[0], header.stamp)
    assert graph.contexts == [] and "posterior made a context with 6 that" in errors(lines)[0]


def test_the_window_begins_anew_after_a_pause(graph, posterior, prior):
    given = states(3)
    send(graph, prior, given[0])
    posterior.trigger_deactivate()
    send(graph, prior, given[1])
    posterior.trigger_activate()
    send(graph, prior, given[2])
    assert len(graph.contexts) == 2
    check(graph.contexts[-1], prior, given[2:])


def test_states_that_come_in_a_burst_are_all_in_the_window(graph, posterior, prior):
    given = states(4)
    send(graph, prior, given[0])
    publisher = graph._publishers["latent"]
    for state in given[1:]:
        header = Header(stamp=graph.stamp())
        publisher.publish(latent_message(state, np.zeros(SIZE), prior.model_id, header))
    assert graph.until(lambda: len(graph.contexts) == 4)
    check(graph.contexts[-1], prior, given)


def test_a_prior_without_c_gets_an_empty_context(graph, tmp_path):
    from skill_checkpoints import save_prior

    from safe_skills.safer.prior import SkillPrior

    folder = save_prior(tmp_path / "parrot", "parrot")
    start(graph, folder)
    send(graph, SkillPrior.load(folder), states(1)[0])
    (message,) = graph.contexts
    assert len(message.mean) == len(message.stddev) == 0 and message.fill == 1.0


def test_another_methods_checkpoint_is_refused_in_one_line(graph, checkpoint):
    node = graph.start(SafetyPosterior, checkpoint=str(checkpoint))
    assert node.fault == f"checkpoint {checkpoint}: expected task 'operation', found 'cable'"
