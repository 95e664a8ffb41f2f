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
        self._block = min(self._block + 1, BLOCKS - 1)
        return np.zeros(2)


class VariedPushingDemonstrator(PushingDemonstrator):
    """Has mishaps at first, then pushes what is left, the nearest block first, without any (ours).

    Pushed one after the other without a mistake, how far the blocks are can be told from where the
    gripper is: a value function learned from such demonstrations need not look at the blocks. With
    mishaps until the end, how long it takes depends on those still to come. Here blocks are seen in
    many places, and a state then tells how long it takes from there.

    While there are mishaps the blocks come in any order, some are left half way for another, and
    there are slips of 2.5 uniformly random steps at the mean. Where the gripper is no longer behind
    its block it retreats before it aligns anew, to within two deviations of the noise.

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    FLAWLESS = 0.2
    """Share of the episodes without mishaps."""
    MISHAPS_UNTIL = 70
    """In the others mishaps end at a uniformly random step below this."""
    SLIP_BEGINS, SLIP_ENDS = 0.15, 0.4
    """Probabilities, at each step with mishaps, that a slip begins, and then that it ends."""
    LEAVES = 0.2
    """Probability, at each step with mishaps and a block half way, that it is left."""
    ASTRAY = 0.02
    """How far beside its block the gripper does not push it [m]."""
    AMONG_BLOCKS, CLEAR = -0.085, -0.055
    """Below which y of the gripper it may push others aside, and from which it does not [m]."""

    def __init__(self, rng: np.random.Generator, noise: float = VARIED_NOISE) -> None:
        super().__init__(rng, noise)
        self._aligned = max(ALIGNED, 2 * self._noise[0])
        flawless = rng.random() < self.FLAWLESS
        self._mishaps = 0 if flawless else int(rng.integers(self.MISHAPS_UNTIL))
        self._block = int(rng.integers(BLOCKS))
        self._slipping = self._backs_off = False

    def _control(self, state: PushingState) -> np.ndarray:
        mishaps = state.step < self._mishaps
        draw = self._rng.random()
        self._slipping = mishaps and (
            draw > self.SLIP_ENDS if self._slipping else draw < self.SLIP_BEGINS
        )
        if self._slipping:
            return self._rng.uniform(-self._limit, self._limit)
        if mishaps:
            if self._is_half_way(state) and self._rng.random() < self.LEAVES:
                self._block = self._another(state)
        elif self._is_untouched(state) and state.gripper[1] > self.CLEAR:
            self._block = self._nearest(state)
        x, y, _ = state.blocks[self._block]
        gripper_x, gripper_y = state.gripper
        pushed = abs(y) >= PUSH_TO
        astray = abs(x - gripper_x) > self.ASTRAY and gripper_y < self.AMONG_BLOCKS
        self._backs_off = not pushed and (astray or (self._backs_off and gripper_y < self.CLEAR))
        if self._backs_off or (pushed and gripper_y < RETREAT_TO):
            return np.array([0.0, self._limit[1]])
        if pushed:
            self._block = self._another(state) if mishaps else self._nearest(state)
            return np.zeros(2)
        return super()._control(state)

    def _is_untouched(self, state: PushingState) -> bool:
        return abs(state.blocks[self._block, 1]) < STARTED

    def _is_half_way(self, state: PushingState) -> bool:
        return STARTED < abs(state.blocks[self._block, 1]) < PUSH_TO

    def _unpushed(self, state: PushingState) -> np.ndarray:
        return np.flatnonzero(np.abs(state.blocks[:, 1]) < PUSH_TO)

    def _another(self, state: PushingState) -> int:
        others = [block for block in self._unpushed(state) if block != self._block]
        return int(self._rng.choice(others)) if others else self._block

    def _nearest(self, state: PushingState) -> int:
        unpushed = self._unpushed(state)
        away = np.abs(state.blocks[unpushed, 0] - state.gripper[0])
        return int(unpushed[away.argmin()]) if len(unpushed) else self._block


class PushingWanderer(ScriptedPolicy):
    """Goes from one random place to the next, whatever stands in its way (ours).

    It shows what `PushingOutburst` hardly does: blocks pushed from the side, and off the table.

    Args:
        rng: source of all chance.
        noise: see `ScriptedPolicy`.
    """

    FROM, TO = np.array([-0.3, -0.3]), np.array([0.3, 0.12])
    """Opposite corners of where it goes, from the gripper's home, in part out of sight [m]."""
    ARRIVED = 0.02
    """How near is there [m]."""
    SLOWEST = 0.3
    """Share of the largest action that it goes at least with."""
    STEPS = (4, 14)
    """It goes for fewer than so many steps to a place, drawn between these."""

    def __init__(self, rng: np.random.Generator, noise: float = VARIED_NOISE) -> None:
        super().__init__(TASK, rng, noise)
        self._choose()

    def _choose(self) -> None:
        self._place = self._rng.uniform(self.FROM, self.TO)
        self._most = self._rng.uniform(self.SLOWEST, 1.0) * self._limit
        self._steps = int(self._rng.integers(*self.STEPS))

    def _control(self, state: PushingState) -> np.ndarray:
        self._steps -= 1
        if self._steps <= 0 or np.abs(self._place - state.gripper).max() < self.ARRIVED:
            self._choose()
        return np.clip(self._place - state.gripper, -self._most, self._most)


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
