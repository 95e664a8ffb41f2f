import math
import time

import numpy as np
import pytest
from gate_codes import reason_codes
from hypothesis import given
from hypothesis import strategies as st
from panel_messages import diagnostics, feed, frame, header, plan, skill, status, violation

from safe_skills.data.vision import MaskConfig
from safe_skills.msg import AbstractAction, LatentState, SafetyContext, SafetyStatus
from safe_skills.nodes.animation import GATE_COLOURS
from safe_skills.rqt import panel_model
from safe_skills.rqt.panel_model import SILENCE, PanelModel
from safe_skills.rqt.reasons import REASONS, sentence
from safe_skills.safety import GateState

STATES = ("OK", "LIMITED", "HOLD", "STOPPED")


@pytest.fixture
def model():
    return PanelModel(local_time=time.gmtime)


def curves(view):
    return {curve.name: curve.points for chart in view.charts for curve in chart.curves}


# ---- the state


@pytest.mark.parametrize("state", range(4))
def test_a_state_is_shown_with_its_reason_in_words_and_its_colour(model, state):
    feed(model, 5.0, status=status(state, ["latent_stale", "workspace"]))
    shown = model.view(5.1).headline
    assert (shown.state, shown.colour) == (STATES[state], GATE_COLOURS[STATES[state]])
    assert shown.reason == "the encoder's newest latent state is too old"
    assert "latent_stale, workspace" in shown.detail and "100 ms old" in shown.detail


def test_before_the_first_status_there_is_no_monitor(model):
    shown = model.view(0.0).headline
    assert (shown.state, shown.reason) == ("NO MONITOR", "no safety_status has come")
    assert shown.colour not in GATE_COLOURS.values()


@given(
    messages=st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 3)), max_size=8),
    wait=st.floats(0.0, 5.0),
)
def test_a_state_is_never_shown_longer_than_its_status_is_fresh(messages, wait):
    """Whatever came and went: green means that the newest status said so within the last second."""
    model, now, newest = PanelModel(), 10.0, None
    for pause, state in messages:
        now += pause
        feed(model, now, status=status(state))
        newest = (now, STATES[state])
    now += wait
    shown = model.view(now).headline
    if newest is None or now - newest[0] > SILENCE:
        assert shown.state == "NO MONITOR" and shown.colour not in GATE_COLOURS.values()
    else:
        assert shown.state == newest[1]


def test_silence_says_what_was_before_and_not_to_rely_on_it(model):
    feed(model, 1.0, status=status())
    shown = model.view(4.2).headline
    assert shown.reason == "safety_status is silent for 3 s"
    assert shown.detail == "it was OK before: do not rely on it"


def test_a_second_monitor_in_the_graph_is_noticed(model):
    feed(model, 1.0, status=status(), monitors=1)
    assert "NODES" not in model.view(1.0).headline.detail
    feed(model, 1.0, monitors=2)
    assert model.view(1.0).headline.detail.startswith("2 NODES SPEAK AS THE MONITOR")


def test_a_stop_is_shown_with_its_cause_and_whether_it_arrived(model):
    stopped = {"reasons": ["emergency_stop"], "stop_cause": "foreign_publisher"}
    feed(model, 1.0, status=status(SafetyStatus.STOPPED, **stopped))
    shown = model.view(1.0).headline
    assert shown.reason == "stopped by foreign publisher: mend that, then reset"
    assert shown.detail.startswith("NOT SEEN TO REACH THE ROBOT")
    feed(model, 1.0, status=status(SafetyStatus.STOPPED, **stopped, stop_verified=True))
    assert model.view(1.0).headline.detail.startswith("the robot was told to hold")


def test_what_is_only_watched_is_told_too(model):
    feed(model, 1.0, status=status(observed=["constraint_present"]))
    shown = model.view(1.0).headline
    assert shown.state == "OK" and "watched: constraint_present" in shown.detail


def test_a_state_that_is_not_known_is_not_green(model):
    feed(model, 1.0, status=status(9))
    shown = model.view(1.0).headline
    assert shown.state == "STATE 9" and shown.colour not in GATE_COLOURS.values()


def test_every_reason_of_the_gate_has_a_sentence():
    codes = {"seen_contact", "stop_unverified", *reason_codes()}
    assert len(codes) >= 20 and codes <= set(REASONS)
    assert sentence("something_new") == "something new"


# ---- curves, counters, lists


def test_curves_hold_what_came_with_its_age(model):
    for second in range(3):
        fields = {"constraint_probability": 0.1 * second, "safe_set_probability": 1 - 0.1 * second}
        feed(model, float(second), status=status(**fields))
    feed(model, 2.0, plan=plan(constraint_probability=0.15))
    shown = curves(model.view(3.0))
    np.testing.assert_allclose(shown["now"], [[-3, 0], [-2, 0.1], [-1, 0.2]], atol=1e-12)
    np.testing.assert_allclose(shown["safe set"][:, 1], [1, 0.9, 0.8])
    np.testing.assert_allclose(shown["plan"], [[-1, 0.15]])


def test_thresholds_come_from_the_monitor_and_say_when_they_are_off(model):
    feed(model, 0.0, status=status())
    assert all(chart.thresholds == () for chart in model.view(0.0).charts)
    limits = {"constraint_limit": 0.4, "use_constraint": True, "safe_set_limit": 0.6}
    feed(model, 0.0, parameters={**limits, "use_safe_set": False})
    (constraint,), (safe_set,) = (chart.thresholds for chart in model.view(0.0).charts)
    assert (constraint.name, constraint.value) == ("limit", 0.4)
    assert (safe_set.name, safe_set.value) == ("limit (off)", 0.6)
    feed(model, 1.0, parameters={"constraint_limit": 0.3})
    assert model.view(1.0).charts[0].thresholds[0].value == 0.3


def test_without_learned_probabilities_the_use_of_eta_is_shown(model):
    unknown = dict.fromkeys(
        (
            "constraint_probability",
            "predicted_constraint_probability",
            "safe_set_probability",
        ),
        math.nan,
    )
    feed(model, 0.0, status=status(**unknown), skill=skill(0.6, 0.8))
    feed(model, 1.0, skill=skill(math.nan, 0.8))
    feed(model, 2.0, skill=skill(1.2, 0.8))
    (chart,) = model.view(2.0).charts
    assert chart.title.startswith("Use of eta") and chart.thresholds[0].value == 1.0
    np.testing.assert_allclose(chart.curves[0].points[:, 1], [0.75, math.nan, 1.5])
    assert chart.top >= 1.5


def test_the_timeline_has_gaps_where_the_monitor_was_silent(model):
    for now, state in ((0.0, 0), (0.5, 0), (1.0, 2), (1.1, 2), (9.0, 3), (9.5, 3)):
        feed(model, now, status=status(state))
    spans = model.view(10.0).timeline
    assert [(round(10 + s.begin, 3), round(10 + s.end, 3)) for s in spans] == [
        (0.0, 1.0),
        (1.0, 1.1 + SILENCE),
        (9.0, 10.0),
    ]
    expected = [GATE_COLOURS[name] for name in ("OK", "HOLD", "STOPPED")]
    assert [span.colour for span in spans] == expected


def test_counters_are_the_monitors(model):
    feed(model, 0.0, status=status(commands_received=7, commands_held=3, violations=2))
    counters = dict(model.view(0.0).counters)
    assert (counters["asked"], counters["held"], counters["violations"]) == (7, 3, 2)


def test_violations_are_listed_the_newest_first_and_counted_by_cause(model):
    before = model.view(0.0).violations_version
    for second, kind in enumerate(("workspace", "constraint", "constraint")):
        feed(model, 1.0, violation=violation(kind, seconds=3600 + second))
    feed(model, 1.0, violation=violation("seen_contact", source=""))
    view = model.view(1.0)
    assert view.violations_version == before + 4
    kinds = [row.kind for row in view.violations]
    assert kinds == ["seen_contact", "constraint", "constraint", "workspace"]
    assert view.violations[-1].time == "01:00:00.0"
    assert (view.violations[1].value, view.violations[1].limit) == ("0.9", "0.5")
    assert [row.source for row in view.violations[:2]] == ["-", "cem_planner"]
    assert view.causes == ()
    told = status(causes=["workspace", "constraint"], cause_counts=[1, 2])
    feed(model, 1.0, status=told)
    assert model.view(1.0).causes == (("constraint", 2), ("workspace", 1))


# ---- nodes


def test_nodes_have_health_rate_and_own_times(model):
    for step in range(101):
        now = 0.1 * step
        feed(
            model,
            now,
            status=status(latency=0.05, header=header(1 + step // 2)),
            latent=LatentState(encode_time=0.002),
            context=SafetyContext(infer_time=0.0),
            abstract_action=AbstractAction(choose_time=0.004),
            image=None,
            plan=plan(),
        )
    said = [
        ("cem_planner: state", 0, "active"),
        ("cem_planner: plans", 1, "slow"),
        ("left/cem_planner: state", 2, "another robot's"),
        ("hardware_bridge: servo", 0, "moving"),
        ("no task", 2, "nobody's"),
    ]
    feed(model, 10.0, diagnostics=diagnostics(*said))
    rows = {row.name: row for row in model.view(10.0).nodes}
    assert rows["cem_planner"].health == "WARN: slow"
    assert rows["cem_planner"].own_time == "30.0 / 30.0"
    assert rows["camera_encoder"].own_time == "2.0 / 2.0"
    assert rows["safety_posterior"].own_time == ""
    gated = rows["image to gated command"]
    # A status that is said again is no command more.
    assert gated.own_time == "50.0 / 50.0" and float(gated.rate) == pytest.approx(5.0, abs=0.6)
    assert rows["hardware_bridge"].health == "OK" and rows["hardware_bridge"].rate == ""
    assert "skill_decoder" not in rows and "left/cem_planner" not in rows and "no task" not in rows
    assert float(rows["camera"].rate) == pytest.approx(10.0, abs=0.3)
    later = {row.name: row for row in model.view(20.0).nodes}
    assert later["camera"].rate == "0.0" and later["camera"].age == "10 s"
    assert later["cem_planner"].health == "STALE: silent for 10 s"


def test_of_a_namespaced_robot_only_its_own_nodes_count():
    model = PanelModel("/left")
    said = diagnostics(("left/simulator: episodes", 0, "ok"), ("simulator: episodes", 2, "no"))
    feed(model, 0.0, diagnostics=said)
    assert [(row.name, row.health) for row in model.view(0.0).nodes] == [("simulator", "OK")]


# ---- the picture


def test_mask_and_path_are_drawn_where_they_are(model):
    feed(model, 0.0, image=None, picture=frame())
    plain = model.view(0.0).picture
    assert plain.shape == (384, 384, 3)
    feed(model, 0.0, parameters={"mask": MaskConfig(), "crop": [0.0, 0.0, 1.0, 1.0]})
    masked = model.view(0.0).picture
    changed = np.argwhere((masked != plain).any(axis=2)) / 6  # pixels of the frame
    assert changed.min(axis=0) == pytest.approx([32, 16], abs=0.7)
    assert changed.max(axis=0) == pytest.approx([36, 48], abs=0.7)
    feed(model, 0.1, position=np.zeros(2))
    feed(model, 0.1, plan=plan(((0.0, 0.125), (0.125, 0.0))))
    assert "camera_span is not known" in model.view(0.1).picture_note
    feed(model, 0.1, parameters={"camera_span": 0.25})
    drawn = model.view(0.1).picture
    np.testing.assert_array_equal(drawn[96, 288], (250, 0, 250))  # the path's end: up and right
    np.testing.assert_array_equal(drawn[144, 192], (250, 0, 250))
    np.testing.assert_array_equal(drawn[240:, :], masked[240:, :])


def test_a_plan_is_drawn_only_while_it_is_new_and_the_position_known(model):
    feed(model, 0.0, picture=frame(), plan=plan(), parameters={"camera_span": 0.25})
    without = model.view(0.0).picture
    feed(model, 1.0, position=np.zeros(2))
    feed(model, 1.0, plan=plan())
    assert (model.view(1.5).picture != without).any()
    np.testing.assert_array_equal(model.view(2.5).picture, without)


def test_a_picture_that_did_not_change_is_not_drawn_again(model):
    feed(model, 0.0, picture=frame())
    first = model.view(0.0)
    again = model.view(0.5)
    assert again.picture is first.picture and again.picture_version == first.picture_version
    feed(model, 0.6, picture=frame())
    assert model.view(0.6).picture_version == first.picture_version + 1


def test_what_cannot_be_shown_is_said(model):
    assert model.view(0.0).picture is None and model.view(0.0).picture_note == "no camera image"
    bad = frame()
    bad.encoding = "mono8"
    feed(model, 0.0, picture=bad)
    assert "expected an image of encoding rgb8 or bgr8" in model.view(0.0).picture_note
    feed(model, 0.0, picture=frame(), parameters={"mask": MaskConfig(size=128)})
    assert "no mask: expected a frame" in model.view(0.0).picture_note
    assert "OLD IMAGE: 7 s" in model.view(7.0).picture_note


@given(
    size=st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
    actions=st.lists(
        st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 2), min_size=1, max_size=4
    ),
)
def test_any_frame_and_any_plan_make_a_picture(size, actions):
    model = PanelModel()
    model.camera.mask, model.camera.span = MaskConfig(), 0.25
    model.camera.image(0.0, np.zeros((*size, 3), np.uint8))
    feed(model, 0.0, position=np.zeros(2))
    feed(model, 0.0, plan=plan(actions))
    assert model.view(0.0).picture.shape[2] == 3


# ---- bounds


def test_memory_is_bounded_whatever_comes(monkeypatch):
    model = PanelModel()
    for number in range(7000):
        now = 0.0001 * number
        feed(
            model,
            now,
            status=status(causes=[f"kind_{k}" for k in range(100)], cause_counts=list(range(100))),
            violation=violation(f"kind_{number}"),
            diagnostics=diagnostics((f"node_{number}: task_{number}", 0, "")),
        )
    view = model.view(0.7)
    assert len(view.violations) == panel_model.VIOLATIONS
    assert len(view.causes) == panel_model.CAUSES
    assert len(view.nodes) < 80
    assert max(len(points) for points in curves(view).values()) <= 6000
    assert len(model.view(0.7 + panel_model.SECONDS).charts[0].curves) == 0


def test_states_are_those_of_the_message():
    for name in STATES:
        assert getattr(SafetyStatus, name) == GateState[name]
