"""Rules: how they are written, what they may say, and what they make of a finding."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.safety import (
    FORMS,
    Evidence,
    Gate,
    GateCommand,
    GateLimits,
    GateState,
    Rule,
    RuleAction,
    parse_rules,
)
from safe_skills.safety.rules import Debounce, default_rules

BOX = ((-0.2, 0.2), (-0.2, 0.2))
REQUIRED = ["emergency_stop", "form", "step", "workspace", "change"]
GOOD = Evidence(
    now=10.0,
    latent_received=10.0,
    image_received=10.0,
    robot_received=10.0,
    latent_matches=True,
    constraint_probability=0.0,
    predicted_constraint_probability=0.0,
    position=(0.0, 0.0),
)
STEP = GateCommand((0.02, 0.0), "task")


def gate(*rules, **limits):
    return Gate(GateLimits(BOX, rules=parse_rules([*REQUIRED, *rules], FORMS), **limits))


def judge(of, command=STEP, counts=True, **evidence):
    return of.check(command, dataclasses.replace(GOOD, **evidence), counts)


# ---- how they are written


def test_default_rules_are_what_they_are_written_as():
    rules = default_rules(FORMS)
    assert {rule.check for rule in rules} == set(FORMS)
    assert parse_rules([str(rule) for rule in rules], FORMS) == rules


def test_words_that_are_left_out_are_the_defaults():
    *_, plain, spoken = parse_rules([*REQUIRED, "tracking", "surprise stop 4"], FORMS)
    assert plain == Rule("tracking", RuleAction.HOLD, 3, 3)
    assert spoken == Rule("surprise", RuleAction.STOP, 4, 1)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([*REQUIRED, ""], "CHECK"),
        ([*REQUIRED, "rate hold 1 1 1"], "CHECK"),
        ([*REQUIRED, "speed"], "one of emergency_stop"),
        ([*REQUIRED, "rate slowly"], "one of observe, limit, hold, stop"),
        ([*REQUIRED, "rate hold 0"], "1 to 1000"),
        ([*REQUIRED, "rate hold 1001"], "1 to 1000"),
        ([*REQUIRED, "rate hold 1.5"], "1 to 1000"),
        ([*REQUIRED, "rate hold -1"], "1 to 1000"),
        ([*REQUIRED, "rate hold ²"], "1 to 1000"),
        ([*REQUIRED, "rate", "rate stop"], "each check once"),
        (REQUIRED[1:], "emergency_stop"),
        ([], "emergency_stop, form, step, workspace, change"),
        (["emergency_stop hold", *REQUIRED[1:]], "one of stop"),
        (["emergency_stop", "form limit", *REQUIRED[2:]], "one of hold, stop"),
        (["emergency_stop", "form", "step observe", "workspace", "change"], "limit, hold, stop"),
        ([*REQUIRED, "keep_out limit 2"], "no numbers but 1"),
        ([*REQUIRED, "velocity limit 1 2"], "no numbers but 1"),
        (["keep_out", *REQUIRED], "workspace before keep_out"),
    ],
)
def test_rules_that_are_none_are_refused_in_one_line(rules, expected):
    with pytest.raises(ValueError, match=r"^checks: .*expected") as caught:
        parse_rules(rules, FORMS)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


# ---- what they make of a finding


@pytest.mark.parametrize(
    ("action", "state", "passed"),
    [
        ("observe", GateState.OK, 0.02),
        ("limit", GateState.LIMITED, 0.005),
        ("hold", GateState.HOLD, 0.0),
        ("stop", GateState.STOPPED, 0.0),
    ],
)
def test_a_check_that_forbids_does_what_its_rule_says(action, state, passed):
    decision = judge(gate(f"rate {action}", rate_limit=5.0, slow_scale=0.25), command_rate=6.0)
    assert decision.state == state
    np.testing.assert_allclose(decision.action, (passed, 0.0))
    told = decision.observed if action == "observe" else decision.findings
    assert [(f.code, f.state, f.value, f.limit) for f in told] == [("rate", state, 6.0, 5.0)]


@pytest.mark.parametrize(
    ("action", "state", "passed"),
    [
        ("observe", GateState.OK, 0.02),
        ("limit", GateState.LIMITED, 0.01),
        ("hold", GateState.HOLD, 0.0),
        ("stop", GateState.STOPPED, 0.0),
    ],
)
def test_a_check_that_shortens_does_what_its_rule_says(action, state, passed):
    zone = ((0.01, 0.05), (-0.1, 0.1))
    decision = judge(gate(f"keep_out {action}", keep_out=(zone,)))
    assert decision.state == state
    np.testing.assert_allclose(decision.action, (passed, 0.0), rtol=1e-9)


def test_what_forbids_in_a_check_that_shortens_stays_forbidden():
    zone = ((-0.05, 0.05), (-0.1, 0.1))
    decision = judge(gate("keep_out limit", keep_out=(zone,)), GateCommand((0.0, 0.03), "task"))
    assert decision.reasons == ("inside_keep_out",) and decision.state == GateState.HOLD


def test_rules_judge_in_their_order():
    zone = ((0.01, 0.05), (-0.1, 0.1))
    limits = {"keep_out": (zone,), "velocity_limit": 0.012}
    first = judge(gate("keep_out", "velocity", **limits))
    assert first.reasons == ("keep_out",)  # what is left is short enough
    second = judge(gate("velocity", "keep_out", **limits))
    assert second.reasons == ("velocity_limit", "keep_out")


def test_a_check_without_a_limit_is_not_made():
    assert judge(gate("rate", "tracking"), command_rate=1e9, tracking_error=1e9).reasons == ()


# ---- debounce


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_debounce_acts_after_so_many_and_lets_go_after_so_many(broken, triggers, releases):
    debounce = Debounce(Rule("rate", RuleAction.HOLD, triggers, releases))
    acts = False
    for k in range(len(broken)):
        needed, wanted = (releases, False) if acts else (triggers, True)
        recent = broken[max(k + 1 - needed, 0) : k + 1]
        changes = len(recent) == needed and all(one == wanted for one in recent)
        since = broken[: k + 1]
        assert debounce.peek(broken[k]) == (wanted if changes else acts), since
        assert debounce.note(broken[k]) == (wanted if changes else acts), since
        acts = debounce.active


def test_a_rule_that_waits_is_observed_until_it_acts_and_acts_until_it_is_kept():
    of = gate("rate hold 2 3", rate_limit=5.0)
    states = []
    for rate in (6.0, 6.0, 1.0, 1.0, 1.0, 6.0):
        decision = judge(of, command_rate=rate)
        states.append((decision.state, [f.code for f in decision.observed]))
    assert states == [
        (GateState.OK, ["rate"]),
        *[(GateState.HOLD, [])] * 3,
        (GateState.OK, []),
        (GateState.OK, ["rate"]),
    ]


def test_a_command_that_is_judged_again_is_no_judgement_more():
    of = gate("rate hold 2", rate_limit=5.0)
    for _ in range(3):
        assert judge(of, command_rate=6.0, counts=False).state == GateState.OK
    assert judge(of, command_rate=6.0).state == GateState.OK
    # The next would act, and so does this one; but it is not remembered.
    assert judge(of, command_rate=6.0, counts=False).state == GateState.HOLD
    assert judge(of, command_rate=1.0).state == GateState.OK


def test_silence_does_not_release_a_rule_of_commands():
    of = gate("constraint hold 1 2", constraint_limit=0.5)
    assert judge(of, predicted_constraint_probability=0.9).state == GateState.HOLD
    for _ in range(5):
        assert of.check(None, GOOD).state == GateState.OK
    assert judge(of).state == GateState.HOLD
    assert judge(of).state == GateState.OK


def test_other_limits_do_not_release_a_rule_that_acts():
    of = gate("rate hold 1 2", rate_limit=5.0)
    assert judge(of, command_rate=6.0).state == GateState.HOLD
    after = Gate(dataclasses.replace(of.limits, step_limit=0.01), before=of)
    assert "rate" in after.acting
    states = [judge(after, command_rate=1.0).state for _ in range(2)]
    assert states == [GateState.HOLD, GateState.LIMITED]
