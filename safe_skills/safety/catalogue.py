"""Every check that there is: its name in a rule, what it does by default, how it is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from safe_skills.safety.checks import (
    AbstractActionCheck,
    Check,
    ConstraintCheck,
    EmergencyStopCheck,
    FormCheck,
    FreshnessCheck,
    GripperCheck,
    LatentMatchCheck,
)
from safe_skills.safety.condition_checks import (
    BudgetCheck,
    FrozenCheck,
    PlanCheck,
    PresentConstraintCheck,
    RateCheck,
    RobotCheck,
    SurpriseCheck,
    TrackingCheck,
)
from safe_skills.safety.limits import GateLimits
from safe_skills.safety.motion_checks import (
    AccelerationCheck,
    ChangeCheck,
    KeepOutCheck,
    SafeSetCheck,
    SlowDownCheck,
    StepCheck,
    VelocityCheck,
    WorkspaceCheck,
)
from safe_skills.safety.rules import Rule, RuleAction, RuleForm, default_rules

OBSERVE, LIMIT, HOLD, STOP = RuleAction

CONDITION = RuleForm(HOLD, HOLD)
LASTING = RuleForm(HOLD, HOLD, triggers=3, releases=3)
WATCHED = RuleForm(HOLD, OBSERVE)
CUT = RuleForm(LIMIT, LIMIT, debounced=False)
FORM = RuleForm(HOLD, HOLD, least=HOLD, debounced=False, required=True)
ALWAYS_CUT = RuleForm(LIMIT, LIMIT, least=LIMIT, debounced=False, required=True)


class Entry(NamedTuple):
    """A check's form in a rule, and how it is built; None where the limits switch it off."""

    form: RuleForm
    build: Callable[[GateLimits], Check | None]


def _fresh(source: str) -> Entry:
    def build(limits: GateLimits) -> Check | None:
        timeout = getattr(limits, f"{source}_timeout")
        return None if timeout is None else FreshnessCheck(source, timeout)

    return Entry(CONDITION, build)


def _limited(form: RuleForm, kind: Callable[[float], Check], name: str) -> Entry:
    def build(limits: GateLimits) -> Check | None:
        limit = getattr(limits, name)
        return None if limit is None else kind(limit)

    return Entry(form, build)


def _latent_match(limits: GateLimits) -> Check | None:
    asked = limits.constraint_limit is not None or limits.safe_set_limit is not None
    return LatentMatchCheck() if asked else None


def _surprise(limits: GateLimits) -> Check | None:
    both = (limits.reconstruction_limit, limits.latent_distance_limit)
    return None if both == (None, None) else SurpriseCheck(*both)


def _step(limits: GateLimits) -> Check:
    return StepCheck(limits.step_limit, limits.norm_limit, limits.reject_factor)


def _safe_set(limits: GateLimits) -> Check | None:
    if limits.safe_set_limit is None:
        return None
    return SafeSetCheck(limits.safe_set_limit, limits.safe_set_scale)


def _slow_down(limits: GateLimits) -> Check | None:
    asked = limits.slow_from is not None and bool(limits.constraint_limit)
    return SlowDownCheck(limits) if asked else None


def _workspace(limits: GateLimits) -> Check:
    low, high = np.array(limits.workspace).T / np.array(limits.units)
    return WorkspaceCheck(low, high, limits.workspace_margin)


def _keep_out(limits: GateLimits) -> Check | None:
    if not limits.keep_out:
        return None
    corners = np.array(limits.keep_out).transpose(0, 2, 1)
    return KeepOutCheck(corners / np.array(limits.units))


def _velocity(limits: GateLimits) -> Check | None:
    if limits.velocity_limit is None:
        return None
    return VelocityCheck(limits.velocity_limit, limits.velocity_window)


def _acceleration(limits: GateLimits) -> Check | None:
    if limits.acceleration_limit is None:
        return None
    return AccelerationCheck(limits.acceleration_limit, limits.control_period)


CATALOGUE: dict[str, Entry] = {
    "emergency_stop": Entry(
        RuleForm(STOP, STOP, least=STOP, debounced=False, required=True),
        lambda _: EmergencyStopCheck(),
    ),
    "form": Entry(FORM, lambda limits: FormCheck(limits.entries, limits.frame_id)),
    "gripper": Entry(
        FORM._replace(required=False),
        lambda limits: GripperCheck(limits.entries) if limits.gripper else None,
    ),
    "image": _fresh("image"),
    "latent": _fresh("latent"),
    "robot": _fresh("robot"),
    "context": _fresh("context"),
    "plan": _fresh("plan"),
    "bridge": _fresh("bridge"),
    "rate": _limited(CONDITION, RateCheck, "rate_limit"),
    "robot_state": Entry(CONDITION, lambda _: RobotCheck()),
    "tracking": _limited(LASTING, TrackingCheck, "tracking_limit"),
    "surprise": Entry(LASTING._replace(triggers=2, releases=2), _surprise),
    "frozen_view": _limited(CONDITION, FrozenCheck, "frozen_limit"),
    "abstract_action": _limited(CONDITION, AbstractActionCheck, "eta"),
    "latent_match": Entry(CONDITION, _latent_match),
    "constraint_present": _limited(WATCHED, PresentConstraintCheck, "constraint_limit"),
    "constraint": _limited(CONDITION, ConstraintCheck, "constraint_limit"),
    "plan_infeasible": Entry(WATCHED, lambda _: PlanCheck()),
    "violation_budget": _limited(CONDITION, BudgetCheck, "violation_budget"),
    "step": Entry(ALWAYS_CUT, _step),
    "slow_down": Entry(CUT, _slow_down),
    "safe_set": Entry(CUT, _safe_set),
    "workspace": Entry(ALWAYS_CUT, _workspace),
    "keep_out": Entry(CUT, _keep_out),
    "velocity": Entry(CUT, _velocity),
    "acceleration": Entry(CUT, _acceleration),
    "change": Entry(ALWAYS_CUT, lambda limits: ChangeCheck(limits.change_limit)),
}
"""Checks by name, in the order in which they judge by default."""

FORMS: dict[str, RuleForm] = {name: entry.form for name, entry in CATALOGUE.items()}


def checks_of(limits: GateLimits) -> tuple[tuple[Rule, Check], ...]:
    """Returns the checks that the limits ask for, each with its rule, in order."""
    rules = default_rules(FORMS) if limits.rules is None else limits.rules
    built = ((rule, CATALOGUE[rule.check].build(limits)) for rule in rules)
    return tuple((rule, check) for rule, check in built if check is not None)
