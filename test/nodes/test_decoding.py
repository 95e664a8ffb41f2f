"""When a frame is decoded, when it is given up, and why: by a clock of the test's own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skill_checkpoints import make_prior

from safe_skills.nodes.decoding import (
    ABSTRACT_ACTION,
    CONTEXT,
    LATENT,
    REASONS,
    ContextPart,
    SkillDecoding,
)

ETA = 0.7
PARTS = (LATENT, CONTEXT, ABSTRACT_ACTION)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module", params=["safer", "parrot"])
def prior(request):
    return make_prior(request.param)


@pytest.fixture(scope="module")
def safer():
    return make_prior("safer")


def values(prior, z=0.5, fill=1.0):
    rng = np.random.default_rng(0)
    return {
        LATENT: rng.standard_normal(prior.config.encoder.features).astype(np.float32),
        CONTEXT: ContextPart(rng.standard_normal(prior.context_size).astype(np.float32), fill),
        ABSTRACT_ACTION: np.full(prior.action_dim, z, np.float32),
    }


def decoding_of(prior, **changes):
    clock = Clock()
    return SkillDecoding(prior, ETA, **{"patience": 0.1, "clock": clock, **changes}), clock


def send(decoding, stamp, parts=PARTS, **changes):
    """Puts parts of a frame in; returns the last answer."""
    given = values(decoding.prior, **changes)
    answers = [decoding.put(part, stamp, given[part]) for part in parts]
    assert answers[:-1] == [None] * (len(parts) - 1)
    return answers[-1]


def needed(prior):
    return [part for part in PARTS if prior.context_size or part != CONTEXT]


def test_a_whole_frame_is_decoded_as_the_prior_does(prior):
    decoding, clock = decoding_of(prior)
    given = values(prior)
    *first, last = needed(prior)
    for part in first:
        assert decoding.put(part, 7, given[part]) is None
    clock.now += 0.03
    answer = decoding.put(last, 7, given[last])
    expected = prior.decode(given[ABSTRACT_ACTION], given[LATENT], given[CONTEXT].mean)
    np.testing.assert_array_equal(answer.action, expected)
    assert answer.stamp == 7 and answer.reason == "" and answer.largest == 0.5
    assert answer.wait_time == pytest.approx(0.03)
    assert answer.fill == 1.0 if prior.context_size else np.isnan(answer.fill)
    assert decoding.overdue() == []


@pytest.mark.parametrize("missing", PARTS)
def test_a_frame_that_lacks_a_part_is_given_up_once_and_for_all(safer, missing):
    decoding, clock = decoding_of(safer)
    assert send(decoding, 1, [part for part in PARTS if part != missing]) is None
    clock.now += 0.099
    assert decoding.overdue() == []
    clock.now += 0.002
    (answer,) = decoding.overdue()
    assert (answer.stamp, answer.action, answer.reason) == (1, None, f"no_{missing}")
    assert np.isnan(answer.largest) == (missing == ABSTRACT_ACTION)
    assert np.isnan(answer.fill) == (missing == CONTEXT)
    assert decoding.overdue() == []
    assert send(decoding, 1, [missing]) is None and decoding.matcher.late == 1
    assert send(decoding, 2).reason == ""


def test_patience_counts_from_the_first_part(safer):
    decoding, clock = decoding_of(safer)
    send(decoding, 1, [LATENT])
    clock.now += 0.06
    send(decoding, 1, [ABSTRACT_ACTION])
    clock.now += 0.05
    (answer,) = decoding.overdue()
    assert answer.reason == "no_context" and answer.wait_time == pytest.approx(0.06)


def test_only_a_latent_state_or_all_the_rest_makes_a_frame(safer):
    decoding, clock = decoding_of(safer)
    send(decoding, 10**18, [ABSTRACT_ACTION])
    clock.now += 1.0
    assert decoding.overdue() == []
    assert send(decoding, 1).reason == ""


def test_frames_are_given_up_in_order_and_those_overtaken_not_at_all(safer):
    decoding, clock = decoding_of(safer)
    for stamp in (3, 1, 2):
        send(decoding, stamp, [LATENT])
    assert send(decoding, 1, [CONTEXT, ABSTRACT_ACTION]).reason == ""
    clock.now += 0.2
    assert [answer.stamp for answer in decoding.overdue()] == [2, 3]
    send(decoding, 4, [LATENT])
    assert send(decoding, 5).reason == ""
    clock.now += 0.2
    assert decoding.overdue() == [] and decoding.matcher.unmatched == 1


@pytest.mark.parametrize("z", [0.7001, -0.7001])
def test_an_abstract_action_beyond_eta_is_held(prior, z):
    decoding, _ = decoding_of(prior)
    answer = send(decoding, 1, needed(prior), z=z)
    assert (answer.action, answer.reason) == (None, "abstract_action_too_large")
    assert answer.largest == pytest.approx(0.7001)
    assert send(decoding, 2, needed(prior), z=ETA).reason == ""


def test_a_window_that_is_too_short_is_held(safer):
    decoding, _ = decoding_of(safer, min_fill=0.5)
    assert send(decoding, 1, fill=0.499).reason == "window_too_short"
    assert send(decoding, 2, fill=0.5).reason == ""


def test_an_action_that_is_not_finite_is_held(safer, monkeypatch):
    decoding, _ = decoding_of(safer)
    broken = make_prior("safer")
    with torch.no_grad():
        broken.models.flow.couplings[0].net[-1].bias.fill_(float("nan"))
    monkeypatch.setattr(decoding, "prior", broken)
    answer = send(decoding, 1)
    assert (answer.action, answer.reason) == (None, "action_not_finite")


def test_frames_from_before_the_episode_are_not_answered(safer):
    decoding, clock = decoding_of(safer)
    send(decoding, 4, [LATENT, CONTEXT])
    decoding.start_episode(5)
    assert send(decoding, 4) is None
    clock.now += 1.0
    assert decoding.overdue() == []
    assert send(decoding, 5).reason == ""


def test_a_frame_from_the_future_bars_others_until_the_next_episode_only(safer):
    decoding, _ = decoding_of(safer)
    assert send(decoding, 1000).reason == ""
    assert send(decoding, 5) is None
    decoding.start_episode(10)
    assert send(decoding, 9) is None
    assert send(decoding, 10).reason == ""
    assert send(decoding, 10) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(PARTS), st.integers(1, 6), st.floats(0.0, 0.08)), max_size=40
    )
)
def test_whatever_arrives_every_answer_is_new_and_has_its_reason(events):
    prior = make_prior("safer")
    decoding, clock = decoding_of(prior)
    given_values = values(prior)
    answers = []
    for part, stamp, pause in events:
        clock.now += pause
        answers += decoding.overdue()
        answer = decoding.put(part, stamp, given_values[part])
        if answer is not None:
            answers.append(answer)
    stamps = [answer.stamp for answer in answers]
    assert stamps == sorted(set(stamps))
    for answer in answers:
        assert (answer.action is None) == (answer.reason in REASONS)
        assert answer.reason in ("", *REASONS)
