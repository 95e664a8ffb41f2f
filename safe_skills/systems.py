"""Which nodes make up a system, and with which parameters: for launch files and `safe-skills run`.

No ROS in here: a launch file turns `NodeSpec`s into processes, `safe-skills run` into nodes of one
process. Parameters that no option touches are in the system's file under `config/`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from safe_skills.paths import checkpoint_dir

DRAWS = "prior"
"""Value of the option `policy` for draws of the skill prior itself."""

DISCOVERY = "ROS_AUTOMATIC_DISCOVERY_RANGE"
"""Environment variable: where nodes look for each other; a system sets it to this host alone."""


@dataclass(frozen=True)
class Option:
    """Something a user may choose when a system is started.

    Attributes:
        name: as in `name:=value` of a launch file and `--name value` of the command.
        default: as text.
        help: one sentence.
        choices: the only values allowed, if there are such.
        kind: type of the value, str or int.
    """

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()
    kind: type = str

    def parse(self, text: str) -> Any:
        """Returns the value of a text; ValueError says in one line what was expected."""
        if self.choices and text not in self.choices:
            raise ValueError(f"{self.name}: expected {' or '.join(self.choices)}, got {text!r}")
        if self.kind is not int:
            return text
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{self.name}: expected a whole number, got {text!r}") from None
        if value < 0:
            raise ValueError(f"{self.name}: expected 0 or more, got {value}")
        return value


@dataclass(frozen=True)
class NodeSpec:
    """One node of a system.

    Attributes:
        executable: module under `safe_skills.nodes`, and executable of the package.
        parameters: by name; they win over the configuration file.
        group: nodes of one group share a thread where the system runs in one process: no plan,
            however long, delays the gate, and the world goes on meanwhile.
        ends_run: whether the system ends when this node does; the others are started again.
        remappings: (from, to) topic names.
        node: name of the node in the graph, where it is not that of the executable: who stops a
            robot by `safety_monitor/e_stop` need not know which monitor it is.
    """

    executable: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    group: str = "world"
    ends_run: bool = False
    remappings: tuple[tuple[str, str], ...] = ()
    node: str = ""

    @property
    def name(self) -> str:
        """Name of the node in the graph."""
        return self.node or self.executable


@dataclass(frozen=True)
class System:
    """A graph of nodes that does a task.

    Attributes:
        name: of the launch file and for `safe-skills run`.
        summary: one sentence.
        config: its parameter file under `config/`.
        options: what a user may choose.
        build: turns the options' values into nodes, in the order in which they should start.
    """

    name: str
    summary: str
    config: str
    options: tuple[Option, ...]
    build: Callable[[Mapping[str, Any]], tuple[NodeSpec, ...]]

    def values(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Returns every option's value.

        Args:
            given: texts by option name; defaults stand in for the others.

        Raises:
            ValueError: an unknown option or a value that is not allowed, in one line.
        """
        known = {option.name: option for option in self.options}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(
                f"unknown option {', '.join(unknown)}; {self.name} knows {', '.join(known)}"
            )
        return {
            name: option.parse(given.get(name, option.default)) for name, option in known.items()
        }

    def nodes(self, given: Mapping[str, str]) -> tuple[NodeSpec, ...]:
        """Returns the nodes for some options; raises as `values` does."""
        return self.build(self.values(given))


LAUNCH_OPTIONS = (
    Option("rqt", "false", "Open the safety panel, where rqt is installed.", ("false", "true")),
)
"""What launch files have besides their system's options: `safe-skills run` opens no windows."""

CABLE_OPTIONS = (
    Option("robot", "sim", "The simulated table, or a da Vinci arm over CRTK.", ("sim", "dvrk")),
    Option("arm", "PSM1", "Name of the arm, the first part of its topics' names."),
    Option("layout", "open", "Scene of the simulator, and default checkpoint.", ("open", "tight")),
    Option(
        "profile",
        "realtime",
        "Planner: one that keeps up with the camera, or LS3's own table 3.",
        ("realtime", "paper"),
    ),
    Option(
        "clock",
        "lockstep",
        "Simulator: wait for the command of each image (repeatable), or never wait.",
        ("lockstep", "realtime"),
    ),
    Option("checkpoint", "", "Checkpoint folder, or name of a shipped one; empty: cable_LAYOUT."),
    Option("episodes", "10", "Episodes to run; 0: until stopped.", kind=int),
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


def _seeds_of_training(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of a system, with scenes of training where it trains."""
    if values["train"] == "true" and values["seed"] >= FIRST_EVALUATION_SEED:
        return {**values, "seed": values["seed"] - EVALUATION_TO_TRAINING}
    return values


def _ls3_cable(values: Mapping[str, Any]) -> tuple[NodeSpec, ...]:
    values = _seeds_of_training(values)
    checkpoint = values["checkpoint"] or f"cable_{values['layout']}"
    simulated, trains = values["robot"] == "sim", values["train"] == "true"
    run = {name: values[name] for name in ("robot", "layout", "profile", "clock", "seed")}
    if not simulated:
        run["clock"] = "realtime"
    arm = {name: values[name] for name in ("robot", "arm")}
    # The parameter file's steps are small ones, for a real arm.
    steps = {"max_step": 0.03, "margin": 0.01} if simulated else {}
    fresh, moving, state = (), (), {}
    # Between two rounds of a training the simulator shows nothing.
    patience = {"camera_timeout": 60.0} if simulated and trains else {}
    if simulated and values["clock"] == "lockstep":
        fresh = ("image_timeout", "latent_timeout", "robot_timeout")
        moving = ("command_timeout", "state_timeout")
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
            {**arm, "checkpoint": checkpoint, **dict.fromkeys(fresh, WORLD_WAITS)},
            "safety",
        ),
        NodeSpec(
            "cem_planner",
            {
                "checkpoint": checkpoint,
                "profile": values["profile"],
                "seed": values["seed"],
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
    if values["record"]:
        # A step takes 25 ms: what is looked for less often begins many frames late.
        nodes.append(NodeSpec("bag_recorder", {"file": values["record"], "look": 0.05, **sources}))
    pauses = {}
    if trains:
        resume = {"resume": "simulator/resume"} if simulated else {}
        trainer = {**arm, "checkpoint": checkpoint, **resume, **sources}
        nodes.append(NodeSpec("trainer", trainer, "training"))
        # Algorithm 1: no episode while an update is made.
        pauses = {"pause_every": EPISODES_PER_UPDATE}
    if simulated:
        recorders = [node.name for node in nodes if node.name in RECORDERS]
        overview = {"overview": True, "overview_size": [320, 240]} if values["gif"] else {}
        simulator = {name: values[name] for name in ("arm", "layout", "clock", "episodes", "seed")}
        simulator |= pauses
        simulator["audience"] = ",".join(recorders)
        nodes.append(NodeSpec("simulator", {**simulator, **state, **overview}))
    else:
        nodes.append(NodeSpec("episode_operator"))
    return tuple(nodes)


GRASP_OPTIONS = (
    Option("robot", "sim", "The simulated arm, or one behind ROS 2 controllers.", ("sim", "arm")),
    Option(
        "task", "34", "Operation task of the simulator, 0 to 39; 34 to 39 are held out.", kind=int
    ),
    Option(
        "clock",
        "lockstep",
        "Simulator: wait for the command of each image (repeatable), or never wait.",
        ("lockstep", "realtime"),
    ),
    Option("checkpoint", "operation", "Skill prior: checkpoint folder, or name of a shipped one."),
    Option(
        "policy",
        "",
        "Policy over it: checkpoint folder or shipped name; empty: operation_TASK where that "
        "ships, else draws of the prior; prior: draws of the prior.",
    ),
    Option("episodes", "10", "Episodes to run; 0: until stopped.", kind=int),
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
    Option("record", "", "MCAP file for all topics; empty: none."),
    Option("json", "", "JSON file for the run's summary; empty: none."),
    Option("gif", "", "GIF file of the first episodes; empty: none."),
)

UNHURRIED = 10.0
"""In lockstep a frame's parts may take their time: on a busy machine no step turns into a hold [s].
"""


OPERATION_HORIZON = 30
"""Steps of an episode of the Operation tasks."""


def _safer_grasp(values: Mapping[str, Any]) -> tuple[NodeSpec, ...]:
    values = _seeds_of_training(values)
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
        moving = ("command_timeout", "state_timeout", "goal_time", "gripper_timeout")
        fresh = ("image_timeout", "latent_timeout", "robot_timeout", "context_timeout")
        bridge |= dict.fromkeys(moving, WORLD_WAITS)
        monitor = dict.fromkeys(fresh, WORLD_WAITS)
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
    if values["record"]:
        nodes.append(NodeSpec("bag_recorder", {"file": values["record"], "look": 0.05, **sources}))
    if trains:
        resume = {"resume": "simulator/resume"} if simulated else {}
        trainer = {**model, "task": values["task"], **resume, **sources}
        nodes.append(NodeSpec("skill_trainer", trainer, "training", node="trainer"))
    if simulated:
        recorders = [node.name for node in nodes if node.name in RECORDERS]
        overview = {"overview": True, "overview_size": [320, 240]} if values["gif"] else {}
        simulator = {name: values[name] for name in ("task", "clock", "episodes", "seed")}
        simulator |= pauses
        simulator["audience"] = ",".join(recorders)
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


SYSTEMS = {
    system.name: system
    for system in (
        System(
            "ls3_cable",
            "LS3 routes a cable around an obstacle, from camera images.",
            "ls3_cable.yaml",
            CABLE_OPTIONS,
            _ls3_cable,
        ),
        System(
            "safer_grasp",
            "SAFER takes objects out of containers, within a bound on unsafe actions, from images.",
            "safer_grasp.yaml",
            GRASP_OPTIONS,
            _safer_grasp,
        ),
    )
}


def find_system(name: str) -> System:
    """Returns the system of this name; ValueError names those that exist."""
    try:
        return SYSTEMS[name]
    except KeyError:
        raise ValueError(f"system: expected {' or '.join(SYSTEMS)}, got {name!r}") from None
