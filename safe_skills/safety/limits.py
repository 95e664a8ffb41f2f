"""The gate's parameters, checked when they are set."""

from __future__ import annotations

import math
from dataclasses import dataclass

Box = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class GateLimits:
    """Limits of the gate; None switches a check off where the type allows it.

    A change at run time is a new object: `Gate(dataclasses.replace(limits, ...))`.

    Attributes:
        workspace: ((low, high), ...) of each dimension in the task frame [m, rad]; it gives the
            number A of dimensions of an action.
        frame_id: the only frame in which commands are accepted.
        step_limit: largest |component| of an action over one control step [m, rad].
        norm_limit: largest Euclidean norm of an action [m, rad].
        reject_factor: an action beyond this many times a step limit is held, not scaled: whoever
            asks for that is broken.
        change_limit: largest Euclidean distance between an action and the one passed before it
            [m, rad]. Slowing down is always allowed.
        workspace_margin: how far outside the workspace the robot may be measured before commands
            that do not lead back are held [m, rad].
        latent_timeout: age by receive time after which a latent is stale [s]; None: not needed.
        image_timeout: the same for images [s].
        robot_timeout: the same for the robot's state [s].
        constraint_limit: largest probability of a violation one step ahead; None: off.
        safe_set_limit: least probability of being in the safe set for full motion; None: off.
        safe_set_scale: by which actions are scaled where the safe set is left or unknown.

    Raises:
        ValueError: one line that names the parameter, the range allowed and the value.
    """

    workspace: Box
    frame_id: str = "task"
    step_limit: float = 0.03
    norm_limit: float = 0.0425
    reject_factor: float = 2.0
    change_limit: float = 0.06
    workspace_margin: float = 0.01
    latent_timeout: float | None = 0.5
    image_timeout: float | None = 0.5
    robot_timeout: float | None = 0.25
    constraint_limit: float | None = 0.5
    safe_set_limit: float | None = None
    safe_set_scale: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "workspace", _box(self.workspace))
        if not isinstance(self.frame_id, str) or not self.frame_id:
            raise ValueError(f"frame_id: expected the name of a frame, got {self.frame_id!r}")
        for name in ("step_limit", "norm_limit", "change_limit"):
            self._number(name, 1e-6, 10.0)
        self._number("reject_factor", 1.0, 100.0)
        self._number("workspace_margin", 0.0, 1.0)
        for name in ("latent_timeout", "image_timeout", "robot_timeout"):
            self._number(name, 1e-3, 3600.0, optional=True)
        for name in ("constraint_limit", "safe_set_limit"):
            self._number(name, 0.0, 1.0, optional=True)
        self._number("safe_set_scale", 0.0, 1.0)

    @property
    def dimensions(self) -> int:
        """Number A of entries of an action."""
        return len(self.workspace)

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
