"""Episodes of a bar that moves to the right, as a robot's trainer gathers them."""

import numpy as np

from safe_skills.data.episodes import Episode

STEPS = 6
SHORT = {
    "encoder": {"iterations": 6, "batch_size": 8},
    "dynamics": {"iterations": 4, "batch_size": 8, "iterations_per_update": 2},
    "value": {"iterations": 4, "batch_size": 8, "hidden": [16], "iterations_per_update": 2},
    "safe_set": {"iterations": 4, "batch_size": 8, "hidden": [16], "iterations_per_update": 2},
    "constraint": {"iterations": 4, "batch_size": 8, "hidden": [16], "iterations_per_update": 2},
    "goal": {"iterations": 4, "batch_size": 8, "hidden": [16], "iterations_per_update": 2},
}


def frame(column):
    """(64, 64, 3) with a red bar."""
    image = np.full((64, 64, 3), 200, np.uint8)
    image[20:44, int(column) : int(column) + 3] = (220, 25, 25)
    return image


def episode(start=5, success=True, violation=False, kind="online"):
    """Six steps; a violation freezes after the third."""
    moved = np.minimum(np.arange(STEPS + 1), 3 if violation else STEPS)
    rewards, costs = np.full(STEPS, -1.0, np.float32), np.zeros(STEPS, np.float32)
    if violation:
        costs[2:] = 1.0
    elif success:
        rewards[-1] = 0.0
    images = np.stack([frame(start + 4 * step) for step in moved])
    return Episode(
        images=images,
        masks=None,
        actions=np.tile(np.float32([0.03, 0.0]), (STEPS, 1)),
        rewards=rewards,
        costs=costs,
        terminated=success and not violation,
        truncated=violation or not success,
        success=success and not violation,
        kind=kind,
        seed=start,
        policy="test",
        revision="test",
        violation="cable" if violation else "",
    )
