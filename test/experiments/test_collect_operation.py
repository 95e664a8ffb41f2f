"""Collections of the Operation tasks: complete, resumable, refused when foreign or damaged."""

import json

import numpy as np
import pytest

from safe_skills.cli import main
from safe_skills.data.episodes import Episode, EpisodeError, EpisodeStore, training_seed
from safe_skills.envs.operation import HORIZON, OperationEnv
from safe_skills.experiments.collect_operation import (
    SHARD_EPISODES,
    TASK_SETS,
    collect_operation,
    summarize,
)
from safe_skills.experiments.operation_rollout import noise_of

STEPS = 700


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return collect_operation(tmp_path_factory.mktemp("whole"), STEPS, workers=1)


def assert_same_collection(one, other):
    assert [path.name for path in one.shards()] == [path.name for path in other.shards()]
    for left, right in zip(one, other, strict=True):
        for name in set(Episode.__dataclass_fields__) - {"revision"}:
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


def test_a_collection_has_as_many_shards_as_its_steps_need(collection):
    lengths = [len(episode) for episode in collection]
    assert sum(lengths) >= STEPS > sum(lengths[:-SHARD_EPISODES])
    assert len(lengths) == SHARD_EPISODES * len(collection.shards())
    for index, episode in enumerate(collection):
        seed = training_seed(0, "scripted", index)
        assert (episode.kind, episode.seed, episode.task) == ("scripted", seed, index % 34)
        assert episode.noise == noise_of(seed, (0.05, 0.5))[0]
        assert episode.masks is None and episode.images.shape[1:] == (48, 48, 3)
        assert episode.success == episode.terminated == (episode.rewards[-1] == 1.0)
        assert bool(episode.violation) == bool(episode.costs.any())
        assert episode.truncated == (len(episode) == HORIZON and not episode.success)
        assert np.abs(episode.actions).max() <= 1.0


def test_an_episode_can_be_played_back_from_its_attributes(collection):
    env = OperationEnv(0)
    touched = next(episode for episode in collection if episode.violation)
    for episode in (next(iter(collection)), touched):
        image, _ = env.reset(seed=episode.seed, options={"task": episode.task})
        for index in range(len(episode)):
            np.testing.assert_array_equal(image, episode.images[index])
            image, reward, terminated, _, info = env.step(episode.actions[index])
            assert (reward, info["cost"]) == (episode.rewards[index], episode.costs[index])
        np.testing.assert_array_equal(image, episode.images[-1])
        assert terminated == episode.success
    env.close()


def test_an_interrupted_collection_goes_on_and_ends_with_the_same_files(collection, tmp_path):
    shards = collection.shards()
    kept = tmp_path / shards[1].name
    kept.write_bytes(shards[1].read_bytes())
    (tmp_path / f".{shards[0].name}.killed.hdf5").write_bytes(b"half a shard")
    before = kept.stat().st_mtime_ns
    again = collect_operation(tmp_path, STEPS, workers=2)
    assert_same_collection(again, collection)
    assert kept.stat().st_mtime_ns == before
    assert sorted(tmp_path.iterdir()) == again.shards()


def test_a_finished_collection_is_left_alone(collection):
    before = {path: path.stat().st_mtime_ns for path in collection.folder.iterdir()}
    for steps in (10, STEPS):
        collect_operation(collection.folder, steps, workers=1)
    assert {path: path.stat().st_mtime_ns for path in collection.folder.iterdir()} == before


@pytest.mark.parametrize("changes", [{"seed": 1}, {"tasks": "evaluation"}, {"noise": (0.0, 0.5)}])
def test_a_folder_of_another_collection_is_refused(collection, changes):
    with pytest.raises(EpisodeError, match="holds another collection: expected") as refusal:
        collect_operation(collection.folder, STEPS, workers=1, **changes)
    assert "\n" not in str(refusal.value)


def test_a_truncated_shard_stops_the_command_with_one_line(collection, tmp_path, capsys):
    shard = collection.shards()[0]
    (tmp_path / shard.name).write_bytes(shard.read_bytes()[:-5000])
    status = main(["collect", "operation", "--steps", "50", "--out", str(tmp_path)])
    told = capsys.readouterr().err
    assert status == 2
    assert told.startswith(f"safe-skills collect: {tmp_path / shard.name}: damaged")
    assert told.count("\n") == 1


def test_the_command_collects_and_sums_up(tmp_path, capsys):
    figures = tmp_path / "figures.json"
    words = "collect operation --steps 1 --tasks evaluation --noise 0.2 0.2 --workers 1"
    out = ["--out", str(tmp_path / "data"), "--json", str(figures)]
    assert main([*words.split(), *out]) == 0
    assert "success rate" in capsys.readouterr().out
    store, found = EpisodeStore(tmp_path / "data"), json.loads(figures.read_text())
    assert {episode.task for episode in store} == set(TASK_SETS["evaluation"]) == set(range(34, 40))
    assert {episode.noise for episode in store} == {0.2}
    assert found["all"] == summarize(store)["all"]
    assert found["all"]["episodes"] == SHARD_EPISODES
    assert set(found["by_task"]) == {str(task) for task in range(34, 40)}
    assert found["seconds"] > 0 and found["megabytes"] > 0


@pytest.mark.parametrize(
    "wrong",
    [["--steps", "0"], ["--noise", "0.1", "2"], ["--tasks", "all"], ["--noise", "x", "1"]],
)
def test_wrong_arguments_are_refused(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["collect", "operation", "--out", str(tmp_path / "data"), *wrong])
    assert stop.value.code == 2 and wrong[0] in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_range_of_noise_that_is_none_is_refused(tmp_path, capsys):
    words = ["collect", "operation", "--out", str(tmp_path / "data"), "--noise", "0.5", "0.1"]
    assert main(words) == 2
    assert "noise: expected a range, the lower end first" in capsys.readouterr().err
