"""A worker process that answers requests, a JSON line each way, and never outlives its owner.

What learns beside a running robot is a process of its own: it may take its time, and its memory is
given back when it ends. It needs nothing of the process that started it but two pipes.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

Answer = dict[str, Any]


class Worker:
    """A process that runs a module's `serve`, seen from who started it.

    Args:
        module: run as `python -m MODULE`.
        settings: plain values (JSON), the first thing that it is told.
        niceness: added to that of this process.
    """

    def __init__(self, module: str, settings: Mapping[str, Any], niceness: int = 10) -> None:
        self.module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C at a terminal reaches the whole group; this process is told by its pipe.
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.ask({"niceness": niceness, **settings})

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any]) -> None:
        """Sends a request; `answer` has the answer in time, also where the process is gone."""
        with suppress(OSError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def answer(self) -> Answer | None:
        """The next answer, or None while there is none; never waits.

        An answer with the key "error" has one line that says what was wrong. The process has ended
        where it has the key "ended", too.
        """
        try:
            return self._answers.get_nowait()
        except queue.Empty:
            return None

    def close(self, patience: float = 2.0) -> None:
        """Ends the process, whatever it does."""
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(json.loads(line))
        status = self._process.wait()
        self._answers.put(
            {"error": f"{self.module} has ended with status {status}", "ended": status}
        )


def serve(start: Callable[[Answer], Callable[[Answer], Answer]]) -> int:
    """Answers requests until there are no more; what a worker's module runs.

    A `ValueError` or an `OSError` is answered with its line. When the pipe of requests is closed,
    because the other process wants so or is dead, this one ends at once, whatever it does.

    Args:
        start: is given the settings and returns the function that answers requests; its own answer
            is what that function says to an empty request.

    Returns:
        The exit status.
    """
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # Whatever prints must not get between the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    settings = json.loads(requests.get())
    os.nice(settings.pop("niceness"))

    def say(act: Callable[[], Answer]) -> bool:
        try:
            answer, fine = act(), True
        except (ValueError, OSError) as error:
            answer, fine = {"error": " ".join(str(error).split())}, False
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        return fine

    handler: list[Callable[[Answer], Answer]] = []

    def begin() -> Answer:
        handler.append(start(settings))
        return handler[0]({})

    if not say(begin):
        return 2
    while True:
        request = json.loads(requests.get())
        say(lambda request=request: handler[0](request))
