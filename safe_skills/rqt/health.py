"""What nodes say of themselves on /diagnostics, a node one line. Bounded, whoever publishes."""

from collections.abc import Iterable
from dataclasses import dataclass, field

SILENT = 3.0
"""Age at which diagnostics, one a second, have fallen silent [s]."""

NODES = 64
TASKS = 32

LEVELS = ("OK", "WARN", "ERROR", "STALE")


@dataclass
class _Node:
    received: float
    tasks: dict[str, tuple[int, str]] = field(default_factory=dict)


class Health:
    """Keeps the newest status of every task of every node.

    Args:
        prefix: Namespace whose nodes count, without slashes at its ends; empty: all without one.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = f"{prefix}/" if prefix else ""
        self._nodes: dict[str, _Node] = {}

    def note(self, now: float, statuses: Iterable[tuple[str, int, str]]) -> None:
        """Take statuses: `node: task`, level, message. Those of other namespaces are left out."""
        for name, level, message in statuses:
            node, colon, task = name.partition(": ")
            inside = node.startswith(self._prefix)
            node = node[len(self._prefix) :]
            if not (colon and inside) or "/" in node:
                continue
            if node not in self._nodes and len(self._nodes) >= NODES:
                continue
            known = self._nodes.setdefault(node, _Node(now))
            known.received = now
            if task in known.tasks or len(known.tasks) < TASKS:
                known.tasks[task] = (level, message)

    def names(self) -> list[str]:
        """Return the nodes, in the order in which they were heard of."""
        return list(self._nodes)

    def of(self, node: str, now: float) -> tuple[str, str] | None:
        """Return a node's level and message: those of its worst task; None: never heard of it."""
        if node not in self._nodes:
            return None
        known = self._nodes[node]
        age = now - known.received
        if age > SILENT:
            return "STALE", f"silent for {age:.0f} s"
        level, message = max(known.tasks.values(), key=lambda task: task[0])
        return LEVELS[min(level, 3)], message if level else ""
