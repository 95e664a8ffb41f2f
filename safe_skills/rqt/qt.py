"""Qt as rqt chose it; PyQt5 itself where there is no rqt, as in an environment made by pip."""

try:
    from python_qt_binding import QtCore, QtGui, QtWidgets
except ImportError:
    from PyQt5 import QtCore, QtGui, QtWidgets

__all__ = ["QtCore", "QtGui", "QtWidgets"]
