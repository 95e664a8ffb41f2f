"""The small surface of a robot that a bridge needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np

Box = tuple[tuple[float, float], ...]
State = TypeVar("State")
Target = TypeVar("Target")


class Robot(ABC, Generic[State, Target]):
    """Translates between the task's coordinates and a robot's own messages.

    A bridge turns the robot's state into a position in the task frame with `position`, has a
    `SetPointServo` accumulate set-points there, and turns each into a command with `target`.

    Attributes:
        workspace: ((low, high), ...) of each task coordinate [m, rad]: where set-points may be.
        hold_means: in one sentence, what this robot does when it is told to hold.
    """

    workspace: Box
    hold_means: str

    @abstractmethod
    def position(self, state: State) -> np.ndarray:
        """Returns the measured position (A,) in the task frame.

        Raises:
            ValueError: the state cannot be used, in one line; the robot must not be moved by it.
        """

    @abstractmethod
    def target(self, set_point: np.ndarray) -> Target:
        """Returns the command that brings the robot to a set-point (A,) of the task frame.

        Raises:
            ValueError: a set-point of another size or not finite.
        """
