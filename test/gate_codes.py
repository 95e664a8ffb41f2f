"""Every reason code of the gate, from the documentation of its checks, in their order."""

import re

from safe_skills.safety import GateLimits, checks_of

EVERYTHING = {
    "gripper": True,
    "context_timeout": 1.0,
    "plan_timeout": 1.0,
    "bridge_timeout": 1.0,
    "eta": 1.0,
    "safe_set_limit": 0.5,
    "velocity_limit": 1.0,
    "acceleration_limit": 1.0,
    "rate_limit": 10.0,
    "tracking_limit": 0.1,
    "reconstruction_limit": 1.0,
    "latent_distance_limit": 1.0,
    "frozen_limit": 0.1,
    "slow_from": 0.5,
    "violation_budget": 3.0,
    "keep_out": (((0.1, 0.2), (0.1, 0.2)),),
}
"""Limits by which no check is switched off."""


def reason_codes():
    """Codes in the order of the checks."""
    codes = []
    for _, check in checks_of(GateLimits(((-1.0, 1.0), (-1.0, 1.0)), **EVERYTHING)):
        for code in re.findall(r"`([\w<>]+)`", type(check).__doc__.split(":")[0]):
            codes.append(code.replace("<source>", getattr(check, "source", "")))
    return codes
