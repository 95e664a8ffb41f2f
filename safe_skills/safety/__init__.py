"""The safety gate: what a command must satisfy before it may reach the robot.

Nothing here does I/O or reads a clock; times are arguments, in monotonic seconds.
"""

from safe_skills.safety.catalogue import CATALOGUE, FORMS, checks_of
from safe_skills.safety.checks import Check
from safe_skills.safety.emergency_stop import EmergencyStop, HoldProof
from safe_skills.safety.evidence import Decision, Evidence, Finding, GateCommand, GateState
from safe_skills.safety.gate import Gate
from safe_skills.safety.limits import GateLimits
from safe_skills.safety.rules import Rule, RuleAction, parse_rules

__all__ = [
    "CATALOGUE",
    "FORMS",
    "Check",
    "Decision",
    "EmergencyStop",
    "Evidence",
    "Finding",
    "Gate",
    "GateCommand",
    "GateLimits",
    "GateState",
    "HoldProof",
    "Rule",
    "RuleAction",
    "checks_of",
    "parse_rules",
]
