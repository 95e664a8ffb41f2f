"""The gate's limits and rules as parameters of a monitor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.parameters import Param
from safe_skills.safety import FORMS, GateLimits, Rule, parse_rules
from safe_skills.safety.rules import default_rules


def limit(name: str, text: str, low: float, high: float) -> Param:
    """Return the parameter of a limit of the gate, which may be changed while it works."""
    return Param(getattr(GateLimits, name), text, low, high, runtime=True)


def optional(default: float, text: str, high: float) -> Param:
    """Return the parameter of a limit that 0 switches off."""
    return Param(default, f"{text}; 0: not judged.", 0.0, high, runtime=True)


def rules_without(*names: str) -> Param:
    """Return the parameter of the rules: by default every check but those named."""
    rules = [str(rule) for rule in default_rules(FORMS) if rule.check not in names]
    return Param(
        rules,
        "Checks in their order: CHECK [ACTION [TRIGGERS [RELEASES]]]; ACTION is observe, limit, "
        "hold or stop; the numbers are of consecutive judgements.",
        runtime=True,
    )


SHARED_LIMITS = {
    "reject_factor": limit(
        "reject_factor",
        "Commands beyond this many times a limit are held, not made smaller.",
        1.0,
        100.0,
    ),
    "latent_timeout": limit(
        "latent_timeout", "Age at which a latent state is stale [s].", 1e-3, 3600.0
    ),
    "image_timeout": limit("image_timeout", "Age at which an image is stale [s].", 1e-3, 3600.0),
    "robot_timeout": limit(
        "robot_timeout", "Age at which the robot's state is stale [s].", 1e-3, 3600.0
    ),
    "bridge_timeout": optional(0.0, "Age at which the bridge's status is stale [s]", 3600.0),
    "rate_limit": optional(25.0, "Most commands in a second", 1e4),
    "control_period": limit(
        "control_period", "Time in which the robot carries out a command [s].", 1e-3, 3600.0
    ),
    "velocity_window": limit(
        "velocity_window", "Time over which velocity_limit is kept [s].", 1e-3, 3600.0
    ),
    "slow_from": optional(0.7, "Share of constraint_limit from which on steps are shorter", 0.999),
    "slow_scale": limit("slow_scale", "Factor on a step where risk is at its limit.", 0.0, 1.0),
    "slow_hysteresis": limit(
        "slow_hysteresis",
        "Fall of the risk after which steps grow again, as a share of its limit.",
        0.0,
        1.0,
    ),
    "frozen_frames": limit(
        "frozen_frames",
        "Images that show the same after the robot moved before the camera counts as frozen.",
        1,
        1000,
    ),
    "violation_budget": optional(
        0.0, "Findings in an episode that may hold the robot; more hold it to the end", 1e9
    ),
}

MODEL_LIMITS = {
    "use_constraint": Param(True, "Hold where the constraint estimator asks for it.", runtime=True),
    "constraint_limit": limit(
        "constraint_limit",
        "Greatest probability of a constraint violation one step ahead.",
        0.0,
        1.0,
    ),
    "use_safe_set": Param(False, "Make commands smaller where the safe set is left.", runtime=True),
    "safe_set_limit": Param(
        0.5, "Least probability of being in the safe set for full motion.", 0.0, 1.0, runtime=True
    ),
    "safe_set_scale": limit(
        "safe_set_scale", "Factor on commands where the safe set is left.", 0.0, 1.0
    ),
}

SURPRISE_FACTOR = Param(
    1.0,
    "Frames beyond this many times the encoder's calibrated limits of surprise are not trusted; "
    "0: not judged.",
    0.0,
    100.0,
    runtime=True,
)

_SWITCHES = (("use_constraint", "constraint_limit"), ("use_safe_set", "safe_set_limit"))

_OPTIONAL = frozenset(
    (
        *("bridge_timeout", "plan_timeout", "rate_limit", "velocity_limit", "acceleration_limit"),
        *("tracking_limit", "frozen_limit", "slow_from", "violation_budget"),
    )
)


def limits_of(node: SkillNode, names: Iterable[str]) -> dict[str, Any]:
    """Return the limits of these names, as `GateLimits` takes them; what is not used is None."""
    values = {name: node.param(name) for name in names}
    for switch, checked in _SWITCHES:
        if not values.pop(switch, True):
            values[checked] = None
    for name in _OPTIONAL & values.keys():
        values[name] = values[name] or None
    return values


def rules_of(node: SkillNode) -> tuple[Rule, ...]:
    """Return the rules of the parameter `checks`; `ValueError` in one line where they are none."""
    return parse_rules(node.param("checks"), FORMS)


def zones_of(
    numbers: Sequence[float], dimensions: int
) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Return the zones that a list of numbers describes: low and high of x, y, ... each.

    Args:
        numbers: low and high of `dimensions` coordinates a zone; a zone of zeros is none.
        dimensions: of a zone.

    Raises:
        ValueError: in one line: a number too many or too few, or a zone that is upside down.
    """
    size = 2 * dimensions
    if len(numbers) % size:
        raise ValueError(f"keep_out: expected {size} numbers a zone, got {len(numbers)}")
    zones = [numbers[k : k + size] for k in range(0, len(numbers), size)]
    pairs = [tuple(zip(zone[::2], zone[1::2], strict=True)) for zone in zones if any(zone)]
    for zone in pairs:
        if not all(low < high for low, high in zone):
            raise ValueError(f"keep_out: expected low < high throughout, got {list(zone)}")
    return tuple(pairs)
