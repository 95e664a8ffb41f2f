"""Commands with parts, as in `safe-skills train METHOD`: each part has a module of its own.

Such a module has a text `HELP` and the functions `configure(parser)` and `run(args)`.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple


class Part(NamedTuple):
    """A part of a command: its module in `safe_skills.experiments`, and a line of help."""

    module: str
    summary: str

    def load(self) -> ModuleType:
        """The module."""
        return importlib.import_module(f"safe_skills.experiments.{self.module}")


def add_parts(
    parser: argparse.ArgumentParser, kind: str, parts: Mapping[str, Part], metavar: str = ""
) -> None:
    """Adds the parts and their options; which was chosen will be the argument `kind`."""
    parsers = parser.add_subparsers(dest=kind, metavar=metavar or kind.upper(), required=True)
    for name, part in parts.items():
        module = part.load()
        module.configure(parsers.add_parser(name, help=part.summary, description=module.HELP))


def run_part(args: argparse.Namespace, kind: str, parts: Mapping[str, Part]) -> int:
    """Runs the part that was chosen; returns the exit status."""
    return parts[getattr(args, kind)].load().run(args)
