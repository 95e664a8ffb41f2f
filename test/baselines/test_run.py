"""Runs of the baselines: what they leave, and that a stopped one ends as one that was not."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from track import CONFIG, HORIZON, LIMIT, SPACES, Track, as_it_is, offline_replay

from safe_skills.baselines import run as run_module
from safe_skills.baselines.methods import METHODS, load_agent
from safe_skills.baselines.rollout import Rollout, evaluate
from safe_skills.baselines.run import BaselineRun, DivergenceError
from safe_skills.data.checkpoint import CheckpointError
from safe_skills.data.episodes import EpisodeError, EpisodeStore, training_seed
from safe_skills.data.run_state import ResumeError
from safe_skills.data.run_table import read_episodes


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# The recovery policy takes over in about half of the steps of an untrained agent.
HALF = dataclasses.replace(CONFIG, recovery=dataclasses.replace(CONFIG.recovery, eps_risk=0.5))


def make(method, folder, seed=0, config=HALF, report=lambda *_: None):
    agent = METHODS[method](SPACES, config, offline_replay(seed), seed)
    return BaselineRun(agent, Track(), folder, seed, task="track", view=as_it_is, report=report)


def finish(run, updates=2):
    run.train_offline()
    return dict(run.train_online(updates))


def without_time(episodes):
    return [dataclasses.replace(row, seconds=0.0) for row in episodes]


def assert_same(one, other):
    ours, theirs = one.agent.tensors(), other.agent.tensors()
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0, msg=name)
    assert without_time(one.episodes) == without_time(other.episodes)
    assert one.recoveries == other.recoveries
    assert one.agent.replay.digest() == other.agent.replay.digest()
    for kind in ("demo", "online"):
        found, expected = (run.agent.replay.choices(kind) for run in (one, other))
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module", params=METHODS)
def whole(request, tmp_path_factory):
    """A run that nobody stopped, and the figures of its updates."""
    run = make(request.param, tmp_path_factory.mktemp(request.param))
    return run, finish(run)


def test_a_run_leaves_a_table_episodes_and_a_checkpoint_an_update(whole):
    run, updates = whole
    assert sorted(updates) == [1, 2] and run.updates == 2
    rows = read_episodes(run.folder / "episodes.csv")
    assert without_time(rows) == without_time(run.episodes) and len(rows) == 4
    stored = list(EpisodeStore(run.folder / "online"))
    assert [episode.seed for episode in stored] == [training_seed(0, "online", k) for k in range(4)]
    for row, episode in zip(rows, stored, strict=True):
        assert row.episode_return == episode.episode_return and row.steps == HORIZON
        assert row.success == episode.success and row.violation == bool(episode.violation)
        assert episode.policy == run.agent.method and np.abs(episode.actions).max() <= LIMIT
    folders = sorted(folder.name for folder in (run.folder / "checkpoints").iterdir())
    assert folders == ["update-0001", "update-0002"]
    metrics = json.loads((run.folder / "checkpoints/update-0002/metrics.json").read_text())
    assert metrics["update"] == 2
    assert metrics["training"]["mean_return"] == updates[2]["mean_return"]


def test_the_replay_holds_what_happened(whole):
    run, _ = whole
    replay = run.agent.replay
    assert replay.count(("online",)) == 4 * HORIZON
    executed = np.concatenate([e.actions for e in EpisodeStore(run.folder / "online")]) / LIMIT
    done, proposed = replay.choices("online").transpose(1, 0, 2)
    np.testing.assert_allclose(done, executed, atol=1e-6)
    differs = (done != proposed).any(axis=1)
    assert differs.sum() == sum(run.recoveries)
    assert (sum(run.recoveries) > 0) == (run.agent.method == "recovery")


@pytest.mark.parametrize(
    "moment", [("last phase", 2), ("online", 1), ("online", 3)], ids=lambda m: f"{m[0]} {m[1]}"
)
def test_a_stopped_run_ends_as_one_that_was_not(whole, tmp_path, monkeypatch, moment):
    run, _ = whole
    method = run.agent.method
    monkeypatch.setattr(run_module, "SAVE_PERIOD", 2)
    monkeypatch.setattr(run_module, "REPORT_PERIOD", 1)
    last = run.agent.phases()[-1].name

    def stop(phase, done, total, loss):
        assert np.isfinite(loss) and done <= total
        if (phase.replace(last, "last phase"), done) == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(make(method, tmp_path, report=stop))
    # Numbers that others draw in between do not matter.
    torch.rand(5)
    resumed = make(method, tmp_path)
    finish(resumed)
    assert_same(resumed, run)
    assert len(read_episodes(tmp_path / "episodes.csv")) == 4
    again = make(method, tmp_path)
    assert finish(again) == {}
    assert_same(again, run)


def test_a_run_may_be_asked_for_more(whole, tmp_path):
    run, _ = whole
    method = run.agent.method
    finish(make(method, tmp_path), updates=1)
    longer = dataclasses.replace(HALF, online=dataclasses.replace(HALF.online, updates=9))
    resumed = make(method, tmp_path, config=longer)
    assert sorted(finish(resumed)) == [2]
    assert_same(resumed, run)


def test_a_checkpoint_acts_as_the_agent_that_wrote_it(whole):
    run, _ = whole
    agent, limit = load_agent(run.folder / "checkpoints/update-0002", task="track")
    assert agent.method == run.agent.method
    np.testing.assert_array_equal(limit, np.full(2, LIMIT, np.float32))
    rng = np.random.default_rng(0)
    for _ in range(5):
        seen = rng.integers(0, 256, SPACES.observation.shape, np.uint8)
        mine, theirs = (a.choose(seen, explore=False) for a in (agent, run.agent))
        np.testing.assert_array_equal(mine.executed, theirs.executed)
        assert mine.recovers == theirs.recovers
    seeds = range(1_000_000, 1_000_003)
    one, two = (list(evaluate(a, Track(), as_it_is, seeds)) for a in (agent, run.agent))
    assert without_time(one) == without_time(two) and [row.episode for row in one] == [0, 1, 2]


def test_a_checkpoint_that_cannot_be_used_is_refused(whole, tmp_path):
    run, _ = whole
    folder = tmp_path / "checkpoint"
    run.save_checkpoint(folder, {})
    with pytest.raises(CheckpointError, match="expected task 'cable', found 'track'"):
        load_agent(folder, task="cable")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        load_agent(folder)
    config = (folder / "config.yaml").read_text()
    run.save_checkpoint(folder, {})
    (folder / "config.yaml").write_text(
        config.replace(f"method: {run.agent.method}", "method: ls3")
    )
    with pytest.raises(CheckpointError, match="expected method sacfd, recovery, awac, found 'ls3'"):
        load_agent(folder)


def test_a_state_of_another_run_or_a_damaged_one_is_refused(whole, tmp_path):
    run, _ = whole
    method = run.agent.method
    first = make(method, tmp_path)
    finish(first, updates=1)
    with pytest.raises(ResumeError, match="another seed"):
        make(method, tmp_path, seed=1)
    with pytest.raises(ResumeError, match="another seed, configuration or data set"):
        other = dataclasses.replace(CONFIG, sacfd=dataclasses.replace(CONFIG.sacfd, penalty=9.0))
        make(method, tmp_path, config=other)
    shard = tmp_path / "online" / "online-00000.hdf5"
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(EpisodeError, match="damaged"):
        make(method, tmp_path)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(ResumeError, match="damaged"):
        make(method, tmp_path)


def test_weights_that_are_not_finite_end_the_run_and_are_not_saved(tmp_path):
    run = make("sacfd", tmp_path)
    run.train_offline()
    before = (tmp_path / "state.safetensors").read_bytes()
    with torch.no_grad():
        run.agent.sac.critic_target.qf0[0].bias.fill_(float("nan"))
    with pytest.raises(DivergenceError, match="not finite any more after 0 online episodes"):
        list(run.train_online(1))
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_an_episode_is_recorded_as_it_was_played():
    rollout = Rollout(Track(), as_it_is, SPACES, seed=3)
    first = rollout.frame.copy()
    np.testing.assert_array_equal(rollout.observation, np.concatenate([first, first]))
    while not rollout.done:
        before = rollout.frame
        rollout.step(np.array([-0.5, 1.0], np.float32))
        np.testing.assert_array_equal(rollout.observation, np.concatenate([before, rollout.frame]))
    episode, row = rollout.record("online", "push"), rollout.row(7)
    assert (row.episode, row.steps, row.episode_return) == (7, HORIZON, -HORIZON)
    assert row.violation and not row.success and episode.violation == "end"
    assert episode.truncated and not episode.terminated and episode.masks is None
    np.testing.assert_allclose(episode.actions, np.tile([-0.5 * LIMIT, LIMIT], (HORIZON, 1)))
    np.testing.assert_array_equal(episode.images[0].transpose(2, 0, 1), first)
    assert episode.costs[0] == 0 and episode.costs[-1] == rollout.cost == 1
