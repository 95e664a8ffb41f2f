"""How the nodes of a process are spun, and how a signal ends that in good order."""

import signal
from collections.abc import Callable

from rclpy.context import Context
from rclpy.executors import Executor, SingleThreadedExecutor


def make_executor(context: Context | None = None) -> Executor:
    """Return a single-threaded executor, the quickest there is, of the default context or another.

    The EventsExecutor does in C++ what the SingleThreadedExecutor does in Python for every message:
    a hop through a node takes well under a millisecond instead of two to three. It came to rclpy
    after Jazzy.
    """
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def spin_until(executor: Executor, stopped: Callable[[], bool], patience: float = 0.1) -> None:
    """Spin until `stopped()`, asked after every callback or `patience` seconds."""
    while not stopped():
        executor.spin_once(timeout_sec=patience)


class StopSignal:
    """Turns SIGINT and SIGTERM into a flag, so that callbacks end before the process does."""

    def __init__(self) -> None:
        self.caught = 0

    def __enter__(self) -> "StopSignal":
        """Install the handlers."""
        self._before = {s: signal.signal(s, self._catch) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """Put back what was installed before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether a signal came."""
        return self.caught != 0

    def _catch(self, number: int, _frame: object) -> None:
        self.caught = number
