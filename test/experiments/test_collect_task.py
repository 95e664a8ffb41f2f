import json

import numpy as np
import pytest

from safe_skills.cli import main
from safe_skills.data.episodes import EpisodeError, training_seed
from safe_skills.envs.navigation_policies import NavigationDemonstrator
from safe_skills.envs.tasks import TASKS
from safe_skills.experiments import collect_task as module
from safe_skills.experiments.collect_task import SOURCES, collect_task, summarize

COUNTS = {
    "navigation": {"demo": 11, "constraint": 2, "random": 2},
    "reacher": {"demo": 11, "constraint": 2, "random": 2},
    "pushing": {"demo": 11, "random": 1},
}


@pytest.fixture(
    scope="module",
    params=["navigation", "reacher", pytest.param("pushing", marks=pytest.mark.slow)],
)
def collection(request, tmp_path_factory):
    task = request.param
    folder = tmp_path_factory.mktemp(task)
    return task, collect_task(folder, task, COUNTS[task], workers=1)


def test_every_kind_that_the_paper_trains_on_has_a_source():
    assert set(SOURCES) == set(COUNTS)
    for task, sources in SOURCES.items():
        assert set(TASKS[task].episodes) == set(sources) <= set(module.OPTIONS)


def test_a_collection_holds_what_was_asked_for(collection):
    task, store = collection
    found = store.count()
    assert {kind: found[kind] for kind in COUNTS[task]} == COUNTS[task]
    for kind, source in SOURCES[task].items():
        for index, episode in enumerate(store.episodes(kind)):
            assert episode.seed == training_seed(0, kind, index)
            assert episode.policy == source.policy.__name__ and episode.noise == source.noise
            assert len(episode) == (source.steps or TASKS[task].horizon)
            assert episode.truncated and not episode.terminated
            assert episode.masks is None and episode.images.shape[1:] == (64, 64, 3)
            assert episode.success == (episode.rewards == 0).any()
            assert bool(episode.violation) == (episode.costs > 0).any()
    demos = list(store.episodes("demo"))
    assert all(demo.success and not demo.violation for demo in demos)


def test_recorded_actions_lead_from_image_to_image(collection):
    """The episode can be played back from its seed and actions."""
    task, store = collection
    env = TASKS[task].make()
    for kind, source in SOURCES[task].items():
        for episode in list(store.episodes(kind))[:1]:
            options = {"random_start": True} if source.random_start else None
            observation, _ = env.reset(seed=episode.seed, options=options)
            for index in range(len(episode)):
                np.testing.assert_array_equal(observation["image"], episode.images[index])
                observation, reward, _, _, info = env.step(episode.actions[index])
                assert (reward, info["cost"]) == (episode.rewards[index], episode.costs[index])
            assert info["violation"] == episode.violation
    env.close()


def test_a_collection_goes_on_where_it_stopped_with_the_same_files(collection, tmp_path):
    task, whole = collection
    fewer = collect_task(tmp_path, task, {"demo": 10}, workers=1)
    (first,) = fewer.shards()
    made = first.stat().st_mtime_ns
    (tmp_path / ".demo-00001.hdf5.killed.hdf5").write_bytes(b"half a shard")
    again = collect_task(tmp_path, task, COUNTS[task], workers=1)
    assert first.stat().st_mtime_ns == made
    assert sorted(tmp_path.iterdir()) == sorted(again.shards())
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.actions, other.actions)


def test_a_folder_of_another_collection_is_refused(collection):
    task, store = collection
    other = SOURCES[task]["demo"].noise + 0.01
    for changes in ({"seed": 1}, {"noise": other}, {"unfiltered": True}):
        with pytest.raises(EpisodeError, match="holds another collection") as refusal:
            collect_task(store.folder, task, COUNTS[task], workers=1, **changes)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("task", "counts", "message"),
    [
        ("walking", None, r"task: expected one of \[.*\], got 'walking'"),
        ("navigation", {"demos": 1}, r"counts: expected some of \[.*\], got \['demos'\]"),
    ],
)
def test_what_does_not_exist_is_refused(task, counts, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        collect_task(tmp_path / "data", task, counts)
    assert not (tmp_path / "data").exists()


def test_varied_episodes_are_another_collection(tmp_path):
    varied = collect_task(tmp_path, "pushing", {"demo": 1, "random": 1}, workers=1, varied=True)
    demonstration, wandering = varied
    assert wandering.policy == "PushingWanderer" and wandering.noise == 0.1
    assert demonstration.policy == "VariedPushingDemonstrator" and demonstration.noise == 0.1
    assert demonstration.success and not demonstration.violation
    with pytest.raises(EpisodeError, match="holds another collection"):
        collect_task(tmp_path, "pushing", {"demo": 1}, workers=1)
    with pytest.raises(ValueError, match=r"varied: expected one of \['pushing'\], got 'reacher'"):
        collect_task(tmp_path / "reacher", "reacher", {"demo": 1}, varied=True)


class Clumsy(NavigationDemonstrator):
    """Finds the goal in some of the attempts."""

    def __init__(self, rng, noise):
        super().__init__(rng, noise)
        self._away = rng.random() < 0.7

    def _control(self, state):
        return -super()._control(state) if self._away else super()._control(state)


def test_failed_demonstrations_are_played_again(monkeypatch, tmp_path):
    clumsy = {"navigation": {"demo": module.Source(Clumsy, "demonstrations")}}
    monkeypatch.setattr(module, "SOURCES", clumsy)
    kept = collect_task(tmp_path / "kept", "navigation", {"demo": 10}, workers=1)
    assert summarize(kept)["demo"]["success_rate"] == 1.0
    every = collect_task(tmp_path / "every", "navigation", {"demo": 10}, workers=1, unfiltered=True)
    assert summarize(every)["demo"]["success_rate"] < 0.8
    assert {episode.policy for episode in every} == {"Clumsy unfiltered"}


def test_hopeless_demonstrations_end_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    with pytest.raises(EpisodeError, match="expected a success .* got none in 2 attempts") as told:
        monkeypatch.setattr(NavigationDemonstrator, "_control", lambda self, state: np.zeros(2))
        collect_task(tmp_path, "navigation", {"demo": 1}, workers=1)
    assert "\n" not in str(told.value)


def test_the_command_collects_in_processes_and_tells(tmp_path, capsys):
    figures = tmp_path / "figures.json"
    words = f"--demos 2 --constraint 1 --random 0 --out {tmp_path / 'data'} --json {figures}"
    assert main(["collect", "navigation", *words.split(), "--workers", "2"]) == 0
    told = capsys.readouterr().out
    assert "reference" in told and "-83.7" in told
    found = json.loads(figures.read_text())
    assert found["task"] == "navigation" and found["noise"] == 0.4
    assert found["kinds"]["demo"]["episodes"] == 2
    assert found["kinds"]["constraint"]["violation_rate"] == 1.0


@pytest.mark.parametrize("wrong", [["--demos", "-1"], ["--noise", "2"], ["--layout", "open"]])
def test_wrong_arguments_are_refused(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["collect", "navigation", "--out", str(tmp_path / "data"), *wrong])
    assert stop.value.code == 2 and wrong[0] in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
