"""The safety panel in a window of its own, without rqt: `python -m safe_skills.rqt`."""

import argparse
import sys

import rclpy
from rclpy.signals import SignalHandlerOptions

from safe_skills.nodes.spinning import StopSignal

PULSE_MS = 200


def main() -> int:
    """Show the panel until its window is closed or the process is told to end."""
    parser = argparse.ArgumentParser(prog="python -m safe_skills.rqt", description=__doc__)
    parser.add_argument("--namespace", default="", help="namespace of the robot, such as /left")
    arguments, others = parser.parse_known_args()
    try:
        from safe_skills.rqt.qt import QtCore, QtWidgets
    except ImportError:
        sys.exit("error: there is no Qt here: install rqt, or PyQt5 with: pip install -e '.[rqt]'")
    from safe_skills.rqt.widget import PanelWidget

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    application = QtWidgets.QApplication([parser.prog, *others])
    widget = PanelWidget(arguments.namespace)
    try:
        with StopSignal() as stop:
            widget.show()
            # Python sees a signal when it runs next: Qt's loop alone would sleep through it.
            pulse = QtCore.QTimer()
            pulse.timeout.connect(lambda: application.quit() if stop() else None)
            pulse.start(PULSE_MS)
            application.exec_()
    finally:
        widget.close_panel()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
