"""`safe-skills train METHOD TASK`: one command, a module a family of methods."""

from __future__ import annotations

import argparse

from safe_skills.experiments.subcommands import Part, add_parts, run_part

HELP = (
    "Train a method on a task and save a checkpoint. Interrupt it at any time; the same command "
    "goes on."
)
METHODS = {
    "ls3": Part("train_ls3", "latent safe sets: plan in a learned latent space"),
    "safer": Part("train_safer", "skill prior from safe and unsafe experience"),
    "parrot": Part("train_safer", "skill prior from safe, successful experience"),
    "context-parrot": Part("train_safer", "PARROT with SAFER's safety variable c"),
    "safe-set": Part("train_safe_set", "LS3's safe set and constraint over a SAFER prior"),
    "sacfd": Part("train_baseline", "soft actor-critic from demonstrations"),
    "recovery": Part("train_baseline", "the same with Recovery RL's safety critic and policy"),
    "awac": Part("train_baseline", "advantage-weighted actor-critic"),
    "sac": Part("train_sac", "soft actor-critic over a skill prior, or without one"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the methods and their options."""
    add_parts(parser, "method", METHODS)


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit status."""
    return run_part(args, "method", METHODS)
