"""The navigation task as a Gymnasium environment (LS3 section 7.3.1): a point and an obstacle."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from gymnasium import spaces

from safe_skills.envs.image_task import ImageTaskEnv
from safe_skills.envs.tasks import IMAGE_SIZE, TASKS

WINDOW = np.array([180.0, 150.0])
START = np.array([30.0, 75.0])
START_STDDEV = 1.0
NOISE_STDDEV = 0.125
GOAL = np.array([150.0, 75.0])
GOAL_RADIUS = 3.0
OBSTACLE = np.array([[75.0, 55.0], [100.0, 95.0]])
"""Lower and upper corner of the open rectangle that must not be entered."""
POINT_RADIUS = 10.0
"""Of the disc that is drawn around the point; the point alone counts."""
REWARD_TIMINGS = ("after", "before")

POINT_COLOUR = (0, 0, 255)
OBSTACLE_COLOUR = (255, 0, 0)
GOAL_COLOUR = (0, 160, 0)
OVERVIEW_SCALE = 4
_SUBPIXEL = 8
# OpenCV's smooth ellipses come out larger than asked for by half a pixel.
_SMOOTHING = 0.5


class NavigationState(NamedTuple):
    """What only a simulator knows; scripted policies act on it.

    Attributes:
        position: (2,) of the point, x to the right and y down, in window pixels.
        step: steps taken in this episode.
    """

    position: np.ndarray
    step: int


class NavigationEnv(ImageTaskEnv):
    """`safe_skills/Navigation-v0`: bring the point to the goal around the obstacle.

    Observation: Dict of "image" (64, 64, 3) uint8, the window of 180 x 150 pixels squeezed: a blue
    disc around the point, the red obstacle, not the goal. With ``observation="state"``: "position"
    (2,) float32.
    Action: (dx, dy), each within 3; s' = s + a + N(0, 0.125^2 I), clipped to the window.
    Reward: 0 within 3 of (150, 75), else -1. Cost: 1 from the step on that ends in the obstacle.
    An episode takes T = 100 steps. See `ImageTaskEnv` for the freeze, `info` and other arguments.

    Args:
        reward_timing: "after" rewards the state that a step ends in, "before" the one that it
            starts from, as the reference code does.
    """

    task = TASKS["navigation"]
    violation_name = "point"

    def __init__(
        self,
        render_mode: str | None = None,
        observation: str = "rgb",
        end_at_goal: bool = False,
        reward_timing: str = "after",
    ) -> None:
        super().__init__(render_mode, observation, end_at_goal)
        if reward_timing not in REWARD_TIMINGS:
            raise ValueError(
                f"reward_timing: expected one of {REWARD_TIMINGS}, got {reward_timing!r}"
            )
        self._rewards_before = reward_timing == "before"
        self._position = self._previous = START
        self._visible, self._background = _obstacle_layers()

    @property
    def state(self) -> NavigationState:
        """The privileged state."""
        return NavigationState(self._position.copy(), self._step)

    def _state_space(self) -> spaces.Dict:
        high = WINDOW.astype(np.float32)
        return spaces.Dict(position=spaces.Box(np.zeros_like(high), high))

    def _start(self, random_start: bool) -> None:
        position = START + START_STDDEV * self.np_random.standard_normal(2)
        if random_start:
            position = self.np_random.uniform(0.0, WINDOW)
            while in_obstacle(position):
                position = self.np_random.uniform(0.0, WINDOW)
        self._position = self._previous = position

    def _simulate(self, action: np.ndarray) -> None:
        self._previous = self._position
        moved = self._position + action + NOISE_STDDEV * self.np_random.standard_normal(2)
        self._position = np.clip(moved, 0.0, WINDOW)

    def _violates(self) -> bool:
        return in_obstacle(self._position)

    def _in_goal(self) -> bool:
        judged = self._previous if self._rewards_before else self._position
        return float(np.hypot(*(judged - GOAL))) < GOAL_RADIUS

    def _state_observation(self) -> dict[str, np.ndarray]:
        return {"position": self._position.astype(np.float32)}

    def _draw(self) -> np.ndarray:
        return self.image_at(self._position)

    def image_at(self, position: np.ndarray) -> np.ndarray:
        """(64, 64, 3) uint8, the image that an observation shows with the point there."""
        scale = IMAGE_SIZE / WINDOW
        disc = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        _fill_ellipse(disc, position * scale, POINT_RADIUS * scale, 255)
        image = self._background.copy()
        # The obstacle hides the disc.
        image[..., POINT_COLOUR.index(255)] = cv2.multiply(disc, self._visible, scale=1 / 255)
        return image

    def _draw_overview(self) -> np.ndarray:
        width, height = (OVERVIEW_SCALE * WINDOW).astype(int)
        image = np.zeros((height, width, 3), np.uint8)
        radii = np.ones(2) * OVERVIEW_SCALE
        _fill_ellipse(image, GOAL * OVERVIEW_SCALE, GOAL_RADIUS * radii, GOAL_COLOUR)
        centre = self._position * OVERVIEW_SCALE
        _fill_ellipse(image, centre, POINT_RADIUS * radii, POINT_COLOUR)
        low, high = (OVERVIEW_SCALE * OBSTACLE).astype(int)
        cv2.rectangle(image, low.tolist(), high.tolist(), OBSTACLE_COLOUR, cv2.FILLED)
        _fill_ellipse(image, centre, radii, (255, 255, 255))
        return image


def in_obstacle(position: np.ndarray) -> bool:
    """Whether a position (2,) lies in the open rectangle of the obstacle."""
    return bool((position > OBSTACLE[0]).all() and (position < OBSTACLE[1]).all())


def _obstacle_layers() -> tuple[np.ndarray, np.ndarray]:
    """What the obstacle leaves to see (64, 64) and how it looks (64, 64, 3), both uint8."""
    width, height = WINDOW.astype(int)
    low, high = OBSTACLE.astype(int).tolist()
    visible = np.full((height, width), 255, np.uint8)
    cv2.rectangle(visible, low, high, 0, cv2.FILLED)
    image = np.zeros((height, width, 3), np.uint8)
    cv2.rectangle(image, low, high, OBSTACLE_COLOUR, cv2.FILLED)
    cv2.rectangle(image, low, high, (0, 0, 0), 1)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return tuple(
        cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in (visible, image)
    )


def _fill_ellipse(
    image: np.ndarray, centre: np.ndarray, radii: np.ndarray, colour: int | tuple[int, int, int]
) -> None:
    """Fills a smooth ellipse, exact to a fraction of a pixel; pixel i covers [i, i + 1)."""
    middle = np.rint((centre - 0.5) * 2**_SUBPIXEL).astype(int).tolist()
    axes = np.rint((radii - _SMOOTHING) * 2**_SUBPIXEL).astype(int).tolist()
    cv2.ellipse(image, middle, axes, 0, 0, 360, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL)
