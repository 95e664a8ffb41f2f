"""What the systems have in common: options, time that stands still, seeds of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safe_skills.systems.description import DISCOVERY, Option

CLOCK = Option(
    "clock",
    "lockstep",
    "Simulator: wait for the command of each image (repeatable), or never wait.",
    ("lockstep", "realtime"),
)

EPISODES = Option("episodes", "10", "Episodes to run; 0: until stopped.", kind=int)

DISCOVERY_RANGE = Option(
    "discovery",
    "auto",
    "Where nodes look for each other: on this host, on its subnet, or as the middleware does by "
    "itself; auto: as ROS_AUTOMATIC_DISCOVERY_RANGE says, on this host where it says nothing.",
    ("auto", "localhost", "subnet", "system_default"),
)

FILES = (
    Option("record", "", "MCAP file for all topics; empty: none."),
    Option("json", "", "JSON file for the run's summary; empty: none."),
    Option("gif", "", "GIF file of the first episodes; empty: none."),
)

WORLD_WAITS = 3600.0
"""In lockstep the world stands still until a command comes: waiting makes nothing stale [s]."""

RECORDERS = ("run_recorder", "bag_recorder", "trainer")
"""Nodes that the simulator waits for, so that no record lacks the first steps."""

FIRST_EVALUATION_SEED = 1_000_000
"""Scene seeds from here on are for evaluation, those below for training."""

EVALUATION_TO_TRAINING = 250_000
"""From the first seed of evaluation to the first of online training."""

EPISODES_PER_UPDATE = 5
"""K: after so many episodes a simulator waits for the trainer, whose default it is."""


def discovery_range(chosen: str, environment: Mapping[str, str]) -> str:
    """The value of `DISCOVERY` for the option `discovery`, in an environment."""
    if chosen == "auto":
        return environment.get(DISCOVERY, "LOCALHOST")
    return chosen.upper()


def seeds_of_training(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a system, with scenes of training where it trains."""
    if values["train"] == "true" and values["seed"] >= FIRST_EVALUATION_SEED:
        return {**values, "seed": values["seed"] - EVALUATION_TO_TRAINING}
    return values
