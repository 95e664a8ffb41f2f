"""LS3 on cable routing: a CRTK arm over a table, simulated or real."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from safe_skills.systems.description import NodeSpec, Option, System
from safe_skills.systems.shared import (
    CLOCK,
    DISCOVERY_RANGE,
    EPISODES,
    EPISODES_PER_UPDATE,
    FILES,
    NAMESPACE,
    RECORDERS,
    TIMELESS,
    WORLD_WAITS,
    recorders,
    seeds_of_training,
)

OPTIONS = (
    Option("robot", "sim", "The simulated table, or a da Vinci arm over CRTK.", ("sim", "dvrk")),
    Option("arm", "PSM1", "Name of the arm, the first part of its topics' names."),
    Option("layout", "open", "Scene of the simulator, and default checkpoint.", ("open", "tight")),
    Option(
        "profile",
        "realtime",
        "Planner: one that keeps up with the camera, or LS3's own table 3.",
        ("realtime", "paper"),
    ),
    CLOCK,
    Option("checkpoint", "", "Checkpoint folder, or name of a shipped one; empty: cable_LAYOUT."),
    EPISODES,
    Option(
        "seed",
        "1000000",
        "Seed of the scenes (episode k takes seed + k) and the planner; training is below.",
        kind=int,
    ),
    Option(
        "train",
        "false",
        "Improve the agent with the episodes that it runs; scenes are then those of training.",
        ("false", "true"),
    ),
    Option("config", "", "Parameter file; empty: config/ls3_cable.yaml."),
    DISCOVERY_RANGE,
    NAMESPACE,
    *FILES,
)


SIMULATED_MOTION = {"max_step": 0.03, "margin": 0.01, "max_speed": 0.6, "max_acceleration": 40.0}
"""What the simulated arm follows: a step of 3 cm in three quarters of a control period, as in the
environment in which the models learned [m, m/s, m/s^2]."""


def build(values: Mapping[str, Any]) -> tuple[NodeSpec, ...]:
    """The nodes for the options' values."""
    values = seeds_of_training(values)
    checkpoint = values["checkpoint"] or f"cable_{values['layout']}"
    simulated, trains = values["robot"] == "sim", values["train"] == "true"
    run = {name: values[name] for name in ("robot", "layout", "profile", "clock", "seed")}
    if not simulated:
        run["clock"] = "realtime"
    arm = {name: values[name] for name in ("robot", "arm")}
    # The parameter file's steps and speeds are small ones, for a real arm.
    steps = SIMULATED_MOTION if simulated else {}
    fresh, moving, state = (), (), {}
    # Between two rounds of a training the simulator shows nothing.
    patience = {"camera_timeout": 60.0} if simulated and trains else {}
    lockstep = simulated and values["clock"] == "lockstep"
    if lockstep:
        fresh = ("image_timeout", "latent_timeout", "robot_timeout")
        moving = ("command_timeout", "state_timeout", "link_timeout")
        steps = {**steps, "servo_rate": 0.0}
        # Between two steps nothing changes, and after each the state is published anyway.
        state = {"state_rate": 20.0}
    # The large search gains from every core; the small one loses more to the switches.
    threads = {"threads": os.cpu_count() or 1} if values["profile"] == "paper" else {}
    nodes = [
        NodeSpec(
            "hardware_bridge", {**arm, **steps, **dict.fromkeys(moving, WORLD_WAITS)}, "safety"
        ),
        NodeSpec(
            "safety_monitor",
            {
                **arm,
                "checkpoint": checkpoint,
                **dict.fromkeys(fresh, WORLD_WAITS),
                **(TIMELESS if lockstep else {}),
            },
            "safety",
        ),
        NodeSpec(
            "cem_planner",
            {
                "checkpoint": checkpoint,
                "profile": values["profile"],
                "seed": values["seed"],
                # The parameter file's is what a real arm covers in a control period.
                **({"step_limit": 0.0} if simulated else {}),
                **threads,
            },
            "skill",
        ),
        NodeSpec("camera_encoder", {"checkpoint": checkpoint, **patience}, "skill"),
    ]
    sources = {"sources": ",".join(node.name for node in nodes)}
    nodes.append(
        # Who subscribes first hears first: a command goes to the gate before it is recorded.
        NodeSpec(
            "run_recorder",
            {
                **run,
                "arm": values["arm"],
                "checkpoint": checkpoint,
                "episodes": values["episodes"] if simulated else 0,
                "json": values["json"],
                "gif": values["gif"],
                **sources,
            },
            ends_run=True,
        )
    )
    nodes += recorders("ls3_cable", values, lockstep=lockstep, sources=sources)
    pauses = {}
    if trains:
        resume = {"resume": "simulator/resume"} if simulated else {}
        trainer = {**arm, "checkpoint": checkpoint, **resume, **sources}
        nodes.append(NodeSpec("trainer", trainer, "training"))
        # Algorithm 1: no episode while an update is made.
        pauses = {"pause_every": EPISODES_PER_UPDATE}
    if simulated:
        audience = [node.name for node in nodes if node.name in RECORDERS]
        overview = {"overview": True, "overview_size": [320, 240]} if values["gif"] else {}
        simulator = {name: values[name] for name in ("arm", "layout", "clock", "episodes", "seed")}
        simulator |= pauses
        simulator["audience"] = ",".join(audience)
        nodes.append(NodeSpec("simulator", {**simulator, **state, **overview}))
    else:
        nodes.append(NodeSpec("episode_operator"))
    return tuple(nodes)


SYSTEM = System(
    "ls3_cable",
    "LS3 routes a cable around an obstacle, from camera images.",
    "ls3_cable.yaml",
    OPTIONS,
    build,
)
