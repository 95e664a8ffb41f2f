"""The panel's link to the graph: a node of its own, spun by a thread of its own.

rqt spins one node for all of its plugins; a slow neighbour there would delay the emergency stop.
Callbacks only fill the inbox. Nothing is destroyed while the thread still spins.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.client import Client
from rclpy.exceptions import InvalidNamespaceException
from rclpy.parameter import parameter_value_to_python
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from safe_skills.data.vision import MaskConfig
from safe_skills.msg import (
    AbstractAction,
    LatentState,
    PlanStatus,
    SafetyContext,
    SafetyStatus,
    SkillStatus,
    Violation,
)
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position
from safe_skills.nodes.spinning import make_executor, spin_until
from safe_skills.paths import checkpoint_dir
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.rqt.inbox import Inbox

MONITOR = "safety_monitor"
"""Name of the monitor's node, whichever monitor it is."""

TOPICS = (
    # Volatile, so that a status is news: a latched one could be from before a silence.
    ("status", SafetyStatus, "safety_status", qos.LOG),
    ("violation", Violation, "violation", qos.EVENT),
    ("plan", PlanStatus, "plan_status", qos.LOG),
    ("skill", SkillStatus, "skill_status", qos.LOG),
    ("latent", LatentState, "latent", qos.LATENT_WINDOW),
    ("context", SafetyContext, "safety_context", qos.LOG),
    ("abstract_action", AbstractAction, "abstract_action", qos.LOG),
    ("diagnostics", DiagnosticArray, "/diagnostics", qos.LOG),
)

PARAMETERS = {
    MONITOR: (
        "checkpoint",
        "constraint_limit",
        "use_constraint",
        "safe_set_limit",
        "use_safe_set",
        "crop",
        *ARM_PARAMETERS,
    ),
    "run_recorder": ("camera_span",),
}
"""What is asked of other nodes, so that the panel has no settings that could disagree."""

SERVICES = {
    "e_stop": f"{MONITOR}/e_stop",
    "reset": f"{MONITOR}/reset",
    "snapshot": "black_box/snapshot",
}
"""What the buttons call, by verb."""

LOOK = 0.25
"""Period of looking whether the services are there [s]."""

INSIST = 2.0
"""Time for which a stop without an answer is asked for again, every `LOOK` [s]. A request may be
lost while the monitor has not discovered this node yet; to stop twice does no harm."""

ASK = 2.0
"""Period of asking for parameters [s]: thresholds may be changed while the graph runs."""

_numbers = itertools.count()


class PanelLink:
    """Subscribes to a robot's topics, reads its thresholds, calls its services.

    Args:
        namespace: Of the robot, for example "/left"; empty: none.
        inbox: Where everything received goes.

    Raises:
        ValueError: In one line: the namespace is none.
    """

    def __init__(self, namespace: str, inbox: Inbox) -> None:
        self._inbox = inbox
        name = f"safety_panel_{os.getpid()}_{next(_numbers)}"
        try:
            self.node = rclpy.create_node(
                name, namespace=namespace, enable_rosout=False, start_parameter_services=False
            )
        except InvalidNamespaceException as error:
            line = str(error).splitlines()[0]
            raise ValueError(f"namespace {namespace!r} cannot be used: {line}") from None
        for kind, message, topic, profile in TOPICS:
            self.node.create_subscription(message, topic, partial(inbox.put, kind), profile)
        self.node.create_subscription(Image, "camera/image_raw", self._image, qos.IMAGE)
        self._triggers = {
            verb: self.node.create_client(Trigger, name) for verb, name in SERVICES.items()
        }
        self._questions = [
            _Question(self.node, name, names, self._learn) for name, names in PARAMETERS.items()
        ]
        self._insist_until = 0.0
        self._checkpoint = ""
        self._arm: tuple[dict[str, Any], DvrkArm] | None = None
        self._pose: Subscription | None = None
        self.node.create_timer(LOOK, self._look)
        self.node.create_timer(ASK, self._ask)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self._thread.start()

    def call(self, verb: str) -> bool:
        """Call one of `SERVICES` without waiting; the answer goes to the inbox.

        A stop is asked for again until it is answered.

        Returns:
            Whether the request was sent: the service is there.
        """
        if not self._triggers[verb].service_is_ready():
            return False
        if verb == "e_stop":
            self._insist_until = time.monotonic() + INSIST
        self._send(verb)
        return True

    def close(self) -> None:
        """Stop the thread, then destroy the node with all that belongs to it."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._thread.join()
        self.node.destroy_node()

    # ---- in the link's thread

    def _spin(self) -> None:
        executor = make_executor()
        executor.add_node(self.node)
        try:
            spin_until(executor, lambda: self._closing.is_set() or not rclpy.ok(), 0.05)
        except Exception as error:
            # No status comes any more, which the panel shows by itself; this says why.
            self._inbox.put("note", (f"the link to the graph broke: {error}", False))
            if rclpy.ok():
                self.node.get_logger().error(traceback.format_exc())
        finally:
            executor.shutdown()

    def _image(self, message: Image) -> None:
        self._inbox.put("image", None)
        self._inbox.put_newest("picture", message)

    def _send(self, verb: str) -> None:
        future = self._triggers[verb].call_async(Trigger.Request())
        future.add_done_callback(partial(self._answered, verb))

    def _answered(self, verb: str, future: Any) -> None:
        if verb == "e_stop":
            self._insist_until = 0.0
        response = future.result()
        self._inbox.put("answer", (verb, response.success, response.message))

    def _look(self) -> None:
        """Look for the services, and how many speak in the monitor's place."""
        ready = {verb: client.service_is_ready() for verb, client in self._triggers.items()}
        self._inbox.put_newest("services", ready)
        self._inbox.put_newest("monitors", self.node.count_publishers("safety_status"))
        if time.monotonic() < self._insist_until:
            self._send("e_stop")

    def _ask(self) -> None:
        for question in self._questions:
            question.ask()

    def _learn(self, values: Mapping[str, Any]) -> None:
        found = dict(values)
        if values.get("checkpoint", self._checkpoint) != self._checkpoint:
            self._checkpoint = values["checkpoint"]
            found["mask"] = mask_of(self._checkpoint)
        self._inbox.put("parameters", found)
        if set(ARM_PARAMETERS) <= set(values):
            self._follow({name: values[name] for name in ARM_PARAMETERS})

    def _follow(self, parameters: dict[str, Any]) -> None:
        """Listen to where the arm is, in the frame that the monitor's parameters describe."""
        if self._arm is not None and self._arm[0] == parameters:
            return
        try:
            self._arm = (parameters, arm_of(_Parameters(parameters)))
        except ValueError:
            return
        if self._pose is not None:
            self.node.destroy_subscription(self._pose)
        self._pose = self.node.create_subscription(
            PoseStamped, f"{parameters['arm']}/measured_cp", self._moved, qos.CRTK_STATE_LATEST
        )

    def _moved(self, message: PoseStamped) -> None:
        try:
            self._inbox.put_newest("position", task_position(self._arm[1], message))
        except ValueError:
            return  # no position: the plan is not drawn, and the monitor says what is wrong


class _Question:
    """Asks a node for those of some parameters that it has, again and again."""

    def __init__(self, node: Any, name: str, names: tuple[str, ...], learn: Any) -> None:
        self._names = names
        self._learn = learn
        self._listing: Client = node.create_client(ListParameters, f"{name}/list_parameters")
        self._getting: Client = node.create_client(GetParameters, f"{name}/get_parameters")
        self._open: tuple[Client, Any] | None = None

    def ask(self) -> None:
        """Ask which there are, then for their values; an answer that never came is given up."""
        if self._open is not None:
            client, future = self._open
            client.remove_pending_request(future)
            self._open = None
        self._send(self._listing, ListParameters.Request(), self._listed)

    def _send(self, client: Client, request: Any, then: Any) -> None:
        if client.service_is_ready():
            future = client.call_async(request)
            self._open = (client, future)
            future.add_done_callback(then)

    def _listed(self, future: Any) -> None:
        self._open = None
        there = set(future.result().result.names)
        names = [name for name in self._names if name in there]

        def got(answer: Any) -> None:
            self._open = None
            values = map(parameter_value_to_python, answer.result().values)
            self._learn(dict(zip(names, values, strict=False)))

        if names:
            self._send(self._getting, GetParameters.Request(names=names), got)


class _Parameters:
    """Parameters of another node, read as a node reads its own."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def param(self, name: str) -> Any:
        value = self._values[name]
        return value if isinstance(value, str | bool | int | float) else list(value)


def mask_of(checkpoint: str) -> MaskConfig | None:
    """Return how the encoder of a checkpoint finds the cable; None where it does not, or not here.

    Only its configuration is read: the weights would take PyTorch and seconds.
    """
    folder = Path(checkpoint).expanduser()
    try:
        if not folder.is_dir():
            folder = checkpoint_dir(checkpoint)
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        return MaskConfig.from_dict(config["mask"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
