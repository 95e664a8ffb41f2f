"""The 40 Operation tasks: an object, its scale, and the size of the container (SAFER section 5.1).

`operation_tasks.json` holds them with the figures they were chosen by; `safe-skills collect
operation-tasks` makes it. Sorted by how often the scripted policy touches the container: the last
six, the hardest, are held out for evaluation.
"""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from safe_skills.envs.operation_objects import OBJECTS, load_mesh

TASKS = 40
EVALUATION_TASKS = 6
FIRST_EVALUATION_TASK = TASKS - EVALUATION_TASKS
TASK_FILE = Path(__file__).with_suffix(".json")

WIDTHS = (0.095, 0.12)
HEIGHTS = (0.04, 0.07)
SPANS = (0.035, 0.05)
"""Range of the object's middle extent, which the fingers have to span [m]."""
LONGEST = 0.075
"""Upper limit of the object's largest extent [m]."""


@dataclass(frozen=True)
class OperationTask:
    """An object in a container.

    Attributes:
        object: number of the mesh in random_urdfs.
        scale: of the mesh.
        width: inner width of the square container [m].
        height: of its walls [m].
    """

    object: int
    scale: float
    width: float
    height: float


@cache
def operation_tasks() -> tuple[OperationTask, ...]:
    """The tasks by number."""
    rows = json.loads(TASK_FILE.read_text(encoding="utf-8"))["tasks"]
    names = OperationTask.__dataclass_fields__
    return tuple(OperationTask(**{name: row[name] for name in names}) for row in rows)


def find_task(number: int) -> OperationTask:
    """Returns the task of this number; ValueError says which there are."""
    tasks = operation_tasks()
    try:
        index = operator.index(number)
    except TypeError:
        index = -1
    if not 0 <= index < len(tasks):
        raise ValueError(f"task: expected 0 to {len(tasks) - 1}, got {number!r}")
    return tasks[index]


def draw_task(rng: np.random.Generator, used: set[int]) -> OperationTask:
    """Draws a task whose object, lying flat, fits between the fingers and is not in `used`."""
    while True:
        number = int(rng.integers(OBJECTS))
        try:
            extents = np.sort(load_mesh(number).extents)
        except ValueError:
            continue
        if number not in used:
            break
    scale = min(rng.uniform(*SPANS) / extents[1], LONGEST / extents[2])
    return OperationTask(
        number,
        round(float(scale), 4),
        round(float(rng.uniform(*WIDTHS)), 4),
        round(float(rng.uniform(*HEIGHTS)), 4),
    )
