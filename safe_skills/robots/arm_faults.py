"""What an arm behind controllers may fail to do: follow its trajectory, move its gripper."""

from __future__ import annotations

import numpy as np


class FollowingError:
    """Notices that joints stay away from where they are told to be.

    All times are arguments, in monotonic seconds.

    Args:
        names: of the joints, for the reason.
        tolerance: distance of any joint from its command that is fine [rad].
        patience: how long a greater one is [s].
    """

    def __init__(self, names: tuple[str, ...], tolerance: float, patience: float) -> None:
        self._names = names
        self.tolerance, self.patience = tolerance, patience
        self.reset()

    def reset(self) -> None:
        """Forgets everything, as at the start of an episode."""
        self.reason = ""
        self._since: float | None = None
        self._missed: np.ndarray | None = None

    def observe(self, measured: np.ndarray, commanded: np.ndarray | None, now: float) -> bool:
        """Compares measured joints with their command; True when a fault begins now.

        A fault ends when the joints come to where they were told to be as it began; what they have
        been told since, to hold, does not count.

        Args:
            measured: (n,) [rad].
            commanded: (n,) where they are told to be now [rad]; None where nothing moves them.
            now: time [s].
        """
        if self._missed is not None:
            if np.abs(measured - self._missed).max() <= self.tolerance:
                self.reset()
            return False
        distance = None if commanded is None else np.abs(measured - commanded)
        if distance is None or distance.max() <= self.tolerance:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since <= self.patience:
            return False
        worst = int(distance.argmax())
        self._missed = np.array(commanded)
        self.reason = (
            f"trajectory not reached: {self._names[worst]} is {distance[worst]:.3g} rad from its "
            f"command after {self.patience:g} s, expected {self.tolerance:g} at most"
        )
        return True


class GripperWatch:
    """Notices a gripper that does not do what it is told.

    Fingers that were told to close, have moved and stopped short hold something: that is no fault.

    Args:
        tolerance: distance of a finger from its goal, or way it has made, that counts as none [m].
        patience: time in which a goal is to be reached [s].
    """

    def __init__(self, tolerance: float, patience: float) -> None:
        self.tolerance, self.patience = tolerance, patience
        self.reset()

    def reset(self) -> None:
        """Forgets what the gripper was told."""
        self.reason = ""
        self._goal: float | None = None
        self._opening = False
        self._start: np.ndarray | None = None
        self._since = 0.0
        self._watching = False

    @property
    def blocks(self) -> bool:
        """Whether the arm must not move: it was told to let go and may still hold something."""
        return bool(self.reason) and self._opening

    def command(self, goal: float, opening: bool, fingers: np.ndarray | None, now: float) -> None:
        """Notes a goal [m] of both fingers and where they are, (2,) [m]; the same one again: no."""
        if goal == self._goal:
            return
        self.reset()
        self._goal, self._opening = goal, opening
        self._start, self._since, self._watching = fingers, now, True

    def observe(self, fingers: np.ndarray | None, now: float) -> bool:
        """Takes where the fingers are, (2,) [m]; True when a fault begins now."""
        if fingers is None or not self._watching:
            return False
        if np.abs(fingers - self._goal).max() <= self.tolerance:
            self.reason, self._watching = "", False
            return False
        if self.reason or now - self._since <= self.patience:
            return False
        if self._start is None:
            self._start = fingers
        moved = np.abs(fingers - self._start).max() > self.tolerance
        if moved and not self._opening:
            self._watching = False
            return False
        verb = "open" if self._opening else "close"
        least = float(fingers[np.abs(fingers - self._goal).argmax()])
        self.reason = (
            f"gripper stuck: told to {verb}, a finger is at {least:.4f} m after "
            f"{self.patience:g} s, expected {self._goal:g} m"
        )
        return True
