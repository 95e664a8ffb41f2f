"""From the description of a system to a launch description; needs launch and launch_ros."""

from __future__ import annotations

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.events.process import ProcessExited
from launch_ros.actions import LifecycleNode, Node

from safe_skills.nodes.middleware import without_shared_memory
from safe_skills.paths import config_file, share_dir
from safe_skills.systems import (
    DISCOVERY,
    LAUNCH_OPTIONS,
    NodeSpec,
    Option,
    discovery_range,
    find_system,
)

RESPAWN_DELAY = 1.0

PERSPECTIVE = "safety_panel.perspective"


def describe(name: str) -> LaunchDescription:
    """Returns a launch description of a system: its options as arguments, its nodes as processes.

    Nodes look for each other on this host only, unless an option or the environment says
    otherwise. A node that dies is started again; the node that ends the run shuts everything down.
    """
    system = find_system(name)

    def start(context: LaunchContext) -> list[Action]:
        texts = {
            option.name: context.launch_configurations[option.name] for option in system.options
        }
        config = texts["config"] or str(config_file(system.config))
        window = [_panel()] if context.launch_configurations["rqt"] == "true" else []
        return [*(_process(spec, config, name) for spec in system.nodes(texts)), *window]

    options = (*system.options, *LAUNCH_OPTIONS)
    arguments = [_argument(option) for option in options]
    narrow, nodes = OpaqueFunction(function=_find_each_other), OpaqueFunction(function=start)
    return LaunchDescription([*arguments, narrow, nodes])


def _argument(option: Option) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        option.name,
        default_value=option.default,
        description=option.help,
        choices=list(option.choices) or None,
    )


def _find_each_other(context: LaunchContext) -> list[Action]:
    chosen = context.launch_configurations["discovery"]
    found = {DISCOVERY: discovery_range(chosen, context.environment)}
    changes = {**found, **without_shared_memory({**context.environment, **found})}
    return [SetEnvironmentVariable(name, value) for name, value in changes.items()]


def _end_run(_event: ProcessExited, context: LaunchContext) -> list[Action]:
    return [] if context.is_shutdown else [Shutdown(reason="the run is over")]


def _panel() -> Action:
    """The safety panel in rqt; the system goes on when it is closed, and without it."""
    try:
        get_package_prefix("rqt_gui_py")
        get_package_prefix("rqt_gui")
    except PackageNotFoundError:
        return LogInfo(
            msg="rqt:=true: rqt is not installed (Debian package ros-DISTRO-rqt-gui-py); "
            "the system runs without the safety panel"
        )
    return Node(
        package="rqt_gui",
        executable="rqt_gui",
        arguments=["--perspective-file", str(share_dir() / "config" / PERSPECTIVE)],
        output="screen",
    )


def _process(spec: NodeSpec, config: str, system: str) -> LifecycleNode:
    ending = (
        {"on_exit": _end_run}
        if spec.ends_run
        else {"respawn": True, "respawn_delay": RESPAWN_DELAY}
    )
    return LifecycleNode(
        package="safe_skills",
        executable=spec.executable,
        name=spec.name,
        namespace=spec.namespace,
        parameters=[config, dict(spec.parameters)],
        remappings=list(spec.remappings),
        # Means something where ROS_SECURITY_ENABLE is set only.
        ros_arguments=["--enclave", f"/{system}/{spec.name}"],
        output="screen",
        emulate_tty=True,
        **ending,
    )
