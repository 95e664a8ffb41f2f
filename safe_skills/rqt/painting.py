"""Widgets that paint: charts of curves, the strip of states, the camera picture.

Painted by hand because they must be redrawn ten times a second beside a busy graph: a canvas of
Matplotlib takes most of that time for itself.
"""

from __future__ import annotations

import numpy as np

from safe_skills.rqt.qt import QtCore, QtGui, QtWidgets
from safe_skills.rqt.view import Chart, Colour, Span

MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 34, 8, 20, 16
GAP = 1.5
"""Seconds without a value after which a curve is interrupted and has no present value."""


def runs(points: np.ndarray, gap: float = GAP) -> list[np.ndarray]:
    """Returns the parts of a curve, (n, 2) each, between silences longer than `gap` [s].

    Values that are not known (NaN) are left out: in silence the monitor predicts nothing, and a
    curve that is broken for a tenth of a second is hard to read.
    """
    points = points[np.isfinite(points).all(axis=1)]
    breaks = np.flatnonzero(np.diff(points[:, 0]) > gap) + 1
    return [part for part in np.split(points, breaks) if len(part)]


def thinned(points: np.ndarray, columns: int) -> np.ndarray:
    """Returns the points that matter on `columns` pixels: the least and greatest of each, (n, 2).

    Peaks stay, however many points share a pixel.
    """
    if len(points) <= 2 * columns:
        return points
    keep = []
    for part in np.array_split(np.arange(len(points)), columns):
        values = points[part, 1]
        keep += sorted({part[values.argmin()], part[values.argmax()]})
    return points[keep]


def colour(rgb: Colour) -> QtGui.QColor:
    """Returns a colour of Qt."""
    return QtGui.QColor(*rgb)


class ChartWidget(QtWidgets.QWidget):
    """Draws a `Chart` over the last `seconds`."""

    def __init__(self, seconds: float, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._seconds = seconds
        self._chart: Chart | None = None
        self.setMinimumSize(260, 110)

    def show_chart(self, chart: Chart) -> None:
        """Show this from the next paint on."""
        self._chart = chart
        self.update()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:  # noqa: N802
        """Paint axes, thresholds, curves and their newest values."""
        if self._chart is None:
            return
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        font = self.font()
        font.setPixelSize(11)
        painter.setFont(font)
        area = QtCore.QRectF(self.rect()).adjusted(
            MARGIN_LEFT, MARGIN_TOP, -MARGIN_RIGHT, -MARGIN_BOTTOM
        )
        painter.fillRect(area, QtCore.Qt.white)
        self._axes(painter, area)
        for threshold in self._chart.thresholds:
            self._threshold(painter, area, threshold)
        for curve in self._chart.curves:
            painter.setPen(QtGui.QPen(colour(curve.colour), 1.0))
            for part in runs(curve.points):
                self._line(painter, area, part)
        self._legend(painter, area)
        painter.end()

    def _x(self, area: QtCore.QRectF, seconds: float) -> float:
        return area.right() + area.width() * seconds / self._seconds

    def _y(self, area: QtCore.QRectF, value: float) -> float:
        share = min(max(value / self._chart.top, 0.0), 1.0)
        return area.bottom() - area.height() * share

    def _axes(self, painter: QtGui.QPainter, area: QtCore.QRectF) -> None:
        grey, text = QtGui.QColor(222, 222, 222), self.palette().windowText().color()
        for value in (0.0, 0.5, 1.0):
            y = self._y(area, value)
            painter.setPen(grey)
            painter.drawLine(QtCore.QPointF(area.left(), y), QtCore.QPointF(area.right(), y))
            painter.setPen(text)
            box = QtCore.QRectF(0, y - 8, MARGIN_LEFT - 5, 16)
            painter.drawText(box, QtCore.Qt.AlignRight | QtCore.Qt.AlignVCenter, f"{value:g}")
        for seconds in np.arange(-self._seconds, 1.0, 10.0):
            x = self._x(area, seconds)
            painter.setPen(grey)
            painter.drawLine(QtCore.QPointF(x, area.top()), QtCore.QPointF(x, area.bottom()))
            painter.setPen(text)
            label = "now" if seconds == 0 else f"{seconds:g} s"
            side = QtCore.Qt.AlignRight if seconds == 0 else QtCore.Qt.AlignHCenter
            box = QtCore.QRectF(x - (40 if seconds == 0 else 20), area.bottom() + 1, 40, 15)
            painter.drawText(box, side | QtCore.Qt.AlignTop, label)

    def _threshold(self, painter: QtGui.QPainter, area: QtCore.QRectF, threshold) -> None:
        y = int(self._y(area, threshold.value)) + 0.5  # in the middle of a pixel: a crisp line
        painter.setPen(QtGui.QPen(colour(threshold.colour), 1.4, QtCore.Qt.DashLine))
        painter.drawLine(QtCore.QPointF(area.left(), y), QtCore.QPointF(area.right(), y))
        box = QtCore.QRectF(area.left() + 4, y - 15, area.width(), 14)
        painter.drawText(box, QtCore.Qt.AlignLeft, f"{threshold.name} {threshold.value:.3g}")

    def _line(self, painter: QtGui.QPainter, area: QtCore.QRectF, points: np.ndarray) -> None:
        points = thinned(points, max(1, int(area.width()) // 2))
        across = area.right() + area.width() * points[:, 0] / self._seconds
        shares = np.clip(points[:, 1] / self._chart.top, 0.0, 1.0)
        up = area.bottom() - area.height() * shares
        line = QtGui.QPolygonF(list(map(QtCore.QPointF, across.tolist(), up.tolist())))
        if len(points) == 1:
            painter.drawEllipse(line[0], 1.5, 1.5)
            return
        # Two lines one pixel wide: Qt takes a hundred times as long for one of two pixels.
        painter.drawPolyline(line)
        painter.drawPolyline(line.translated(0.0, 0.7))

    def _legend(self, painter: QtGui.QPainter, area: QtCore.QRectF) -> None:
        font = painter.font()
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(self.palette().windowText().color())
        painter.drawText(QtCore.QPointF(area.left(), MARGIN_TOP - 6), self._chart.title)
        right = area.right()
        for curve in reversed(self._chart.curves):
            known = curve.points[np.isfinite(curve.points[:, 1])]
            current = len(known) and known[-1, 0] > -GAP
            text = f"{curve.name} {known[-1, 1]:.3f}" if current else f"{curve.name} -"
            right -= painter.fontMetrics().horizontalAdvance(text)
            painter.setPen(colour(curve.colour))
            painter.drawText(QtCore.QPointF(right, MARGIN_TOP - 6), text)
            right -= 12


class TimelineWidget(QtWidgets.QWidget):
    """A strip of the states of the last `seconds`, above the charts' time axis."""

    def __init__(self, seconds: float, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._seconds = seconds
        self._spans: tuple[Span, ...] = ()
        self.setFixedHeight(14)
        self.setToolTip("The monitor's states; hatched: no monitor")

    def show_spans(self, spans: tuple[Span, ...]) -> None:
        """Show these from the next paint on."""
        self._spans = spans
        self.update()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:  # noqa: N802
        """Paint the strip."""
        painter = QtGui.QPainter(self)
        area = QtCore.QRectF(self.rect()).adjusted(MARGIN_LEFT, 0, -MARGIN_RIGHT, 0)
        painter.fillRect(area, QtGui.QBrush(QtCore.Qt.gray, QtCore.Qt.BDiagPattern))
        for span in self._spans:
            left = max(area.left(), area.right() + area.width() * span.begin / self._seconds)
            right = area.right() + area.width() * span.end / self._seconds
            painter.fillRect(
                QtCore.QRectF(left, area.top(), max(1.0, right - left), area.height()),
                colour(span.colour),
            )
        painter.end()


class PictureWidget(QtWidgets.QWidget):
    """The camera picture, as large as fits, its sides kept in proportion."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._image: QtGui.QImage | None = None
        self.setMinimumSize(240, 240)

    def show_picture(self, picture: np.ndarray | None) -> None:
        """Show an (h, w, 3) uint8 RGB array from the next paint on; None: nothing."""
        self._image = None
        if picture is not None:
            height, width, _ = picture.shape
            shown = QtGui.QImage(
                picture.tobytes(), width, height, 3 * width, QtGui.QImage.Format_RGB888
            )
            self._image = shown.copy()  # Qt does not keep the bytes alive
        self.update()

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:  # noqa: N802
        """Paint the picture, or that there is none."""
        painter = QtGui.QPainter(self)
        area = self.rect()
        if self._image is None:
            painter.fillRect(area, QtGui.QColor(90, 90, 90))
            painter.setPen(QtCore.Qt.white)
            painter.drawText(area, QtCore.Qt.AlignCenter, "no camera image")
        else:
            size = self._image.size().scaled(area.size(), QtCore.Qt.KeepAspectRatio)
            target = QtCore.QRect(QtCore.QPoint(0, 0), size)
            target.moveCenter(area.center())
            painter.drawImage(target, self._image)
        painter.end()
