"""The panel as it is on a screen, which need not be there: Qt draws into memory."""

import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
try:
    from safe_skills.rqt.qt import QtCore, QtGui, QtWidgets
except ImportError as error:
    pytest.skip(f"no Qt here ({error}); pip install -e '.[rqt]'", allow_module_level=True)

from panel_messages import Clock, diagnostics, frame, plan, status, violation

from safe_skills.data.vision import MaskConfig
from safe_skills.nodes.animation import GATE_COLOURS
from safe_skills.rqt import widget as panel
from safe_skills.rqt.painting import runs, thinned
from safe_skills.rqt.panel_model import NO_MONITOR
from safe_skills.rqt.widget import PanelWidget


class Link:
    """A link to no graph: notes what is called, and whether it was closed."""

    def __init__(self, namespace, inbox):
        if " " in namespace:
            raise ValueError(f"namespace {namespace!r} cannot be used: it has a blank")
        self.namespace, self.inbox = namespace, inbox
        self.there, self.called, self.closed = True, [], False

    def call(self, verb):
        self.called.append(verb)
        return self.there

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def application():
    yield QtWidgets.QApplication.instance() or QtWidgets.QApplication(["test"])


@pytest.fixture
def shown(application, monkeypatch, tmp_path):
    """A panel whose redraws the test asks for, by a clock that the test sets."""
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    made = PanelWidget(connect=Link, clock=Clock())
    made._timer.stop()
    made.inbox.put_newest("services", {"e_stop": True, "reset": True, "snapshot": True})
    made.show()
    yield made
    made.close_panel()
    made.close()


def put(shown, **messages):
    for kind, message in messages.items():
        shown.inbox.put(kind, message)
    shown.redraw()


def button(shown, text):
    (found,) = [b for b in shown.findChildren(QtWidgets.QPushButton) if b.text() == text]
    return found


def texts(shown):
    return [label.text() for label in shown.findChildren(QtWidgets.QLabel)]


def pixels(widget):
    image = widget.grab().toImage().convertToFormat(QtGui.QImage.Format_RGB888)
    data = image.constBits().asarray(image.sizeInBytes())
    rows = np.array(data, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def share(widget, colour):
    """Share of a widget's pixels that have this colour, as nearly as scaling leaves it."""
    return float((np.abs(pixels(widget).astype(int) - colour).max(axis=2) < 12).mean())


# ---- what is seen


def test_the_state_fills_the_banner_in_its_colour_and_turns_grey_in_silence(shown):
    for number, name in enumerate(("OK", "LIMITED", "HOLD", "STOPPED")):
        put(shown, status=status(number, ["workspace"] if number else []))
        assert name in texts(shown)
        assert share(shown._banner, GATE_COLOURS[name]) > 0.5
    assert "the step leads out of the workspace: cut at its border" in texts(shown)
    shown._clock.now += 1.5
    shown.redraw()
    assert "NO MONITOR" in texts(shown) and share(shown._banner, NO_MONITOR) > 0.5


def test_the_state_is_written_out_in_full(shown):
    put(shown, status=status(3, ["emergency_stop"]))
    QtWidgets.QApplication.processEvents()
    needed = shown._state.fontMetrics().horizontalAdvance("STOPPED")
    assert shown._state.width() >= needed and shown._stop.isVisible()


def test_everything_has_a_place_in_the_window(shown):
    put(
        shown,
        status=status(
            2,
            ["constraint"],
            commands_received=17,
            causes=["constraint"],
            cause_counts=[1],
            commands_held=4,
        ),
        violation=violation("constraint"),
        plan=plan(constraint_probability=0.3),
        parameters={"constraint_limit": 0.5, "safe_set_limit": 0.5, "mask": MaskConfig()},
        diagnostics=diagnostics(("cem_planner: state", 1, "slow")),
        picture=frame(),
    )
    joined = " ".join(texts(shown))
    assert "asked <b>17</b>" in joined and "constraint <b>1</b>" in joined
    cells = [shown._nodes.item(row, column) for row in range(3) for column in range(5)]
    assert "WARN: slow" in [item.text() for item in cells if item]
    assert shown._violations.item(0, 1).text() == "constraint"
    assert [chart.isVisible() for chart in shown._charts] == [True, True, False]
    # The cable's red, and cyan around it, are in the picture.
    assert share(shown._picture, (220, 25, 25)) > 0.005
    assert share(shown._picture, (0, 255, 255)) > 0.0002


def test_curves_and_thresholds_are_painted_where_their_values_are(shown):
    values = {"constraint_probability": 0.25, "predicted_constraint_probability": 0.75}
    for _ in range(20):
        shown._clock.now += 0.9
        put(shown, status=status(**values))
    put(shown, parameters={"constraint_limit": 0.5})
    chart = shown._charts[0]
    image = pixels(chart).astype(int)
    height = image.shape[0]
    for colour, value in (((40, 110, 200), 0.25), ((220, 110, 20), 0.75), ((200, 30, 30), 0.5)):
        near = (np.abs(image - colour).max(axis=2) < 30)[25 : height - 18, 120:-12]
        line = 25 + np.median(np.nonzero(near)[0])
        expected = height - 16 - (height - 36) * value
        assert line == pytest.approx(expected, abs=3.0)


# ---- buttons


def test_one_click_stops_and_the_outcome_is_seen(shown):
    put(shown, status=status())
    button(shown, "E-STOP").click()
    assert shown.link.called == ["e_stop"]
    shown.redraw()
    assert "Emergency stop: asked ..." in texts(shown)
    put(shown, answer=("e_stop", True, "stopped"), status=status(3, ["emergency_stop"]))
    assert "Emergency stop: the monitor says STOPPED" in texts(shown)


def test_a_stop_without_a_service_is_an_alarm_and_its_button_says_so_before(shown):
    shown.redraw()
    assert button(shown, "E-STOP").isEnabled()
    shown.link.there = False
    button(shown, "E-STOP").click()
    shown.redraw()
    (line,) = [text for text in texts(shown) if "REFUSED" in text]
    assert "service is not there - use the robot's own emergency stop" in line
    shown.inbox.put_newest("services", {"e_stop": False, "reset": False})
    shown.redraw()
    assert not button(shown, "E-STOP").isEnabled()


def test_the_stop_stays_enabled_while_the_panel_is_stale(shown):
    put(shown, status=status())
    shown._clock.now += 60
    shown.redraw()
    assert "NO MONITOR" in texts(shown) and button(shown, "E-STOP").isEnabled()


def test_a_reset_takes_two_clicks_and_leaves_the_stop_free(shown):
    shown.redraw()
    button(shown, "Reset").click()
    assert shown.link.called == []
    button(shown, "E-STOP").click()
    button(shown, "Really reset?").click()
    assert shown.link.called == ["e_stop", "reset"]
    button(shown, "Reset").click()
    shown._confirming.timeout.emit()
    button(shown, "Reset").click()
    assert shown.link.called == ["e_stop", "reset"]


def test_a_snapshot_is_asked_of_the_black_box_where_there_is_one(shown):
    put(shown, status=status())
    button(shown, "Snapshot").click()
    assert shown.link.called == ["snapshot"]
    put(shown, answer=("snapshot", True, "wrote outputs/black_box/x.mcap"))
    assert "Snapshot: wrote outputs/black_box/x.mcap" in texts(shown)
    shown.link.there = False
    button(shown, "Snapshot").click()
    shown.redraw()
    assert "Snapshot REFUSED: the black box's service is not there" in texts(shown)
    shown.inbox.put_newest("services", {"e_stop": True, "reset": True})
    shown.redraw()
    assert not button(shown, "Snapshot").isEnabled() and button(shown, "E-STOP").isEnabled()


def test_a_picture_of_the_panel_is_saved(shown, tmp_path):
    put(shown, status=status(3, ["emergency_stop"]))
    button(shown, "Picture").click()
    for thread in shown._saving:
        thread.join()
    shown.redraw()
    (path,) = (tmp_path / "safe_skills").glob("panel_*.png")
    assert f"Picture: {path}" in texts(shown)
    image = QtGui.QImage(str(path))
    assert image.size() == shown.size()
    assert QtGui.QColor(image.pixel(shown._banner.geometry().center())).red() == 200


def test_a_picture_that_cannot_be_written_says_so(shown, tmp_path):
    (tmp_path / "safe_skills").write_text("a file where the folder should be")
    button(shown, "Picture").click()
    for thread in shown._saving:
        thread.join()
    shown.redraw()
    assert any(text.startswith("Picture: cannot write") for text in texts(shown))


# ---- another robot, faults, the end


def test_another_namespace_forgets_the_robot_before(shown):
    put(shown, status=status(), violation=violation())
    before = shown.link
    shown._field.setText("/left")
    shown._field.editingFinished.emit()
    assert before.closed and shown.link.namespace == shown.namespace == "/left"
    before.inbox.put("status", status())
    shown.redraw()
    assert "NO MONITOR" in texts(shown) and shown._violations.rowCount() == 0


def test_a_namespace_that_cannot_be_used_is_refused_in_one_line(shown):
    shown.set_namespace("no such")
    shown.redraw()
    assert "namespace 'no such' cannot be used: it has a blank" in texts(shown)
    assert "NO MONITOR" in texts(shown) and shown.link is None
    shown.stop()
    shown.redraw()
    assert any("REFUSED" in text for text in texts(shown))


def test_a_fault_of_the_panel_itself_is_not_green(shown, capsys):
    put(shown, status=status())
    put(shown, parameters=7)
    put(shown, parameters=7)
    assert "PANEL FAULT" in texts(shown) and share(shown._banner, GATE_COLOURS["OK"]) == 0
    assert capsys.readouterr().err.count("Traceback") == 1
    put(shown, status=status())
    assert "OK" in texts(shown)


def test_after_the_end_nothing_runs(application):
    made = PanelWidget(connect=Link)
    link = made.link
    made.close_panel()
    made.close_panel()
    assert link.closed and made.link is None and not made._timer.isActive()
    redraws = made.redraws
    application.processEvents()
    assert made.redraws == redraws


def test_redraws_go_on_at_four_times_the_usual_rates(application):
    """A writer that never pauses longer than at four times a graph's rates; redraws are counted."""
    made = PanelWidget(connect=Link)
    made.show()
    ended, sent = threading.Event(), [0]

    def write():
        inbox = made.inbox
        picture = frame(size=256)
        inbox.put("parameters", {"mask": MaskConfig(), "camera_span": 0.25})
        while not ended.wait(0.025):  # a camera of 40 Hz, four times the simulator's
            sent[0] += 1
            inbox.put("image", None)
            inbox.put_newest("picture", picture)
            inbox.put_newest("position", np.zeros(2))
            inbox.put("plan", plan())
            inbox.put("status", status(sent[0] % 3, commands_received=sent[0]))
            inbox.put("violation", violation(f"kind_{sent[0] % 9}"))
            inbox.put("diagnostics", diagnostics(*[(f"n{k}: t", 0, "ok") for k in range(8)]))

    writer = threading.Thread(target=write)
    writer.start()
    patience = time.monotonic() + 60
    while made.redraws < 25 and time.monotonic() < patience:
        application.processEvents(QtCore.QEventLoop.AllEvents, 50)
    ended.set()
    writer.join()
    made.redraw()
    assert made.redraws > 25 and made.inbox.dropped == 0
    assert f"asked <b>{sent[0]}</b>" in " ".join(texts(made))
    assert made._violations.rowCount() == min(sent[0], 200)
    made.close_panel()
    made.close()


# ---- painting


POINTS = arrays(
    float,
    st.tuples(st.integers(0, 80), st.just(2)),
    elements=st.floats(-30.0, 0.0) | st.just(float("nan")),
)


@given(points=POINTS)
def test_parts_of_a_curve_are_all_that_is_known_in_order(points):
    points = points[np.isfinite(points[:, 0])]
    points = points[np.argsort(points[:, 0], kind="stable")]
    parts = runs(points)
    known = points[np.isfinite(points[:, 1])]
    np.testing.assert_array_equal(np.vstack([*parts, np.empty((0, 2))]), known)
    for part in parts:
        assert len(part) and (np.diff(part[:, 0]) <= 1.5).all()


@given(values=st.lists(st.floats(-1.0, 2.0), min_size=1, max_size=500), columns=st.integers(1, 40))
def test_a_thinned_curve_keeps_its_peaks_and_is_short(values, columns):
    points = np.stack((np.linspace(-30, 0, len(values)), values), axis=1)
    kept = thinned(points, columns)
    assert len(kept) <= 2 * columns or len(kept) == len(points)
    assert (kept[:, 1].max(), kept[:, 1].min()) == (max(values), min(values))
    assert (np.diff(kept[:, 0]) >= 0).all()


def test_the_panel_redraws_ten_times_a_second():
    assert panel.PERIOD_MS == 100
