"""`safe-skills run`: the graph of a launch file in one process, where there is no ros2 launch."""

from __future__ import annotations

import argparse
import importlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rclpy
import yaml
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.middleware import without_shared_memory
from safe_skills.nodes.recorder import Recorder
from safe_skills.nodes.spinning import StopSignal, make_executor, spin_until
from safe_skills.nodes.summary import RunLog
from safe_skills.paths import config_file
from safe_skills.systems import (
    DISCOVERY,
    SYSTEMS,
    NodeSpec,
    Option,
    discovery_range,
    find_system,
)

HELP = "Run a system: the ROS 2 graph of its launch file, composed in one process."

UNWRITTEN = 1
REFUSED = 2
INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the systems and their options to the parser."""
    parser.add_argument("system", choices=sorted(SYSTEMS), help="system to run")
    options: dict[str, dict[str, Option]] = {}
    for system in SYSTEMS.values():
        for option in system.options:
            options.setdefault(option.name, {})[system.name] = option
    for name, of_systems in options.items():
        choices = list(dict.fromkeys(c for option in of_systems.values() for c in option.choices))
        parser.add_argument(
            f"--{name}",
            choices=choices or None,
            metavar=None if choices else name.upper(),
            help=_help(of_systems),
        )
    add_parameters_option(parser)


def _help(of_systems: Mapping[str, Option]) -> str:
    """What an option means, and to which systems where it is not the same to all."""
    texts: dict[str, list[str]] = {}
    for system, option in of_systems.items():
        default = f" (default: {option.default})" if option.default else ""
        texts.setdefault(option.help + default, []).append(system)
    if len(texts) == 1 and len(of_systems) == len(SYSTEMS):
        return next(iter(texts))
    return " ".join(f"{', '.join(systems)}: {text}" for text, systems in texts.items())


def add_parameters_option(parser: argparse.ArgumentParser) -> None:
    """Add `-p`, whose texts `parse_overrides` takes, as `parameters`."""
    parser.add_argument(
        "-p",
        "--parameter",
        dest="parameters",
        action="append",
        default=[],
        metavar="NODE.PARAMETER:=VALUE",
        help="set a node's parameter; may be given again",
    )


def run(args: argparse.Namespace) -> int:
    """Run a system until it ends or is interrupted; returns the exit status.

    Raises:
        ValueError: In one line: an option or a parameter that cannot be used.
    """
    system = find_system(args.system)
    every = {option.name for other in SYSTEMS.values() for option in other.options}
    given = {name: getattr(args, name) for name in every}
    texts = {name: text for name, text in given.items() if text is not None}
    specs = system.nodes(texts)
    overrides = parse_overrides(args.parameters, [spec.name for spec in specs])
    values = system.values(texts)
    config = values["config"] or str(config_file(system.config))
    os.environ[DISCOVERY] = discovery_range(values["discovery"], os.environ)
    os.environ.update(without_shared_memory(os.environ))
    with StopSignal() as stop:
        _init(config)
        try:
            return _run(specs, overrides, stop)
        finally:
            rclpy.try_shutdown()


def parse_overrides(texts: Sequence[str], nodes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Parse `node.parameter:=value` texts.

    Args:
        texts: As given; values are YAML.
        nodes: Names of the nodes there are.

    Returns:
        Values by node and parameter.

    Raises:
        ValueError: In one line: another form, a value that is not YAML, or an unknown node.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        target, assigned, value = text.partition(":=")
        node, dot, name = target.partition(".")
        if not (assigned and dot and node and name):
            raise ValueError(f"-p: expected NODE.PARAMETER:=VALUE, got {text!r}")
        if node not in nodes:
            raise ValueError(f"-p: unknown node {node}; this system has {', '.join(nodes)}")
        try:
            found.setdefault(node, {})[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"-p: the value in {text!r} is not YAML") from None
    return found


def node_class(executable: str) -> type[SkillNode]:
    """Return the class that an executable runs: `cem_planner` is CemPlanner."""
    module = importlib.import_module(f"safe_skills.nodes.{executable}")
    return getattr(module, "".join(word.title() for word in executable.split("_")))


def _init(config: str) -> None:
    try:
        yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"config {config}: {' '.join(str(error).split())}") from None
    arguments = ["--ros-args", "--params-file", config]
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        # rcl has an exception type of its own for every way in which a file can be wrong.
        raise ValueError(f"config {config}: {' '.join(str(error).split())}") from None


def _run(
    specs: Sequence[NodeSpec],
    overrides: Mapping[str, Mapping[str, Any]],
    stop: StopSignal,
) -> int:
    nodes: list[SkillNode] = []
    try:
        for spec in specs:
            nodes.append(_create(spec, overrides.get(spec.name, {})))
        if not all(node.bring_up() for node in nodes):
            return REFUSED
        recorder = next(node for node in nodes if isinstance(node, Recorder))
        groups: dict[str, list[SkillNode]] = {}
        for spec, node in zip(specs, nodes, strict=True):
            groups.setdefault(spec.group, []).append(node)
        _spin(list(groups.values()), recorder, stop)
    finally:
        for node in reversed(nodes):
            node.shut_down()
            node.destroy_node()
    if not recorder.finished:
        return INTERRUPTED
    return UNWRITTEN if recorder.unwritten else 0


def _create(spec: NodeSpec, overrides: Mapping[str, Any]) -> SkillNode:
    values = {**spec.parameters, **overrides, "autostart": False}
    cli: list[str] = []
    for source, target in spec.remappings:
        cli += ["-r", f"{source}:={target}"]
    return node_class(spec.executable)(
        spec.name,
        namespace=spec.namespace or None,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        cli_args=["--ros-args", *cli] if cli else None,
    )


class _GroupThread(threading.Thread):
    """Spins the nodes of one group in a single-threaded executor."""

    def __init__(self, nodes: Sequence[SkillNode], stopped: threading.Event) -> None:
        super().__init__(daemon=True)
        self.error: BaseException | None = None
        self._stopped = stopped
        self._executor = make_executor()
        for node in nodes:
            self._executor.add_node(node)

    def run(self) -> None:
        """Spin until the run is over; an error in a callback ends the run."""
        try:
            spin_until(self._executor, self._stopped.is_set)
        except BaseException as error:
            self.error = error
            self._stopped.set()
        finally:
            self._executor.shutdown()


def _spin(groups: Sequence[Sequence[SkillNode]], recorder: Recorder, stop: StopSignal) -> None:
    stopped = threading.Event()
    threads = [_GroupThread(nodes, stopped) for nodes in groups]
    with _progress() as progress:
        task = progress.add_task("episodes", total=recorder.param("episodes") or None, log="")
        recorder.on_episode = lambda log: progress.update(
            task, completed=len(log.done), log=_so_far(log)
        )
        for thread in threads:
            thread.start()
        while not (stop() or recorder.finished or stopped.is_set()):
            time.sleep(0.05)
        stopped.set()
        for thread in threads:
            thread.join()
    for thread in threads:
        if thread.error is not None:
            raise thread.error


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[log]}"),
        # Every drawing takes the interpreter from the nodes for milliseconds.
        refresh_per_second=2,
        console=Console(stderr=True),
    )


def _so_far(log: RunLog) -> str:
    done = log.done
    wins = sum(record.success for record in done)
    return f"{wins} reached the goal, {sum(record.violation for record in done)} violations"
