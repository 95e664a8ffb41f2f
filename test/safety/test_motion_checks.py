"""What shortens a step: zones, speed, acceleration, risk."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_skills.safety import Evidence, Gate, GateCommand, GateLimits, GateState

BOX = ((-0.2, 0.2), (-0.2, 0.2))
ZONE = ((0.05, 0.10), (-0.05, 0.05))
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


def check(action, gate=None, *, limits=None, **evidence):
    gate = gate or Gate(GateLimits(BOX, **(limits or {})))
    return gate.check(GateCommand(action, "task"), dataclasses.replace(GOOD, **evidence))


# ---- zones


@pytest.mark.parametrize(
    ("position", "action", "passed", "code"),
    [
        ((0.04, 0.0), (0.03, 0.0), (0.01, 0.0), "keep_out"),
        ((0.04, 0.0), (0.02, 0.01), (0.01, 0.005), "keep_out"),
        ((0.05, 0.0), (0.03, 0.0), (0.0, 0.0), "keep_out"),  # on its face
        ((0.05, 0.0), (0.0, 0.03), (0.0, 0.03), None),  # along its face
        ((0.04, 0.0), (-0.03, 0.0), (-0.03, 0.0), None),
        ((0.04, 0.06), (0.03, 0.0), (0.03, 0.0), None),  # beside it
        ((0.045, 0.04), (0.012, 0.012), (0.005, 0.005), "keep_out"),
        ((0.045, 0.045), (0.012, 0.012), (0.012, 0.012), None),  # touches its corner
        ((0.045, 0.049), (0.006, 0.006), (0.006, 0.006), None),  # past its corner
        ((0.09, 0.0), (0.03, 0.0), (0.03, 0.0), None),  # inside, out by the nearest face
        ((0.09, 0.0), (-0.03, 0.0), (0.0, 0.0), "inside_keep_out"),
        ((0.09, 0.0), (0.0, 0.03), (0.0, 0.0), "inside_keep_out"),
        ((0.09, 0.0), (0.0, 0.0), (0.0, 0.0), None),
    ],
)
def test_a_step_ends_before_a_zone(position, action, passed, code):
    decision = check(action, limits={"keep_out": (ZONE,)}, position=position)
    np.testing.assert_allclose(decision.action, passed, atol=1e-9)
    assert decision.reasons == (() if code is None else (code,))


def test_a_zone_may_leave_a_dimension_open():
    zone = ((0.05, 0.10), (-math.inf, math.inf))
    decision = check((0.02, 0.0), limits={"keep_out": (zone,)}, position=(0.04, 0.17))
    np.testing.assert_allclose(decision.action, (0.01, 0.0), rtol=1e-9)


@pytest.mark.parametrize(
    "zones",
    [
        (((0.0, 0.1),),),
        (((0.1, 0.0), (0.0, 0.1)),),
        (((0.0, math.nan), (0.0, 0.1)),),
        ((0.0, 0.1, 0.0, 0.1),),
        7,
    ],
)
def test_zones_that_are_none_are_refused(zones):
    with pytest.raises(ValueError, match=r"^keep_out: expected zones of 2 pairs"):
        GateLimits(BOX, keep_out=zones)


places = st.tuples(st.floats(-0.22, 0.22), st.floats(-0.22, 0.22))
steps = st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))
edges = st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)).map(sorted).map(tuple)
zones = st.lists(
    st.tuples(edges, edges).filter(lambda zone: all(high - low > 1e-3 for low, high in zone)),
    max_size=3,
)


@settings(max_examples=500)
@given(places, steps, zones, st.one_of(st.none(), steps))
def test_no_step_leads_into_a_zone(position, action, zones, previous):
    limits = {"keep_out": tuple(zones), "change_limit": 0.02}
    decision = check(action, limits=limits, position=position, previous_action=previous)
    inside = [depth(position, zone) > 1e-9 for zone in zones]
    for share in np.linspace(0.0, 1.0, 21):
        there = np.asarray(position) + share * decision.action
        for zone, was_inside in zip(zones, inside, strict=True):
            if not was_inside:
                assert depth(there, zone) <= 1e-9
            else:
                assert depth(there, zone) <= depth(position, zone) + 1e-12


def depth(position, zone):
    return min(min(x - low, high - x) for x, (low, high) in zip(position, zone, strict=True))


# ---- speed by time


def test_the_path_of_a_window_is_limited_whatever_the_number_of_commands():
    limits = {"velocity_limit": 0.1, "velocity_window": 1.0}
    assert check((0.02, 0.0), limits=limits, travelled=0.08).state == GateState.OK
    decision = check((0.02, 0.0), limits=limits, travelled=0.09)
    assert decision.reasons == ("velocity_limit",)
    np.testing.assert_allclose(decision.action, (0.01, 0.0), rtol=1e-9)
    assert (decision.findings[0].value, decision.findings[0].limit) == (
        pytest.approx(0.11),
        0.1,
    )
    assert not check((0.02, 0.0), limits=limits, travelled=0.2).action.any()


@pytest.mark.parametrize(
    ("since", "passed"),
    [(0.1, 0.02), (5.0, 0.02), (None, 0.02), (0.05, 0.01), (0.0, 0.0), (-1.0, 0.0)],
)
def test_the_speed_changes_by_so_much_in_so_much_time(since, passed):
    # 2 m/s^2 over 0.1 s is 0.2 m/s, and 0.02 m in a control period of 0.1 s.
    limits = {"acceleration_limit": 2.0, "control_period": 0.1}
    decision = check((0.03, 0.0), limits=limits, since_previous=since)
    np.testing.assert_allclose(decision.action, (passed, 0.0), atol=1e-9)
    assert decision.reasons == ("acceleration_limit",)


def test_at_rest_nothing_is_asked_of_the_speed():
    decision = check((0.0, 0.0), limits={"acceleration_limit": 2.0}, since_previous=0.0)
    assert decision.state == GateState.OK


def test_braking_is_never_too_sudden():
    limits = {"acceleration_limit": 1e-3}
    decision = check((0.001, 0.0), limits=limits, previous_action=(0.03, 0.0), since_previous=0.1)
    assert decision.state == GateState.OK


# ---- risk


def test_steps_are_shorter_the_nearer_the_risk_is_to_its_limit():
    limits = {"constraint_limit": 0.5, "slow_from": 0.6, "slow_scale": 0.2}
    for predicted, scale in ((0.0, 1.0), (0.3, 1.0), (0.4, 0.6), (0.5, 0.2)):
        decision = check((0.02, 0.0), limits=limits, predicted_constraint_probability=predicted)
        np.testing.assert_allclose(decision.action, (0.02 * scale, 0.0), rtol=1e-9)
        assert decision.scale == pytest.approx(scale)
        assert decision.reasons == (() if scale == 1.0 else ("slow_down",))


def test_steps_grow_again_only_after_the_risk_has_fallen_by_the_hysteresis():
    limits = GateLimits(
        BOX, constraint_limit=0.5, slow_from=0.5, slow_scale=0.0, slow_hysteresis=0.2
    )
    gate = Gate(limits)
    risks = (0.25, 0.375, 0.3, 0.275, 0.25, 0.3, 0.1)
    found = [
        check((0.02, 0.0), gate, predicted_constraint_probability=risk).scale for risk in risks
    ]
    # Held: .5, .75, .75 (fell by .15), .75, .7, .7, .4
    np.testing.assert_allclose(found, (1.0, 0.5, 0.5, 0.5, 0.6, 0.6, 1.0), atol=1e-9)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.floats(0.0, 0.5))
def test_the_slow_down_is_never_weaker_than_the_risk_of_now_asks_for(risks, hysteresis):
    limits = GateLimits(BOX, constraint_limit=0.5, slow_from=0.5, slow_hysteresis=hysteresis)
    gate, plain = Gate(limits), Gate(dataclasses.replace(limits, slow_hysteresis=0.0))
    for risk in risks:
        decision = check((0.02, 0.0), gate, predicted_constraint_probability=risk)
        direct = check((0.02, 0.0), plain, predicted_constraint_probability=risk)
        assert (np.abs(decision.action) <= np.abs(direct.action) + 1e-15).all()
