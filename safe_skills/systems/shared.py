"""What the systems have in common: options, time that stands still, seeds of a training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from safe_skills.systems.description import DISCOVERY, NodeSpec, Option

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

NAMESPACE = Option(
    "namespace",
    "",
    "Namespace of all nodes and topics, one for each of several robots; empty: none.",
    pattern=r"(/?[A-Za-z]\w*(/[A-Za-z]\w*)*)?",
    form="names of letters, digits and underscores with / between them",
)

FILES = (
    Option(
        "record",
        "",
        "MCAP file for all topics; true: outputs/SYSTEM_TIME.mcap; empty or false: none.",
    ),
    Option(
        "black_box",
        "auto",
        "Write the last seconds of all topics on a violation or stop; auto: unless in lockstep.",
        ("auto", "true", "false"),
    ),
    Option("json", "", "JSON file for the run's summary; empty: none."),
    Option("gif", "", "GIF file of the first episodes; empty: none."),
)

WORLD_WAITS = 3600.0
"""In lockstep the world stands still until a command comes: waiting makes nothing stale [s]."""

TIMELESS = dict.fromkeys(
    ("rate_limit", "velocity_limit", "acceleration_limit", "tracking_limit"), 0.0
)
"""In lockstep a step takes as long as the machine needs, and no time in the world: what the gate
judges by time is off."""

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


def recorders(
    system: str, values: Mapping[str, Any], *, lockstep: bool, sources: Mapping[str, str]
) -> list[NodeSpec]:
    """The nodes that record all topics: the whole run, and the last seconds before an event.

    Args:
        system: name of the system, for the file's name.
        values: of the options.
        lockstep: whether a simulated world waits for commands.
        sources: parameter of a recorder: the nodes it waits for.
    """
    nodes = []
    if values["record"] not in ("", "false"):
        file = values["record"]
        if file == "true":
            file = time.strftime(f"outputs/{system}_%Y%m%dT%H%M%SZ.mcap", time.gmtime())
        # A step takes 25 ms: what is looked for less often begins many frames late.
        nodes.append(NodeSpec("bag_recorder", {"file": file, "look": 0.05, **sources}))
    wanted = {"auto": not lockstep, "true": True, "false": False}
    if wanted[values["black_box"]]:
        nodes.append(NodeSpec("black_box", group="recording"))
    return nodes
