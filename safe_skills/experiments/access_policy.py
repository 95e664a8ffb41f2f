"""The SROS2 policy of a system, read from its running graph: who may publish, hear and call what.

`python -m safe_skills.experiments.access_policy SYSTEM FILE` writes it. Format: policy schema 0.2.0
of sros2; every node has an enclave of its own, `/SYSTEM/NODE`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.topic_or_service_is_hidden import topic_or_service_is_hidden

from safe_skills.data.files import write_text
from safe_skills.nodes.composed import node_class
from safe_skills.paths import config_file
from safe_skills.systems import SYSTEMS, NodeSpec, find_system

Access = Mapping[str, frozenset[str]]
"""Names by what is allowed: `publish`, `subscribe`, `reply`, `request`."""

WAYS = {"publish": "topics", "subscribe": "topics", "reply": "services", "request": "services"}

SETTLING = 30.0
"""Seconds in which the graph has to know all endpoints."""

EVERYTHING = ("bag_recorder", "black_box")
"""Nodes that record: they hear every topic that anybody publishes."""

OPERATOR: Access = {
    "publish": frozenset({"/parameter_events", "/rosout"}),
    "subscribe": frozenset({"/safety_status", "/violation"}),
    "reply": frozenset(),
    "request": frozenset(
        f"/{service}"
        for service in (
            "safety_monitor/e_stop",
            "safety_monitor/reset",
            "hardware_bridge/resume",
            "black_box/snapshot",
        )
    ),
}
"""What a person's node needs to stop and to release the robot, under the name `operator`."""


def specs_of(system: str, folder: Path) -> list[NodeSpec]:
    """Nodes of a system in simulation, those that record, and those beside a real robot."""
    described = find_system(system)
    robots = next(option.choices for option in described.options if option.name == "robot")
    found: dict[str, NodeSpec] = {}
    for robot in robots:
        options = {"robot": robot, "episodes": "1", "record": str(folder / "run.mcap")}
        for spec in described.nodes(options):
            found.setdefault(spec.name, spec)
    if system == "safer_grasp":
        found.setdefault("episode_operator", NodeSpec("episode_operator"))
    return list(found.values())


def access_of(node: Node, name: str, namespace: str = "/") -> dict[str, frozenset[str]]:
    """What a node of the graph publishes, hears, answers and calls.

    Args:
        node: who asks the graph.
        name: of the node.
        namespace: of the node.
    """
    asked = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
        "request": node.get_client_names_and_types_by_node,
    }
    return {
        way: frozenset(topic for topic, _ in ask(name, namespace)) for way, ask in asked.items()
    }


def graph_access(system: str) -> dict[str, dict[str, frozenset[str]]]:
    """What every node of a system does, by node: the nodes are made and brought up, not spun.

    Raises:
        ValueError: a node that could not be brought up, in one line.
    """
    context = rclpy.Context()
    config = str(config_file(find_system(system).config))
    rclpy.init(context=context, args=["--ros-args", "--params-file", config])
    nodes = []
    try:
        with tempfile.TemporaryDirectory(prefix="access_") as folder:
            for spec in specs_of(system, Path(folder)):
                values = {**spec.parameters, "autostart": False}
                made = node_class(spec.executable)(
                    spec.name,
                    context=context,
                    parameter_overrides=[Parameter(k, value=v) for k, v in values.items()],
                )
                nodes.append(made)
                if not made.bring_up():
                    raise ValueError(f"{spec.name}: {made.fault}")
            found = _settled(nodes)
            for made in reversed(nodes):
                made.shut_down()
    finally:
        for made in reversed(nodes):
            made.destroy_node()
        rclpy.shutdown(context=context)
    told = frozenset(
        topic
        for access in found.values()
        for topic in access["publish"]
        if not topic_or_service_is_hidden(topic)
    )
    for name in EVERYTHING:
        if name in found:
            found[name]["subscribe"] = told
    return found


def _settled(nodes: Sequence[Node]) -> dict[str, dict[str, frozenset[str]]]:
    """What nodes do, by name, as soon as the graph has it: it hears of some endpoints later."""
    before: dict[str, dict[str, frozenset[str]]] = {}
    deadline = time.monotonic() + SETTLING
    while time.monotonic() < deadline:
        found = {node.get_name(): access_of(node, node.get_name()) for node in nodes}
        if found == before and all(one["publish"] and one["reply"] for one in found.values()):
            return found
        before = found
        time.sleep(0.5)
    raise ValueError(f"the graph did not come to rest within {SETTLING:g} s")


def policy_text(system: str, accesses: Mapping[str, Access]) -> str:
    """A policy in XML: what stands in `accesses`, and an operator's rights, and nothing else."""
    policy = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(policy, "enclaves")
    for name, access in {**accesses, "operator": OPERATOR}.items():
        enclave = ElementTree.SubElement(enclaves, "enclave", path=f"/{system}/{name}")
        profiles = ElementTree.SubElement(enclave, "profiles")
        profile = ElementTree.SubElement(profiles, "profile", ns="/", node=name)
        for way, group in WAYS.items():
            if not access[way]:
                continue
            rights = ElementTree.SubElement(profile, group, {way: "ALLOW"})
            for topic in sorted(access[way]):
                ElementTree.SubElement(rights, group.removesuffix("s")).text = topic
    ElementTree.indent(policy, "  ")
    text = ElementTree.tostring(policy, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def read_policy(path: Path) -> dict[str, dict[str, frozenset[str]]]:
    """What a policy allows, by node.

    Raises:
        ValueError: in one line: another version, or something else than rights that are given.
    """
    policy = ElementTree.parse(path).getroot()
    if policy.tag != "policy" or policy.get("version") != "0.2.0":
        raise ValueError(f"{path}: expected a policy of version 0.2.0")
    found = {}
    for profile in policy.iter("profile"):
        allowed: dict[str, set[str]] = {way: set() for way in WAYS}
        for rights in profile:
            ((way, verdict),) = rights.attrib.items()
            if WAYS.get(way) != rights.tag or verdict != "ALLOW":
                raise ValueError(f"{path}: expected rights that are given, got {rights.attrib}")
            allowed[way] |= {entry.text for entry in rights}
        found[profile.get("node")] = {way: frozenset(names) for way, names in allowed.items()}
    return found


def differences(allowed: Mapping[str, Access], used: Mapping[str, Access]) -> Iterable[str]:
    """One line for everything that is used and not allowed, or allowed and not used."""
    for name in sorted({*allowed, *used}):
        for way in WAYS:
            granted = allowed.get(name, {}).get(way, frozenset())
            needed = used.get(name, {}).get(way, frozenset())
            yield from (f"{name} may not {way} {topic}" for topic in sorted(needed - granted))
            yield from (f"{name} need not {way} {topic}" for topic in sorted(granted - needed))


def main() -> None:
    """Writes the policy of a system."""
    parser = argparse.ArgumentParser(description="Write the SROS2 policy of a system.")
    parser.add_argument("system", choices=sorted(SYSTEMS))
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    write_text(args.file, policy_text(args.system, graph_access(args.system)))


if __name__ == "__main__":
    main()
