"""A small world for tests: where a bright square is says what to do, and unsafe steps err."""

from dataclasses import dataclass

import numpy as np

SIZE = 48


@dataclass
class Drawn:
    """An episode as `data.segments` reads it."""

    images: np.ndarray
    actions: np.ndarray
    costs: np.ndarray
    success: bool
    task: int


def episode(rng, steps=12, task=0, unsafe=None, success=True, dim=5):
    """The first component says on which side the square is; in unsafe steps the second errs."""
    side = rng.choice((-1.0, 1.0))
    images = np.full((steps + 1, SIZE, SIZE, 3), 40, np.uint8)
    column = 10 if side < 0 else 30
    for t, image in enumerate(images):
        image[10 + t : 18 + t, column : column + 8] = 220
    actions = 0.1 * rng.standard_normal((steps, dim))
    actions[:, 0] += 0.5 * side
    costs = np.zeros(steps, np.float32)
    if unsafe is not None:
        costs[unsafe] = 1.0
        actions[unsafe, 1] += 0.2
    actions = np.clip(actions, -1, 1).astype(np.float32)
    return Drawn(images, actions, costs, success, task)


def episodes(count=24, seed=0, tasks=3, **changes):
    """Every second one has a contact of two steps; every fourth fails."""
    rng = np.random.default_rng(seed)
    return [
        episode(
            rng,
            task=number % tasks,
            unsafe=slice(5, 7) if number % 2 else None,
            success=number % 4 != 3,
            **changes,
        )
        for number in range(count)
    ]
