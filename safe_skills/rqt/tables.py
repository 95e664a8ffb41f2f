"""The panel's two tables: violations and nodes."""

from __future__ import annotations

from collections.abc import Sequence

from safe_skills.rqt.painting import colour
from safe_skills.rqt.qt import QtGui, QtWidgets
from safe_skills.rqt.view import Colour, NodeRow, ViolationRow


class _Table(QtWidgets.QTableWidget):
    """A table to look at: cells are made once and changed where their text does."""

    def __init__(self, columns: Sequence[str], wide: int) -> None:
        super().__init__(0, len(columns))
        self.setHorizontalHeaderLabels(columns)
        self.verticalHeader().hide()
        self.verticalHeader().setMinimumSectionSize(18)
        self.verticalHeader().setDefaultSectionSize(19)
        self.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)
        self.setSelectionMode(QtWidgets.QAbstractItemView.NoSelection)
        self.setMinimumHeight(120)
        font = self.font()
        font.setPixelSize(11)
        self.setFont(font)
        header = self.horizontalHeader()
        header.setFont(font)
        header.setMinimumSectionSize(30)
        for column in range(len(columns)):
            header.setSectionResizeMode(column, QtWidgets.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(wide, QtWidgets.QHeaderView.Stretch)

    def fill(self, row: int, texts: Sequence[str], ink: Colour | None = None) -> None:
        """Write a row; `ink` colours it."""
        for column, text in enumerate(texts):
            item = self.item(row, column)
            if item is None:
                item = QtWidgets.QTableWidgetItem()
                self.setItem(row, column, item)
            if item.text() != text:
                item.setText(text)
                item.setToolTip(text)
            brush = QtGui.QBrush() if ink is None else QtGui.QBrush(colour(ink))
            if item.foreground() != brush:
                item.setForeground(brush)


class ViolationTable(_Table):
    """Violations, the newest on top."""

    def __init__(self) -> None:
        super().__init__(("time", "violation", "seen", "allowed", "asked by"), wide=1)

    def show_rows(self, rows: Sequence[ViolationRow]) -> None:
        """Show these."""
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            self.fill(number, (row.time, row.kind, row.value, row.limit, row.source))


class NodeTable(_Table):
    """Nodes with health, rate, own time and age."""

    def __init__(self) -> None:
        columns = ("node", "health", "rate [Hz]", "time p50 / p95 [ms]", "age")
        super().__init__(columns, wide=1)

    def show_rows(self, rows: Sequence[NodeRow]) -> None:
        """Show these."""
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            self.fill(number, (row.name, row.health, row.rate, row.own_time, row.age), row.colour)
