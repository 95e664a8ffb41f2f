"""Scripted policies of the cable routing task; they see the simulator's state.

A policy acts for one episode: it is made with the layout and a random generator; called with the
`CableState` of a step, it returns a (2,) float64 displacement [m].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from safe_skills.envs.cable import CableState
from safe_skills.envs.cable_layouts import CableLayout, Point

Policy = Callable[[CableState], np.ndarray]

WAY_POINT_TOLERANCE = 0.01


class RoutePolicy:
    """Follows way points with the gripper, at most `step` a step, with Gaussian noise.

    Args:
        route: way points [m].
        step: largest displacement (norm) [m]; the noisy one is limited to it too.
        noise: standard deviation of the noise, per component [m].
        rng: source of the noise.
    """

    def __init__(
        self, route: Sequence[Point], step: float, noise: float, rng: np.random.Generator
    ) -> None:
        self._route = [np.asarray(point, dtype=np.float64) for point in route]
        self._step = step
        self._noise = noise
        self._rng = rng

    def __call__(self, state: CableState) -> np.ndarray:
        """Returns the displacement towards the next way point."""
        offset = self._route[0] - state.set_point
        while len(self._route) > 1 and np.linalg.norm(offset) < WAY_POINT_TOLERANCE:
            self._route.pop(0)
            offset = self._route[0] - state.set_point
        action = _shortened(offset, self._step) + self._rng.normal(0.0, self._noise, 2)
        return _shortened(action, self._step)


def _shortened(vector: np.ndarray, limit: float) -> np.ndarray:
    return vector * min(1.0, limit / max(np.linalg.norm(vector), 1e-12))


class Demonstrator(RoutePolicy):
    """The slow, safe teacher: well over the obstacle and to the right, then straight to the goal.

    "The demonstrator moves well over the obstacle and to the right, then straight to the goal"
    is the route of LS3 section 7.3.4; way points are scattered, steps are at most 2 cm.
    """

    def __init__(self, layout: CableLayout, rng: np.random.Generator, noise: float = 0.003) -> None:
        route = _scattered(layout.demo_route, layout.demo_spread, rng)
        super().__init__(route, layout.demo_step, noise, rng)


class FastExpert(RoutePolicy):
    """A safe route at the full step: what a planner that knows the cable could do."""

    def __init__(self, layout: CableLayout, rng: np.random.Generator, noise: float = 0.002) -> None:
        route = _scattered(layout.fast_route, noise, rng)
        super().__init__(route, layout.step_limit, noise, rng)


class RandomAfterDemo:
    """Follows a demonstration for a random time, then acts at random (LS3 section 7.3.4).

    A third of the episodes are random from the start. A random action is held for 3 to 14 steps:
    redrawn at every step, as the paper has it, it barely moves the gripper.

    Args:
        layout: the layout.
        rng: source of all chance.
        uniform: redraw the action at every step (the paper's way).
    """

    HOLD = (3, 14)
    FROM_START = 1 / 3

    def __init__(
        self, layout: CableLayout, rng: np.random.Generator, uniform: bool = False
    ) -> None:
        self._demonstrator = Demonstrator(layout, rng)
        self._limit = layout.step_limit
        self._hold = (1, 1) if uniform else self.HOLD
        self._rng = rng
        longest = round(0.6 * layout.horizon)
        self._prefix = 0 if rng.random() < self.FROM_START else int(rng.integers(1, longest + 1))
        self._left = 0
        self._action = np.zeros(2)

    def __call__(self, state: CableState) -> np.ndarray:
        """Returns the demonstrator's or a random displacement."""
        if state.step < self._prefix:
            return self._demonstrator(state)
        if self._left == 0:
            self._action = self._rng.uniform(-self._limit, self._limit, 2)
            self._left = int(self._rng.integers(self._hold[0], self._hold[1] + 1))
        self._left -= 1
        return self._action


class ConstraintSeeker(RoutePolicy):
    """Hits the obstacle on purpose, for labelled violations (LS3's D_constraint).

    Each episode draws one way: "straight" to the goal through the obstacle, "corner": around the
    obstacle so closely that the cable drags over it, "poke": from a random point around the
    obstacle into it, "drag": over the obstacle, then down along its far side.
    """

    WAYS = ("straight", "corner", "poke", "drag")

    def __init__(
        self, layout: CableLayout, rng: np.random.Generator, way: str | None = None
    ) -> None:
        self.way = str(rng.choice(self.WAYS)) if way is None else way
        route = getattr(self, f"_{self.way}")(layout, rng)
        step = rng.uniform(layout.demo_step, layout.step_limit)
        super().__init__(route, step, 0.003, rng)

    def _straight(self, layout: CableLayout, rng: np.random.Generator) -> list[Point]:
        left, _, bottom, top = _sides(layout)
        entry = (left - 0.03, rng.uniform(max(bottom, layout.workspace[1][0]), top - 0.01))
        return [entry, layout.goal_centre]

    def _corner(self, layout: CableLayout, rng: np.random.Generator) -> list[Point]:
        left, right, _, top = _sides(layout)
        margin = rng.uniform(0.013, 0.05)
        return [(left - margin, top + margin), (right + margin, top + margin), layout.goal_centre]

    def _poke(self, layout: CableLayout, rng: np.random.Generator) -> list[Point]:
        left, right, bottom, top = _sides(layout)
        start = _scattered(layout.demo_route, layout.demo_spread, rng)[0]
        over = (rng.uniform(left - 0.03, right + 0.09), rng.uniform(top + 0.03, top + 0.12))
        low = max(bottom, layout.workspace[1][0])
        target = (rng.uniform(left, right), rng.uniform(low, top - 0.005))
        return [start, over, target]

    def _drag(self, layout: CableLayout, rng: np.random.Generator) -> list[Point]:
        _, right, _, top = _sides(layout)
        turn = rng.uniform(right + 0.02, right + 0.08)
        high = rng.uniform(top + 0.03, top + 0.10)
        low = layout.workspace[1][0]
        return [(layout.start[0], high), (turn, high), (right + 0.02, low), (right, low)]


def _sides(layout: CableLayout) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the obstacle [m]."""
    (x, y), (half_x, half_y) = layout.obstacle_centre, layout.obstacle_half
    return x - half_x, x + half_x, y - half_y, y + half_y


def _scattered(route: Sequence[Point], spread: float, rng: np.random.Generator) -> list[np.ndarray]:
    """The route with all way points but the last one moved by up to `spread` per component."""
    return [*(np.add(point, rng.uniform(-spread, spread, 2)) for point in route[:-1]), route[-1]]
