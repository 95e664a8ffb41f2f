"""From messages of a graph, live or recorded, to what an `EpisodeAssembler` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from safe_skills.data.segments import shrink
from safe_skills.msg import AbstractAction, EpisodeStatus, PlanStatus
from safe_skills.nodes.arm import task_position
from safe_skills.nodes.conversions import nanoseconds, rgb_from_image
from safe_skills.nodes.decoding import largest_entry, within
from safe_skills.nodes.frames import task_area
from safe_skills.nodes.gathering import EpisodeAssembler, Step
from safe_skills.nodes.skill_conversions import abstract_action_from_message
from safe_skills.robots.dvrk import DvrkArm

Refuse = Callable[[str, str], None]
"""Is told of a message that cannot be used: its kind, and a line."""


class EpisodeTopics:
    """What every task says of its episodes: images, starts, steps.

    Args:
        assembler: that makes the episodes.
        crop: task area in the camera frame: top, left, height, width as shares.
        size: least side of the task area in pixels.
        refuse: is told of messages that cannot be used.
    """

    def __init__(
        self, assembler: EpisodeAssembler, crop: Sequence[float], size: int, refuse: Refuse
    ) -> None:
        self.assembler = assembler
        self._crop, self._size, self._refuse = crop, size, refuse

    def position(self) -> np.ndarray | None:
        """Where the robot was measured last, in the units of the actions; None: unknown."""
        return None

    def area_of(self, message: Image) -> np.ndarray:
        """Return the part (H, W, 3) of a frame that is kept; `ValueError` for one without it."""
        return task_area(rgb_from_image(message), self._crop, self._size)

    def start(self, message: Header) -> None:
        """Take the beginning of an episode."""
        self.assembler.start(nanoseconds(message.stamp))

    def image(self, message: Image) -> None:
        """Take a camera frame."""
        if (area := self._area(message)) is not None:
            self.assembler.image(nanoseconds(message.header.stamp), area, self.position())

    def outcome(self, message: Image) -> None:
        """Take the last frame of an episode, where it is said apart."""
        if (area := self._area(message)) is not None:
            self.assembler.outcome(nanoseconds(message.header.stamp), area)

    def step(self, message: EpisodeStatus, now: float) -> Step:
        """Take what is true of a step, at a time `now` [s]; returns it."""
        step = Step(
            stamp=nanoseconds(message.header.stamp),
            episode=message.episode,
            seed=message.seed,
            reward=message.reward,
            cost=message.cost,
            success=message.success,
            violation=message.violation_kind or ("unknown" if message.violation else ""),
            done=message.done,
            episode_cost=message.episode_cost,
        )
        self.assembler.step(step, now)
        return step

    def _area(self, message: Image) -> np.ndarray | None:
        try:
            return self.area_of(message)
        except ValueError as error:
            self._refuse("image refused", f"image refused: {error}")
            return None


class CableTopics(EpisodeTopics):
    """Those of the cable task: what was done is the way from one set-point to the next.

    Args:
        arm: frames of the arm.
        crop: as above.
        size: as above.
        refuse: as above.
        action_dim: A.
    """

    def __init__(
        self, arm: DvrkArm, crop: Sequence[float], size: int, refuse: Refuse, action_dim: int = 2
    ) -> None:
        super().__init__(EpisodeAssembler(action_dim), crop, size, refuse)
        self._arm = arm
        self._position: np.ndarray | None = None

    def position(self) -> np.ndarray | None:
        """Where the tool was measured last (2,) [m]; None: unknown."""
        return self._position

    def measured(self, message: PoseStamped) -> None:
        """Take where the tool was measured."""
        try:
            self._position = task_position(self._arm, message)
        except ValueError:
            # The bridge says what is wrong with it.
            self._position = None

    def set_point(self, message: PoseStamped) -> None:
        """Take where the tool was sent."""
        try:
            position = task_position(self._arm, message)
        except ValueError as error:
            self._refuse("servo_cp refused", f"servo_cp refused: {error}")
            return
        self.assembler.set_point(nanoseconds(message.header.stamp), position)

    def plan(self, message: PlanStatus) -> None:
        """Take who acted."""
        self.assembler.acted(nanoseconds(message.header.stamp), f"ls3 {message.model_id}")


class SkillTopics(EpisodeTopics):
    """Those of a skill prior's tasks: what was done is the z that was chosen.

    Args:
        task: number of the task.
        crop: as above.
        size: side of the prior's frames in pixels.
        refuse: as above.
        model_id: of the prior; "" takes the first that is named.
        action_dim: A; 0 takes that of the first action.
        eta: bound that every z must keep; None takes each message's own.
    """

    def __init__(
        self,
        task: int,
        crop: Sequence[float],
        size: int,
        refuse: Refuse,
        *,
        model_id: str = "",
        action_dim: int = 0,
        eta: float | None = None,
    ) -> None:
        super().__init__(EpisodeAssembler(action_dim, given=True, task=task), crop, size, refuse)
        self._model_id, self._action_dim, self._eta = model_id, action_dim, eta

    def area_of(self, message: Image) -> np.ndarray:
        """Return the task area as the prior's frames are: the same that is encoded."""
        return shrink(super().area_of(message), self._size)

    def chosen(self, message: AbstractAction) -> None:
        """Take what was chosen."""
        self._model_id = self._model_id or message.model_id
        self._action_dim = self._action_dim or len(message.z)
        eta = message.eta if self._eta is None else self._eta
        try:
            z = abstract_action_from_message(message, self._model_id, self._action_dim)
            if not within(largest_entry(z), eta):
                raise ValueError(
                    f"expected |z| <= {eta:g}, got {largest_entry(z):g} from "
                    f"{message.source or '(no source)'}"
                )
        except ValueError as error:
            self._refuse("abstract action refused", f"abstract action refused: {error}")
            return
        stamp = nanoseconds(message.header.stamp)
        self.assembler.action(stamp, z)
        self.assembler.acted(stamp, f"safer {message.source}")
