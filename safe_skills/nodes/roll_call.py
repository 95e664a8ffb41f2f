"""Waiting, with patience, until everyone who should be there is."""

import time
from collections.abc import Callable, Iterable

from rclpy.node import Node

from safe_skills.nodes.parameters import Param

SOURCES = Param(
    "",
    "Nodes, separated by commas, that are to be found before `episode` is listened to, so that "
    "their first words are recorded, too; waits 15 s at most.",
)

SOURCES_PATIENCE = 15.0
"""Seconds that a recorder looks for its sources; a simulator waits longer for the recorder."""


def names_in(text: str) -> frozenset[str]:
    """The names of a parameter that lists them, separated by commas."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


class RollCall:
    """Whether all of some nodes are there, or have been waited for long enough.

    Participants of DDS find each other pair by pair, and where an announcement is lost it is
    seconds before the next: that one node talks to a second says nothing about a third.

    Args:
        names: of nodes.
        present: the names that are there now.
        patience: seconds after which it is complete without the rest.
        give_up: called once with the names of those, if any.
    """

    def __init__(
        self,
        names: Iterable[str],
        present: Callable[[], Iterable[str]],
        patience: float,
        give_up: Callable[[list[str]], None],
    ) -> None:
        self._missing = set(names)
        self._present, self._give_up = present, give_up
        self._deadline = time.monotonic() + patience

    def complete(self) -> bool:
        """Whether the wait is over; once true, it stays so."""
        if not self._missing:
            return True
        self._missing.difference_update(self._present())
        if self._missing and time.monotonic() >= self._deadline:
            missing, self._missing = sorted(self._missing), set()
            self._give_up(missing)
        return not self._missing


def sources_of(node: Node, names: str) -> RollCall:
    """The roll call of the nodes that `node` records, which it knows of once DDS has found them."""

    def give_up(missing: list[str]) -> None:
        node.get_logger().warning(f"not found yet: {', '.join(missing)}; recorded once it is")

    def present() -> list[str]:
        # Another robot's nodes have the same names, in another namespace.
        found, own = node.get_node_names_and_namespaces(), node.get_namespace()
        return [name for name, namespace in found if namespace == own]

    return RollCall(names_in(names), present, SOURCES_PATIENCE, give_up)
