import math

import numpy as np
import pytest

from safe_skills.nodes.observations import REMEMBERED
from safe_skills.nodes.supervision import Supervisor
from safe_skills.safety import EmergencyStop, GateCommand, GateLimits, GateState

BOX = ((-0.2, 0.2), (-0.2, 0.2))


class Models:
    """Constraint probability: first entry of the latent; predicted: the first plus ten times dx."""

    action_limit = np.array([0.03, 0.03])

    def constraint_probability(self, mean):
        return float(mean[0])

    def safe_set_probability(self, mean):
        return float(mean[1])

    def predicted_constraint_probability(self, mean, action):
        assert action.shape == (2,) and np.isfinite(action).all()
        return float(np.clip(mean[0] + 10 * action[0], 0.0, 1.0))


@pytest.fixture
def supervisor():
    return Supervisor(GateLimits(BOX, change_limit=0.02), Models(), EmergencyStop())


def feed(supervisor, now=100.0, stamp=1, mean=(0.0, 1.0), position=(0.0, 0.0)):
    supervisor.seen.image(now, 0, 0)
    supervisor.seen.robot(now, position)
    supervisor.seen.latent(now, stamp, np.array(mean))


def ask(supervisor, action=(0.01, 0.0), stamp=1, now=100.1, frame="task"):
    return supervisor.judge(now, stamp, GateCommand(action, frame))


def test_a_good_command_passes_with_its_probabilities(supervisor):
    feed(supervisor, mean=(0.25, 0.75))
    judgement = ask(supervisor)
    assert judgement.decision.state == GateState.OK
    np.testing.assert_array_equal(judgement.decision.action, [0.01, 0.0])
    assert judgement.constraint == 0.25 and judgement.safe_set == 0.75
    assert judgement.predicted_constraint == pytest.approx(0.35)
    assert vars(supervisor.counters)["passed"] == supervisor.counters.received == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mean": (0.45, 1.0)}, "constraint"),
        ({"stamp": 2}, "latent_mismatch"),
        ({"now": 99.0}, "image_stale"),
        ({"position": (0.3, 0.0)}, "outside_workspace"),
    ],
)
def test_evidence_against_a_command_holds_it(supervisor, change, reason):
    feed(supervisor, **change)
    decision = ask(supervisor).decision
    assert decision.state == GateState.HOLD and reason in decision.reasons
    assert not decision.action.any() and supervisor.counters.held == 1


@pytest.mark.parametrize(
    ("action", "reason"),
    [((0.01,), "size"), ((0.01, math.nan), "not_finite"), ((), "size")],
)
def test_a_command_that_is_no_motion_is_held_and_not_given_to_the_models(
    supervisor, action, reason
):
    feed(supervisor)
    judgement = ask(supervisor, action)
    assert judgement.decision.reasons[0] == reason and math.isnan(judgement.predicted_constraint)


def test_without_anything_seen_nothing_passes(supervisor):
    decision = ask(supervisor).decision
    assert decision.state == GateState.HOLD
    assert {"image_missing", "latent_missing", "robot_missing"} <= set(decision.reasons)


def test_the_command_before_limits_the_next_and_a_new_episode_forgets_it(supervisor):
    feed(supervisor, stamp=1)
    assert ask(supervisor, (0.02, 0.0)).decision.state == GateState.OK
    feed(supervisor, stamp=2)
    assert "change_limit" in ask(supervisor, (-0.015, 0.0), stamp=2).decision.reasons
    supervisor.start_episode(3)
    feed(supervisor, stamp=3)
    assert ask(supervisor, (-0.015, 0.0), stamp=3).decision.state == GateState.OK


def test_a_repeat_is_judged_as_before_and_not_counted(supervisor):
    feed(supervisor, stamp=1)
    ask(supervisor, (0.02, 0.0))
    feed(supervisor, stamp=2)
    first = ask(supervisor, (0.0, 0.02), stamp=2)
    again = ask(supervisor, (0.0, 0.02), stamp=2)
    np.testing.assert_array_equal(first.decision.action, again.decision.action)
    assert supervisor.counters.received == 2


def test_a_repeat_does_not_pass_an_emergency_stop():
    stop = EmergencyStop()
    supervisor = Supervisor(GateLimits(BOX), Models(), stop)
    feed(supervisor)
    assert ask(supervisor).decision.state == GateState.OK
    stop.trigger("operator")
    assert ask(supervisor).decision.state == GateState.STOPPED
    assert supervisor.look(100.1).decision.state == GateState.STOPPED
    assert stop.reset()[0]
    assert ask(supervisor).decision.state == GateState.OK


def test_old_commands_are_not_judged(supervisor):
    feed(supervisor, stamp=5)
    assert ask(supervisor, stamp=5) is not None
    assert ask(supervisor, stamp=4) is None
    supervisor.start_episode(10)
    assert ask(supervisor, stamp=5) is None


def test_word_of_a_start_that_comes_late_or_again_forgets_nothing_of_that_attempt(supervisor):
    supervisor.start_episode(3)
    feed(supervisor, stamp=3)
    assert ask(supervisor, (0.02, 0.0), stamp=3).decision.state == GateState.OK
    supervisor.start_episode(3)  # again
    feed(supervisor, stamp=4)
    assert "change_limit" in ask(supervisor, (-0.015, 0.0), stamp=4).decision.reasons
    feed(supervisor, stamp=6)
    ask(supervisor, (0.02, 0.0), stamp=6)
    supervisor.start_episode(5)  # late: a command of that attempt has been judged
    feed(supervisor, stamp=7)
    assert "change_limit" in ask(supervisor, (-0.015, 0.0), stamp=7).decision.reasons


def test_a_command_of_the_future_bars_no_other_attempt(supervisor):
    feed(supervisor, stamp=10**9)
    assert ask(supervisor, (0.02, 0.0), stamp=10**9) is not None
    feed(supervisor, stamp=4)
    assert ask(supervisor, stamp=4) is None
    supervisor.start_episode(5)
    feed(supervisor, stamp=6)
    # It is judged, by what was let through before.
    assert "change_limit" in ask(supervisor, (-0.015, 0.0), stamp=6).decision.reasons
    feed(supervisor, stamp=7)
    assert ask(supervisor, (0.0, 0.0), stamp=7).decision.state == GateState.OK


def test_a_start_that_comes_late_does_not_reach_back(supervisor):
    supervisor.start_episode(10)
    supervisor.start_episode(5)
    assert ask(supervisor, stamp=7) is None


def test_looking_tells_what_is_true_in_silence(supervisor):
    assert "image_missing" in supervisor.look(100.0).decision.reasons
    feed(supervisor, now=100.0, mean=(0.3, 0.9))
    judgement = supervisor.look(100.1)
    assert judgement.decision.state == GateState.OK and judgement.constraint == 0.3
    assert "robot_stale" in supervisor.look(101.0).decision.reasons
    assert supervisor.counters.received == 0


def test_a_rule_is_reported_when_it_begins_to_be_broken(supervisor):
    feed(supervisor, stamp=1)
    codes = []
    for stamp, action in enumerate([(0.1, 0), (0.1, 0), (0.0, 0), (0.1, 0)], start=1):
        feed(supervisor, stamp=stamp)
        codes.append([f.code for f in ask(supervisor, action, stamp=stamp).begun])
        supervisor.look(100.1)
    assert [("step_rejected" in c) for c in codes] == [True, False, False, True]
    assert supervisor.counters.violations == sum(len(c) for c in codes)


def test_contacts_are_counted_and_reported_when_they_begin(supervisor):
    reported = [supervisor.contact(seen) for seen in (False, True, True, False, True)]
    assert [finding is not None for finding in reported] == [False, True, False, False, True]
    assert supervisor.counters.seen_contacts == 3


def test_latents_of_the_recent_past_are_remembered_and_no_more(supervisor):
    for stamp in range(1, REMEMBERED + 2):
        feed(supervisor, stamp=stamp)
    assert ask(supervisor, stamp=2).decision.state == GateState.OK
    other = Supervisor(GateLimits(BOX), Models(), EmergencyStop())
    for stamp in range(1, REMEMBERED + 2):
        feed(other, stamp=stamp)
    assert "latent_mismatch" in ask(other, stamp=1).decision.reasons


def test_new_limits_take_effect_at_once(supervisor):
    feed(supervisor)
    supervisor.limits = GateLimits(BOX, step_limit=0.008)
    assert ask(supervisor).decision.reasons == ("step_limit",)
