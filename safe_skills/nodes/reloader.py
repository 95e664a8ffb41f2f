"""Has other nodes take up a model, all of them or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import Trigger

LOOK = 2.0
"""Period of looking whether all nodes have the checkpoint that they should have [s]."""

PATIENCE = 10.0
"""Seconds in which a node answers, or is taken to be gone."""


class Reloader:
    """Keeps a parameter of some nodes, which names the model that they use, at one value.

    A new value is set on all of them; each loads it and uses it from the next episode on. If one
    refuses, all get the old value back. A node that was started again comes up with the checkpoint
    of its launch: it is given the present one. Where that, or an episode that began meanwhile,
    leaves the nodes with different models, all are told to use what they have been given at once:
    the robot stands still then, as they refuse each other's latents.

    Args:
        node: whose clients these are.
        names: of the nodes.
        checkpoint: that they should have.
        parameter: that names it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        node: Node,
        names: Iterable[str],
        checkpoint: str,
        parameter: str = "checkpoint",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node, self._parameter, self._clock = node, parameter, clock
        self.wanted = self._before = checkpoint
        self.refusal = ""
        """Why the last new checkpoint was refused, or "" where it was not."""
        self._get = {n: node.create_client(GetParameters, f"{n}/get_parameters") for n in names}
        self._set = {n: node.create_client(SetParameters, f"{n}/set_parameters") for n in names}
        self._reload = {n: node.create_client(Trigger, f"{n}/reload") for n in names}
        self._asked: dict[str, Future] = {}
        self._then: Callable[[dict[str, Any]], None] = self._compare
        self._deadline = self._due = 0.0
        self._new = self._mixed = False

    @property
    def busy(self) -> bool:
        """Whether a new checkpoint is being set."""
        return self._new

    def use(self, checkpoint: str) -> None:
        """Have all nodes use another checkpoint."""
        self._before, self.wanted = self.wanted, checkpoint
        self.refusal = ""
        self._new, self._mixed = True, False
        self._due = self._clock()

    def episode_began(self) -> None:
        """Note it: who had its new checkpoint already has taken it up."""
        self._mixed = self._mixed or self._new

    def close(self) -> None:
        """Destroy the clients."""
        for clients in (self._get, self._set, self._reload):
            for client in clients.values():
                self._node.destroy_client(client)

    def poll(self) -> None:
        """Take the next step, if there is one to take; never waits."""
        now = self._clock()
        if self._asked:
            if all(future.done() for future in self._asked.values()) or now > self._deadline:
                answers = {n: f.result() for n, f in self._asked.items() if f.done()}
                self._asked = {}
                self._then(answers)
        elif now >= self._due:
            self._due = now + LOOK
            request = GetParameters.Request(names=[self._parameter])
            self._ask(self._get, dict.fromkeys(self._get, request), self._compare)

    def _ask(
        self,
        clients: dict[str, Any],
        requests: dict[str, Any],
        then: Callable[[dict[str, Any]], None],
    ) -> None:
        ready = {n: request for n, request in requests.items() if clients[n].service_is_ready()}
        self._asked = {n: clients[n].call_async(request) for n, request in ready.items()}
        self._then, self._deadline = then, self._clock() + PATIENCE

    def _compare(self, answers: dict[str, GetParameters.Response]) -> None:
        have = {n: answer.values[0].string_value for n, answer in answers.items()}
        others = [n for n, value in have.items() if value != self.wanted]
        # Of a node that is gone nothing is known: it is looked for again.
        complete = len(have) == len(self._get)
        if not others:
            self._new = self._new and not complete
            return
        self._mixed = self._mixed or len(others) < len(have) or not complete
        wanted = Parameter(self._parameter, value=self.wanted).to_parameter_msg()
        request = SetParameters.Request(parameters=[wanted])
        self._ask(self._set, dict.fromkeys(others, request), self._conclude)

    def _conclude(self, answers: dict[str, SetParameters.Response]) -> None:
        self._due = self._clock()
        results = {n: answer.results[0] for n, answer in answers.items()}
        refused = [
            f"{n}: {result.reason}" for n, result in results.items() if not result.successful
        ]
        if refused:
            self._due += LOOK
        if refused and self.wanted != self._before:
            self.refusal = "; ".join(refused)
            self._node.get_logger().error(f"{self.wanted} is not used: {self.refusal}")
            self.wanted, self._mixed, self._due = self._before, True, self._clock()
        elif self._mixed:
            self._mixed = False
            self._ask(self._reload, dict.fromkeys(self._reload, Trigger.Request()), self._reloaded)

    def _reloaded(self, _answers: dict[str, Trigger.Response]) -> None:
        self._due = self._clock()
