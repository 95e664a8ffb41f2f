"""`safe-skills train METHOD TASK`: one command, a module a family of methods."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

HELP = (
    "Train a method on a task and save a checkpoint. Interrupt it at any time; the same command "
    "goes on."
)
METHODS = {
    "ls3": ("train_ls3", "latent safe sets: plan in a learned latent space"),
    "safer": ("train_safer", "skill prior from safe and unsafe experience"),
    "parrot": ("train_safer", "skill prior from safe, successful experience"),
    "context-parrot": ("train_safer", "PARROT with SAFER's safety variable c"),
    "sac": ("train_sac", "soft actor-critic over a skill prior, or without one"),
}


def module_of(method: str) -> ModuleType:
    """The module that configures and runs a method's training."""
    return importlib.import_module(f"safe_skills.experiments.{METHODS[method][0]}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the methods and their options."""
    parsers = parser.add_subparsers(dest="method", metavar="METHOD", required=True)
    for method, (_, summary) in METHODS.items():
        module = module_of(method)
        module.configure(parsers.add_parser(method, help=summary, description=module.HELP))


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit status."""
    return module_of(args.method).run(args)
