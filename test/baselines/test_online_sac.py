"""SAC's updates beside a robot: every step once, the same after a restart, a policy that draws."""

import numpy as np
import pytest
import torch
from skill_checkpoints import ETA, save_prior

from safe_skills.baselines import online_sac
from safe_skills.baselines.online_sac import OnlineSac, SacUpdateSettings
from safe_skills.data.episodes import Episode, EpisodeStore
from safe_skills.data.run_state import ResumeError
from safe_skills.data.updates import newest_update, update_folder
from safe_skills.safer.policy import SkillPolicy
from safe_skills.safer.prior import SkillPrior

K = 2


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def prior(tmp_path):
    return save_prior(tmp_path / "prior")


def episode(seed, steps=4, success=True):
    rng = np.random.default_rng(seed)
    rewards = np.full(steps, -1.0, np.float32)
    rewards[-1] = 1.0 if success else -1.0
    return Episode(
        images=rng.integers(0, 256, (steps + 1, 48, 48, 3), dtype=np.uint8),
        masks=None,
        actions=rng.uniform(-ETA, ETA, (steps, 5)).astype(np.float32),
        rewards=rewards,
        costs=(np.arange(steps) == 1).astype(np.float32),
        terminated=success,
        truncated=not success,
        success=success,
        kind="online",
        seed=seed,
        policy="test",
        revision="test",
        task=34,
    )


def gather(folder, count):
    store = EpisodeStore(folder)
    for number in range(len(store), count):
        store.append([episode(number, steps=3 + number, success=number % 2 == 0)])
    return str(store.folder)


def updates(tmp_path, prior, out="out", **changes):
    settings = SacUpdateSettings(
        prior=str(prior),
        gathered=str(tmp_path / "episodes"),
        out=str(tmp_path / out),
        task=34,
        bound=ETA,
        episodes_per_update=K,
        **changes,
    )
    return OnlineSac(settings)


def test_every_gathered_step_is_learned_from_once(tmp_path, prior):
    gather(tmp_path / "episodes", 4)
    online = updates(tmp_path, prior)
    for update in (1, 2):
        found = online.run()
        assert found["update"] == online.updates == update
        assert found["accepted"] and found["reason"] == ""
    buffer = online.sac.agent.replay_buffer
    assert buffer.size() == online.sac.agent.num_timesteps == 3 + 4 + 5 + 6
    features = SkillPrior.load(prior).features
    begin = 0
    for number in range(4):
        taken = episode(number, steps=3 + number, success=number % 2 == 0)
        rows = slice(begin, begin + len(taken))
        states = features(taken.images)
        np.testing.assert_allclose(buffer.observations[rows, 0], states[:-1], atol=1e-6)
        np.testing.assert_allclose(buffer.next_observations[rows, 0], states[1:], atol=1e-6)
        np.testing.assert_allclose(buffer.actions[rows, 0], taken.actions / ETA, atol=1e-6)
        np.testing.assert_array_equal(buffer.rewards[rows, 0], taken.rewards)
        ends = np.arange(len(taken)) == len(taken) - 1
        np.testing.assert_array_equal(buffer.dones[rows, 0], ends)
        # What ran out of time is not worth nothing afterwards.
        np.testing.assert_array_equal(buffer.timeouts[rows, 0], ends & (not taken.success))
        begin += len(taken)
    assert online.sac.agent._n_updates == buffer.size()
    assert found["success_rate"] == 0.5 and found["violations"] == 2
    assert found["losses"]["critic_loss"] > 0


def test_its_policy_has_the_agents_mode_and_draws_as_the_agent_does(tmp_path, prior):
    gather(tmp_path / "episodes", K)
    online = updates(tmp_path, prior)
    found = online.run()
    assert found["checkpoint"] == str(update_folder(tmp_path / "out", 1))
    policy = SkillPolicy.load(found["checkpoint"], prior_id=SkillPrior.load(prior).model_id)
    assert policy.metrics["update"] == 1 and policy.bound == ETA
    observation = np.random.default_rng(0).standard_normal(12).astype(np.float32)
    mode, _ = online.sac.agent.predict(observation, deterministic=True)
    np.testing.assert_allclose(policy.act(observation), mode, atol=1e-6)
    rng = np.random.default_rng(1)
    draws = np.array([policy.draw(observation, rng) for _ in range(4000)])
    assert np.abs(draws).max() <= np.float32(ETA)
    with torch.no_grad():
        seen = torch.from_numpy(observation)[None]
        mean, log_std, _ = online.sac.agent.actor.get_action_dist_params(seen)
    before_tanh = np.arctanh(np.clip(draws / ETA, -1 + 1e-6, 1 - 1e-6))
    np.testing.assert_allclose(before_tanh.mean(0), mean[0], atol=0.1)
    np.testing.assert_allclose(before_tanh.std(0), log_std.exp()[0], rtol=0.1)


def test_a_new_process_goes_on_where_the_last_one_was(tmp_path, prior):
    gather(tmp_path / "episodes", 2 * K)
    first = updates(tmp_path, prior)
    first.run()
    again = updates(tmp_path, prior)
    assert again.updates == 1 and again.sac.agent.replay_buffer.size() == 3 + 4
    assert again.run()["update"] == 2
    assert again.sac.agent.replay_buffer.size() == 3 + 4 + 5 + 6
    with pytest.raises(ResumeError):
        updates(tmp_path, prior, seed=1)


def test_the_worker_writes_a_policy_that_was_not_written_yet(tmp_path, prior):
    gather(tmp_path / "episodes", K)
    settings = vars(updates(tmp_path, prior).settings)
    answer = online_sac.start(dict(settings))
    assert answer({}) == {"updates": 0}
    assert answer({"update": 1})["updates"] == 1
    folder = update_folder(tmp_path / "out", 1)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert newest_update(tmp_path / "out") == 0
    found = online_sac.start(dict(settings))({})
    assert found["updates"] == found["update"] == 1 and folder.is_dir()
    assert online_sac.start(dict(settings))({}) == {"updates": 1}
    assert newest_update(tmp_path / "out") == newest_update(tmp_path / "out", accepted=None) == 1


def test_a_policy_without_spread_cannot_draw(tmp_path, prior):
    from skill_checkpoints import save_policy

    policy = SkillPolicy.load(save_policy(tmp_path / "policy", SkillPrior.load(prior)))
    with pytest.raises(ValueError, match="expected one with a spread"):
        policy.draw(np.zeros(12, np.float32), np.random.default_rng(0))
