"""Plane geometry shared by the environments and the robots."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

# Set-points lie on a grid of a nanometre, so that one that travelled through another frame and
# back, with the rounding errors of that, is the same number again.
SET_POINT_DECIMALS = 9


def clip_set_point(
    set_point: ArrayLike,
    measured: ArrayLike,
    action: ArrayLike,
    *,
    max_step: float,
    margin: float,
    workspace: ArrayLike,
) -> np.ndarray:
    """Accumulates one action into a position set-point, without wind-up.

    The action is added to the set-point, not to the measured position: a servo lags behind its
    set-point, and "measured + action" would lose that much motion at every step. So that a blocked
    robot does not collect an ever larger error, the set-point stays within ``max_step + margin`` of
    the measured position, and inside the workspace.

    Args:
        set_point: (2,) current set-point [m].
        measured: (2,) measured position [m].
        action: (2,) displacement asked for [m]; each component is clipped to ``max_step``.
        max_step: largest displacement a step, per component [m].
        margin: lead allowed beyond one step, per component [m].
        workspace: ((xmin, xmax), (ymin, ymax)) [m].

    Returns:
        (2,) float64, the new set-point [m].

    Raises:
        ValueError: a vector of another size or with a value that is not finite.
    """
    set_point = _finite_pair("set-point", set_point)
    measured = _finite_pair("measured position", measured)
    action = _finite_pair("action", action)
    lower, upper = np.asarray(workspace, dtype=np.float64).T
    moved = set_point + np.clip(action, -max_step, max_step)
    lead = max_step + margin
    clipped = np.clip(np.clip(moved, measured - lead, measured + lead), lower, upper)
    return np.round(clipped, SET_POINT_DECIMALS)


def _finite_pair(name: str, value: ArrayLike) -> np.ndarray:
    pair = np.asarray(value, dtype=np.float64)
    if pair.shape != (2,) or not np.isfinite(pair).all():
        raise ValueError(f"{name}: expected 2 finite numbers, got {np.array2string(pair)}")
    return pair
