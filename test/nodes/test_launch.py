"""The launch file, where ROS 2's launch is installed (it is not on PyPI)."""

import importlib.util
import json
from pathlib import Path

import pytest

# The folder launch/ of a checkout imports as a namespace package: ask for what only ROS 2's has.
try:
    from launch import LaunchContext, LaunchDescription, LaunchService
    from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, LogInfo
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import LifecycleNode, Node
except ImportError:
    pytest.skip("launch and launch_ros are not installed", allow_module_level=True)

from ament_index_python.packages import PackageNotFoundError

from safe_skills.nodes import launching
from safe_skills.nodes.middleware import PROFILES, without_shared_memory
from safe_skills.systems import DISCOVERY, LAUNCH_OPTIONS, SYSTEMS, discovery_range

FILES = Path(__file__).resolve().parents[2] / "launch"


def description(name):
    spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=str)
def test_every_option_is_an_argument_with_its_help(system):
    entities = description(system.name).entities
    arguments = {e.name: e for e in entities if isinstance(e, DeclareLaunchArgument)}
    options = (*system.options, *LAUNCH_OPTIONS)
    assert list(arguments) == [option.name for option in options]
    for option in options:
        argument = arguments[option.name]
        assert argument.description.startswith(option.help)
        assert "".join(part.text for part in argument.default_value) == option.default


def started(system, **given):
    """Actions that a launch of the system starts."""
    context = LaunchContext()
    entities = description(system).entities
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            text = "".join(part.text for part in entity.default_value)
            context.launch_configurations[entity.name] = given.get(entity.name, text)
    return entities[-1].execute(context)


@pytest.mark.parametrize("chosen", ["auto", "subnet"])
def test_the_option_opens_discovery(chosen, monkeypatch):
    for name in (DISCOVERY, PROFILES):
        monkeypatch.delenv(name, raising=False)
    context = LaunchContext()
    context.launch_configurations["discovery"] = chosen
    for action in description("ls3_cable").entities[-2].execute(context):
        action.execute(context)
    wanted = {DISCOVERY: discovery_range(chosen, {})}
    for name, value in {**wanted, **without_shared_memory(wanted)}.items():
        assert context.environment[name] == value


def installed(name):
    if name not in ("rqt_gui", "rqt_gui_py"):
        raise PackageNotFoundError(name)
    return "/somewhere"


def missing(name):
    raise PackageNotFoundError(name)


@pytest.mark.parametrize("system", SYSTEMS)
def test_rqt_opens_the_panel_beside_the_same_nodes(system, monkeypatch):
    monkeypatch.setattr(launching, "get_package_prefix", installed)
    without = started(system)
    *nodes, panel = started(system, rqt="true")
    assert len(nodes) == len(without) and all(isinstance(n, LifecycleNode) for n in nodes)
    assert type(panel) is Node
    assert (panel.node_package, panel.node_executable) == ("rqt_gui", "rqt_gui")


def test_without_rqt_the_system_starts_and_one_line_says_so(monkeypatch):
    monkeypatch.setattr(launching, "get_package_prefix", missing)
    *nodes, line = started("ls3_cable", rqt="true")
    assert nodes and isinstance(line, LogInfo)
    text = "".join(part.text for part in line.msg)
    assert "rqt is not installed" in text and "\n" not in text


def test_a_launched_run_ends_by_itself_with_its_summary(checkpoint, tmp_path):
    path = tmp_path / "run.json"
    service = LaunchService(noninteractive=True)
    service.include_launch_description(
        LaunchDescription(
            [
                IncludeLaunchDescription(
                    PythonLaunchDescriptionSource(str(FILES / "ls3_cable.launch.py")),
                    launch_arguments={
                        "checkpoint": str(checkpoint),
                        # Long enough for the diagnostics of all processes to be heard.
                        "episodes": "3",
                        "json": str(path),
                    }.items(),
                )
            ]
        )
    )
    assert service.run() == 0
    summary = json.loads(path.read_text())
    assert summary["episodes"] == 3 and summary["complete"] and summary["processes"] == 6
