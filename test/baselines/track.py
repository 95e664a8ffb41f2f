"""A small task for tests: a square that slides along a track, from 0 at the left to 1."""

import gymnasium
import numpy as np
from gymnasium import spaces

from safe_skills.baselines.config import (
    AwacConfig,
    BaselineConfig,
    OnlineConfig,
    RecoveryConfig,
    SacfdConfig,
    VisionConfig,
)
from safe_skills.baselines.pixels import PixelSpaces
from safe_skills.baselines.replay import PixelReplay
from safe_skills.data.episodes import Episode

SIZE, HORIZON, LIMIT = 16, 6, 0.3
VISION = VisionConfig(image_size=SIZE, channels=(4, 4), kernel=3, features=8, frames=2)
SPACES = PixelSpaces(VISION, 3, 2)
CONFIG = BaselineConfig(
    vision=VISION,
    online=OnlineConfig(episodes_per_update=2, updates=2, steps_per_gradient=2),
    sacfd=SacfdConfig(hidden=(8,), batch_size=8, clone_iterations=3, critic_iterations=3),
    recovery=RecoveryConfig(hidden=(8,), iterations=3),
    awac=AwacConfig(actor_hidden=(8,), critic_hidden=(8,), batch_size=8, iterations=3),
)


def as_it_is(image):
    return image


class Track(gymnasium.Env):
    """Slide to the right end; off the left end is a violation, and the state freezes."""

    observation_space = spaces.Dict(image=spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8))
    action_space = spaces.Box(-LIMIT, LIMIT, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.count, self.violation = self.np_random.uniform(0.2, 0.5), 0, ""
        self.success = False
        return self._observe(), self._info()

    def step(self, action):
        self.count += 1
        if not self.violation:
            self.place += float(action[0])
            self.violation = "end" if self.place < 0 else ""
        reward = 0.0 if self.place > 0.9 else -1.0
        self.success |= reward == 0.0
        return self._observe(), reward, False, self.count == HORIZON, self._info()

    def _info(self):
        cost = float(bool(self.violation))
        return {"cost": cost, "success": self.success, "violation": self.violation}

    def _observe(self):
        return {"image": drawn(self.place)}


def drawn(place):
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    left = int(np.clip(place, 0, 1) * (SIZE - 4))
    image[6:10, left : left + 4] = 200
    return image


def played(kind, seed, push):
    """An episode that always pushes alike."""
    env = Track()
    observed, info = env.reset(seed=seed)
    images, actions, rewards, costs = [observed["image"]], [], [], []
    rng = np.random.default_rng(seed)
    for _ in range(HORIZON):
        action = np.array([push, rng.uniform(-LIMIT, LIMIT)], np.float32)
        observed, reward, _, _, info = env.step(action)
        images.append(observed["image"])
        actions.append(action)
        rewards.append(reward)
        costs.append(info["cost"])
    return Episode(
        images=np.stack(images),
        masks=None,
        actions=np.stack(actions),
        rewards=np.array(rewards, np.float32),
        costs=np.array(costs, np.float32),
        terminated=False,
        truncated=True,
        success=info["success"],
        kind=kind,
        seed=seed,
        policy="push",
        revision="test",
        violation=info["violation"],
    )


def offline_replay(seed=0, space=SPACES):
    """Three demonstrations and three violating episodes."""
    replay = PixelReplay(space, seed)
    limit = np.full(2, LIMIT, np.float32)
    for number in range(3):
        replay.add_episode(played("demo", number, 0.2), as_it_is, limit)
        replay.add_episode(played("constraint", number, -0.2), as_it_is, limit)
    return replay
