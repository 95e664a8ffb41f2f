import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.data.geometry import SET_POINT_DECIMALS, clip_set_point

LIMITS = {"max_step": 0.03, "margin": 0.01, "workspace": ((-0.15, 0.18), (-0.14, 0.085))}
GRID = 10.0**-SET_POINT_DECIMALS

positions = st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
actions = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))


@given(positions, positions, actions)
def test_the_set_point_stays_in_the_workspace(set_point, measured, action):
    lower, upper = np.array(LIMITS["workspace"]).T
    target = clip_set_point(set_point, measured, action, **LIMITS)
    assert (target >= lower).all() and (target <= upper).all()


@given(positions, positions, actions)
def test_the_set_point_leads_by_at_most_step_and_margin(set_point, measured, action):
    """Unless the gripper was pushed out of the workspace: then it is led back."""
    lower, upper = np.array(LIMITS["workspace"]).T
    target = clip_set_point(set_point, measured, action, **LIMITS)
    lead = np.abs(target - np.clip(measured, lower, upper))
    assert (lead <= 0.03 + 0.01 + GRID).all()


@given(
    st.tuples(st.floats(-0.1, 0.13), st.floats(-0.09, 0.03)),
    st.tuples(st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)),
    st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03)),
)
def test_inside_all_limits_actions_add_up(set_point, lag, action):
    measured = np.subtract(set_point, lag)
    target = clip_set_point(set_point, measured, action, **LIMITS)
    np.testing.assert_allclose(target, np.add(set_point, action), atol=GRID)


@given(positions, actions)
def test_a_blocked_gripper_collects_no_error(measured, action):
    """However long it pushes, one opposite step or two bring the set-point back."""
    inside = np.clip(measured, *np.array(LIMITS["workspace"]).T)
    target = inside
    for _ in range(20):
        target = clip_set_point(target, inside, action, **LIMITS)
    assert (np.abs(target - inside) <= 0.04 + GRID).all()


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [0.0, -np.inf], [0.0], [0.0, 0.0, 0.0], 0.0])
@pytest.mark.parametrize(
    ("place", "name"), [(0, "set-point"), (1, "measured position"), (2, "action")]
)
def test_bad_vectors_are_named(bad, place, name):
    vectors = [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    vectors[place] = bad
    with pytest.raises(ValueError, match=f"^{name}: expected 2 finite numbers, got ") as refusal:
        clip_set_point(*vectors, **LIMITS)
    assert "\n" not in str(refusal.value)
