"""Stages as tasks of a Ray cluster, whose machines share the folder that all of them run in."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safe_skills
from safe_skills.experiments.stages import Stage, StageError

RETRIES = 5  # of a task whose process or machine was lost
PATIENCE = 60.0  # s, until a file that another machine has written must be seen here
CONNECTING = 10.0  # s, until a cluster must answer; Ray itself waits for minutes


@contextmanager
def ray_cluster(address: str) -> Iterator[RayRunner]:
    """Connects to a cluster.

    Args:
        address: of its head, "HOST:6379", or "auto" for the cluster of this machine.

    Raises:
        StageError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError:
        raise StageError(
            "--ray-address: Ray is not installed: pip install '.[ray]' in the checkout"
        ) from None
    _reach(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise StageError(
            f"--ray-address: expected a cluster at {address}: {_line(error)}"
        ) from None
    try:
        yield RayRunner(ray, Path.cwd())
    finally:
        ray.shutdown()


class RayRunner:
    """Runs stages on a cluster, each on one core.

    A stage whose process or machine is lost is begun again, and its command goes on where it stood.

    Args:
        ray: the module, connected to a cluster.
        folder: that the stages' paths are relative to, the same on all machines.
    """

    def __init__(self, ray: Any, folder: Path) -> None:
        self._ray, self._folder = ray, folder
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(run_words)
        self._running: set[Any] = set()

    @property
    def cores(self) -> int:
        """Of the whole cluster, at least 1."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def run(self, stage: Stage) -> None:
        """Runs a stage and waits for it.

        Raises:
            StageError: it failed, it was lost too often, or its result is not to be seen here.
        """
        task = self._task.remote(
            stage.words, str(stage.result), str(self._folder), safe_skills.__version__
        )
        self._running.add(task)
        try:
            failure = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            failure = f"{stage.line}: {_line(error)}"
        finally:
            self._running.discard(task)
        if failure:
            raise StageError(failure)
        _await(stage.result)

    def cancel(self) -> None:
        """Ends the stages under way; their commands end with the processes that wait for them."""
        for task in list(self._running):
            self._ray.cancel(task, force=True)


def run_words(words: Sequence[str], result: str, folder: str, version: str) -> str:
    """Runs a stage on a machine of the cluster.

    Args:
        words: of the command.
        result: that it writes.
        folder: to run it in.
        version: of the package where the command was given.

    Returns:
        What went wrong, in a line; "" where nothing did.
    """
    if safe_skills.__version__ != version:
        return f"{platform.node()}: expected safe_skills {version}, found {safe_skills.__version__}"
    try:
        os.chdir(folder)
        Stage(tuple(words), Path(result)).run()
    except StageError as error:
        return str(error)
    except OSError as error:
        return f"{platform.node()}: expected {folder} to be shared: {error}"
    return ""


def _reach(address: str) -> None:
    """Raises a StageError unless something listens at HOST:PORT; "auto" is looked up by Ray."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise StageError(f"--ray-address: expected HOST:PORT or auto, got {address!r}")
    try:
        socket.create_connection((host, int(port)), CONNECTING).close()
    except OSError as error:
        raise StageError(f"--ray-address: expected a cluster at {address}: {error}") from None


def _await(path: Path) -> None:
    """Waits until a network file system shows what another machine has written."""
    last = time.monotonic() + PATIENCE
    while not path.is_file():
        if time.monotonic() > last:
            raise StageError(
                f"{path}: was written by another machine, but is not here: the folder must be "
                "shared by all machines of the cluster"
            )
        time.sleep(0.5)


def _line(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
