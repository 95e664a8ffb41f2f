"""Which nodes make up a system, and with which parameters: for launch files and `safe-skills run`.

No ROS in here: a launch file turns `NodeSpec`s into processes, `safe-skills run` into nodes of one
process. Parameters that no option touches are in the system's file under `config/`.
"""

from safe_skills.systems import ls3_cable, safer_grasp
from safe_skills.systems.description import DISCOVERY, LAUNCH_OPTIONS, NodeSpec, Option, System
from safe_skills.systems.shared import discovery_range

SYSTEMS = {system.name: system for system in (ls3_cable.SYSTEM, safer_grasp.SYSTEM)}

__all__ = [
    "DISCOVERY",
    "LAUNCH_OPTIONS",
    "SYSTEMS",
    "NodeSpec",
    "Option",
    "System",
    "discovery_range",
    "find_system",
]


def find_system(name: str) -> System:
    """Returns the system of this name; ValueError names those that exist."""
    try:
        return SYSTEMS[name]
    except KeyError:
        raise ValueError(f"system: expected {' or '.join(SYSTEMS)}, got {name!r}") from None
