import numpy as np
import pytest
from rclpy.parameter import Parameter
from skill_checkpoints import ETA, save_policy, save_prior
from std_msgs.msg import Header
from std_srvs.srv import Trigger

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


def begin_episode(graph):
    graph.publish("episode_start", Header(stamp=graph.stamp()), qos.EVENT)


def want(node, policy):
    (result,) = node.set_parameters([Parameter("policy", value=str(policy))])
    return result


def sources(graph):
    return [message.source for message in graph.actions]


def test_a_policy_set_while_it_runs_acts_from_the_next_episode_on(
    graph, start, prior, policy_checkpoint
):
    node = start(seed=3)
    policy = Policy.load(policy_checkpoint)
    begin_episode(graph)
    state = states(1)[0]
    send(graph, prior, state)
    assert want(node, policy_checkpoint).successful
    send(graph, prior, state)
    begin_episode(graph)
    send(graph, prior, state)
    assert want(node, "").successful
    begin_episode(graph)
    send(graph, prior, state)
    assert sources(graph) == ["prior", "prior", policy.model_id, "prior"]
    rng = np.random.default_rng(3)
    first, second, third = (truncated_normal(rng, ETA, 5) for _ in range(3))
    expected = [first, second, policy.act(state), third]
    np.testing.assert_array_equal([message.z for message in graph.actions], expected)


def test_reload_uses_it_at_once(graph, start, prior, policy_checkpoint):
    node = start()
    want(node, policy_checkpoint)
    client = graph.peer.create_client(Trigger, f"{node.get_name()}/reload")
    assert client.wait_for_service(5.0)
    answer = client.call_async(Trigger.Request())
    assert graph.until(answer.done)
    send(graph, prior, states(1)[0])
    assert sources(graph) == [answer.result().message] == [Policy.load(policy_checkpoint).model_id]


def test_a_policy_that_does_not_fit_is_refused_while_it_runs_and_the_old_one_stays(
    graph, start, prior, policy_checkpoint, tmp_path, lines
):
    node = start(policy=str(policy_checkpoint))
    for made, says in (
        (save_policy(tmp_path / "wide", prior, bound=0.8), "expected a bound of at most eta"),
        (tmp_path / "missing", "no such folder"),
    ):
        del lines[:]
        result = want(node, made)
        assert not result.successful and says in result.reason and "\n" not in result.reason
        warnings = [text for severity, text in lines if severity in ("WARN", "ERROR")]
        assert len(warnings) == 1 and says in warnings[0]
    assert node.param("policy") == str(policy_checkpoint)
    begin_episode(graph)
    send(graph, prior, states(1)[0])
    assert sources(graph) == [Policy.load(policy_checkpoint).model_id]


def test_to_explore_it_draws_from_the_policys_distribution(graph, start, prior, tmp_path):
    folder = save_policy(tmp_path / "spread", prior, spread=True)
    policy = Policy.load(folder)
    start(policy=str(folder), explore=True, seed=3)
    given = states(3)
    for state in given:
        send(graph, prior, state)
    rng = np.random.default_rng(3)
    expected = [policy.draw(state, rng) for state in given]
    np.testing.assert_array_equal([message.z for message in graph.actions], expected)
    assert sources(graph) == [policy.model_id] * 3


def test_a_policy_that_cannot_explore_is_refused_in_one_line(
    graph, start, prior_checkpoint, policy_checkpoint
):
    says = "expected one with a spread, to explore with"
    given = {"checkpoint": str(prior_checkpoint), "policy": str(policy_checkpoint)}
    assert says in refused(graph, explore=True, **given)
    node = start(explore=True)
    result = want(node, policy_checkpoint)
    assert not result.successful and says in result.reason and "\n" not in result.reason


def test_a_latent_of_the_episode_before_is_not_answered(graph, start, prior):
    start()
    old = graph.stamp()
    begin_episode(graph)
    send(graph, prior, states(1)[0], old)
    assert graph.actions == []
    send(graph, prior, states(1)[0])
    assert len(graph.actions) == 1
