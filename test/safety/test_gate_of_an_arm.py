"""The gate where dimensions differ in unit, with a gripper, a context and a bound on |z|."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_skills.safety import Evidence, Gate, GateCommand, GateLimits, GateState

UNITS = (0.025, 0.025, 0.025, 0.35)
BOX = ((0.10, 0.29), (-0.11, 0.11), (0.005, 0.20), (-2.0, 2.0))
LIMITS = GateLimits(
    BOX,
    units=UNITS,
    gripper=True,
    step_limit=1.0,
    norm_limit=2.0,
    change_limit=2.0,
    workspace_margin=0.4,
    constraint_limit=None,
    context_timeout=0.5,
    eta=1.5,
)
GOOD = Evidence(
    now=10.0,
    latent_received=9.99,
    image_received=9.98,
    robot_received=9.995,
    context_received=9.99,
    abstract_action=1.2,
    position=(0.2, 0.0, 0.1, 0.0),
)
FULL = (0.025, -0.025, 0.01, 0.35, 1.0)


def check(action, limits=LIMITS, **changes):
    return Gate(limits).check(GateCommand(action, "task"), dataclasses.replace(GOOD, **changes))


def test_a_full_step_of_every_dimension_passes_to_the_last_digit():
    decision = check(FULL)
    assert decision.state == GateState.OK
    np.testing.assert_array_equal(decision.action, FULL)


@pytest.mark.parametrize(
    ("action", "changes", "code"),
    [
        (FULL[:4], {}, "size"),
        ((*FULL, 0.0), {}, "size"),
        ((*FULL[:4], math.nan), {}, "not_finite"),
        ((*FULL[:4], 1.01), {}, "gripper"),
        ((*FULL[:4], -2.0), {}, "gripper"),
        ((0.0, 0.0, 0.0, 0.75, 0.0), {}, "step_rejected"),
        (FULL, {"context_received": None}, "context_missing"),
        (FULL, {"context_received": 9.0}, "context_stale"),
        (FULL, {"abstract_action": None}, "abstract_action_unknown"),
        (FULL, {"abstract_action": math.nan}, "abstract_action_unknown"),
        (FULL, {"abstract_action": math.inf}, "abstract_action_unknown"),
        (FULL, {"abstract_action": 1.51}, "abstract_action"),
        (FULL, {"position": (0.2, 0.0)}, "position_unknown"),
        (FULL, {"position": (0.2, 0.0, 0.1, math.nan)}, "position_unknown"),
        (FULL, {"position": (0.2, 0.0, 0.25, 0.0)}, "outside_workspace"),
        (FULL, {"previous_action": FULL[:4]}, "previous_unknown"),
        (FULL, {"previous_action": (*FULL[:4], math.nan)}, "previous_unknown"),
    ],
)
def test_holds_and_says_why(action, changes, code):
    decision = check(action, **changes)
    assert decision.state == GateState.HOLD
    assert code in decision.reasons
    np.testing.assert_array_equal(decision.action, np.zeros(5))


def test_eta_itself_is_within_eta_after_rounding_to_float32():
    assert check(FULL, abstract_action=float(np.float32(1.5))).state == GateState.OK
    assert check(FULL, abstract_action=1.5 * (1 + 5e-7)).state == GateState.OK


def test_the_gripper_passes_where_the_step_is_made_smaller():
    decision = check((0.03, 0.0, 0.0, 0.0, -1.0))
    assert (decision.state, decision.reasons) == (GateState.LIMITED, ("step_limit",))
    np.testing.assert_allclose(decision.action, [0.025, 0.0, 0.0, 0.0, -1.0], rtol=1e-9)
    assert decision.findings[0].value == pytest.approx(1.2) and decision.findings[0].limit == 1.0


def test_each_dimension_is_cut_at_its_own_border():
    decision = check(
        (0.02, 0.0, -0.02, 0.3, 1.0), position=(0.28, 0.0, 0.02, 1.9), previous_action=None
    )
    assert decision.reasons == ("workspace",)
    np.testing.assert_allclose(decision.action, [0.01, 0.0, -0.015, 0.1, 1.0], atol=1e-12)


def test_the_change_is_measured_in_units():
    limits = dataclasses.replace(LIMITS, change_limit=0.5)
    faster = check((0.0, 0.0, 0.0, 0.35, 1.0), limits, previous_action=(0.0, 0.0, 0.0, 0.0, -1.0))
    np.testing.assert_allclose(faster.action, [0.0, 0.0, 0.0, 0.175, 1.0], rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("units", (1.0,), "4 numbers above 0 or None"),
        ("units", (1.0, 1.0, 0.0, 1.0), "4 numbers above 0"),
        ("units", 3, "4 numbers above 0"),
        ("units", (1.0, 1.0, math.nan, 1.0), "4 numbers above 0"),
        ("eta", 0.0, "1e-06 to 1e"),
        ("eta", math.nan, "1e-06 to 1e"),
        ("context_timeout", 0.0, "0.001 to 3600 or None"),
    ],
)
def test_a_bad_limit_is_named_with_its_range(name, value, expected):
    with pytest.raises(ValueError, match=rf"^{name}: expected .*{expected}"):
        GateLimits(BOX, **{name: value})


anything = st.floats(allow_nan=True, allow_infinity=True)
maybe = st.one_of(st.none(), anything, st.floats(0.0, 2.0))
vectors = st.one_of(st.none(), st.lists(anything, max_size=6), st.tuples(*[anything] * 5))
steps = st.tuples(*(st.floats(-1.2 * unit, 1.2 * unit) for unit in UNITS), st.floats(-1.1, 1.1))
places = st.tuples(*(st.floats(low - 0.05, high + 0.05) for low, high in BOX))
arbitrary = st.builds(
    dataclasses.replace,
    st.just(GOOD),
    context_received=st.one_of(st.none(), anything, st.floats(9.4, 10.0)),
    abstract_action=maybe,
    position=st.one_of(vectors, places),
    previous_action=st.one_of(vectors, steps),
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(vectors, steps), arbitrary)
def test_nothing_gets_past_a_limit(action, evidence):
    decision = Gate(LIMITS).check(GateCommand(action, "task"), evidence)
    out = decision.action
    assert out.shape == (5,) and np.isfinite(out).all()
    if decision.state >= GateState.HOLD:
        assert not out.any()
        return
    assert 0.0 <= evidence.abstract_action <= LIMITS.eta * (1 + 1e-6)
    assert 0.0 <= evidence.now - evidence.context_received <= LIMITS.context_timeout
    scaled = out[:4] / UNITS
    assert np.abs(scaled).max() <= 1.0 + 1e-12 and np.linalg.norm(scaled) <= 2.0 + 1e-12
    assert out[4] == action[4] and abs(out[4]) <= 1.0
    assert (np.abs(out) <= np.abs(action)).all() and (out * action >= 0.0).all()
    position = np.asarray(evidence.position)
    low, high = np.array(BOX).T
    assert (position + out[:4] <= np.maximum(high, position) + 1e-12).all()
    assert (position + out[:4] >= np.minimum(low, position) - 1e-12).all()
    previous = np.zeros(4) if evidence.previous_action is None else evidence.previous_action[:4]
    before = np.asarray(previous) / UNITS
    change, length = np.linalg.norm(scaled - before), np.linalg.norm(scaled)
    assert change <= 2.0 * (1 + 1e-9) or length <= np.linalg.norm(before) * (1 + 1e-9)


# Not too small: a power of two scales all but subnormal numbers without rounding.
coordinates = st.integers(-5000, 5000).map(lambda number: 1e-5 * number)
planes = st.tuples(coordinates, coordinates)


@settings(max_examples=200, deadline=None)
@given(planes, planes, planes, st.sampled_from([2.0**-5, 2.0**-3, 4.0]))
def test_units_are_a_change_of_scale_and_nothing_else(action, position, previous, unit):
    """With units of a power of two the scaled problem has the same digits."""
    box = ((-0.04, 0.04), (-0.03, 0.05))
    evidence = dataclasses.replace(GOOD, position=position, previous_action=previous)
    plain = GateLimits(box, constraint_limit=None)
    scaled = GateLimits(
        tuple((low * unit, high * unit) for low, high in box),
        units=(unit, unit),
        constraint_limit=None,
    )
    expected = Gate(plain).check(GateCommand(action, "task"), evidence)
    moved = dataclasses.replace(
        evidence,
        position=tuple(unit * x for x in position),
        previous_action=tuple(unit * x for x in previous),
    )
    found = Gate(scaled).check(GateCommand([unit * x for x in action], "task"), moved)
    assert found.findings == expected.findings
    np.testing.assert_array_equal(found.action, unit * expected.action)
