import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from std_msgs.msg import Header

from safe_skills.msg import AbstractAction, SafetyContext, SkillStatus
from safe_skills.nodes import skill_conversions as conversions
from safe_skills.nodes.decoding import Answer

HEADER = Header(stamp=Time(sec=3, nanosec=7), frame_id="camera")
NAN = float("nan")

numbers = st.floats(-1e6, 1e6, width=32)
vectors = hnp.arrays(np.float32, st.integers(0, 9), elements=numbers)


@given(vectors, st.floats(0, 1))
def test_context_survives_the_way_there_and_back(mean, fill):
    stddev = np.abs(mean)
    message = conversions.context_message(mean, stddev, fill, "abc", HEADER, 0.5)
    assert message.header == HEADER and message.infer_time == 0.5
    got = conversions.context_from_message(message, "abc", len(mean))
    np.testing.assert_array_equal(got[0], mean)
    np.testing.assert_array_equal(got[1], stddev)
    assert got[2] == fill and got[0].dtype == np.float32


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model_id": "xyz"}, "expected a context of model abc, got one of model xyz"),
        ({"model_id": ""}, "got one of model (none)"),
        ({"mean": [1.0]}, "expected a context of 2 means and deviations, got 1 and 2"),
        ({"stddev": []}, "expected a context of 2 means and deviations, got 2 and 0"),
        ({"mean": [1.0, NAN]}, "expected finite numbers, got a context with 1 that are not"),
        ({"stddev": [1.0, -1.0]}, "expected deviations >= 0"),
        ({"fill": 1.5}, "expected a window filled by 0 to 1, got 1.5"),
        ({"fill": NAN}, "expected a window filled by 0 to 1, got nan"),
    ],
)
def test_bad_contexts_are_refused_in_one_line(fields, says):
    good = {"model_id": "abc", "mean": [1.0, 2.0], "stddev": [1.0, 1.0], "fill": 0.5}
    with pytest.raises(ValueError, match="expected") as caught:
        conversions.context_from_message(SafetyContext(**{**good, **fields}), "abc", 2)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_context_that_is_not_finite_is_never_made():
    with pytest.raises(ValueError, match="the posterior made a context with 1 that are not"):
        conversions.context_message(np.float32([np.nan]), np.float32([1]), 1.0, "abc", HEADER)


@given(hnp.arrays(np.float32, st.integers(1, 9), elements=numbers), st.floats(0, 2))
def test_abstract_action_survives_the_way_there_and_back(z, slack):
    eta = float(np.abs(z).max()) + slack
    message = conversions.abstract_action_message(z, eta, "abc", "policy", HEADER, 0.25)
    assert message.header == HEADER and message.source == "policy"
    assert message.eta == eta and message.choose_time == 0.25
    got = conversions.abstract_action_from_message(message, "abc", len(z))
    np.testing.assert_array_equal(got, z)
    assert got.dtype == np.float32


@given(st.floats(1e-3, 10))
def test_a_bound_that_was_rounded_to_float32_is_still_kept(eta):
    z = np.full(3, eta, np.float32)
    assert conversions.abstract_action_message(z, eta, "abc", "policy", HEADER).eta == eta


@pytest.mark.parametrize("z", [[0.0, 0.71], [-0.71, 0.0], [NAN, 0.0], [0.0, float("inf")]])
def test_an_abstract_action_out_of_bounds_is_never_made(z):
    with pytest.raises(ValueError, match=r"expected \|z\| <= 0\.7, policy chose") as caught:
        conversions.abstract_action_message(np.float32(z), 0.7, "abc", "policy", HEADER)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model_id": "xyz"}, "expected an abstract action of model abc, got one of model xyz"),
        ({"z": [0.1]}, "expected an abstract action of 2 entries, got 1 from policy"),
        ({"z": [0.1] * 3, "source": ""}, "got 3 from (no source)"),
        ({"z": [0.1, NAN]}, "expected a finite abstract action, got [0.1"),
    ],
)
def test_bad_abstract_actions_are_refused_in_one_line(fields, says):
    good = {"model_id": "abc", "z": [0.1, 0.2], "source": "policy"}
    with pytest.raises(ValueError, match="expected") as caught:
        conversions.abstract_action_from_message(AbstractAction(**{**good, **fields}), "abc", 2)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("action", "reason", "outcome"),
    [(np.zeros(5), "", SkillStatus.DECODED), (None, "no_context", SkillStatus.HOLD)],
)
def test_a_status_says_how_an_answer_came_about(action, reason, outcome):
    answer = Answer(7, action, reason, 0.001, 0.02, 0.5, 0.6)
    status = conversions.skill_status_message(answer, 0.7, "abc", HEADER)
    assert status.header == HEADER and status.model_id == "abc"
    assert (status.outcome, status.reason, status.eta) == (outcome, reason, 0.7)
    assert (status.decode_time, status.wait_time) == (0.001, 0.02)
    assert (status.fill, status.largest) == (0.5, 0.6)
