"""A running graph with a man in the middle: its topics travel through here, watched and spoiled."""

from __future__ import annotations

import functools
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rclpy
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Empty, Header
from std_srvs.srv import Trigger

from safe_skills.experiments.faults_judge import Gated, Point, Status, Tape
from safe_skills.experiments.faults_robots import ROBOTS
from safe_skills.experiments.faults_schedule import SURFACES
from safe_skills.experiments.graph_processes import GraphProcesses
from safe_skills.msg import (
    AbstractAction,
    BridgeStatus,
    Command,
    EpisodeStatus,
    LatentState,
    SafetyContext,
    SafetyStatus,
)
from safe_skills.nodes import qos
from safe_skills.nodes.conversions import nanoseconds
from safe_skills.nodes.middleware import without_shared_memory
from safe_skills.nodes.spinning import make_executor
from safe_skills.nodes.who import gid_of, own_participant, participant_of
from safe_skills.systems import DISCOVERY, NodeSpec, find_system

RAW = "faults/raw"
"""Under this name the graph's own nodes publish what travels through here."""

ALONE = 2.0
"""Seconds in which nodes that were there before are found."""

LEASE = 30.0
"""Seconds after which no node is found any more that was killed."""

REMEMBERED = 100
"""Messages of each stream that can be replayed."""

STREAMS: Mapping[str, tuple[type, QoSProfile]] = {
    "camera/image_raw": (Image, qos.IMAGE),
    "latent": (LatentState, qos.IMAGE),
    "safety_context": (SafetyContext, qos.COMMAND),
    "abstract_action": (AbstractAction, qos.COMMAND),
    "command": (Command, qos.COMMAND),
    "PSM1/measured_cp": (PoseStamped, qos.CRTK_STATE),
    "joint_states": (JointState, qos.CRTK_STATE),
}
"""Type and quality of service of every topic that travels through here."""

PUBLISHES: Mapping[str, Sequence[str]] = {
    "simulator": ("camera/image_raw", "PSM1/measured_cp", "joint_states"),
    "camera_encoder": ("latent",),
    "cem_planner": ("command",),
    "skill_decoder": ("command",),
    "safety_posterior": ("safety_context",),
    "skill_policy": ("abstract_action",),
}
"""Who publishes them."""


def _with_info(callback: Callable[[Any, dict], None]) -> Callable[..., None]:
    """A callback for messages and their info, which rclpy's EventsExecutor hands over as one."""

    @functools.wraps(callback)
    def called(*given: Any) -> None:
        callback(*(given[0] if len(given) == 1 else given))

    return called


def _sent_at(info: dict) -> float:
    """When a message was published on this host, in monotonic seconds.

    However late it is read here: on a busy machine that may be later than the next one was sent.
    """
    now = time.monotonic()
    if not info["source_timestamp"]:
        return now
    return min(now - 1e-9 * (time.time_ns() - info["source_timestamp"]), now)


Tamper = Callable[[Any], Sequence[Any]]
"""What becomes of a message of a stream: the messages that are forwarded instead."""


def rewired(specs: Sequence[NodeSpec], streams: Sequence[str]) -> list[NodeSpec]:
    """Nodes whose topics travel through the man in the middle."""
    made = []
    for spec in specs:
        topics = [topic for topic in PUBLISHES.get(spec.name, ()) if topic in streams]
        remappings = tuple((topic, f"{RAW}/{topic}") for topic in topics)
        made.append(
            NodeSpec(
                spec.executable,
                spec.parameters,
                spec.group,
                spec.ends_run,
                (*spec.remappings, *remappings),
                spec.node,
            )
        )
    return made


class Stream:
    """One topic that travels through here.

    Args:
        node: of the man in the middle.
        topic: its name.
        heard: called with every message that its owner published, before it is forwarded.
        told: called with every message that is forwarded, before it is.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        heard: Callable[[Any], None],
        told: Callable[[Any], None],
    ) -> None:
        kind, profile = STREAMS[topic]
        self.past: deque[Any] = deque(maxlen=REMEMBERED)
        self.tamper: Tamper | None = None
        self.messages = 0
        self._heard, self._told = heard, told
        self._publisher = node.create_publisher(kind, topic, profile)
        node.create_subscription(kind, f"{RAW}/{topic}", self._forward, profile)

    def send(self, message: Any) -> None:
        """Publish a message as if it came from the topic's owner."""
        self._told(message)
        self._publisher.publish(message)

    def _forward(self, message: Any) -> None:
        self._heard(message)
        self.messages += 1
        self.past.append(message)
        for made in [message] if self.tamper is None else self.tamper(message):
            self.send(made)


class Rig:
    """A system of the graph in processes of its own, in realtime, seen and spoiled from here.

    Args:
        system: its name.
        folder: for logs.
        options: of the system, besides clock and episodes.
        overrides: parameters by node.
    """

    def __init__(
        self,
        system: str,
        folder: Path,
        options: Mapping[str, str] | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        described = find_system(system)
        self.surface = SURFACES[system]
        values = {**(options or {}), "clock": "realtime", "episodes": "0"}
        nodes = [spec for spec in described.nodes(values) if spec.name in self.surface.nodes]
        self.specs = {spec.name: spec for spec in nodes}
        # Nobody records here whom the simulator would wait for.
        given = {name: dict(values) for name, values in (overrides or {}).items()}
        given.setdefault("simulator", {})["audience"] = ""
        self.folder, self.config = folder, described.config
        self.processes = GraphProcesses(
            folder, rewired(nodes, self.surface.streams), described.config, given
        )
        self.tape = Tape()
        self.latencies: dict[str, list[tuple[float, float]]] = {
            "gated_command": [],
            "set_point": [],
        }
        self.episodes = 0
        self._robot_type = ROBOTS[system]
        self._robot = None
        os.environ.setdefault(DISCOVERY, "LOCALHOST")
        os.environ.update(without_shared_memory(os.environ))
        self._context = rclpy.Context()
        rclpy.init(context=self._context, args=[])
        self.node = rclpy.create_node("faults", context=self._context)
        self._far = rclpy.Context()
        rclpy.init(context=self._far, args=[])
        self.intruder = rclpy.create_node("intruder", context=self._far)
        self._executor = make_executor(self._context)
        self._executor.add_node(self.node)
        self._clients: dict[tuple[type, str], Client] = {}

    # ---- life

    def start(self, patience: float = 120.0) -> None:
        """Start the graph and wait until the robot moves.

        Raises:
            TimeoutError: it does not, in one line.
            ValueError: others are in this ROS domain, whose topics would be taken for the graph's.
        """
        self.spin(ALONE)
        if not self.until(lambda: not self._others(), LEASE):
            raise ValueError(
                f"expected a ROS domain without other nodes, found {', '.join(self._others())}; "
                "set ROS_DOMAIN_ID to one that nobody uses"
            )
        self._ours = {own_participant(self.node), own_participant(self.intruder)}
        self.processes.start()
        for name in ("safety_monitor", "hardware_bridge"):
            ready = self.client(GetParameters, name, "get_parameters").service_is_ready
            if not self.until(ready, patience):
                raise TimeoutError(f"{name} did not start: {self.processes.log(name)[-500:]}")
        gate, bridge = self.parameters("safety_monitor"), self.parameters("hardware_bridge")
        self.period = gate.get("control_period", 0.1)
        self._robot = self._robot_type(gate, bridge)
        self.bounds = self._robot.bounds
        self._listen()
        if not self.until(self.moving_since(time.monotonic()), patience):
            raise TimeoutError(f"the robot did not begin to move within {patience:g} s")

    def _others(self) -> list[str]:
        own = {self.node.get_name(), self.intruder.get_name()}
        # Names that begin with an underscore are those of tools, such as the ros2 daemon.
        return sorted(
            name for name in set(self.node.get_node_names()) - own if not name.startswith("_")
        )

    def close(self) -> None:
        """End everything."""
        try:
            self.processes.close()
        finally:
            self._executor.shutdown()
            for node, context in ((self.node, self._context), (self.intruder, self._far)):
                node.destroy_node()
                rclpy.shutdown(context=context)

    def spin(self, seconds: float) -> None:
        """Let time pass."""
        self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], Any], patience: float = 30.0) -> Any:
        """Let time pass until a condition holds; what it said last."""
        deadline = time.monotonic() + patience
        while not (holds := condition()):
            left = deadline - time.monotonic()
            if left <= 0.0:
                break
            self._executor.spin_once(timeout_sec=min(left, 0.02))
        return holds

    def moving_since(self, begin: float) -> Callable[[], bool]:
        """A condition: since `begin`, motion passed gate and bridge."""

        def moving() -> bool:
            commands, points = self.tape.commands, self.tape.set_points
            return (
                bool(commands and points)
                and any(commands[-1].action)
                and commands[-1].at > begin
                and points[-1].at > begin
            )

        return moving

    # ---- services

    def client(self, kind: type, node: str, service: str) -> Client:
        """A client of a node's service."""
        key = (kind, f"{node}/{service}")
        if key not in self._clients:
            self._clients[key] = self.node.create_client(*key)
        return self._clients[key]

    def call(self, kind: type, node: str, service: str, request: Any, patience: float = 5.0) -> Any:
        """The answer of a node's service; None where there is none in time."""
        client = self.client(kind, node, service)
        if not self.until(client.service_is_ready, patience):
            return None
        future = client.call_async(request)
        self.until(future.done, patience)
        return future.result() if future.done() else None

    def parameters(self, node: str) -> dict[str, Any]:
        """Values of all parameters of a node."""
        listed = self.call(ListParameters, node, "list_parameters", ListParameters.Request())
        names = list(listed.result.names)
        request = GetParameters.Request(names=names)
        values = self.call(GetParameters, node, "get_parameters", request).values
        return dict(zip(names, map(parameter_value_to_python, values), strict=True))

    def set_parameter(self, node: str, name: str, value: Any) -> tuple[bool, str] | None:
        """Ask a node to change a parameter: (taken, reason); None where it does not answer."""
        wanted = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[wanted])
        answer = self.call(SetParameters, node, "set_parameters", request)
        return None if answer is None else (answer.results[0].successful, answer.results[0].reason)

    def reset(self) -> None:
        """Release an emergency stop, where there is one."""
        self.call(Trigger, "safety_monitor", "reset", Trigger.Request(), 2.0)

    @property
    def stopped(self) -> bool:
        """Whether the gate said last that it is STOPPED."""
        return bool(self.tape.statuses) and self.tape.statuses[-1].state == SafetyStatus.STOPPED

    # ---- the tape

    def _listen(self) -> None:
        robot, node, tape = self._robot, self.node, self.tape
        state = robot.state_topic

        def heard(message: Any) -> None:
            tape.true.append(Point(time.monotonic(), *robot.state(message)))

        def told(message: Any) -> None:
            tape.fed.append(Point(time.monotonic(), *robot.state(message)))

        def nothing(message: Any) -> None:
            pass

        self.streams = {
            topic: Stream(
                node,
                topic,
                heard if topic == state else nothing,
                told if topic == state else nothing,
            )
            for topic in self.surface.streams
        }
        self.last: dict[str, Any] = {}
        self._answered: OrderedDict[int, float] = OrderedDict()
        self._unanswered = False
        self.starts = node.create_publisher(Header, "episode_start", qos.EVENT)
        node.create_subscription(Command, "command_safe", _with_info(self._gated), qos.LOG)
        told_robot = _with_info(self._set_point)
        node.create_subscription(robot.set_point_type, robot.set_point_topic, told_robot, qos.LOG)
        if robot.hold_topic:
            node.create_subscription(Empty, robot.hold_topic, _with_info(self._hold), qos.LOG)
        node.create_subscription(BridgeStatus, "bridge_status", _with_info(self._bridge), qos.LOG)
        node.create_subscription(SafetyStatus, "safety_status", _with_info(self._status), qos.LOG)
        node.create_subscription(Header, "episode_start", _with_info(self._start), qos.LOG)
        node.create_subscription(EpisodeStatus, "episode", self._episode, qos.LOG)

    def _is_ours(self, info: dict) -> bool:
        return participant_of(gid_of(info["publisher_gid"]["data"])) in self._ours

    def _gated(self, message: Command, info: dict) -> None:
        self.last["command_safe"] = message
        if self._is_ours(info):
            return
        now, stamp = _sent_at(info), nanoseconds(message.header.stamp)
        if stamp not in self._answered:
            self._answered[stamp] = now
            self._latency("gated_command", now, stamp, info)
        while len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)
        self._unanswered = True
        self.tape.commands.append(
            Gated(
                now,
                stamp,
                message.header.frame_id,
                tuple(message.action),
                info["publication_sequence_number"],
            )
        )

    def _set_point(self, message: Any, info: dict) -> None:
        self.last[self._robot.set_point_topic] = message
        if self._is_ours(info):
            return
        now = _sent_at(info)
        self.tape.set_points.append(Point(now, *self._robot.set_point(message)))
        if self._unanswered and self._answered:
            self._unanswered = False
            self._latency("set_point", now, next(reversed(self._answered)), info)

    def _latency(self, hop: str, now: float, stamp: int, info: dict) -> None:
        """Note the time from an image's stamp until its answer was published."""
        published = info["source_timestamp"] or time.time_ns()
        if 0 < published - stamp < 10**10:
            self.latencies[hop].append((now, 1e-9 * (published - stamp)))

    def _hold(self, _: Empty, info: dict) -> None:
        self.tape.holds.append(_sent_at(info))

    def _bridge(self, message: BridgeStatus, info: dict) -> None:
        if message.state not in (BridgeStatus.READY, BridgeStatus.MOVING):
            self.tape.holds.append(_sent_at(info))

    def _status(self, message: SafetyStatus, info: dict) -> None:
        self.tape.statuses.append(Status(_sent_at(info), message.state))

    def _start(self, message: Header, info: dict) -> None:
        if not self._is_ours(info):
            self.last["episode_start"] = message
            self.tape.starts.append(_sent_at(info))

    def _episode(self, message: EpisodeStatus) -> None:
        self.episodes += message.done
