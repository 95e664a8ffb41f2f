"""A system of the graph as processes, one a node, each with a log of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safe_skills.paths import config_file
from safe_skills.systems import DISCOVERY, NodeSpec

ENDING = 20.0
"""Seconds that a process has to end after it was asked to."""


def node_command(spec: NodeSpec, config: str, overrides: Mapping[str, Any]) -> list[str]:
    """The command line that runs a node of a system.

    Args:
        spec: the node.
        config: name of the system's parameter file.
        overrides: parameters that win over those of the system.
    """
    command = [sys.executable, "-m", f"safe_skills.nodes.{spec.executable}", "--ros-args"]
    command += ["-r", f"__node:={spec.name}", "--params-file", str(config_file(config))]
    for source, target in spec.remappings:
        command += ["-r", f"{source}:={target}"]
    for name, value in {**spec.parameters, **overrides}.items():
        if value != "":
            command += ["-p", f"{name}:={json.dumps(value)}"]
    return command


def start_process(
    command: Sequence[str], log: Path, prepare: Callable[[], None] | None = None
) -> subprocess.Popen[bytes]:
    """Starts a process of the graph, which appends what it says to a log.

    Args:
        command: its command line.
        log: file.
        prepare: called in the process before its program begins.
    """
    environment = {DISCOVERY: "LOCALHOST", **os.environ}
    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=environment,
            preexec_fn=prepare,
        )


def end_processes(children: Iterable[subprocess.Popen[bytes]]) -> None:
    """Asks processes to end, and kills those that do not in `ENDING` seconds."""
    children = list(children)
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)
            child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + ENDING
    for child in children:
        try:
            child.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class GraphProcesses:
    """The nodes of a system, each of which may be killed, stopped and started again.

    Args:
        folder: for their logs, which are begun anew.
        specs: of the nodes.
        config: name of the system's parameter file.
        overrides: parameters by node that win over those of the system.
    """

    def __init__(
        self,
        folder: Path,
        specs: Sequence[NodeSpec],
        config: str,
        overrides: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._folder = folder
        self._commands = {
            spec.name: node_command(spec, config, overrides.get(spec.name, {})) for spec in specs
        }
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        for name in self._commands:
            (folder / f"{name}.log").unlink(missing_ok=True)

    def log(self, name: str) -> str:
        """What a node has said so far."""
        path = self._folder / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def start(self, *names: str) -> None:
        """Starts nodes; all where none is named."""
        for name in names or self._commands:
            self.children[name] = start_process(self._commands[name], self._folder / f"{name}.log")

    def kill(self, name: str) -> None:
        """Ends a node without warning."""
        self.children[name].kill()
        self.children[name].wait()

    def ask_to_end(self, name: str) -> None:
        """Asks a node to end in good order."""
        self.children[name].send_signal(signal.SIGINT)

    def pause(self, name: str) -> None:
        """Stops a node's process where it is."""
        self.children[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Lets a stopped process go on."""
        self.children[name].send_signal(signal.SIGCONT)

    def ended(self) -> list[str]:
        """Nodes whose process is not there any more."""
        return [name for name, child in self.children.items() if child.poll() is not None]

    def close(self) -> None:
        """Ends all."""
        end_processes(self.children.values())
