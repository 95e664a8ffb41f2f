"""Limits are checked when they are set, in one line that names the parameter."""

import pytest

from safe_skills.safety import GateLimits

BOX = ((-0.1, 0.1), (-0.1, 0.1))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("step_limit", 0.0, "1e-06 to 10"),
        ("step_limit", float("nan"), "1e-06 to 10"),
        ("norm_limit", -1.0, "1e-06 to 10"),
        ("norm_limit", None, "1e-06 to 10"),
        ("change_limit", float("inf"), "1e-06 to 10"),
        ("reject_factor", 0.5, "1 to 100"),
        ("workspace_margin", -0.1, "0 to 10"),
        ("latent_timeout", 0.0, "0.001 to 3600 or None"),
        ("image_timeout", "soon", "0.001 to 3600 or None"),
        ("robot_timeout", float("nan"), "0.001 to 3600 or None"),
        ("constraint_limit", 1.5, "0 to 1 or None"),
        ("safe_set_limit", -0.1, "0 to 1 or None"),
        ("safe_set_scale", True, "0 to 1"),
        ("frame_id", "", "the name of a frame"),
        ("workspace", ((0.1, -0.1), (0.0, 1.0)), "low < high"),
        ("workspace", ((0.0, float("nan")),), "low < high"),
        ("workspace", (), "low < high"),
        ("workspace", (0.1, 0.2), "low < high"),
        ("workspace", None, "low < high"),
    ],
)
def test_a_bad_limit_is_named_with_its_range(name, value, expected):
    with pytest.raises(ValueError, match=rf"^{name}: expected .*{expected}.*, got ") as caught:
        GateLimits(**{"workspace": BOX, name: value})
    assert "\n" not in str(caught.value)


def test_lists_are_taken_as_a_box():
    limits = GateLimits(workspace=[[-1, 1], [0, 2], [0, 3]])
    assert limits.workspace == ((-1.0, 1.0), (0.0, 2.0), (0.0, 3.0))
    assert limits.dimensions == 3
