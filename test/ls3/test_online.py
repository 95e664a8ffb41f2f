"""Algorithm 1's updates beside a robot: the same weights however they are interrupted."""

import time

import gathered_episodes
import numpy as np
import pytest
import torch

from safe_skills.data.background import Worker
from safe_skills.data.checkpoint import CheckpointError
from safe_skills.data.episodes import EpisodeStore
from safe_skills.data.run_state import ResumeError
from safe_skills.data.surprise import (
    FILE,
    calibrate_held_out,
    load_surprise,
    save_surprise,
)
from safe_skills.data.updates import newest_update, update_folder
from safe_skills.ls3 import online
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.online import (
    OnlineUpdates,
    UpdateSettings,
    held_out_errors,
    judge,
    training_episode,
)
from safe_skills.ls3.surprise import encoded_frames

K = 2


@pytest.fixture
def start(tmp_path):
    torch.manual_seed(0)
    config = LS3Config.from_dict(gathered_episodes.SHORT)
    agent = LS3Agent(config, task="cable", layout="open", action_limit=np.full(2, 0.03))
    agent.save(tmp_path / "start", {})
    return tmp_path / "start"


@pytest.fixture
def offline(tmp_path):
    store = EpisodeStore(tmp_path / "data")
    store.append([gathered_episodes.episode(column, kind="demo") for column in (5, 9)])
    store.append([gathered_episodes.episode(20, violation=True, kind="constraint")])
    return store.folder


def gather(folder, count, **changes):
    store = EpisodeStore(folder / "episodes")
    for number in range(len(store), count):
        store.append([gathered_episodes.episode(5 + number, **changes)])
    return store.folder


def settings(start, out, data="", **changes):
    changes = {"tolerance": 100.0, **changes}
    return UpdateSettings(
        checkpoint=str(start),
        gathered=str(out / "episodes"),
        out=str(out),
        data=str(data),
        episodes_per_update=K,
        **changes,
    )


def weights(folder):
    return LS3Agent.load(folder).models.state_dict()


def test_a_new_agent_is_surprised_as_the_one_before(start, offline, tmp_path):
    """The encoder stays; the calibration names the new weights."""
    agent = LS3Agent.load(start)
    episodes = [gathered_episodes.episode(column).images for column in range(8)]
    limits = calibrate_held_out(encoded_frames(agent, episodes), 0)
    save_surprise(limits, start, agent.model_id)
    gather(tmp_path, K)
    folder = OnlineUpdates(settings(start, tmp_path, offline)).run()["checkpoint"]
    new = LS3Agent.load(folder)
    assert new.model_id != agent.model_id
    found = load_surprise(folder, new.model_id)
    assert found.latent_distance == limits.latent_distance
    for images in episodes:
        np.testing.assert_array_equal(new.encode(images[0])[0], agent.encode(images[0])[0])


def test_without_a_calibration_a_new_agent_has_none(start, offline, tmp_path):
    gather(tmp_path, K)
    assert OnlineUpdates(settings(start, tmp_path, offline)).run()["accepted"]
    assert not (update_folder(tmp_path, 1) / FILE).exists()


def test_an_update_starts_from_the_checkpoint_and_writes_a_new_one(start, offline, tmp_path):
    gather(tmp_path, K)
    updates = OnlineUpdates(settings(start, tmp_path, offline))
    before = {name: t.clone() for name, t in updates.agent.models.state_dict().items()}
    for name, tensor in weights(start).items():
        assert torch.equal(tensor, before[name])
    assert updates.trainer.replay.episodes == 3
    result = updates.run()
    assert result["accepted"] and result["checkpoint"] == str(update_folder(tmp_path, 1))
    assert updates.trainer.replay.episodes == 3 + K
    after = weights(update_folder(tmp_path, 1))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    # The encoder, and with it the latents' scale, are frozen.
    assert changed == {"dynamics", "value", "goal", "constraint", "safe_set"}
    assert set(result["losses"]) == changed
    metrics = LS3Agent.load(update_folder(tmp_path, 1)).metrics
    assert metrics["update"] == 1 and metrics["start"] == LS3Agent.load(start).model_id


def test_one_step_targets_from_the_first_update_on(start, offline, tmp_path):
    updates = OnlineUpdates(settings(start, tmp_path, offline))
    (value,) = [item for item in updates.trainer.learners if item.name == "value"]
    assert value.steps >= value.config.monte_carlo_share * value.config.iterations


def test_a_killed_training_goes_on_to_the_same_weights(start, offline, tmp_path):
    for name in ("whole", "killed"):
        gather(tmp_path / name, 2 * K)
    whole = OnlineUpdates(settings(start, tmp_path / "whole", offline))
    whole.run()
    whole.run()
    OnlineUpdates(settings(start, tmp_path / "killed", offline)).run()
    again = OnlineUpdates(settings(start, tmp_path / "killed", offline))
    assert again.updates == 1
    again.run()
    one, other = (weights(update_folder(tmp_path / name, 2)) for name in ("whole", "killed"))
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_a_kill_between_update_and_checkpoint_loses_neither(start, offline, tmp_path):
    gather(tmp_path, K)
    updates = OnlineUpdates(settings(start, tmp_path, offline))
    next(updates._updates)
    assert newest_update(tmp_path) == 0
    answer = online.start(vars(settings(start, tmp_path, offline)))
    found = answer({})
    assert found["updates"] == found["update"] == newest_update(tmp_path) == 1
    assert answer({}) == {"updates": 1}


def test_without_offline_data_a_classifier_with_one_label_stays_as_it_is(start, tmp_path):
    gather(tmp_path, K)
    updates = OnlineUpdates(settings(start, tmp_path))
    before = weights(start)
    updates.run()
    after = weights(update_folder(tmp_path, 1))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"dynamics", "value", "goal"}
    store = EpisodeStore(tmp_path / "episodes")
    store.append([gathered_episodes.episode(violation=True)])
    store.append([gathered_episodes.episode(9)])
    updates.run()
    later = weights(update_folder(tmp_path, 2))
    for head in ("constraint", "safe_set"):
        assert any(not torch.equal(after[n], later[n]) for n in later if n.startswith(head))


def test_the_state_of_another_start_is_refused(start, offline, tmp_path):
    gather(tmp_path, K)
    OnlineUpdates(settings(start, tmp_path, offline)).run()
    other = LS3Agent.load(start)
    with torch.no_grad():
        other.models.latent_shift.add_(1.0)
    other.save(tmp_path / "other", {})
    with pytest.raises(ResumeError):
        OnlineUpdates(settings(tmp_path / "other", tmp_path, offline))


def test_every_tenth_episode_is_held_out(start, offline, tmp_path):
    gather(tmp_path, 10)
    updates = OnlineUpdates(settings(start, tmp_path, offline))
    results = [updates.run() for _ in range(5)]
    assert updates.trainer.replay.episodes == 3 + 9
    assert [result["held_out_episodes"] for result in results] == [0, 0, 0, 0, 1]
    assert set(results[-1]["held_out_after"]) == {"goal", "constraint", "dynamics"}


def test_an_agent_that_is_worse_on_held_out_episodes_is_refused(start, offline, tmp_path):
    gather(tmp_path, 10)
    updates = OnlineUpdates(settings(start, tmp_path, offline, tolerance=0.1))
    with torch.no_grad():
        updates.agent.models.constraint.net[-1].bias.add_(30.0)  # sees violations everywhere
    for _ in range(4):
        assert updates.run()["accepted"]  # nothing is held out yet
    with torch.no_grad():
        updates.accepted.models.constraint.net[-1].bias.sub_(60.0)
    result = updates.run()
    assert not result["accepted"] and newest_update(tmp_path) == 4
    assert result["reason"].startswith("held-out error of constraint: expected at most 0.1 ")
    assert "rejected" in result["checkpoint"] and LS3Agent.load(result["checkpoint"])


def test_weights_that_are_not_finite_are_refused(start, offline, tmp_path):
    gather(tmp_path, K)
    updates = OnlineUpdates(settings(start, tmp_path, offline))
    with torch.no_grad():
        updates.agent.models.goal.net[0].weight[0, 0] = float("nan")
    result = updates.run()
    assert not result["accepted"] and "has NaN" in result["reason"]
    assert newest_update(tmp_path) == 0


def test_held_out_errors_are_those_of_their_definition(start):
    agent = LS3Agent.load(start)
    episodes = [
        training_episode(gathered_episodes.episode(5), agent),
        training_episode(gathered_episodes.episode(9, violation=True), agent),
    ]
    found = held_out_errors(agent, episodes)
    goal, constraint, errors = [], [], []
    for item, kept in zip(episodes, (6, 3), strict=True):
        means = torch.from_numpy(agent.encode_views(item.views)[0])
        actions = torch.from_numpy(item.labels.actions)
        for k in range(kept + 1):
            reached = k > 0 and item.labels.rewards[k - 1] == 0
            broken = k > 0 and item.labels.costs[k - 1] > 0
            goal.append((reached, float(agent.models.goal(means[k]))))
            constraint.append((broken, float(agent.models.constraint(means[k]))))
            if k < kept:
                predicted, _ = agent.models.dynamics(means[k : k + 1], actions[k : k + 1])
                errors.append(float((predicted[:, 0] - means[k + 1]).square().mean()))

    def balanced(rows):
        sides = [
            np.mean([(p > 0.5) != side for label, p in rows if label == side])
            for side in (True, False)
        ]
        return np.mean(sides)

    assert found["goal"] == pytest.approx(balanced(goal), rel=1e-4)
    assert found["constraint"] == pytest.approx(balanced(constraint), rel=1e-4)
    assert found["dynamics"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_nothing_held_out_refuses_nothing(start):
    agent = LS3Agent.load(start)
    assert judge(agent, agent, [], 0.0) == ({"held_out_episodes": 0}, "")


def answer_of(worker):
    deadline = time.monotonic() + 60.0
    while (found := worker.answer()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_as_a_process_of_its_own(start, offline, tmp_path):
    gather(tmp_path, K)
    worker = Worker("safe_skills.ls3.online", vars(settings(start, tmp_path, offline)))
    try:
        assert answer_of(worker) == {"updates": 0}
        worker.ask({"update": 1})
        found = answer_of(worker)
        assert found["accepted"] and found["updates"] == newest_update(tmp_path) == 1
        worker.ask({"update": 2})
        assert "episode" in answer_of(worker)["error"]
    finally:
        worker.close()


def test_a_start_that_cannot_be_used_is_one_line(offline, tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        OnlineUpdates(settings(tmp_path / "nothing", tmp_path, offline))
    worker = Worker("safe_skills.ls3.online", vars(settings(tmp_path / "nothing", tmp_path)))
    assert "no such folder" in answer_of(worker)["error"]
    assert answer_of(worker)["ended"] == 2
    worker.close()
