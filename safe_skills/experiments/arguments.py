"""Types of command-line arguments, and options that commands share."""

from __future__ import annotations

import argparse


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got '{text}'")
    return int(text)


def positive(text: str) -> int:
    """A whole number, 1 or more."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got '{text}'")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got '{text}'")
    return value


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds `--device`, where an agent's networks are evaluated; see `LS3Agent.load`."""
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="of the networks (cpu)"
    )
