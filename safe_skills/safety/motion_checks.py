"""Checks that make a step shorter: its length, where it leads, how fast it changes.

None lengthens a step, and only the workspace turns it, which therefore comes before the zones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safe_skills.safety.checks import NAN, Verdict
from safe_skills.safety.evidence import Evidence, Finding, GateState, as_probability, as_vector
from safe_skills.safety.limits import GateLimits

# Scaling by the quotient of two floats may end one rounding error above the limit.
_BELOW = 1.0 - 1e-12


@dataclass(frozen=True)
class StepCheck:
    """`step_limit`, `step_rejected`: the length of one step, the direction is kept."""

    step_limit: float
    norm_limit: float
    reject_factor: float
    in_silence = False

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by scaling above a limit, HOLD beyond `reject_factor` times a limit."""
        if action is None:
            return Verdict(action)
        largest, norm = float(np.abs(action).max()), _length(action)
        by_step, by_norm = largest / self.step_limit, norm / self.norm_limit
        excess = max(by_step, by_norm)
        if excess <= 1.0:
            return Verdict(action)
        value, limit = (largest, self.step_limit) if by_step >= by_norm else (norm, self.norm_limit)
        if excess > self.reject_factor:
            return Verdict(action, Finding("step_rejected", GateState.HOLD, value, limit))
        limited = Finding("step_limit", GateState.LIMITED, value, limit)
        return Verdict(action / excess * _BELOW, limited)


@dataclass(frozen=True)
class SafeSetCheck:
    """`safe_set`, `safe_set_unknown`: shorter steps outside of the learned safe set."""

    limit: float
    scale: float
    in_silence = False

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by a constant factor when the probability is below the limit or unknown."""
        if command is None or action is None:
            return Verdict(action)
        probability = as_probability(evidence.safe_set_probability)
        if probability is not None and probability >= self.limit:
            return Verdict(action)
        code = "safe_set_unknown" if probability is None else "safe_set"
        value = NAN if probability is None else probability
        return Verdict(action * self.scale, Finding(code, GateState.LIMITED, value, self.limit))


@dataclass(frozen=True)
class WorkspaceCheck:
    """`workspace`, `outside_workspace`, `position_unknown`: where the robot may be.

    Measured inside, or outside by no more than the margin, a step is cut at the border, and motion
    further out is cut to none. Farther outside, only motion back inside passes.
    """

    low: np.ndarray
    high: np.ndarray
    margin: float
    in_silence = True

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by cutting at the border; HOLD outside, or where the position is unknown."""
        position = as_vector(evidence.position, len(self.low))
        if position is None:
            return Verdict(action, Finding("position_unknown", GateState.HOLD, NAN, NAN))
        if action is None:
            return Verdict(action)
        side = np.sign(np.maximum(position - self.high, 0.0) - np.maximum(self.low - position, 0.0))
        beyond = np.maximum(position - self.high, self.low - position)
        far = beyond > self.margin
        if far.any() and action.any() and (action * side >= 0.0)[far].any():
            value = float(beyond.max())
            outside = Finding("outside_workspace", GateState.HOLD, value, self.margin)
            return Verdict(action, outside)
        room_up = np.maximum(self.high - position, 0.0)
        room_down = np.maximum(position - self.low, 0.0)
        cut = np.clip(action, -room_down, room_up)
        if (cut == action).all():
            return Verdict(action)
        worst = int(np.abs(action - cut).argmax())
        border = self.high[worst] if action[worst] > 0.0 else self.low[worst]
        value = float(position[worst] + action[worst])
        return Verdict(cut, Finding("workspace", GateState.LIMITED, value, float(border)))


@dataclass(frozen=True)
class ChangeCheck:
    """`change_limit`, `previous_unknown`: the step from one action to the next.

    The direction asked for is kept: the longest part of the action is passed that is within the
    limit of the action passed before. Where there is none, as in a sharp turn at speed, it is the
    part nearest to the one before, which is shorter than that: the robot brakes, then turns.
    """

    limit: float
    in_silence = False

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by shortening the action; HOLD where the one before cannot be read."""
        if action is None:
            return Verdict(action)
        previous = _previous(action, evidence)
        if previous is None:
            return Verdict(action, Finding("previous_unknown", GateState.HOLD, NAN, NAN))
        change = _length(action - previous)
        share = _allowed_share(action, previous, self.limit)
        if change <= self.limit or share >= 1.0:
            return Verdict(action)
        limited = Finding("change_limit", GateState.LIMITED, change, self.limit)
        return Verdict(action * share, limited)


@dataclass(frozen=True)
class KeepOutCheck:
    """`keep_out`, `inside_keep_out`: zones that no step may enter.

    A step is cut where it would enter. Measured inside a zone, only a step towards its nearest face
    passes.

    Attributes:
        zones: (Z, 2, A) lower and upper corners [units].
    """

    zones: np.ndarray

    in_silence = False

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by cutting at the zone; HOLD inside one. Without a position: `workspace`."""
        position = as_vector(evidence.position, self.zones.shape[2])
        if action is None or position is None or not action.any():
            return Verdict(action)
        depth = _depth(position, self.zones)
        inside = depth > 0.0
        # Depth is concave along a line: what begins to rise out goes on doing so.
        if (inside & (_depth(position + 1e-3 * action, self.zones) >= depth)).any():
            deepest = float(depth.max())
            return Verdict(action, Finding("inside_keep_out", GateState.HOLD, deepest, 0.0))
        share = min((_entry(position, action, zone) for zone in self.zones[~inside]), default=1.0)
        if share >= 1.0:
            return Verdict(action)
        length = _length(action)
        finding = Finding("keep_out", GateState.LIMITED, length, share * length)
        return Verdict(action * share, finding)


@dataclass(frozen=True)
class VelocityCheck:
    """`velocity_limit`: the path passed on over a time, however many commands it took."""

    limit: float
    window: float

    in_silence = False

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by scaling to what is left of the path of one window."""
        if action is None:
            return Verdict(action)
        room = max(self.limit * self.window - evidence.travelled, 0.0)
        length = _length(action)
        if length <= room:
            return Verdict(action)
        speed = (evidence.travelled + length) / self.window
        limited = Finding("velocity_limit", GateState.LIMITED, speed, self.limit)
        return Verdict(action * (room / length * _BELOW), limited)


@dataclass(frozen=True)
class AccelerationCheck:
    """`acceleration_limit`: the change of speed from one action to the next, by time.

    An action is carried out in one control period T, at the speed a / T. Between two commands that
    come dt apart the speed may change by limit x dt, where a pause counts as T. As with
    `change_limit` the direction asked for is kept, and slowing down is always allowed.
    """

    limit: float
    period: float

    in_silence = False

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by shortening the action; an unreadable one before is for `change` to judge."""
        previous = _previous(action, evidence)
        if action is None or previous is None:
            return Verdict(action)
        since = evidence.since_previous
        if since is None or not since >= 0.0:
            since = self.period if since is None else 0.0
        change = self.limit * self.period * min(since, self.period)
        asked = _length(action - previous)
        if asked <= change:
            return Verdict(action)
        share = _allowed_share(action, previous, change)
        if share >= 1.0:
            return Verdict(action)
        value = asked / (self.period * max(min(since, self.period), 1e-9))
        limited = Finding("acceleration_limit", GateState.LIMITED, value, self.limit)
        return Verdict(action * share, limited)


class SlowDownCheck:
    """`slow_down`: shorter steps the nearer a risk is to its limit.

    The risk is the constraint probability one step ahead. Up to `slow_from` of its limit steps are
    whole; from there the factor falls in a straight line to `slow_scale` at the limit. It rises
    again only when the risk has fallen by the hysteresis (a play operator), so that noise does not
    make it flicker.
    """

    in_silence = False

    def __init__(self, limits: GateLimits) -> None:
        self._limits = limits
        self._risk = 0.0

    def judge(self, action, command, evidence) -> Verdict:
        """LIMITED by a factor while a risk is near its limit."""
        risk = as_probability(evidence.predicted_constraint_probability)
        if action is None or risk is None:
            return Verdict(action)
        scale = self.scale(risk / self._limits.constraint_limit)
        if scale >= 1.0 or not action.any():
            return Verdict(action)
        finding = Finding("slow_down", GateState.LIMITED, self._risk, self._limits.slow_from)
        return Verdict(action * scale, finding)

    def scale(self, risk: float) -> float:
        """Takes the risk of now, a share of its limit; returns the factor on a step."""
        limits = self._limits
        self._risk = max(risk, min(self._risk, risk + limits.slow_hysteresis))
        nearness = (self._risk - limits.slow_from) / (1.0 - limits.slow_from)
        return 1.0 - (1.0 - limits.slow_scale) * float(np.clip(nearness, 0.0, 1.0))


def _previous(action: np.ndarray | None, evidence: Evidence) -> np.ndarray | None:
    if action is None or evidence.previous_action is None:
        return None if action is None else np.zeros_like(action)
    return as_vector(evidence.previous_action, len(action))


def _depth(position: np.ndarray, zones: np.ndarray) -> np.ndarray:
    """How far inside each zone (Z,): the distance to its nearest face, 0 or less outside."""
    return np.minimum(position - zones[:, 0], zones[:, 1] - position).min(axis=1)


def _entry(position: np.ndarray, action: np.ndarray, zone: np.ndarray) -> float:
    """The share of a step from outside after which it would be inside the zone (2, A); 1: never."""
    moving = action != 0.0
    resting = position[~moving]
    if not ((zone[0, ~moving] < resting) & (resting < zone[1, ~moving])).all():
        return 1.0
    with np.errstate(over="ignore"):
        shares = (zone[:, moving] - position[moving]) / action[moving]
    enters, leaves = shares.min(axis=0).max(), shares.max(axis=0).min()
    if enters >= leaves or leaves <= 0.0 or enters >= 1.0:
        return 1.0
    return max(float(enters) * _BELOW, 0.0)


def _length(vector: np.ndarray) -> float:
    """Euclidean norm without overflow of the squares."""
    largest = float(np.abs(vector).max())
    return largest * float(np.linalg.norm(vector / largest)) if largest > 0.0 else 0.0


def _allowed_share(action: np.ndarray, previous: np.ndarray, limit: float) -> float:
    """Returns s in [0, 1]: the largest with |s action - previous| <= limit, else the nearest."""
    scale = max(float(np.abs(action).max()), float(np.abs(previous).max()), limit)
    a, p, m = action / scale, previous / scale, limit / scale
    length, along = float(a @ a), float(a @ p)
    if length == 0.0:
        return 1.0
    # Roots of |s a - p|^2 = m^2.
    discriminant = along**2 - length * (float(p @ p) - m**2)
    root = np.sqrt(max(discriminant, 0.0))
    return float(np.clip((along + root) / length * _BELOW, 0.0, 1.0))
