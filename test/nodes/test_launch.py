"""The launch file, where ROS 2's launch is installed (it is not on PyPI)."""

import importlib.util
import json
from pathlib import Path

import pytest

# The folder launch/ of a checkout imports as a namespace package: ask for what only ROS 2's has.
try:
    from launch import LaunchDescription, LaunchService
    from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import LifecycleNode  # noqa: F401
except ImportError:
    pytest.skip("launch and launch_ros are not installed", allow_module_level=True)

from safe_skills.systems import SYSTEMS

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
    assert list(arguments) == [option.name for option in system.options]
    for option in system.options:
        argument = arguments[option.name]
        assert argument.description.startswith(option.help)
        assert "".join(part.text for part in argument.default_value) == option.default


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
