"""The gate: no input gets a motion past a limit, and each rule says its own name."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safe_skills.safety import Evidence, Gate, GateCommand, GateLimits, GateState

BOX = ((-0.15, 0.18), (-0.14, 0.085))
LIMITS = GateLimits(workspace=BOX, safe_set_limit=0.8)
GOOD = Evidence(
    now=10.0,
    latent_received=9.99,
    image_received=9.98,
    robot_received=9.995,
    latent_matches=True,
    constraint_probability=0.05,
    predicted_constraint_probability=0.1,
    safe_set_probability=0.9,
    position=(0.0, 0.0),
)


def check(action, limits=LIMITS, frame="task", **changes):
    evidence = dataclasses.replace(GOOD, **changes)
    return Gate(limits).check(GateCommand(action, frame), evidence)


def test_a_good_command_passes_unchanged():
    decision = check((0.02, -0.01))
    assert decision.state == GateState.OK
    assert decision.reasons == ()
    np.testing.assert_array_equal(decision.action, [0.02, -0.01])


@pytest.mark.parametrize(
    ("action", "changes", "code"),
    [
        ((math.nan, 0.0), {}, "not_finite"),
        ((math.inf, 0.0), {}, "not_finite"),
        ((0.01,), {}, "size"),
        ((0.01, 0.01, 0.01), {}, "size"),
        ((), {}, "size"),
        (((0.01, 0.01), (0.01, 0.01)), {}, "not_finite"),
        (None, {}, "size"),
        (("x", "y"), {}, "not_finite"),
        ((0.0601, 0.0), {}, "step_rejected"),
        ((1e300, 1e300), {}, "step_rejected"),
        ((0.01, 0.0), {"image_received": None}, "image_missing"),
        ((0.01, 0.0), {"latent_received": None}, "latent_missing"),
        ((0.01, 0.0), {"robot_received": None}, "robot_missing"),
        ((0.01, 0.0), {"image_received": 9.4}, "image_stale"),
        ((0.01, 0.0), {"latent_received": 9.4}, "latent_stale"),
        ((0.01, 0.0), {"robot_received": 9.7}, "robot_stale"),
        ((0.01, 0.0), {"robot_received": 10.1}, "robot_stale"),
        ((0.01, 0.0), {"robot_received": math.nan}, "robot_stale"),
        ((0.01, 0.0), {"latent_matches": False}, "latent_mismatch"),
        ((0.01, 0.0), {"predicted_constraint_probability": 0.51}, "constraint"),
        ((0.01, 0.0), {"predicted_constraint_probability": None}, "constraint_unknown"),
        ((0.01, 0.0), {"predicted_constraint_probability": math.nan}, "constraint_unknown"),
        ((0.01, 0.0), {"predicted_constraint_probability": 1.1}, "constraint_unknown"),
        ((0.01, 0.0), {"position": None}, "position_unknown"),
        ((0.01, 0.0), {"position": (0.0, math.nan)}, "position_unknown"),
        ((0.01, 0.0), {"position": (0.0, 0.0, 0.0)}, "position_unknown"),
        ((0.01, 0.0), {"previous_action": (math.nan, 0.0)}, "previous_unknown"),
        ((0.01, 0.0), {"position": (0.2, 0.0)}, "outside_workspace"),
        ((0.0, 0.01), {"position": (0.2, 0.0)}, "outside_workspace"),
    ],
)
def test_holds_and_says_why(action, changes, code):
    decision = check(action, **changes)
    assert decision.state == GateState.HOLD
    assert code in decision.reasons
    np.testing.assert_array_equal(decision.action, [0.0, 0.0])


def test_another_frame_is_held():
    decision = check((0.01, 0.0), frame="camera")
    assert (decision.state, decision.reasons) == (GateState.HOLD, ("frame",))


def test_a_step_above_the_limit_is_scaled_and_keeps_its_direction():
    decision = check((0.04, 0.02))
    assert (decision.state, decision.reasons) == (GateState.LIMITED, ("step_limit",))
    np.testing.assert_allclose(decision.action, [0.03, 0.015], rtol=1e-9)
    finding = decision.findings[0]
    assert (finding.value, finding.limit) == (0.04, 0.03)


def test_the_norm_is_limited_too():
    decision = check((0.0225, 0.03), dataclasses.replace(LIMITS, norm_limit=0.03))
    np.testing.assert_allclose(decision.action, [0.018, 0.024], rtol=1e-9)


def test_a_step_across_the_border_is_cut_there():
    decision = check((0.03, 0.01), position=(0.17, 0.0))
    assert (decision.state, decision.reasons) == (GateState.LIMITED, ("workspace",))
    np.testing.assert_allclose(decision.action, [0.01, 0.01], atol=1e-12)
    np.testing.assert_allclose(
        (decision.findings[0].value, decision.findings[0].limit), (0.2, 0.18)
    )


def test_within_the_margin_motion_outwards_is_cut_and_the_rest_passes():
    decision = check((0.02, 0.01), position=(0.185, 0.0))
    np.testing.assert_array_equal(decision.action, [0.0, 0.01])
    np.testing.assert_array_equal(check((-0.02, 0.01), position=(0.185, 0.0)).action, [-0.02, 0.01])


def test_outside_the_margin_only_motion_back_passes():
    assert check((-0.02, 0.01), position=(0.25, 0.0)).state == GateState.OK
    assert check((0.0, 0.0), position=(0.25, 0.0)).state == GateState.OK
    both = check((-0.02, 0.0), position=(0.25, 0.2))
    assert both.reasons == ("outside_workspace",)


def test_a_change_above_the_limit_is_shortened():
    limits = dataclasses.replace(LIMITS, change_limit=0.02)
    faster = check((0.03, 0.0), limits, previous_action=(0.005, 0.0))
    np.testing.assert_allclose(faster.action, [0.025, 0.0], rtol=1e-9)
    assert faster.reasons == ("change_limit",)
    from_rest = check((0.0, 0.03), limits)
    np.testing.assert_allclose(from_rest.action, [0.0, 0.02], rtol=1e-9)


def test_slowing_down_is_always_allowed():
    limits = dataclasses.replace(LIMITS, change_limit=0.001)
    for action in ((0.0, 0.0), (0.01, 0.0)):
        decision = check(action, limits, previous_action=(0.03, 0.0))
        assert decision.state == GateState.OK
        np.testing.assert_array_equal(decision.action, action)
    turn = check((0.0, 0.03), limits, previous_action=(0.03, 0.0))
    np.testing.assert_array_equal(turn.action, [0.0, 0.0])


def test_a_command_that_leads_out_of_the_constraint_passes():
    assert check(
        (0.01, 0.0), constraint_probability=0.9, predicted_constraint_probability=0.8
    ).state == (GateState.OK)
    for predicted in (0.9, 0.95):
        worse = check(
            (0.01, 0.0),
            constraint_probability=0.9,
            predicted_constraint_probability=predicted,
        )
        assert worse.reasons == ("constraint",)
    # The present frame is fine: there is nothing to get out of.
    inside = check((0.01, 0.0), constraint_probability=0.5, predicted_constraint_probability=0.51)
    assert inside.reasons == ("constraint",)
    unknown = check((0.01, 0.0), constraint_probability=None, predicted_constraint_probability=0.8)
    assert unknown.reasons == ("constraint",)


@pytest.mark.parametrize(("probability", "code"), [(0.7, "safe_set"), (None, "safe_set_unknown")])
def test_outside_the_safe_set_steps_are_shorter(probability, code):
    decision = check((0.02, 0.01), safe_set_probability=probability)
    assert (decision.state, decision.reasons) == (GateState.LIMITED, (code,))
    np.testing.assert_allclose(decision.action, [0.01, 0.005])


def test_the_emergency_stop_wins_and_other_reasons_stay_visible():
    decision = check((math.nan, 0.0), emergency_stop=True, image_received=None)
    assert decision.state == GateState.STOPPED
    assert decision.reasons == ("emergency_stop", "not_finite", "image_missing")


def test_without_a_command_the_evidence_is_judged():
    gate = Gate(LIMITS)
    assert gate.check(None, GOOD).state == GateState.OK
    stale = gate.check(None, dataclasses.replace(GOOD, now=20.0))
    assert stale.state == GateState.HOLD
    assert stale.reasons == ("image_stale", "latent_stale", "robot_stale")
    np.testing.assert_array_equal(stale.action, [0.0, 0.0])


def test_checks_that_are_switched_off_ask_for_no_evidence():
    limits = GateLimits(
        workspace=BOX, latent_timeout=None, image_timeout=None, constraint_limit=None
    )
    evidence = Evidence(now=1.0, robot_received=1.0, position=(0.0, 0.0))
    assert Gate(limits).check(GateCommand((0.01, 0.0), "task"), evidence).state == GateState.OK


anything = st.floats(allow_nan=True, allow_infinity=True)
small = st.floats(-0.07, 0.07)
maybe = st.one_of(st.none(), anything, st.floats(0.0, 1.0))
seconds = st.one_of(st.none(), anything, st.floats(9.0, 11.0))
vectors = st.one_of(
    st.none(),
    st.lists(anything, max_size=4),
    st.tuples(anything, anything),
    st.tuples(small, small),
)
near = st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
arbitrary = st.builds(
    Evidence,
    now=st.one_of(st.just(10.0), anything),
    latent_received=seconds,
    image_received=seconds,
    robot_received=seconds,
    latent_matches=st.booleans(),
    constraint_probability=maybe,
    predicted_constraint_probability=maybe,
    safe_set_probability=maybe,
    position=st.one_of(vectors, near),
    previous_action=vectors,
    emergency_stop=st.booleans(),
)
# Nothing else objects, so that the limits themselves are reached.
plausible = st.builds(
    lambda position, previous, safe: dataclasses.replace(
        GOOD, position=position, previous_action=previous, safe_set_probability=safe
    ),
    near,
    st.one_of(st.none(), st.tuples(small, small), st.tuples(anything, anything)),
    maybe,
)
some_limits = st.builds(
    GateLimits,
    workspace=st.just(BOX),
    step_limit=st.floats(1e-3, 0.05),
    norm_limit=st.floats(1e-3, 0.05),
    reject_factor=st.floats(1.0, 5.0),
    change_limit=st.floats(1e-3, 0.1),
    workspace_margin=st.floats(0.0, 0.05),
    safe_set_limit=st.one_of(st.none(), st.floats(0.0, 1.0)),
    safe_set_scale=st.floats(0.0, 1.0),
)


@settings(max_examples=600, deadline=None)
@given(vectors, st.sampled_from(["task", "task", "task", "", "camera"]), arbitrary, some_limits)
@example((0.03, 0.03), "task", dataclasses.replace(GOOD, previous_action=(1e308, -1e308)), LIMITS)
def test_nothing_gets_past_a_limit(action, frame, evidence, limits):
    assert_within_limits(Gate(limits).check(GateCommand(action, frame), evidence), evidence, limits)


@settings(max_examples=600, deadline=None)
@given(st.tuples(small, small), plausible, some_limits)
def test_nothing_gets_past_a_limit_when_all_else_is_well(action, evidence, limits):
    decision = Gate(limits).check(GateCommand(action, "task"), evidence)
    assert_within_limits(decision, evidence, limits)
    # What passes is a shortened form of what was asked for.
    assert (np.abs(decision.action) <= np.abs(action)).all()
    assert (decision.action * action >= 0.0).all()
    if decision.state == GateState.OK:
        np.testing.assert_array_equal(decision.action, action)


def assert_within_limits(decision, evidence, limits):
    out = decision.action
    assert out.shape == (2,)
    assert np.isfinite(out).all()
    assert (decision.state == GateState.OK) == (decision.findings == ())
    assert list(decision.findings) == sorted(
        decision.findings, key=lambda finding: finding.state, reverse=True
    )
    if decision.state >= GateState.HOLD:
        assert not out.any()
        return
    assert np.abs(out).max() <= limits.step_limit
    assert np.linalg.norm(out) <= limits.norm_limit
    position = np.asarray(evidence.position, dtype=np.float64)
    low, high = np.array(limits.workspace).T
    after = position + out
    assert (after <= np.maximum(high, position) + 1e-12).all()
    assert (after >= np.minimum(low, position) - 1e-12).all()
    outside = np.maximum(position - high, low - position) > limits.workspace_margin
    inwards = np.abs(after - np.clip(after, low, high)) < np.abs(
        position - np.clip(position, low, high)
    )
    if out.any() and np.abs(position).max() < 10.0:
        assert inwards[outside & (np.abs(out) > 1e-12)].all()
    previous = np.zeros(2) if evidence.previous_action is None else evidence.previous_action
    change = np.hypot(*(out - np.asarray(previous)))
    assert change <= limits.change_limit * (1 + 1e-9) or np.hypot(*out) <= np.hypot(*previous)
    assert not evidence.emergency_stop
    for received, timeout in (
        (evidence.latent_received, limits.latent_timeout),
        (evidence.image_received, limits.image_timeout),
        (evidence.robot_received, limits.robot_timeout),
    ):
        assert 0.0 <= evidence.now - received <= timeout
    predicted = evidence.predicted_constraint_probability
    present = evidence.constraint_probability
    assert predicted <= limits.constraint_limit or limits.constraint_limit < present > predicted
