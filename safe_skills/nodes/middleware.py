"""How messages get from process to process: by sockets, which outlive a node that is killed.

On one host Fast DDS takes shared memory by itself. Where a process that had opened some is killed,
its successor may hear nothing, or others nothing from it, until all are started anew (Fast DDS
issue 5469; docs/faults.md says how often).
"""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.utilities import get_rmw_implementation_identifier

from safe_skills.paths import config_file
from safe_skills.systems import DISCOVERY

TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
"""Environment variable of Fast DDS: what it takes where no profile says."""

SOCKETS = "UDPv4?sockets_size=4MB"
"""Its value: sockets with room for a camera's whole frame."""

PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE"
"""Environment variable of Fast DDS: a file of profiles."""

OLD_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
"""What it was called before Fast DDS 3."""

OLD_DISTRIBUTIONS = ("humble", "iron", "jazzy")
"""ROS distributions before Fast DDS 3, which do not know `PROFILES`."""

STATIC_PEERS = "ROS_STATIC_PEERS"
"""Environment variable: further hosts to look for nodes on."""

LOCALHOST = "fastdds_localhost.xml"
"""The profile, under `config/`, that stands in for a `DISCOVERY` of LOCALHOST."""


def without_shared_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """Changes of an environment so that Fast DDS takes sockets; none where it is told otherwise.

    For a `DISCOVERY` of LOCALHOST rmw_fastrtps adds shared memory to whatever Fast DDS is told, so
    that a profile takes its place, which looks for peers on this host only, too. With other
    middleware, a profile or transports of the user's own, or `STATIC_PEERS`, which that profile
    does not know, everything stays as it is; so does LOCALHOST on the distributions before Kilted.

    Args:
        environment: as it is before.
    """
    if any(environment.get(name) for name in (TRANSPORTS, PROFILES, OLD_PROFILES, STATIC_PEERS)):
        return {}
    if not get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        return {}
    if environment.get(DISCOVERY) != "LOCALHOST":
        return {TRANSPORTS: SOCKETS}
    if environment.get("ROS_DISTRO") in OLD_DISTRIBUTIONS:
        return {}
    return {PROFILES: str(config_file(LOCALHOST)), DISCOVERY: "SYSTEM_DEFAULT"}
