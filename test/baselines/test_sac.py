"""Soft actor-critic on a task of arithmetic: it learns, records, stops and goes on."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from safe_skills.baselines import sac
from safe_skills.baselines.sac import PriorExploreSAC, SacConfig, SacRun
from safe_skills.data.run_state import ResumeError
from safe_skills.data.settings import ConfigError


class Reach(gymnasium.Env):
    """Choose -0.5, whatever is seen; a positive choice is a violation. Five steps."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-0.8, 0.8, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._observation(), {}

    def step(self, action):
        self.count += 1
        reward = -float(np.abs(action + 0.5).sum())
        info = {"cost": float(action[0] > 0), "success": self.count == 5 and reward > -0.1}
        return self._observation(), reward, False, self.count == 5, info

    def proposed(self, rng):
        return np.full(1, rng.uniform(0.6, 0.7), np.float32)

    def _observation(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(steps):
    return SacConfig(
        steps=steps, learning_starts=50, batch_size=32, hidden=(16, 16), learning_rate=3e-3
    )


def test_it_learns_and_its_weights_give_the_same_actions_in_plain_torch(tmp_path):
    run = SacRun(Reach(), config(400), tmp_path, seed=0)
    run.train()
    observation = np.array([0.3, -0.2], np.float32)
    expected, _ = run.agent.predict(observation, deterministic=True)
    assert abs(expected[0] + 0.5) < 0.25
    hidden = torch.from_numpy(observation)
    tensors = run.actor_tensors()
    assert sorted(tensors) == [
        f"layers.{n}.{kind}" for n in (0, 2, 4) for kind in ("bias", "weight")
    ]
    for index in (0, 2):
        weight, bias = tensors[f"layers.{index}.weight"], tensors[f"layers.{index}.bias"]
        hidden = torch.relu(weight @ hidden + bias)
    last = 0.8 * torch.tanh(tensors["layers.4.weight"] @ hidden + tensors["layers.4.bias"])
    np.testing.assert_allclose(last.detach(), expected, atol=1e-6)


def test_episodes_and_violations_are_those_of_the_environment(tmp_path):
    run = SacRun(Reach(), config(60), tmp_path, seed=1)
    run.train()
    assert len(run.episodes) == 12 and len(run.violations_by_step) == 60
    assert [episode.last_step for episode in run.episodes] == list(range(5, 61, 5))
    assert sum(episode.violations for episode in run.episodes) == sum(run.violations_by_step)
    assert 0 < sum(run.violations_by_step) < 60
    taken = run.agent.replay_buffer.actions[:60, 0, 0]
    assert ((taken > 0) == np.array(run.violations_by_step)).all()


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(sac, "SAVE_PERIOD", 80)

    def stop(done, episodes):
        if done == 100:
            raise KeyboardInterrupt

    stopped = SacRun(Reach(), config(160), tmp_path, seed=2, report=stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    resumed = SacRun(Reach(), config(160), tmp_path, seed=2)
    assert resumed.agent.num_timesteps == 80 and len(resumed.episodes) == 16
    assert resumed.agent.replay_buffer.size() == 80
    for name in ("observations", "actions", "rewards"):
        np.testing.assert_array_equal(
            getattr(resumed.agent.replay_buffer, name)[:80],
            getattr(stopped.agent.replay_buffer, name)[:80],
        )
    assert resumed.agent._n_updates == 30
    moments = resumed.agent.actor.optimizer.state_dict()["state"][0]
    assert int(moments["step"]) == 30 and moments["exp_avg"].abs().sum() > 0
    resumed.train()
    assert resumed.agent.num_timesteps == 160 and len(resumed.episodes) == 32
    finished = SacRun(Reach(), config(160), tmp_path, seed=2)
    finished.train()
    for name, tensor in finished.actor_tensors().items():
        torch.testing.assert_close(tensor, resumed.actor_tensors()[name])


def test_a_state_of_another_run_is_refused(tmp_path):
    SacRun(Reach(), config(60), tmp_path, seed=0, identity="task 34").train()
    with pytest.raises(ResumeError, match="another seed"):
        SacRun(Reach(), config(60), tmp_path, seed=0, identity="task 35")


def test_prior_explore_acts_as_the_prior_nine_times_of_ten_and_learns_from_it(tmp_path):
    acting = SacConfig(steps=400, learning_starts=400, hidden=(8,))
    run = SacRun(Reach(), acting, tmp_path, seed=3, explore_with_prior=True)
    assert isinstance(run.agent, PriorExploreSAC)
    run.train()
    taken = 0.8 * run.agent.replay_buffer.actions[:400, 0, 0]
    by_prior = (taken > 0.59) & (taken < 0.71)
    assert 0.85 < by_prior.mean() < 0.97


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"sac\.steps: expected at least 1, got 0"):
        SacConfig(steps=0)
