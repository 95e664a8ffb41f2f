"""Scripted policies of the pushing task (LS3 section 7.3.3); they see gripper and blocks."""

from __future__ import annotations

import numpy as np

from safe_skills.envs.pushing import PushingState
from safe_skills.envs.pushing_scene import BLOCKS
from safe_skills.envs.scripted import ScriptedPolicy
from safe_skills.envs.tasks import TASKS

TASK = TASKS["pushing"]
ALIGNED = 1e-3
"""How well the gripper is aligned with a block before it pushes [m]."""
PUSH_TO = 0.1
"""How far from the table's middle line a block is pushed [m]."""
RETREAT_TO = -0.01
"""To which y of the gripper, from its home, it retreats before the next block [m]."""
NOISE = 0.02
"""Share of the largest action: 1 mm. The reference code has 4 mm in its data, 0.08."""


class PushingDemonstrator(ScriptedPolicy):
    """Aligns with a block, pushes it straight, retreats, and goes on to the next.

    The finer the noise, the fewer steps go into aligning: with the reference code's 4 mm only one
    step in five pushes.

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    def __init__(self, rng: np.random.Generator, noise: float = NOISE) -> None:
        super().__init__(TASK, rng, noise)
        self._block = 0

    def _control(self, state: PushingState) -> np.ndarray:
        x, y, _ = state.blocks[self._block]
        offset = x - state.gripper[0]
        push = self._limit[1]
        if abs(offset) > ALIGNED:
            return np.clip((offset, 0.0), -self._limit, self._limit)
        if abs(y) < PUSH_TO:
            return np.array([0.0, -push])
        if state.gripper[1] < RETREAT_TO:
            return np.array([0.0, push])
        self._block = min(self._block + 1, BLOCKS - 1)
        return np.zeros(2)


class PushingOutburst(ScriptedPolicy):
    """Pushes on slowly, with outbursts of random actions: random and violating episodes.

    "Randomly switching between a policy that moves towards the blocks and a policy that randomly
    samples from the action space" (LS3 section 7.3.3).

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    BEGINS, ENDS = 0.2, 0.1
    """Probabilities, at each step, that an outburst begins, and then that it ends."""
    TOWARDS = np.array([0.0, -0.02])

    def __init__(self, rng: np.random.Generator, noise: float = 0.0) -> None:
        super().__init__(TASK, rng, noise)
        self._outburst = False

    def _control(self, state: PushingState) -> np.ndarray:
        if self._rng.random() < self.BEGINS:
            self._outburst = True
        if self._rng.random() < self.ENDS:
            self._outburst = False
        return self._rng.uniform(-self._limit, self._limit) if self._outburst else self.TOWARDS
