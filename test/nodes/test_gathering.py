"""Episodes from topics: in whatever order they come, and with whatever is lost."""

import random
from dataclasses import replace

import numpy as np
import pytest

from safe_skills.data.episodes import EpisodeStore
from safe_skills.envs.cable import CableEnv
from safe_skills.nodes.gathering import PATIENCE, EpisodeAssembler, Step

N = 5


def image(number):
    return np.full((64, 64, 3), number, np.uint8)


def messages(first=100, episode=0, success=True, violation="", horizon=8, steps=N):
    """(name, arguments) of an episode of steps at stamps 100, 110, ..., in their order."""
    yield "start", (first - 5,)
    for k in range(steps):
        stamp = first + 10 * k
        position = np.array([0.01 * k, 0.0])
        yield "image", (stamp, image(k), position)
        yield "set_point", (stamp, position + (0.01, 0.0))
        yield "acted", (stamp, "ls3 cable-1")
        last = k == steps - 1
        cost = float(last and bool(violation))
        told = Step(
            stamp=stamp,
            episode=episode,
            seed=7,
            reward=0.0 if last and success else -1.0,
            cost=cost,
            success=last and success,
            violation=violation if last else "",
            done=last,
            episode_cost=cost * (1 + horizon - steps),
        )
        yield "step", (told, 0.0)
    yield "outcome", (first + 10 * steps, image(steps))


def gather(said, now=0.5):
    made = EpisodeAssembler(2)
    for name, arguments in said:
        getattr(made, name)(*arguments)
    return made, made.take(now)


def columns(episode):
    return episode.images[:, 0, 0, 0].tolist()


def test_an_episode_is_what_was_seen_done_and_said():
    made, (episode,) = gather(messages())
    assert columns(episode) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(episode.actions, np.tile([0.01, 0.0], (N, 1)), atol=1e-7)
    assert episode.rewards.tolist() == [-1, -1, -1, -1, 0]
    assert episode.success and episode.terminated and not episode.truncated
    assert (episode.kind, episode.seed, episode.policy) == ("online", 7, "ls3 cable-1")
    assert made.incomplete == 0 and made.take(99.0) == []


@pytest.mark.parametrize("seed", range(20))
def test_the_order_between_topics_does_not_matter(seed):
    """Each topic keeps its order; how they come in between is left to chance."""
    topics = {}
    for number in range(3):
        for name, arguments in messages(100 + 100 * number, number):
            topics.setdefault(name, []).append(arguments)
    chance, said = random.Random(seed), []
    while any(topics.values()):
        name = chance.choice([name for name, queue in topics.items() if queue])
        said.append((name, topics[name].pop(0)))
    _, episodes = gather(said)
    assert [columns(episode) for episode in episodes] == [[0, 1, 2, 3, 4, 5]] * 3
    for episode in episodes:
        np.testing.assert_allclose(episode.actions, np.tile([0.01, 0.0], (N, 1)), atol=1e-7)


def test_a_violation_is_filled_up_to_the_horizon_as_the_environment_records_it():
    _, (episode,) = gather(messages(success=False, violation="cable"))
    assert len(episode) == 8 and columns(episode) == [0, 1, 2, 3, 4, 5, 5, 5, 5]
    assert episode.rewards.tolist() == [-1.0] * 8
    assert episode.costs.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert not episode.actions[N:].any() and episode.violation == "cable" and episode.truncated


def test_time_that_is_up_is_neither_success_nor_violation():
    _, (episode,) = gather(messages(success=False))
    assert not episode.success and episode.truncated and not episode.costs.any()


def test_a_held_step_did_nothing_and_the_next_counts_from_the_measured_position():
    def said():
        for name, arguments in messages():
            if name == "set_point" and arguments[0] == 110:
                continue
            if name == "set_point" and arguments[0] == 120:
                arguments = (120, np.array([0.025, 0.0]))
            yield name, arguments

    _, (episode,) = gather(said())
    np.testing.assert_allclose(episode.actions[:, 0], [0.01, 0, 0.005, 0.015, 0.01], atol=1e-7)


def test_without_an_outcome_the_next_frame_of_a_camera_that_runs_on_is_the_last():
    said = [item for item in messages() if item[0] != "outcome"]
    made, episodes = gather([*said, ("image", (155, image(9), None))], now=0.0)
    assert episodes == []
    (episode,) = made.take(PATIENCE)
    assert columns(episode)[-1] == 9


def test_a_frame_of_the_next_episode_is_not_the_last_of_this_one():
    said = [item for item in messages() if item[0] != "outcome"]
    said += [("start", (154,)), ("image", (155, image(9), None))]
    made, episodes = gather([*said], now=PATIENCE)
    assert episodes == [] and made.incomplete == 1


@pytest.mark.parametrize("lost", range(N))
def test_what_comes_after_a_lost_frame_is_kept(lost):
    def said():
        for name, arguments in messages():
            if name != "image" or arguments[0] != 100 + 10 * lost:
                yield name, arguments

    made, episodes = gather(said())
    assert episodes == [] and made.incomplete == 0
    episodes = made.take(PATIENCE)
    assert made.incomplete == 1
    if lost == N - 1:
        assert episodes == []
    else:
        assert columns(episodes[0]) == list(range(lost + 1, N + 1))
        assert len(episodes[0]) == N - 1 - lost and episodes[0].success


def test_an_episode_whose_end_is_never_said_is_left_out():
    said = [item for item in messages() if item[0] != "step" or not item[1][0].done]
    made, episodes = gather([*said, *messages(300, episode=1)])
    assert len(episodes) == 1 and made.incomplete == 1


def test_a_long_pause_in_an_episode_loses_none_of_it():
    def said():
        for name, arguments in messages():
            yield name, arguments
            if name == "step" and arguments[0].stamp == 120:
                # The camera runs on; nothing is answered.
                for k in range(5000):
                    yield "image", (120_0000 + k, image(99), None)

    def shifted():
        """After the pause, stamps are later."""
        for name, arguments in said():
            if name in ("image", "set_point", "acted", "outcome") and 120 < arguments[0] < 200:
                arguments = (arguments[0] + 2_000_000, *arguments[1:])
            if name == "step" and arguments[0].stamp > 120:
                told = replace(arguments[0], stamp=arguments[0].stamp + 2_000_000)
                arguments = (told, arguments[1])
            yield name, arguments

    made, (episode,) = gather(shifted())
    assert columns(episode) == [0, 1, 2, 3, 4, 5] and made.incomplete == 0


def test_an_episode_of_the_environment_comes_back_as_it_records_it(tmp_path):
    env = CableEnv()
    observation, info = env.reset(seed=1)
    made, done, step, images = EpisodeAssembler(2), False, 0, [observation["image"]]
    rewards, costs = [], []
    while not done:
        stamp = 100 + 10 * step
        gripper = np.asarray(info["gripper"], np.float64)
        if not info["violation"]:
            made.image(stamp, observation["image"], gripper)
            made.set_point(stamp, gripper + (0.03, 0.0))
        frozen = bool(info["violation"])
        observation, reward, terminated, truncated, info = env.step(np.array([0.03, 0.0]))
        done, step = terminated or truncated, step + 1
        images.append(observation["image"])
        rewards.append(reward)
        costs.append(info["cost"])
        if not frozen:
            ends = bool(info["violation"])
            left = 50 - step + 1 if ends else 0
            told = Step(
                stamp, 0, 1, reward, info["cost"], False, info["violation"], ends, float(left)
            )
            made.step(told, 0.0)
            if ends:
                made.outcome(stamp + 5, observation["image"])
    env.close()
    (episode,) = made.take(0.0)
    np.testing.assert_array_equal(episode.images, np.stack(images))
    assert episode.rewards.tolist() == rewards and episode.costs.tolist() == costs
    EpisodeStore(tmp_path).append([episode])
    (again,) = EpisodeStore(tmp_path)
    np.testing.assert_array_equal(again.images, episode.images)


def chosen(**changes):
    """An episode whose actions are given: set-points are replaced by what was chosen."""
    for name, arguments in messages(**changes):
        if name == "set_point":
            number = (arguments[0] - 100) // 10
            yield "action", (arguments[0], np.full(3, 0.1 * number, np.float32))
        else:
            yield name, arguments


def gather_chosen(said, now=0.5):
    made = EpisodeAssembler(3, given=True, task=35)
    for name, arguments in said:
        getattr(made, name)(*arguments)
    return made, made.take(now)


def test_actions_that_are_given_are_taken_as_they_are():
    made, (episode,) = gather_chosen(chosen())
    assert columns(episode) == [0, 1, 2, 3, 4, 5] and made.incomplete == 0
    expected = np.arange(N, dtype=np.float32)[:, None] * np.full(3, 0.1, np.float32)
    np.testing.assert_allclose(episode.actions, expected, atol=1e-7)
    assert (episode.task, episode.kind, episode.success) == (35, "online", True)


@pytest.mark.parametrize("lost", range(N))
def test_of_a_step_whose_action_is_lost_nothing_is_made_up(lost):
    said = [
        (name, arguments)
        for name, arguments in chosen()
        if name != "action" or arguments[0] != 100 + 10 * lost
    ]
    made, episodes = gather_chosen(said)
    assert episodes == []
    episodes = made.take(PATIENCE)
    assert made.incomplete == 1
    assert [columns(episode) for episode in episodes] == (
        [] if lost == N - 1 else [list(range(lost + 1, N + 1))]
    )


def test_where_a_violation_freezes_nothing_the_first_is_the_episodes():
    def said():
        for name, arguments in chosen(success=False, violation="arm"):
            if name == "step" and arguments[0].stamp == 110:
                told = replace(arguments[0], cost=1.0, violation="finger")
                arguments = (told, arguments[1])
            yield name, arguments

    _, (episode,) = gather_chosen(said())
    assert len(episode) == N and episode.costs.tolist() == [0, 1, 0, 0, 1]
    assert episode.violation == "finger" and not episode.success
