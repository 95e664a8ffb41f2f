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
STARTED = 0.035
"""How far from the table's middle line a block is that has been touched [m]."""
RETREAT_TO = -0.01
"""To which y of the gripper, from its home, it retreats before the next block [m]."""
NOISE = 0.02
"""Share of the largest action: 1 mm. The reference code has 4 mm in its data, 0.08."""
VARIED_NOISE = 0.1
"""5 mm."""


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
        self._aligned = ALIGNED

    def _next(self) -> int:
        return min(self._block + 1, BLOCKS - 1)

    def _control(self, state: PushingState) -> np.ndarray:
        x, y, _ = state.blocks[self._block]
        offset = x - state.gripper[0]
        push = self._limit[1]
        if abs(offset) > self._aligned:
            return np.clip((offset, 0.0), -self._limit, self._limit)
        if abs(y) < PUSH_TO:
            return np.array([0.0, -push])
        if state.gripper[1] < RETREAT_TO:
            return np.array([0.0, push])
        self._block = self._next()
        return np.zeros(2)


class VariedPushingDemonstrator(PushingDemonstrator):
    """Takes the blocks in any order, leaves some half way, slips, and mends what came of it (ours).

    Pushed one after the other without a mistake, how far the blocks are can be told from where the
    gripper is: a value function learned from such demonstrations need not look at the blocks. A
    block that is left half way is pushed on after the others. A slip is 2.5 steps at the mean,
    uniformly random. Where the gripper is no longer behind its block it retreats before it aligns
    anew, to within two deviations of the noise.

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    SLIP_BEGINS, SLIP_ENDS = 0.15, 0.4
    """Probabilities, at each step, that a slip begins, and then that it ends."""
    LEAVES = 0.2
    """Probability, at each step with a block half way, that it is left."""
    ASTRAY = 0.02
    """How far beside its block the gripper does not push it [m]."""
    AMONG_BLOCKS, CLEAR = -0.085, -0.055
    """Below which y of the gripper it may push others aside, and from which it does not [m]."""

    def __init__(self, rng: np.random.Generator, noise: float = VARIED_NOISE) -> None:
        super().__init__(rng, noise)
        self._aligned = max(ALIGNED, 2 * self._noise[0])
        self._left = rng.permutation(BLOCKS).tolist()
        self._block = self._next()
        self._slipping = self._backs_off = False

    def _next(self) -> int:
        return self._left.pop() if self._left else self._block

    def _control(self, state: PushingState) -> np.ndarray:
        draw = self._rng.random()
        self._slipping = draw > self.SLIP_ENDS if self._slipping else draw < self.SLIP_BEGINS
        if self._slipping:
            return self._rng.uniform(-self._limit, self._limit)
        if self._left and self._is_half_way(state) and self._rng.random() < self.LEAVES:
            self._left.insert(0, self._block)
            self._block = self._next()
        x, y, _ = state.blocks[self._block]
        gripper_x, gripper_y = state.gripper
        pushed = abs(y) >= PUSH_TO
        astray = abs(x - gripper_x) > self.ASTRAY and gripper_y < self.AMONG_BLOCKS
        self._backs_off = not pushed and (astray or (self._backs_off and gripper_y < self.CLEAR))
        if self._backs_off or (pushed and gripper_y < RETREAT_TO):
            return np.array([0.0, self._limit[1]])
        if pushed:
            self._block = self._next()
            return np.zeros(2)
        return super()._control(state)

    def _is_half_way(self, state: PushingState) -> bool:
        return STARTED < abs(state.blocks[self._block, 1]) < PUSH_TO


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
