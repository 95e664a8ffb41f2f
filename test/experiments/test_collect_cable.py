import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from safe_skills.cli import main
from safe_skills.data.episodes import Episode, EpisodeError, EpisodeStore, read_shard, training_seed
from safe_skills.data.provenance import revision
from safe_skills.experiments.collect_cable import collect_cable, summarize

COUNTS = {"demos": 11, "random": 2, "constraint": 2}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return collect_cable(tmp_path_factory.mktemp("whole"), "tight", **COUNTS, workers=1)


def assert_same_collection(one, other):
    names = [[path.name for path in store.shards()] for store in (one, other)]
    assert names[0] == names[1]
    for left, right in zip(one, other, strict=True):
        for name in set(Episode.__dataclass_fields__) - {"revision"}:
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


def test_a_collection_holds_what_was_asked_for(collection):
    expected = {"demo": 11, "random": 2, "constraint": 2, "online": 0, "scripted": 0}
    assert collection.count() == expected
    for kind in ("demo", "random", "constraint"):
        for index, episode in enumerate(collection.episodes(kind)):
            assert episode.seed == training_seed(0, kind, index)
            assert episode.layout == "tight" and episode.revision == revision()
            assert episode.terminated == episode.success
            assert episode.truncated == (len(episode) == 50 and not episode.success)
    summary = summarize(collection)
    assert summary["demo"]["success_rate"] == 1.0 and summary["demo"]["violation_rate"] == 0.0
    assert 30 < summary["demo"]["mean_length"] < 42
    assert summary["constraint"] == {
        "episodes": 2,
        "success_rate": 0.0,
        "violation_rate": 1.0,
        "mean_return": -50.0,
        "mean_length": 50.0,
    }


def test_recorded_actions_lead_from_image_to_image(collection):
    """The episode can be played back from its attributes alone."""
    from safe_skills.envs.cable import CableEnv

    episode = next(collection.episodes("constraint"))
    env = CableEnv(episode.layout)
    observation, _ = env.reset(seed=episode.seed)
    for index in range(len(episode)):
        np.testing.assert_array_equal(observation["image"], episode.images[index])
        np.testing.assert_array_equal(observation["mask"], episode.masks[index])
        observation, reward, _, _, info = env.step(episode.actions[index])
        assert (reward, info["cost"]) == (episode.rewards[index], episode.costs[index])
    assert info["violation"] == episode.violation != ""
    assert episode.costs[0] == 0.0 and episode.costs[-1] == 1.0


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_killed_collection_goes_on_where_it_stopped(collection, tmp_path, capfd):
    arguments = ["collect", "cable", "--layout", "tight", "--out", str(tmp_path / "data")]
    for name, count in COUNTS.items():
        arguments += [f"--{name}", str(count)]
    running = subprocess.Popen(
        [sys.executable, "-m", "safe_skills.cli", *arguments, "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store = EpisodeStore(tmp_path / "data")
    wait_until(store.shards)
    workers = children_of(running.pid)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert len(workers) >= 2
    wait_until(lambda: not any(map(is_running, workers)))
    kept = {path: path.stat().st_mtime_ns for path in store.shards()}
    assert 0 < len(kept) < len(collection.shards())
    (store.folder / ".demo-00000.hdf5.killed.hdf5").write_bytes(b"half a shard")

    figures = tmp_path / "figures.json"
    assert main([*arguments, "--workers", "1", "--json", str(figures)]) == 0
    assert "constraint" in capfd.readouterr().out
    assert_same_collection(store, collection)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert sorted(store.folder.iterdir()) == sorted(store.shards())
    assert json.loads(figures.read_text())["kinds"] == summarize(collection)


def test_a_finished_collection_is_left_alone(collection):
    before = {path: path.stat().st_mtime_ns for path in collection.folder.iterdir()}
    collect_cable(collection.folder, "tight", **COUNTS, workers=1)
    assert {path: path.stat().st_mtime_ns for path in collection.folder.iterdir()} == before


def test_a_collection_can_grow(tmp_path):
    small = collect_cable(tmp_path, "open", demos=0, random=0, constraint=1, workers=1)
    first = next(iter(small))
    grown = collect_cable(tmp_path, "open", demos=0, random=0, constraint=2, workers=1)
    episodes = list(grown)
    assert len(episodes) == 2
    np.testing.assert_array_equal(episodes[0].images, first.images)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"layout": "open"}, {"uniform": True}])
def test_a_folder_of_another_collection_is_refused(collection, changes):
    before = sorted(os.listdir(collection.folder))
    with pytest.raises(EpisodeError, match="holds another collection") as refusal:
        collect_cable(collection.folder, **{"layout": "tight", **COUNTS, "workers": 1, **changes})
    assert "\n" not in str(refusal.value)
    assert sorted(os.listdir(collection.folder)) == before


def test_a_damaged_shard_stops_the_command_with_one_line(collection, tmp_path, capsys):
    shard = collection.shards("random")[0]
    (tmp_path / shard.name).write_bytes(shard.read_bytes()[:5000])
    counts = ["--demos", "0", "--random", "2", "--constraint", "0"]
    status = main(["collect", "cable", "--layout", "tight", "--out", str(tmp_path), *counts])
    told = capsys.readouterr().err
    assert status == 2
    assert told.startswith(f"safe-skills collect: {tmp_path / shard.name}: damaged")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "wrong", [["--demos", "-1"], ["--seed", "x"], ["--layout", "wide"], ["--workers", "1.5"]]
)
def test_wrong_arguments_are_refused(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["collect", "cable", "--out", str(tmp_path / "data"), *wrong])
    assert stop.value.code == 2 and wrong[0] in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_shard_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "demo-00000.hdf5").mkdir()
    with pytest.raises(EpisodeError, match="demo-00000.hdf5"):
        collect_cable(tmp_path, "open", demos=1, random=0, constraint=0, workers=1)


def test_uniform_random_episodes_say_so(tmp_path):
    store = collect_cable(tmp_path, "open", 0, 1, 0, workers=1, uniform=True)
    (episode,) = read_shard(store.shards("random")[0])
    assert episode.policy == "RandomAfterDemo uniform"
