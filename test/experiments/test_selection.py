"""The agent that is kept: the best on scenes of its own, of equals the later one."""

import numpy as np
import pytest

from safe_skills.data.episodes import Episode, EpisodeStore
from safe_skills.experiments import selection
from safe_skills.experiments.rollout import EpisodeResult
from safe_skills.experiments.selection import actor_folder, episodes_folder, select


def episode(steps):
    """A successful episode of some steps."""
    rewards = np.full(steps, -1.0, np.float32)
    rewards[-1] = 0.0
    return Episode(
        images=np.zeros((steps + 1, 64, 64, 3), np.uint8),
        masks=np.zeros((steps + 1, 64, 64), np.uint8),
        actions=np.zeros((steps, 2), np.float32),
        rewards=rewards,
        costs=np.zeros(steps, np.float32),
        terminated=True,
        truncated=False,
        success=True,
        kind="online",
        seed=0,
        policy="ls3",
        layout="open",
        revision="",
    )


class Runner:
    """Knows what each checkpoint would come to."""

    def __init__(self, steps, violating):
        self.steps, self.violating, self.scenes = steps, violating, []

    def results(self, checkpoint, layout, profile, seeds):
        self.scenes.append(tuple(seeds))
        steps = self.steps[checkpoint.name]
        results = [
            EpisodeResult(seed, True, "", steps, 1.0 - steps, (10.0,), (0,)) for seed in seeds
        ]
        if checkpoint.name in self.violating:
            results[0] = EpisodeResult(seeds[0], False, "cable", 50, -50.0, (10.0,), (0,))
        yield results


@pytest.fixture
def choose(tmp_path):
    def chosen(batches, measured, violating=()):
        for update, steps in enumerate(batches):
            EpisodeStore(episodes_folder(tmp_path, update)).append([episode(steps)])
        runner = Runner(measured, violating)
        last, used = tmp_path / "last", len(batches)
        settings = {"layout": "open", "profile": "realtime", "seed": 3, "used": used}
        return select(last, tmp_path, len(batches), **settings, runner=runner), runner

    return chosen


def test_the_best_of_the_last_and_of_the_three_best_before(choose, tmp_path):
    measured = {"actor-001": 30, "actor-002": 25, "actor-004": 18, "last": 20}
    selected, runner = choose([50, 20, 21, 45, 22], measured)
    assert (selected.updates, selected.checkpoint) == (4, actor_folder(tmp_path, 4))
    assert sorted(selected.comparison) == [1, 2, 4, 5]
    assert selected.comparison[4]["mean_return"] == -17
    assert len(set(runner.scenes)) == 1 and len(runner.scenes[0]) == selection.SCENES


def test_of_equals_the_later_one(choose, tmp_path):
    selected, _ = choose([20, 20], {"actor-000": 20, "actor-001": 20, "last": 20})
    assert (selected.updates, selected.checkpoint) == (2, tmp_path / "last")


def test_one_that_violates_is_not_kept_however_quick(choose):
    selected, _ = choose([12, 20], {"actor-000": 12, "actor-001": 20, "last": 19}, ["actor-000"])
    assert selected.updates == 2


def test_scenes_are_not_those_of_the_online_episodes(choose):
    _, runner = choose([20], {"actor-000": 20, "last": 20})
    online = selection.training_seed(3, "online", 0)
    assert online not in runner.scenes[0]


def test_without_online_updates_there_is_nothing_to_compare(choose, tmp_path):
    selected, runner = choose([], {})
    assert (selected.updates, selected.checkpoint, runner.scenes) == (0, tmp_path / "last", [])
