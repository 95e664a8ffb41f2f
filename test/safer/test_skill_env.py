"""A drawn task behind a prior: what the wrappers pass on, decode and refuse."""

import cv2
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from safe_skills.safer.config import SaferConfig
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.skill_env import SkillActions, StateFeatures

SMALL = {
    "encoder": {"channels": [4, 8], "features": 6},
    "flow": {"hidden": [8]},
    "posterior": {"width": 8, "heads": 2, "layers": 1, "window": 3, "size": 2},
}


class Frames(gymnasium.Env):
    """Four frames of noise; it notes the actions that reach it."""

    observation_space = spaces.Box(0, 255, (48, 48, 3), np.uint8)
    action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.actions, self.frames = [], [self._frame()]
        return self.frames[-1], {"cost": 0.0}

    def step(self, action):
        assert self.action_space.contains(action)
        self.actions.append(action)
        self.frames.append(self._frame())
        return self.frames[-1], -1.0, len(self.actions) == 4, False, {"cost": 1.0}

    def _frame(self):
        return self.np_random.integers(0, 256, (48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["safer", "parrot"])
def prior(request):
    settings = SMALL
    if request.param == "parrot":
        settings = {**SMALL, "posterior": {"kind": "none"}, "objective": {"contrastive": False}}
    made = SkillPrior(
        SaferConfig.from_dict(settings), method=request.param, task="drawn", action_dim=3
    )
    made.models.requires_grad_(False)
    return made


def test_both_wrappers_are_environments(prior):
    env = StateFeatures(Frames(), prior)
    check_env(env, skip_render_check=True)
    check_env(SkillActions(env, 0.7), skip_render_check=True)


def test_observations_are_the_priors_features_of_each_frame(prior):
    env = StateFeatures(Frames(), prior)
    features, _ = env.reset(seed=3)
    np.testing.assert_array_equal(features, prior.features(env.unwrapped.frames[0]))
    features, reward, *_ = env.step(np.zeros(3, np.float32))
    np.testing.assert_array_equal(features, prior.features(env.unwrapped.frames[1]))
    assert reward == -1.0


def test_frames_may_be_observed_as_the_encoder_takes_them(prior):
    env = StateFeatures(Frames(), prior, "pixels")
    check_env(SkillActions(env, 0.7), skip_render_check=True)
    image, _ = env.reset(seed=3)
    expected = cv2.resize(env.unwrapped.frames[0], (24, 24), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(image, expected)
    with pytest.raises(ValueError, match="observation: expected one of"):
        StateFeatures(Frames(), prior, "state")


def test_z_is_decoded_with_the_mean_of_c_over_the_window_that_ends_now(prior):
    env = SkillActions(StateFeatures(Frames(), prior), 2.0)
    env.reset(seed=4)
    rng = np.random.default_rng(0)
    for step in range(4):
        z = rng.uniform(-2, 2, 3).astype(np.float32)
        *_, info = env.step(z)
        seen = env.unwrapped.frames[: step + 1][-prior.window :]
        history = prior.history()
        for frame in seen:
            state = history.push(frame)
        expected = prior.decode(z, state, history.context().mean)
        np.testing.assert_allclose(info["action"], expected, atol=1e-6)
        np.testing.assert_array_equal(env.unwrapped.actions[-1], info["action"])
        assert info["cost"] == 1.0


def test_a_new_episode_forgets_the_window(prior):
    env = SkillActions(StateFeatures(Frames(), prior), 2.0)
    z = np.full(3, 0.5, np.float32)
    actions = []
    for steps in (3, 1):
        env.reset(seed=5)
        for _ in range(steps):
            *_, info = env.step(z)
        actions.append(env.unwrapped.actions[0])
    np.testing.assert_array_equal(*actions)


def test_the_prior_proposes_standard_normal_z(prior):
    env = StateFeatures(Frames(), prior)
    features, _ = env.reset(seed=6)
    action = env.proposed(np.random.default_rng(1))
    z = np.random.default_rng(1).standard_normal(3).astype(np.float32)
    history = prior.history()
    history.push(env.unwrapped.frames[0])
    np.testing.assert_array_equal(action, prior.decode(z, features, history.context().mean))


@pytest.mark.parametrize(
    "z", [np.zeros(2), np.full(3, 0.71), np.array([0.0, np.nan, 0.0]), np.full(3, -np.inf)]
)
def test_what_leaves_the_bound_never_reaches_the_task(prior, z):
    env = SkillActions(StateFeatures(Frames(), prior), 0.7)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"z: expected 3 numbers within 0\.7, got"):
        env.step(z)
    assert env.unwrapped.actions == []


@pytest.mark.parametrize("bound", [0.0, -1.0, np.nan, np.inf])
def test_a_bound_that_makes_no_sense_is_refused(prior, bound):
    with pytest.raises(ValueError, match="eta: expected a bound above 0"):
        SkillActions(StateFeatures(Frames(), prior), bound)
