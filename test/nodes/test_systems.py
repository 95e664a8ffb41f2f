import re
from pathlib import Path

import pytest
import yaml

from safe_skills.data.episodes import FIRST_EVALUATION_SEED, training_seed
from safe_skills.envs.operation import HORIZON
from safe_skills.nodes.base import AUTOSTART, SkillNode
from safe_skills.nodes.composed import node_class
from safe_skills.nodes.parameters import resolve
from safe_skills.paths import config_file
from safe_skills.systems import DISCOVERY, SYSTEMS, discovery_range, find_system

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = SYSTEMS["ls3_cable"]
EVERYTHING = {"record": "x.mcap", "json": "x.json", "gif": "x.gif"}


def by_name(**given):
    return {spec.name: spec for spec in SYSTEM.nodes(given)}


def table(executable):
    return {"autostart": AUTOSTART, **node_class(executable).PARAMETERS}


def test_a_simulated_system_has_every_node_and_a_real_one_no_simulator():
    simulated = by_name(**EVERYTHING)
    assert set(simulated) == {
        "bag_recorder",
        "run_recorder",
        "hardware_bridge",
        "safety_monitor",
        "cem_planner",
        "camera_encoder",
        "simulator",
    }
    real = by_name(robot="dvrk")
    assert set(simulated) - set(real) == {"bag_recorder", "simulator"}
    assert set(real) - set(simulated) == {"episode_operator", "black_box"}
    assert real["hardware_bridge"].parameters["robot"] == "dvrk"
    assert real["run_recorder"].parameters["episodes"] == 0
    assert real["run_recorder"].parameters["clock"] == "realtime"


@pytest.mark.parametrize(
    "given",
    [
        {},
        EVERYTHING,
        {"robot": "dvrk", "arm": "PSM2"},
        {"robot": "dvrk", "train": "true"},
        {"train": "true"},
        {"layout": "tight", "profile": "paper", "clock": "realtime", "seed": "7"},
    ],
)
def test_every_node_knows_the_parameters_it_is_given(given):
    for spec in SYSTEM.nodes(given):
        assert issubclass(node_class(spec.executable), SkillNode)
        assert resolve(table(spec.executable), spec.parameters)[1] == []


def test_a_command_reaches_the_gate_before_the_recorder_and_no_image_comes_before_both():
    names = [spec.name for spec in SYSTEMS["ls3_cable"].nodes({"record": "run.mcap"})]
    assert names.index("safety_monitor") < names.index("run_recorder")
    assert names[-1] == "simulator"


def test_options_reach_the_nodes():
    nodes = by_name(layout="tight", seed="42", episodes="3", arm="PSM2", clock="realtime")
    for name in ("camera_encoder", "cem_planner", "safety_monitor", "run_recorder"):
        assert nodes[name].parameters["checkpoint"] == "cable_tight"
    for name in ("cem_planner", "simulator", "run_recorder"):
        assert nodes[name].parameters["seed"] == 42
    for name in ("simulator", "run_recorder"):
        assert nodes[name].parameters["episodes"] == 3
    for name in ("simulator", "hardware_bridge", "safety_monitor", "run_recorder"):
        assert nodes[name].parameters["arm"] == "PSM2"
    assert nodes["simulator"].parameters["clock"] == "realtime"
    assert by_name(checkpoint="/mine")["cem_planner"].parameters["checkpoint"] == "/mine"


def test_a_training_system_learns_on_scenes_of_training_and_waits_for_its_updates():
    nodes = by_name(train="true", layout="tight", episodes="0")
    assert set(nodes) - set(by_name()) == {"trainer"}
    assert nodes["trainer"].parameters["checkpoint"] == "cable_tight"
    assert nodes["trainer"].parameters["resume"] == "simulator/resume"
    assert nodes["simulator"].parameters["seed"] == training_seed(0, "online", 0)
    assert by_name(train="true", seed="17")["simulator"].parameters["seed"] == 17
    k = table("trainer")["episodes_per_update"].default
    assert nodes["simulator"].parameters["pause_every"] == k
    assert "trainer" in nodes["simulator"].parameters["audience"].split(",")
    assert "pause_every" not in by_name()["simulator"].parameters
    real = by_name(train="true", robot="dvrk")
    assert "resume" not in real["trainer"].parameters and "episode_operator" in real
    assert real["trainer"].parameters["robot"] == "dvrk"


def test_waiting_makes_nothing_stale_in_lockstep_only():
    timeouts = {"image_timeout", "latent_timeout", "robot_timeout"}
    assert timeouts <= set(by_name()["safety_monitor"].parameters)
    for given in ({"clock": "realtime"}, {"robot": "dvrk"}):
        assert not timeouts & set(by_name(**given)["safety_monitor"].parameters)
        assert "command_timeout" not in by_name(**given)["hardware_bridge"].parameters


def grasp(**given):
    return {spec.name: spec for spec in SYSTEMS["safer_grasp"].nodes(given)}


def test_the_arm_has_the_names_that_operators_know_and_no_simulator_when_real():
    simulated = grasp(**EVERYTHING)
    assert set(simulated) == {
        "hardware_bridge",
        "safety_monitor",
        "skill_decoder",
        "safety_posterior",
        "skill_policy",
        "camera_encoder",
        "run_recorder",
        "bag_recorder",
        "simulator",
    }
    assert simulated["safety_monitor"].executable == "skill_monitor"
    assert simulated["simulator"].parameters["audience"] == "run_recorder,bag_recorder"
    real = grasp(robot="arm")
    assert set(simulated) - set(real) == {"bag_recorder", "simulator"}
    bridge = real["hardware_bridge"].parameters
    assert bridge == {"stamped": False}
    assert real["run_recorder"].parameters["clock"] == "realtime"


@pytest.mark.parametrize(
    "given",
    [
        {},
        EVERYTHING,
        {"robot": "arm"},
        {"robot": "arm", "train": "true"},
        {"train": "true"},
        {"task": "36", "clock": "realtime", "seed": "7", "policy": "prior", "checkpoint": "/mine"},
    ],
)
def test_every_node_of_the_arm_knows_the_parameters_it_is_given(given):
    for spec in SYSTEMS["safer_grasp"].nodes(given):
        assert issubclass(node_class(spec.executable), SkillNode)
        assert resolve(table(spec.executable), spec.parameters)[1] == []


def test_the_policy_is_the_tasks_own_where_one_ships():
    assert grasp(task="34")["skill_policy"].parameters["policy"] == "operation_34"
    assert grasp(task="0")["skill_policy"].parameters["policy"] == ""
    assert grasp(task="34", policy="prior")["skill_policy"].parameters["policy"] == ""
    assert grasp(task="34", policy="prior")["run_recorder"].parameters["policy"] == "prior"
    assert grasp(policy="/mine")["skill_policy"].parameters["policy"] == "/mine"
    for name in ("camera_encoder", "safety_posterior", "skill_decoder", "safety_monitor"):
        assert grasp(checkpoint="/mine")[name].parameters["checkpoint"] == "/mine"


def test_an_arm_that_learns_begins_with_draws_of_the_prior_and_waits_for_its_updates():
    nodes = grasp(train="true", task="34", checkpoint="/mine")
    assert set(nodes) - set(grasp()) == {"trainer"}
    trainer = nodes["trainer"]
    assert trainer.executable == "skill_trainer"
    assert (trainer.parameters["task"], trainer.parameters["checkpoint"]) == (34, "/mine")
    assert trainer.parameters["resume"] == "simulator/resume"
    chooser = nodes["skill_policy"].parameters
    assert chooser["explore"] is True and chooser["policy"] == ""
    assert nodes["run_recorder"].parameters["policy"] == "prior"
    simulator = nodes["simulator"].parameters
    assert simulator["pause_every"] == table("skill_trainer")["episodes_per_update"].default
    assert simulator["seed"] == chooser["seed"] == training_seed(0, "online", 0)
    assert "trainer" in simulator["audience"].split(",")
    assert "explore" not in grasp()["skill_policy"].parameters
    assert grasp(train="true", policy="prior")["skill_policy"].parameters["policy"] == ""
    with pytest.raises(ValueError, match="policy: expected none with train true"):
        grasp(train="true", policy="/mine")
    real = grasp(train="true", robot="arm")
    assert "resume" not in real["trainer"].parameters
    assert real["episode_operator"].parameters["horizon"] == HORIZON


def test_the_arm_waits_in_lockstep_only():
    lockstep, realtime = grasp(), grasp(clock="realtime")
    assert lockstep["hardware_bridge"].parameters["stamped"]
    assert not realtime["hardware_bridge"].parameters["stamped"]
    for name in ("skill_decoder", "safety_posterior", "safety_monitor"):
        assert set(lockstep[name].parameters) > set(realtime[name].parameters)


def test_evaluation_starts_where_training_seeds_end():
    assert SYSTEM.values({})["seed"] == FIRST_EVALUATION_SEED


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"robot": "ur5"}, "robot: expected sim or dvrk, got 'ur5'"),
        ({"episodes": "many"}, "episodes: expected a whole number, got 'many'"),
        ({"episodes": "-1"}, "episodes: expected 0 or more, got -1"),
        ({"speed": "1"}, "unknown option speed; ls3_cable knows robot, arm"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_line(given, says):
    with pytest.raises(ValueError, match="expected|unknown") as caught:
        SYSTEM.nodes(given)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_nodes_look_on_this_host_only_unless_an_option_or_the_environment_opens_that():
    assert discovery_range("auto", {}) == "LOCALHOST"
    assert discovery_range("auto", {DISCOVERY: "SUBNET"}) == "SUBNET"
    assert discovery_range("localhost", {DISCOVERY: "SUBNET"}) == "LOCALHOST"
    assert discovery_range("system_default", {}) == "SYSTEM_DEFAULT"
    for system in SYSTEMS.values():
        assert system.values({})["discovery"] == "auto"


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=str)
def test_a_namespace_is_that_of_every_node(system):
    assert {spec.namespace for spec in system.nodes({})} == {""}
    for name in ("left", "/hospital/left"):
        assert {spec.namespace for spec in system.nodes({"namespace": name})} == {name}
    for bad in ("le ft", "1st", "left/", "a//b", "~x"):
        with pytest.raises(ValueError, match="namespace: expected names of letters"):
            system.nodes({"namespace": bad})


def test_an_unknown_system_is_named():
    with pytest.raises(ValueError, match="expected ls3_cable or safer_grasp, got 'ls4'"):
        find_system("ls4")


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=str)
def test_the_last_seconds_are_remembered_where_time_does_not_wait(system):
    def box(**given):
        found = [spec for spec in system.nodes(given) if spec.executable == "black_box"]
        return found[0] if found else None

    assert box() is None and box(clock="realtime", black_box="false") is None
    real = next(option.choices[1] for option in system.options if option.name == "robot")
    for given in ({"clock": "realtime"}, {"robot": real}, {"black_box": "true"}):
        # In a thread of its own: the gate's does not wait for it.
        others = {spec.group for spec in system.nodes(given) if spec.executable != "black_box"}
        assert box(**given).group not in others


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=str)
def test_a_recording_is_named_by_its_user_or_by_system_and_time(system):
    def file(record):
        specs = {spec.name: spec for spec in system.nodes({"record": record})}
        return specs["bag_recorder"].parameters["file"] if "bag_recorder" in specs else None

    assert file("") is None and file("false") is None and file("my.mcap") == "my.mcap"
    assert re.fullmatch(rf"outputs/{system.name}_\d{{8}}T\d{{6}}Z\.mcap", file("true"))


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=str)
def test_the_parameter_file_has_every_parameter_of_every_node_and_no_other(system):
    file = yaml.safe_load(config_file(system.config).read_text())
    options = {option.name: option.choices for option in system.options}
    train = {"train": "true"} if "train" in options else {}
    found = [
        spec
        for robot in options["robot"]
        for spec in system.nodes({"record": "x.mcap", "robot": robot, **train})
    ]
    specs = list({spec.name: spec for spec in found}.values())
    # The pattern matches the node in any namespace.
    assert set(file) == {f"/**/{spec.name}" for spec in specs}
    for spec in specs:
        known = table(spec.executable)
        given = file[f"/**/{spec.name}"]["ros__parameters"]
        assert set(given) == set(known), spec.name
        values, problems = resolve(known, given)
        assert problems == []
        assert values == {name: row.default for name, row in known.items()}, spec.name


def test_every_system_has_its_launch_file():
    for name in SYSTEMS:
        assert (ROOT / "launch" / f"{name}.launch.py").is_file()


def test_the_description_needs_no_ros():
    for path in (ROOT / "safe_skills" / "systems").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "rclpy" not in source and "import launch" not in source
