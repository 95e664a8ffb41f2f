"""A declarative table of node parameters, and one-line refusals of what does not fit it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ParameterError(ValueError):
    """Parameters do not fit the node's table; the message is one line that says which and why."""


@dataclass(frozen=True)
class Param:
    """One row of a node's parameter table.

    Attributes:
        default: Value without any override; its type (bool, int, float, str or a non-empty list
            of one of these) is the parameter's type.
        description: One sentence with the unit, shown by `ros2 param describe`.
        low: Least value allowed (numbers, and every entry of a list of numbers).
        high: Greatest value allowed.
        choices: The only values allowed, for strings.
        runtime: True when a change takes effect while the node runs; the others can be changed
            only while the node is unconfigured.
    """

    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    runtime: bool = False

    def check(self, name: str, value: Any) -> Any:
        """Return `value` in the parameter's type.

        Args:
            name: The parameter's name, for the message.
            value: What came from a file, the command line or a service.

        Raises:
            ParameterError: It is of another type, not finite, out of range or not a choice.
        """
        if isinstance(self.default, list):
            if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
                raise ParameterError(f"{name}: expected a list, got {value!r}")
            return [self._check_one(name, entry, self.default[0]) for entry in value]
        return self._check_one(name, value, self.default)

    def _check_one(self, name: str, value: Any, like: Any) -> Any:
        kind = type(like)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ParameterError(f"{name}: expected {kind.__name__}, got {value!r}")
        if kind in (int, float):
            low = -math.inf if self.low is None else self.low
            high = math.inf if self.high is None else self.high
            if not (math.isfinite(value) and low <= value <= high):
                raise ParameterError(f"{name}: expected {low:g} to {high:g}, got {value!r}")
        if self.choices and value not in self.choices:
            raise ParameterError(
                f"{name}: expected one of {', '.join(self.choices)}, got {value!r}"
            )
        return value


def resolve(
    table: Mapping[str, Param], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Merge overrides into a table's defaults.

    Args:
        table: The node's parameters by name.
        overrides: Values from files, the command line or the constructor.

    Returns:
        Values by name (the default where the override was refused), and one line for each refusal.
    """
    values = {name: param.default for name, param in table.items()}
    problems = []
    unknown = sorted(set(overrides) - set(table))
    if unknown:
        problems.append(
            f"unknown parameter {', '.join(unknown)}; this node knows {', '.join(sorted(table))}"
        )
    for name in sorted(set(overrides) & set(table)):
        try:
            values[name] = table[name].check(name, overrides[name])
        except ParameterError as error:
            problems.append(str(error))
    return values, problems
