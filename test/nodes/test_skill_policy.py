import numpy as np
import pytest
from skill_checkpoints import ETA, save_policy, save_prior
from std_msgs.msg import Header

from safe_skills.msg import AbstractAction
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import latent_message
from safe_skills.nodes.skill_policy import SkillPolicy
from safe_skills.safer.config import EncoderConfig
from safe_skills.safer.policy import SkillPolicy as Policy
from safe_skills.safer.policy import truncated_normal
from safe_skills.safer.prior import SkillPrior

SIZE = 12


@pytest.fixture
def start(graph, prior_checkpoint):
    def started(**parameters):
        values = {"checkpoint": str(prior_checkpoint), **parameters}
        node = graph.start(SkillPolicy, **values)
        assert node.is_active, node.fault
        graph.actions = graph.collect(AbstractAction, "abstract_action", qos.LOG)
        graph.matched(node)
        return node

    return started


def send(graph, prior, state, stamp=None, **changes):
    header = Header(stamp=stamp or graph.stamp(), frame_id="camera")
    message = latent_message(state, np.zeros(SIZE), prior.model_id, header)
    for name, value in changes.items():
        setattr(message, name, value)
    graph.publish("latent", message, qos.IMAGE)
    return header


def states(count):
    return np.random.default_rng(0).standard_normal((count, SIZE)).astype(np.float32)


def test_a_policy_acts_as_it_does_in_the_library(graph, start, prior, policy_checkpoint):
    start(policy=str(policy_checkpoint))
    policy = Policy.load(policy_checkpoint)
    given = states(3)
    headers = [send(graph, prior, state) for state in given]
    assert [message.header for message in graph.actions] == headers
    for message, state in zip(graph.actions, given, strict=True):
        np.testing.assert_array_equal(message.z, policy.act(state))
        assert (message.model_id, message.source) == (prior.model_id, policy.model_id)
        assert message.eta == ETA and message.choose_time > 0


def test_without_a_policy_it_draws_from_the_prior_within_eta(graph, start, prior):
    start(seed=3, allowed=0.3)
    state = states(1)[0]
    for _ in range(4):
        send(graph, prior, state)
    rng = np.random.default_rng(3)
    for message in graph.actions:
        np.testing.assert_array_equal(message.z, truncated_normal(rng, 1.2, 5))
        assert (message.eta, message.source) == (1.2, "prior")


def test_a_frame_that_comes_again_gets_the_same_and_draws_advance_once(graph, start, prior):
    start(seed=3)
    state = states(1)[0]
    header = send(graph, prior, state)
    send(graph, prior, state, header.stamp)
    send(graph, prior, state)
    rng = np.random.default_rng(3)
    first, second = (truncated_normal(rng, ETA, 5) for _ in range(2))
    assert graph.actions[0] == graph.actions[1]
    np.testing.assert_array_equal([m.z for m in graph.actions], [first, first, second])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_id": "operation-000000000000"}, "got one of model operation-000000000000"),
        ({"mean": [0.0]}, "expected a latent state of 12 means and deviations, got 1 and 12"),
        ({"mean": [float("inf")] * SIZE}, "with 12 that are not"),
    ],
)
def test_a_bad_latent_is_one_line_and_no_abstract_action(graph, start, prior, lines, changes, says):
    start()
    for _ in range(3):
        send(graph, prior, states(1)[0], **changes)
    errors = [text for severity, text in lines if severity == "ERROR"]
    assert graph.actions == [] and len(errors) == 1 and says in errors[0]
    send(graph, prior, states(1)[0])
    assert len(graph.actions) == 1


def refused(graph, **parameters):
    node = graph.start(SkillPolicy, **parameters)
    assert not node.is_active and "\n" not in node.fault
    return node.fault


def test_policies_that_do_not_fit_are_refused_in_one_line(
    graph, prior, prior_checkpoint, policy_checkpoint, checkpoint, tmp_path
):
    encoder = EncoderConfig(image_size=8, channels=(4,), features=SIZE)
    made = {
        "raw": save_policy(tmp_path / "raw", prior, actions="raw", bound=1.0),
        "wide": save_policy(tmp_path / "wide", prior, bound=0.8),
        "pixels": save_policy(tmp_path / "pixels", prior, encoder=encoder),
        "other": save_policy(tmp_path / "other", prior, prior_id="operation-abc"),
        "ls3": checkpoint,
        "prior": prior_checkpoint,
        "missing": tmp_path / "missing",
    }
    for name, says in (
        ("raw", "expected one that chooses abstract actions, got one for raw actions"),
        ("wide", "expected a bound of at most eta = 0.7, got 0.8"),
        ("pixels", "expected one that reads the prior's features"),
        ("other", f"expected a policy over the prior {prior.model_id}"),
        ("ls3", "expected method 'sac', found 'ls3'"),
        ("prior", "expected method 'sac', found 'safer'"),
        ("missing", "no such folder"),
    ):
        fault = refused(graph, checkpoint=str(prior_checkpoint), policy=str(made[name]))
        assert says in fault and str(made[name]) in fault
    fault = refused(graph, checkpoint=str(policy_checkpoint))
    assert "expected method safer, parrot, context-parrot, found 'sac'" in fault


def test_a_policy_within_a_larger_eta_is_taken(start, prior, tmp_path):
    start(allowed=0.3, policy=str(save_policy(tmp_path / "wide", prior, bound=0.8)))


def test_a_bound_that_is_not_known_is_refused_in_one_line(graph, prior, prior_checkpoint, tmp_path):
    fault = refused(graph, checkpoint=str(prior_checkpoint), allowed=0.5)
    assert fault == f"{prior.model_id}: no eta for an unsafe share of 0.5; there is: 0.15, 0.3"
    folder = save_prior(tmp_path / "parrot", "parrot")
    fault = refused(graph, checkpoint=str(folder))
    assert fault.startswith("eta: expected a bound above 0 for a prior of method parrot")


def test_a_bound_of_ones_own_serves_any_prior(graph, start, tmp_path):
    folder = save_prior(tmp_path / "parrot", "parrot")
    start(checkpoint=str(folder), eta=3.0)
    send(graph, SkillPrior.load(folder), states(1)[0])
    assert graph.actions[0].eta == 3.0
