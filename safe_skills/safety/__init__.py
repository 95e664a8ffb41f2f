"""The safety gate: what a command must satisfy before it may reach the robot.

Nothing here does I/O or reads a clock; times are arguments, in monotonic seconds.
"""

from safe_skills.safety.checks import Check, standard_checks
from safe_skills.safety.emergency_stop import EmergencyStop
from safe_skills.safety.evidence import Decision, Evidence, Finding, GateCommand, GateState
from safe_skills.safety.gate import Gate
from safe_skills.safety.limits import GateLimits

__all__ = [
    "Check",
    "Decision",
    "EmergencyStop",
    "Evidence",
    "Finding",
    "Gate",
    "GateCommand",
    "GateLimits",
    "GateState",
    "standard_checks",
]
