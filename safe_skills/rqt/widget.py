"""The safety panel as a Qt widget: redraws ten times a second from the newest messages."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from safe_skills.rqt.inbox import Inbox
from safe_skills.rqt.link import PanelLink
from safe_skills.rqt.painting import ChartWidget, PictureWidget, TimelineWidget
from safe_skills.rqt.panel_model import NO_MONITOR, SECONDS, PanelModel
from safe_skills.rqt.qt import QtCore, QtGui, QtWidgets
from safe_skills.rqt.tables import NodeTable, ViolationTable
from safe_skills.rqt.view import Headline, Outcome, View

PERIOD_MS = 100
"""Time between two redraws [ms]."""

CONFIRM_MS = 3000
"""Time in which a reset must be confirmed [ms]."""

STOP_STYLE = """
QPushButton { background: #c81e1e; color: white; font-size: 22px; font-weight: bold;
              border: 3px solid #7d0f0f; border-radius: 8px; padding: 10px 26px; }
QPushButton:pressed { background: #7d0f0f; }
QPushButton:disabled { background: #8a7373; color: #dddddd; border-color: #6b5a5a; }
"""
SPACE = " &nbsp; "
OUTCOME_STYLE = {True: "color: #1e7a3c;", False: "color: #b01414;", None: ""}


def picture_folder() -> Path:
    """Folder of the pictures: `$ROS_HOME/safe_skills`, by default `~/.ros/safe_skills`."""
    return Path(os.environ.get("ROS_HOME") or Path.home() / ".ros") / "safe_skills"


def guarded(slot: Callable[..., None]) -> Callable[..., None]:
    """An exception in a slot would end the process, and with it the whole of rqt: show it."""

    @wraps(slot)
    def run(self: PanelWidget) -> None:
        try:
            slot(self)
        except Exception as error:
            self.show_fault(error)

    return run


class PanelWidget(QtWidgets.QWidget):
    """The panel: state, curves, picture, violations, nodes and the buttons.

    ROS callbacks only fill an inbox, in the link's thread; a timer of Qt takes all of it and
    redraws. `close_panel` must be called before the widget goes.

    Args:
        namespace: Of the robot to begin with.
        connect: Makes the link to a namespace; raises `ValueError` for one that cannot be used.
        clock: Monotonic seconds.

    Attributes:
        redraws: Number of redraws so far.
        link: To the graph; None where the namespace cannot be used.
    """

    def __init__(
        self,
        namespace: str = "",
        connect: Callable[[str, Inbox], Any] = PanelLink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.setObjectName("SafetyPanel")
        self.setWindowTitle("Safety panel")
        self.redraws = 0
        self.link: Any = None
        self._connect, self._clock = connect, clock
        self._shown: dict[str, Any] = {}
        self._saving: list[threading.Thread] = []
        self._build()
        self.set_namespace(namespace)
        self._timer = QtCore.QTimer(self)
        self._timer.setTimerType(QtCore.Qt.PreciseTimer)
        self._timer.timeout.connect(self.redraw)
        self._timer.start(PERIOD_MS)

    @property
    def namespace(self) -> str:
        """The robot's namespace, as shown."""
        return self._namespace

    def set_namespace(self, namespace: str) -> None:
        """Watch another robot: everything known of the last one is forgotten."""
        self._namespace = namespace.strip()
        self._field.setText(self._namespace)
        if self.link is not None:
            self.link.close()
            self.link = None
        self.inbox = Inbox(clock=self._clock)
        self.model = PanelModel(self._namespace)
        self._shown.clear()
        self._disarm()
        try:
            self.link = self._connect(self._namespace, self.inbox)
        except ValueError as error:
            self.inbox.put("note", (str(error), False))

    def close_panel(self) -> None:
        """Stop redrawing and leave the graph; nothing of the panel runs afterwards."""
        self._timer.stop()
        self._confirming.stop()
        if self.link is not None:
            self.link.close()
            self.link = None
        for thread in self._saving:
            thread.join()

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802
        """Return the size at which everything is read well."""
        return QtCore.QSize(1180, 820)

    # ---- slots

    @guarded
    def redraw(self) -> None:
        """Take everything that has come and show what it comes to."""
        for item in self.inbox.drain():
            self.model.take(item)
        self.model.dropped = self.inbox.dropped
        self.show_view(self.model.view(self._clock()))
        self.redraws += 1

    @guarded
    def stop(self) -> None:
        """Call the emergency stop."""
        self._call("e_stop")

    @guarded
    def reset(self) -> None:
        """Ask for confirmation with the first click, reset with the second.

        There is no dialog: it would lie in front of the emergency stop.
        """
        if not self._confirming.isActive():
            self._reset.setText("Really reset?")
            self._confirming.start(CONFIRM_MS)
            return
        self._disarm()
        self._call("reset")

    @guarded
    def snapshot(self) -> None:
        """Have the black box write what it remembers."""
        self._call("snapshot")

    @guarded
    def save_picture(self) -> None:
        """Save a picture of the panel; writing it is left to a thread."""
        picture = self.grab().toImage()
        path = picture_folder() / time.strftime("panel_%Y%m%d_%H%M%S.png")
        thread = threading.Thread(target=_save, args=(picture, path, self.inbox), daemon=True)
        self._saving = [waiting for waiting in self._saving if waiting.is_alive()] + [thread]
        thread.start()

    @guarded
    def _namespace_entered(self) -> None:
        if self._field.text().strip() != self._namespace:
            self.set_namespace(self._field.text())

    @guarded
    def _disarm(self) -> None:
        self._confirming.stop()
        self._reset.setText("Reset")

    def _call(self, verb: str) -> None:
        now = self._clock()
        self.model.buttons.asked(now, verb)
        if self.link is None or not self.link.call(verb):
            whose = "black box" if verb == "snapshot" else "monitor"
            self.model.buttons.answered(now, verb, False, f"the {whose}'s service is not there")

    # ---- showing

    def show_fault(self, error: Exception) -> None:
        """Show that the panel itself failed: what it showed before may be wrong."""
        line = f"{type(error).__name__}: {error}"
        if self._changed("fault", line):
            traceback.print_exception(error)
        self._show_headline(Headline("PANEL FAULT", line, "see the terminal", NO_MONITOR))

    def show_view(self, view: View) -> None:
        """Bring the widgets up to date; what has not changed is left alone."""
        self._show_headline(view.headline)
        for chart, widget in zip(view.charts, self._charts, strict=False):
            widget.show_chart(chart)
        for number, widget in enumerate(self._charts):
            widget.setVisible(number < len(view.charts))
        self._timeline.show_spans(view.timeline)
        if self._changed("picture", (view.picture is None, view.picture_version)):
            self._picture.show_picture(view.picture)
        self._set_text(self._picture_note, view.picture_note)
        counted = SPACE.join(f"{name} <b>{number}</b>" for name, number in view.counters)
        self._set_text(self._counters, counted)
        causes = SPACE.join(f"{kind} <b>{number}</b>" for kind, number in view.causes[:8])
        self._set_text(self._causes, causes or "none")
        if self._changed("violations", view.violations_version):
            self._violations.show_rows(view.violations)
        if self._changed("nodes", view.nodes):
            self._nodes.show_rows(view.nodes)
        self._show_outcome(view)
        self._stop.setEnabled(view.can_stop)
        self._reset.setEnabled(view.can_reset)
        self._snapshot.setEnabled(view.can_snapshot)

    def _show_headline(self, headline: Headline) -> None:
        if not self._changed("headline", headline):
            return
        red, green, blue = headline.colour
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 130
        ink = "black" if bright else "white"
        self._banner.setStyleSheet(
            f"#banner {{ background: rgb{headline.colour}; border-radius: 8px; }}"
            f"#banner QLabel {{ color: {ink}; background: transparent; }}"
        )
        self._state.setText(headline.state)
        self._why.setText(headline.reason)
        self._why.setVisible(bool(headline.reason))
        self._detail.setText(headline.detail)

    def _show_outcome(self, view: View) -> None:
        outcome = view.outcome
        if view.dropped and not outcome.text:
            outcome = Outcome(f"{view.dropped} messages came too fast to be shown", False)
        if self._changed("outcome", outcome):
            self._outcome.setStyleSheet(f"font-weight: bold; {OUTCOME_STYLE[outcome.good]}")
            self._outcome.setText(outcome.text)

    def _set_text(self, label: QtWidgets.QLabel, text: str) -> None:
        if label.text() != text:
            label.setText(text)

    def _changed(self, name: str, value: Any) -> bool:
        changed = name not in self._shown or self._shown[name] != value
        self._shown[name] = value
        return changed

    # ---- building

    def _build(self) -> None:
        self._confirming = QtCore.QTimer(self)
        self._confirming.setSingleShot(True)
        self._confirming.timeout.connect(self._disarm)
        font = self.font()
        font.setPixelSize(12)
        self.setFont(font)
        # rqt makes a dock as large as that; in less, what must be seen would be cut off.
        self.setMinimumSize(900, 660)
        middle = QtWidgets.QHBoxLayout()
        middle.addLayout(self._build_picture(), 4)
        middle.addLayout(self._build_charts(), 5)
        bottom = QtWidgets.QHBoxLayout()
        bottom.addLayout(self._build_violations(), 5)
        bottom.addLayout(self._build_nodes(), 6)
        whole = QtWidgets.QVBoxLayout(self)
        whole.addLayout(self._build_top())
        whole.addLayout(self._build_bar())
        whole.addLayout(middle, 5)
        whole.addLayout(bottom, 4)

    def _build_top(self) -> QtWidgets.QLayout:
        self._banner = QtWidgets.QFrame()
        self._banner.setObjectName("banner")
        self._state, self._why, self._detail = (_label(size) for size in (40, 20, 12))
        self._state.setStyleSheet("font-weight: bold;")
        self._state.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self._state.setWordWrap(False)
        words = QtWidgets.QVBoxLayout()
        words.addWidget(self._why)
        words.addWidget(self._detail)
        inside = QtWidgets.QHBoxLayout(self._banner)
        inside.setContentsMargins(18, 6, 18, 6)
        inside.addWidget(self._state)
        inside.addSpacing(16)
        inside.addLayout(words, 1)
        self._stop = QtWidgets.QPushButton("E-STOP")
        self._stop.setStyleSheet(STOP_STYLE)
        self._stop.setToolTip("Nothing passes the monitor any more until it is reset")
        self._stop.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Expanding)
        self._stop.clicked.connect(self.stop)
        top = QtWidgets.QHBoxLayout()
        top.addWidget(self._banner, 1)
        top.addWidget(self._stop)
        return top

    def _build_bar(self) -> QtWidgets.QLayout:
        self._field = QtWidgets.QLineEdit()
        self._field.setPlaceholderText("none")
        self._field.setMaximumWidth(140)
        self._field.setToolTip("The robot's namespace, for example /left; Enter takes it up")
        self._field.editingFinished.connect(self._namespace_entered)
        self._outcome = _label()
        self._reset = QtWidgets.QPushButton("Reset")
        self._reset.setToolTip("Releases the emergency stop; asks again")
        self._reset.setMinimumWidth(110)
        self._reset.clicked.connect(self.reset)
        self._snapshot = QtWidgets.QPushButton("Snapshot")
        self._snapshot.setToolTip(
            "Has the black box write the last seconds of all topics to a file"
        )
        self._snapshot.clicked.connect(self.snapshot)
        save = QtWidgets.QPushButton("Picture")
        save.setToolTip(f"Saves a picture of the panel in {picture_folder()}")
        save.clicked.connect(self.save_picture)
        bar = QtWidgets.QHBoxLayout()
        bar.addWidget(QtWidgets.QLabel("Namespace"))
        bar.addWidget(self._field)
        bar.addSpacing(12)
        bar.addWidget(self._outcome, 1)
        bar.addWidget(self._reset)
        bar.addWidget(self._snapshot)
        bar.addWidget(save)
        return bar

    def _build_picture(self) -> QtWidgets.QLayout:
        self._picture = PictureWidget()
        self._picture_note = _label(11)
        column = QtWidgets.QVBoxLayout()
        column.addWidget(self._picture, 1)
        column.addWidget(self._picture_note)
        return column

    def _build_charts(self) -> QtWidgets.QLayout:
        self._timeline = TimelineWidget(SECONDS)
        self._charts = [ChartWidget(SECONDS) for _ in range(3)]
        column = QtWidgets.QVBoxLayout()
        for chart in self._charts:
            column.addWidget(chart, 1)
        column.addWidget(self._timeline)
        return column

    def _build_violations(self) -> QtWidgets.QLayout:
        self._counters, self._causes = _label(11), _label(11)
        self._violations = ViolationTable()
        column = QtWidgets.QVBoxLayout()
        column.addWidget(_heading("Commands"))
        column.addWidget(self._counters)
        column.addWidget(_heading("Reasons since the monitor's start"))
        column.addWidget(self._causes)
        column.addWidget(self._violations, 1)
        return column

    def _build_nodes(self) -> QtWidgets.QLayout:
        self._nodes = NodeTable()
        column = QtWidgets.QVBoxLayout()
        column.addWidget(_heading("Nodes"))
        column.addWidget(self._nodes, 1)
        return column


def _label(size: int = 0) -> QtWidgets.QLabel:
    label = QtWidgets.QLabel()
    # A long text must not widen the window, nor push the emergency stop out of it.
    label.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Preferred)
    label.setWordWrap(True)
    if size:
        font = label.font()
        font.setPixelSize(size)
        label.setFont(font)
    return label


def _heading(text: str) -> QtWidgets.QLabel:
    return QtWidgets.QLabel(f"<b>{text}</b>")


def _save(picture: QtGui.QImage, path: Path, inbox: Inbox) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        saved = picture.save(str(path))
        note = (f"Picture: {path}", True) if saved else (f"Picture: cannot write {path}", False)
    except OSError as error:
        note = (f"Picture: cannot write {path}: {error.strerror}", False)
    inbox.put("note", note)
