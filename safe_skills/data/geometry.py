"""Geometry shared by the environments and the robots."""

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
    max_step: float | np.ndarray,
    margin: float | np.ndarray,
    workspace: ArrayLike,
) -> np.ndarray:
    """Accumulates one action into a set-point of n components, without wind-up.

    The action is added to the set-point, not to the measured position: a servo lags behind its
    set-point, and "measured + action" would lose that much motion at every step. So that a blocked
    robot does not collect an ever larger error, the set-point stays within ``max_step + margin`` of
    the measured position, and inside the workspace.

    Args:
        set_point: (n,) current set-point; positions in m, angles in rad.
        measured: (n,) measured position.
        action: (n,) displacement asked for; each component is clipped to ``max_step``.
        max_step: largest displacement a step, of each component or (n,).
        margin: lead allowed beyond one step, of each component or (n,).
        workspace: n intervals, for example ((xmin, xmax), (ymin, ymax)).

    Returns:
        (n,) float64, the new set-point.

    Raises:
        ValueError: a vector of another size or with a value that is not finite.
    """
    lower, upper = np.asarray(workspace, dtype=np.float64).T
    set_point = _finite("set-point", set_point, len(lower))
    measured = _finite("measured position", measured, len(lower))
    action = _finite("action", action, len(lower))
    moved = set_point + np.clip(action, -max_step, max_step)
    lead = max_step + margin
    clipped = np.clip(np.clip(moved, measured - lead, measured + lead), lower, upper)
    return np.round(clipped, SET_POINT_DECIMALS)


def _finite(name: str, value: ArrayLike, size: int) -> np.ndarray:
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"{name}: expected {size} finite numbers, got {np.array2string(vector)}")
    return vector
