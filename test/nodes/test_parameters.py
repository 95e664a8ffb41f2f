import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.nodes.parameters import Param, ParameterError, resolve

TABLE = {
    "rate": Param(10.0, "Hz", low=1.0, high=100.0),
    "episodes": Param(50, "count", low=0, high=1000),
    "checkpoint": Param("", "folder"),
    "profile": Param("realtime", "planner", choices=("realtime", "paper")),
    "crop": Param([0.0, 0.0, 1.0, 1.0], "shares", low=0.0, high=1.0),
    "autostart": Param(True, "start"),
}


def test_defaults_when_nothing_is_given():
    values, problems = resolve(TABLE, {})
    assert values == {name: row.default for name, row in TABLE.items()}
    assert problems == []


def test_whole_number_is_taken_for_a_float():
    values, problems = resolve(TABLE, {"rate": 5})
    assert values["rate"] == 5.0 and isinstance(values["rate"], float) and problems == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("rate", 0.5, "rate: expected 1 to 100, got 0.5"),
        ("rate", float("nan"), "rate: expected 1 to 100, got nan"),
        ("rate", "fast", "rate: expected float, got 'fast'"),
        ("rate", True, "rate: expected float, got True"),
        ("episodes", 2.5, "episodes: expected int, got 2.5"),
        ("profile", "slow", "profile: expected one of realtime, paper, got 'slow'"),
        ("crop", [0.0, 2.0], "crop: expected 0 to 1, got 2.0"),
        ("crop", 0.5, "crop: expected a list, got 0.5"),
        ("autostart", 1, "autostart: expected bool, got 1"),
    ],
)
def test_refusals_say_what_was_expected_and_what_came(name, value, says):
    values, problems = resolve(TABLE, {name: value})
    assert problems == [says]
    assert values[name] == TABLE[name].default


def test_unknown_parameters_make_one_line_with_the_known_ones():
    _, problems = resolve(TABLE, {"rat": 3, "speed": 1})
    assert problems == [
        "unknown parameter rat, speed; this node knows "
        "autostart, checkpoint, crop, episodes, profile, rate"
    ]


@given(st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none(), st.binary()))
def test_whatever_passes_is_a_float_in_range(value):
    try:
        checked = TABLE["rate"].check("rate", value)
    except ParameterError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(checked, float) and 1.0 <= checked <= 100.0
