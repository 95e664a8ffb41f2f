"""Settings as data classes that read from and write to plain mappings, with one-line errors."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

SettingsT = TypeVar("SettingsT", bound="Settings")


class ConfigError(ValueError):
    """A configuration value that is unknown or out of range."""


class Settings:
    """Base of a configuration data class that reads from and writes to a mapping."""

    @classmethod
    def from_dict(cls: type[SettingsT], values: Mapping[str, Any] | None) -> SettingsT:
        """Reads a mapping, refusing unknown settings with a ConfigError."""
        return from_mapping(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for YAML."""
        return plain(asdict(self))


def from_mapping(cls: type, values: Mapping[str, Any] | None, where: str = "") -> Any:
    """Builds a (nested) configuration data class from a mapping.

    Args:
        cls: the data class.
        values: the settings; those not named keep their defaults.
        where: the name of this part, for messages.

    Raises:
        ConfigError: for an unknown key or a value of the wrong type, naming what is known.
    """
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or cls.__name__}: expected a mapping, got {values!r}")
    hints = get_type_hints(cls)
    known = [item.name for item in fields(cls)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        name = f"{where}." if where else ""
        raise ConfigError(f"unknown setting {name}{unknown[0]}; known: {', '.join(known)}")
    prefix = f"{where}." if where else ""
    return cls(**{key: _value(hints[key], value, prefix + key) for key, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return from_mapping(hint, value, where)
    options = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        origin = getattr(option, "__origin__", option)
        if origin is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if origin is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as a string
            try:
                return float(value)
            except ValueError:
                continue
        if origin is tuple and isinstance(value, list | tuple):
            return tuple(value)
        if isinstance(value, bool) and origin is not bool:
            continue
        if isinstance(value, origin):
            return value
    raise ConfigError(f"{where}: expected {hint}, got {value!r}")


def require(condition: bool, message: str) -> None:
    """Raises a ConfigError with this message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def plain(value: Any) -> Any:
    """Returns lists for tuples, at any depth, as YAML has them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
