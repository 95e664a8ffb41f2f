"""The gate's parameters, checked when they are set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from safe_skills.safety.rules import Rule

Box = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class GateLimits:
    """Limits of the gate; None switches a check off where the type allows it.

    A change at run time is a new object: `Gate(dataclasses.replace(limits, ...))`.

    Attributes:
        workspace: ((low, high), ...) of each dimension in the task frame [m, rad]; it gives the
            number A of dimensions of an action.
        frame_id: the only frame in which commands are accepted.
        units: of each dimension [m, rad]; the limits of step, norm and change and the workspace's
            margin are so many of them. None: ones, so that they are in metres themselves.
        gripper: whether an action has one entry more, for a gripper: -1 (close) to 1 (open), and 0
            leaves it as it is.
        step_limit: largest |component| of an action over one control step [units].
        norm_limit: largest Euclidean norm of an action [units].
        reject_factor: an action beyond this many times a step limit is held, not scaled: whoever
            asks for that is broken.
        change_limit: largest Euclidean distance between an action and the one passed before it
            [units]. Slowing down is always allowed.
        workspace_margin: how far outside the workspace the robot may be measured before commands
            that do not lead back are held [units].
        keep_out: zones like `workspace` that no step may enter [m, rad]; a dimension that does not
            count reaches from -inf to inf.
        velocity_limit: longest path in `velocity_window`, by the time of receipt, over that window
            [units/s]: whatever the rate of commands. None: off.
        velocity_window: [s].
        acceleration_limit: largest change of speed by time [units/s^2]; None: off. Slowing down is
            always allowed.
        control_period: time in which the robot carries out an action [s].
        rate_limit: most commands a second; None: off.
        tracking_limit: how far the robot may be measured from its way [units]; None: off.
        reconstruction_limit: largest reconstruction error of a frame that the encoder explains;
            None: off.
        latent_distance_limit: largest distance of a latent from those of training; None: off.
        frozen_limit: how far the robot may move before the picture changes [units]; None: off.
        frozen_frames: images that show the same after that before it counts.
        slow_from: share of `constraint_limit` from which on steps become shorter; None: off.
        slow_scale: factor on a step where that risk is at its limit, and of a rule "CHECK limit".
        slow_hysteresis: by what share of it the risk has to fall before steps grow again.
        violation_budget: findings in an episode that may hold the robot; None: any number.
        plan_timeout: age of the newest plan beyond which it is stale [s]; None: not needed.
        bridge_timeout: the same for the bridge's status [s].
        latent_timeout: age by receive time after which a latent is stale [s]; None: not needed.
        image_timeout: the same for images [s].
        robot_timeout: the same for the robot's state [s].
        context_timeout: the same for the safety context of a skill prior [s]; None: not needed.
        eta: largest |z| of the abstract action that a command was decoded from; None: off.
        constraint_limit: largest probability of a violation one step ahead; None: off.
        safe_set_limit: least probability of being in the safe set for full motion; None: off.
        safe_set_scale: by which actions are scaled where the safe set is left or unknown.
        rules: the checks that are made, in order, and what each does; None: all of them, each as
            it does by default. A check whose limit is None is left out.

    Raises:
        ValueError: one line that names the parameter, the range allowed and the value.
    """

    workspace: Box
    frame_id: str = "task"
    units: tuple[float, ...] | None = None
    gripper: bool = False
    step_limit: float = 0.03
    norm_limit: float = 0.0425
    reject_factor: float = 2.0
    change_limit: float = 0.06
    workspace_margin: float = 0.01
    latent_timeout: float | None = 0.5
    image_timeout: float | None = 0.5
    robot_timeout: float | None = 0.15
    context_timeout: float | None = None
    eta: float | None = None
    constraint_limit: float | None = 0.5
    safe_set_limit: float | None = None
    safe_set_scale: float = 0.5
    keep_out: tuple[Box, ...] = ()
    velocity_limit: float | None = None
    velocity_window: float = 1.0
    acceleration_limit: float | None = None
    control_period: float = 0.1
    rate_limit: float | None = None
    tracking_limit: float | None = None
    reconstruction_limit: float | None = None
    latent_distance_limit: float | None = None
    frozen_limit: float | None = None
    frozen_frames: int = 3
    slow_from: float | None = None
    slow_scale: float = 0.25
    slow_hysteresis: float = 0.1
    violation_budget: float | None = None
    plan_timeout: float | None = None
    bridge_timeout: float | None = None
    rules: tuple[Rule, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "workspace", _box(self.workspace))
        if not isinstance(self.frame_id, str) or not self.frame_id:
            raise ValueError(f"frame_id: expected the name of a frame, got {self.frame_id!r}")
        for name in ("step_limit", "norm_limit", "change_limit"):
            self._number(name, 1e-6, 10.0)
        self._number("reject_factor", 1.0, 100.0)
        self._number("workspace_margin", 0.0, 10.0)
        for source in ("latent", "image", "robot", "context", "plan", "bridge"):
            self._number(f"{source}_timeout", 1e-3, 3600.0, optional=True)
        for name in ("velocity_limit", "acceleration_limit", "rate_limit"):
            self._number(name, 1e-6, 1e6, optional=True)
        for name in ("tracking_limit", "reconstruction_limit", "latent_distance_limit"):
            self._number(name, 1e-9, 1e9, optional=True)
        self._number("frozen_limit", 1e-9, 1e9, optional=True)
        if type(self.frozen_frames) is not int or not 1 <= self.frozen_frames <= 1000:
            raise ValueError(f"frozen_frames: expected 1 to 1000, got {self.frozen_frames!r}")
        for name in ("velocity_window", "control_period"):
            self._number(name, 1e-3, 3600.0)
        self._number("slow_from", 0.0, 0.999, optional=True)
        self._number("slow_scale", 0.0, 1.0)
        self._number("slow_hysteresis", 0.0, 1.0)
        self._number("violation_budget", 1.0, 1e9, optional=True)
        object.__setattr__(self, "keep_out", _zones(self.keep_out, self.dimensions))
        self._number("eta", 1e-6, 1e6, optional=True)
        object.__setattr__(self, "units", _units(self.units, self.dimensions))
        for name in ("constraint_limit", "safe_set_limit"):
            self._number(name, 0.0, 1.0, optional=True)
        self._number("safe_set_scale", 0.0, 1.0)

    @property
    def dimensions(self) -> int:
        """Number of entries of an action that are displacements."""
        return len(self.workspace)

    @property
    def entries(self) -> int:
        """Number of entries of an action."""
        return self.dimensions + self.gripper

    def _number(self, name: str, low: float, high: float, *, optional: bool = False) -> None:
        value = getattr(self, name)
        if optional and value is None:
            return
        number = _finite(value)
        if number is None or not low <= number <= high:
            choice = " or None" if optional else ""
            raise ValueError(f"{name}: expected {low:g} to {high:g}{choice}, got {value!r}")
        object.__setattr__(self, name, number)


def _finite(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _units(value: object, dimensions: int) -> tuple[float, ...]:
    if value is None:
        return (1.0,) * dimensions
    try:
        units = [_finite(unit) for unit in value]  # type: ignore[union-attr]
    except TypeError:
        units = []
    if len(units) != dimensions or not all(unit is not None and unit > 0.0 for unit in units):
        raise ValueError(f"units: expected {dimensions} numbers above 0 or None, got {value!r}")
    return tuple(units)


def _box(value: object) -> Box:
    try:
        pairs = [(_finite(low), _finite(high)) for low, high in value]  # type: ignore[union-attr]
    except (TypeError, ValueError):
        pairs = []
    fits = all(low is not None and high is not None and low < high for low, high in pairs)
    if not pairs or not fits:
        raise ValueError(
            f"workspace: expected ((low, high), ...) with low < high throughout, got {value!r}"
        )
    return tuple(pairs)


def _zones(value: object, dimensions: int) -> tuple[Box, ...]:
    try:
        zones = tuple(tuple((float(low), float(high)) for low, high in zone) for zone in value)
    except (TypeError, ValueError):
        zones = ((),)
    # NaN is not below anything.
    if not all(len(zone) == dimensions and all(low < high for low, high in zone) for zone in zones):
        raise ValueError(
            f"keep_out: expected zones of {dimensions} pairs (low, high) with low < high, "
            f"got {value!r}"
        )
    return zones
