"""Skills under a watcher that is made by hand: what it lets through, replaces and holds."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from safe_skills.experiments.watched_skills import WatchedSkills, Watching
from safe_skills.ls3.watcher import Forecast
from safe_skills.safer.config import SaferConfig
from safe_skills.safer.prior import SkillPrior
from safe_skills.safer.skill_env import StateFeatures

SMALL = {
    "encoder": {"channels": [4, 8], "features": 6},
    "flow": {"hidden": [8]},
    "posterior": {"width": 8, "heads": 2, "layers": 1, "window": 3, "size": 2},
}


class Frames(gymnasium.Env):
    """Frames of noise; it notes the actions that reach it."""

    observation_space = spaces.Box(0, 255, (48, 48, 3), np.uint8)
    action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.actions = []
        return self._frame(), {}

    def step(self, action):
        self.actions.append(np.array(action))
        return self._frame(), -1.0, False, False, {}

    def _frame(self):
        return self.np_random.integers(0, 256, (48, 48, 3), dtype=np.uint8)


class Line:
    """The first number of an action is its risk (below 0: none), the second how safe what follows.

    Attributes:
        present: f_S of the present state, whatever it is.
    """

    present = 1.0

    def forecast(self, latents, actions):
        return Forecast(actions[:, 0], actions[:, 1])

    def safe_set_probability(self, mean):
        return self.present


@pytest.fixture(scope="module")
def prior():
    made = SkillPrior(SaferConfig.from_dict(SMALL), method="safer", task="drawn", action_dim=3)
    made.models.requires_grad_(False)
    return made


def watched(prior, watcher=None, **asked):
    watching = Watching(**{"delta_c": 1.0, "delta_s": -1.0, **asked})
    env = WatchedSkills(StateFeatures(Frames(), prior), 1.5, watcher or Line(), watching)
    env.reset(seed=7)
    return env


def steps(env, count=20):
    rng = np.random.default_rng(0)
    notes = []
    for _ in range(count):
        *_, info = env.step(rng.uniform(-1.5, 1.5, 3).astype(np.float32))
        notes.append(info)
    return notes


def test_what_passes_is_executed_as_proposed(prior):
    env = watched(prior, response="hold")
    z = np.array([0.3, -0.2, 1.0], np.float32)
    expected = env.decoded(z)
    *_, info = env.step(z)
    np.testing.assert_array_equal(env.unwrapped.actions[-1], expected)
    assert not info["held"]
    assert not info["replaced"]


@pytest.mark.parametrize("refusal", [{"delta_c": -2.0}, {"delta_s": 2.0}])
@pytest.mark.parametrize("response", ["hold", "redraw"])
def test_where_nothing_passes_the_robot_stays_and_the_gripper_too(prior, refusal, response):
    env = watched(prior, response="hold")
    *_, info = env.step(np.zeros(3, np.float32))
    told = info["action"][-1]
    env.watching = Watching(**{"delta_c": 1.0, "delta_s": -1.0, **refusal}, response=response)
    for info in steps(env, 3):
        assert info["held"]
        np.testing.assert_array_equal(info["action"], [0, 0, told])
    env.reset(seed=7)
    *_, info = env.step(np.zeros(3, np.float32))
    np.testing.assert_array_equal(info["action"], [0, 0, 1])


def test_an_action_is_held_by_its_risk_or_by_what_follows(prior):
    free = [info["action"] for info in steps(watched(prior, response="hold"))]
    risk = float(np.median([action[0] for action in free]))
    for info in steps(watched(prior, response="hold", delta_c=risk)):
        assert info["held"] or info["action"][0] <= risk
    safe = float(np.median([action[1] for action in free]))
    held = [info["held"] for info in steps(watched(prior, response="hold", delta_s=safe))]
    assert 0 < sum(held) < len(held)


def test_the_present_state_may_be_asked_instead_of_the_next(prior):
    watcher = Line()
    asked = {"response": "hold", "state": "present", "delta_s": 0.5}
    assert not any(info["held"] for info in steps(watched(prior, watcher, **asked)))
    watcher.present = 0.4
    assert all(info["held"] for info in steps(watched(prior, watcher, **asked)))


def test_redrawing_takes_another_that_passes(prior):
    free = [info["action"] for info in steps(watched(prior, response="hold"))]
    risk = float(np.median([action[0] for action in free]))
    found = steps(watched(prior, response="redraw", delta_c=risk))
    assert any(info["replaced"] for info in found)
    assert any(not info["replaced"] for info in found)
    assert all(info["held"] or info["action"][0] <= risk for info in found)
    held = steps(watched(prior, response="hold", delta_c=risk))
    assert sum(info["held"] for info in found) < sum(info["held"] for info in held)


def test_a_plan_is_the_feasible_draw_whose_next_latent_is_safest(prior):
    env = watched(prior, response="plan", delta_c=0.1)
    seen = []

    class Noted(Line):
        def forecast(self, latents, actions):
            seen.append(actions)
            return super().forecast(latents, actions)

    env.watcher = Noted()
    found = steps(env)
    for info, candidates in zip(found, seen, strict=True):
        assert len(candidates) == 1 + env.watching.draws
        feasible = candidates[candidates[:, 0] <= 0.1]
        if len(feasible):
            np.testing.assert_array_equal(info["action"], feasible[feasible[:, 1].argmax()])
        else:
            assert info["held"]


def test_draws_depend_on_the_seed_alone(prior):
    env = watched(prior, response="plan")
    first = [info["action"] for info in steps(env)]
    env.reset(seed=7)
    again = [info["action"] for info in steps(env)]
    np.testing.assert_array_equal(first, again)


def test_choices_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="response: expected one of .*, got 'stop'"):
        Watching(0.5, 0.5, response="stop")
    with pytest.raises(ValueError, match="state: expected one of"):
        Watching(0.5, 0.5, state="last")
