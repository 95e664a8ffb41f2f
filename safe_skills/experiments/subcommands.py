"""Commands with parts, as in `safe-skills train METHOD`: each part has a module of its own.

Such a module has a text `HELP` and the functions `configure(parser)` and `run(args)`.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple


class Part(NamedTuple):
    """A part of a command.

    Attributes:
        module: in `safe_skills.experiments`.
        summary: a line of help.
        task: where the module serves several tasks, which one: its `Command(task)` then has what
            other modules have.
    """

    module: str
    summary: str
    task: str = ""

    def load(self) -> Any:
        """The module, or the command in it."""
        module = importlib.import_module(f"safe_skills.experiments.{self.module}")
        return module.Command(self.task) if self.task else module


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
