"""What a system is made of: options that a user may choose, and nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

DISCOVERY = "ROS_AUTOMATIC_DISCOVERY_RANGE"
"""Environment variable: where nodes look for each other; this host alone, unless opened."""


@dataclass(frozen=True)
class Option:
    """Something a user may choose when a system is started.

    Attributes:
        name: as in `name:=value` of a launch file and `--name value` of the command.
        default: as text.
        help: one sentence.
        choices: the only values allowed, if there are such.
        kind: type of the value, str or int.
        pattern: regular expression that the text must match as a whole, if there is one.
        form: what the pattern asks for, in words.
    """

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()
    kind: type = str
    pattern: str = ""
    form: str = ""

    def parse(self, text: str) -> Any:
        """Returns the value of a text; ValueError says in one line what was expected."""
        if self.choices and text not in self.choices:
            raise ValueError(f"{self.name}: expected {' or '.join(self.choices)}, got {text!r}")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise ValueError(f"{self.name}: expected {self.form}, got {text!r}")
        if self.kind is not int:
            return text
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{self.name}: expected a whole number, got {text!r}") from None
        if value < 0:
            raise ValueError(f"{self.name}: expected 0 or more, got {value}")
        return value


@dataclass(frozen=True)
class NodeSpec:
    """One node of a system.

    Attributes:
        executable: module under `safe_skills.nodes`, and executable of the package.
        parameters: by name; they win over the configuration file.
        group: nodes of one group share a thread where the system runs in one process: no plan,
            however long, delays the gate, and the world goes on meanwhile.
        ends_run: whether the system ends when this node does; the others are started again.
        remappings: (from, to) topic names.
        node: name of the node in the graph, where it is not that of the executable: who stops a
            robot by `safety_monitor/e_stop` need not know which monitor it is.
        namespace: of the node and its topics; empty: the root.
    """

    executable: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    group: str = "world"
    ends_run: bool = False
    remappings: tuple[tuple[str, str], ...] = ()
    node: str = ""
    namespace: str = ""

    @property
    def name(self) -> str:
        """Name of the node in the graph."""
        return self.node or self.executable


@dataclass(frozen=True)
class System:
    """A graph of nodes that does a task.

    Attributes:
        name: of the launch file and for `safe-skills run`.
        summary: one sentence.
        config: its parameter file under `config/`.
        options: what a user may choose.
        build: turns the options' values into nodes, in the order in which they should start.
    """

    name: str
    summary: str
    config: str
    options: tuple[Option, ...]
    build: Callable[[Mapping[str, Any]], tuple[NodeSpec, ...]]

    def values(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Returns every option's value.

        Args:
            given: texts by option name; defaults stand in for the others.

        Raises:
            ValueError: an unknown option or a value that is not allowed, in one line.
        """
        known = {option.name: option for option in self.options}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(
                f"unknown option {', '.join(unknown)}; {self.name} knows {', '.join(known)}"
            )
        return {
            name: option.parse(given.get(name, option.default)) for name, option in known.items()
        }

    def nodes(self, given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
        """Returns the nodes for some options; raises as `values` does."""
        values = self.values(given)
        namespace = values["namespace"]
        return tuple(replace(spec, namespace=namespace) for spec in self.build(values))


LAUNCH_OPTIONS = (
    Option("rqt", "false", "Open the safety panel, where rqt is installed.", ("false", "true")),
)
"""What launch files have besides their system's options: `safe-skills run` opens no windows."""
