"""SAFER on an arm of five joints behind ROS 2 controllers, simulated or real."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safe_skills.paths import checkpoint_dir
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

DRAWS = "prior"
"""Value of the option `policy` for draws of the skill prior itself."""

OPTIONS = (
    Option("robot", "sim", "The simulated arm, or one behind ROS 2 controllers.", ("sim", "arm")),
    Option(
        "task", "34", "Operation task of the simulator, 0 to 39; 34 to 39 are held out.", kind=int
    ),
    CLOCK,
    Option("checkpoint", "operation", "Skill prior: checkpoint folder, or name of a shipped one."),
    Option(
        "policy",
        "",
        "Policy over it: checkpoint folder or shipped name; empty: operation_TASK where that "
        "ships, else draws of the prior; prior: draws of the prior.",
    ),
    EPISODES,
    Option(
        "seed",
        "1000000",
        "Seed of the scenes (episode k takes seed + k) and of draws; training is below.",
        kind=int,
    ),
    Option(
        "train",
        "false",
        "Learn a policy from the episodes that it runs, which draws of the prior begin; scenes are "
        "then those of training.",
        ("false", "true"),
    ),
    Option("config", "", "Parameter file; empty: config/safer_grasp.yaml."),
    DISCOVERY_RANGE,
    NAMESPACE,
    *FILES,
)

UNHURRIED = 10.0
"""In lockstep a frame's parts may take their time: on a busy machine no step turns into a hold [s].
"""

OPERATION_HORIZON = 30
"""Steps of an episode of the Operation tasks."""


def build(values: Mapping[str, Any]) -> tuple[NodeSpec, ...]:
    """The nodes for the options' values."""
    values = seeds_of_training(values)
    simulated, trains = values["robot"] == "sim", values["train"] == "true"
    lockstep = simulated and values["clock"] == "lockstep"
    model = {"checkpoint": values["checkpoint"]}
    policy = _shipped_policy(values["policy"], values["task"])
    chooser = {**model, "policy": policy, "seed": values["seed"]}
    patience, pauses = {}, {}
    if trains:
        if values["policy"] not in ("", DRAWS):
            raise ValueError(
                f"policy: expected none with train true, which begins with draws of the prior; "
                f"got {values['policy']!r}"
            )
        policy = ""
        chooser |= {"policy": policy, "explore": True}
        if simulated:
            # Between two rounds of a training the simulator shows nothing.
            patience = {"camera_timeout": 60.0}
            pauses = {"pause_every": EPISODES_PER_UPDATE}
    bridge = {"stamped": lockstep}
    if simulated:
        # SciPy takes its time to import, and who asks for help or for another system needs none.
        from safe_skills.robots.arm5 import SIMULATED_VELOCITY

        # As the environment does in which the prior's data were collected.
        bridge |= {"max_velocity": [SIMULATED_VELOCITY] * 5, "gripper_time": 0.0}
        # Fingers pressed on the table are 0.28 rad off at most.
        bridge["path_tolerance"] = 0.5
    monitor, decoder, posterior, state = {}, {}, {}, {}
    if lockstep:
        moving = (
            "command_timeout",
            "state_timeout",
            "link_timeout",
            "goal_time",
            "gripper_timeout",
        )
        fresh = ("image_timeout", "latent_timeout", "robot_timeout", "context_timeout")
        bridge |= dict.fromkeys(moving, WORLD_WAITS)
        monitor = {**dict.fromkeys(fresh, WORLD_WAITS), **TIMELESS}
        decoder, posterior = {"patience": UNHURRIED}, {"gap": WORLD_WAITS}
        # Between two steps nothing changes, and after each the state is published anyway.
        state = {"state_rate": 20.0}
    nodes = [
        NodeSpec("trajectory_bridge", bridge, "safety", node="hardware_bridge"),
        NodeSpec("skill_monitor", {**model, **monitor}, "safety", node="safety_monitor"),
        NodeSpec("skill_decoder", {**model, **decoder}, "skill"),
        NodeSpec("safety_posterior", {**model, **posterior}, "skill"),
        NodeSpec("skill_policy", chooser, "skill"),
        NodeSpec("camera_encoder", {**model, **patience}, "skill"),
    ]
    sources = {"sources": ",".join(node.name for node in nodes)}
    run = {name: values[name] for name in ("robot", "task", "seed", "json", "gif")}
    run["clock"] = values["clock"] if simulated else "realtime"
    run["episodes"] = values["episodes"] if simulated else 0
    nodes.append(
        NodeSpec(
            "skill_recorder",
            {**model, **run, "policy": policy or DRAWS, **sources},
            node="run_recorder",
            ends_run=True,
        )
    )
    nodes += recorders("safer_grasp", values, lockstep=lockstep, sources=sources)
    if trains:
        resume = {"resume": "simulator/resume"} if simulated else {}
        trainer = {**model, "task": values["task"], **resume, **sources}
        nodes.append(NodeSpec("skill_trainer", trainer, "training", node="trainer"))
    if simulated:
        audience = [node.name for node in nodes if node.name in RECORDERS]
        overview = {"overview": True, "overview_size": [320, 240]} if values["gif"] else {}
        simulator = {name: values[name] for name in ("task", "clock", "episodes", "seed")}
        simulator |= pauses
        simulator["audience"] = ",".join(audience)
        nodes.append(
            NodeSpec("arm_simulator", {**simulator, **state, **overview}, node="simulator")
        )
    elif trains:
        nodes.append(NodeSpec("episode_operator", {"horizon": OPERATION_HORIZON}))
    return tuple(nodes)


def _shipped_policy(asked: str, task: int) -> str:
    """The policy that the option means: the task's, where one ships and no other is asked for."""
    if asked:
        return "" if asked == DRAWS else asked
    name = f"operation_{task}"
    try:
        checkpoint_dir(name)
    except FileNotFoundError:
        return ""
    return name


SYSTEM = System(
    "safer_grasp",
    "SAFER takes objects out of containers, within a bound on unsafe actions, from images.",
    "safer_grasp.yaml",
    OPTIONS,
    build,
)
