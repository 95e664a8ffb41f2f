"""The replay gives back what was put in: stacked frames, kinds, relabelled actions, penalties."""

import numpy as np
import pytest
from track import LIMIT, SIZE, SPACES, as_it_is, played

from safe_skills.baselines.replay import PenalizedReplay, PixelReplay

KINDS = ("demo", "constraint", "random", "online")


def numbered(number):
    return np.full((3, SIZE, SIZE), number, np.uint8)


def filled(rng, episodes=5):
    """A replay of episodes whose frames and actions tell where they belong, and a list of them."""
    replay, known, number = PixelReplay(SPACES, 0), {}, 0
    for kind in rng.choice(KINDS, episodes):
        steps = int(rng.integers(1, 5))
        frames = [number + k for k in range(steps + 1)]
        replay.start(numbered(frames[0]))
        for step in range(steps):
            tag = frames[step] / 256
            replay.add(
                numbered(frames[step + 1]),
                np.array([tag, 0.0], np.float32),
                reward=-tag,
                cost=float(frames[step] % 2),
                kind=kind,
                terminated=step == steps - 1,
                proposed=np.array([tag, 0.5], np.float32),
            )
            before = frames[max(step - 1, 0)]
            known[frames[step]] = (kind, (before, frames[step]), frames[step : step + 2], steps)
        number += steps + 1
    return replay, known


@pytest.mark.parametrize("seed", range(5))
def test_a_transition_comes_back_as_it_was_put_in(seed):
    replay, known = filled(np.random.default_rng(seed))
    assert len(replay) == replay.count() == len(known)
    batch = replay.sample(200, KINDS)
    drawn = set()
    for k in range(200):
        number = round(batch.actions[k, 0].item() * 256)
        kind, stacked, following, _ = known[number]
        drawn.add(number)
        assert tuple(batch.observations[k, ::3, 0, 0].tolist()) == stacked
        assert batch.next_observations[k, ::3, 0, 0].tolist() == following
        assert batch.rewards[k].item() == -number / 256
        assert batch.costs[k].item() == number % 2
        assert bool(batch.terminated[k]) == (number + 1 not in known)
    assert drawn == set(known)


def test_kinds_are_drawn_from_each_in_proportion_to_its_transitions():
    replay, known = filled(np.random.default_rng(3), episodes=20)
    wanted = {number for number, row in known.items() if row[0] in ("demo", "online")}
    batch = replay.sample(20_000, ("demo", "online"))
    numbers = np.round(batch.actions[:, 0].numpy() * 256).astype(int)
    counts = np.bincount(numbers, minlength=256)
    assert set(np.flatnonzero(counts)) == wanted
    expected = 20_000 / len(wanted)
    assert np.abs(counts[sorted(wanted)] - expected).max() < 6 * np.sqrt(expected)
    assert replay.count(("demo", "online")) == len(wanted)


def test_the_task_learns_from_what_it_proposed_and_the_risk_from_what_was_done():
    replay, _ = filled(np.random.default_rng(0))
    assert (replay.sample(50, KINDS).actions[:, 1] == 0.5).all()
    assert (replay.sample(50, KINDS, executed=True).actions[:, 1] == 0.0).all()


def test_without_a_recovery_what_was_done_is_what_was_proposed():
    replay = PixelReplay(SPACES, 0)
    replay.start(numbered(0))
    replay.add(numbered(1), np.array([0.25, -1.0], np.float32), -1.0, 0.0, kind="online")
    np.testing.assert_array_equal(replay.choices("online"), [[[0.25, -1.0]] * 2])


def test_a_penalty_is_taken_off_rewards_of_steps_with_a_cost():
    replay, _ = filled(np.random.default_rng(1))
    plain = PenalizedReplay(replay, KINDS, 0.0).sample(500)
    replay.rng = np.random.default_rng(7)
    batch = replay.sample(500, KINDS)
    replay.rng = np.random.default_rng(7)
    penalized = PenalizedReplay(replay, KINDS, 3.0).sample(500)
    expected = batch.rewards - 3.0 * batch.costs
    np.testing.assert_array_equal(penalized.rewards, expected)
    np.testing.assert_array_equal(penalized.actions, batch.actions)
    np.testing.assert_array_equal(penalized.dones, batch.terminated)
    assert plain.rewards.min() >= -1.0 > penalized.rewards.min()


def test_frames_of_a_frozen_tail_are_stored_once_and_seen_in_every_step():
    episode = played("constraint", 0, -0.2)
    replay = PixelReplay(SPACES, 0)
    replay.add_episode(episode, as_it_is, np.full(2, LIMIT, np.float32))
    different = 1 + sum(
        (a != b).any() for a, b in zip(episode.images[:-1], episode.images[1:], strict=True)
    )
    assert replay.frames == different < len(episode) + 1
    batch = replay.sample(300, ("constraint",))
    frozen = batch.costs[:, 0] == 1
    last = episode.images[-1].transpose(2, 0, 1)
    assert frozen.sum() > 50
    for k in np.flatnonzero(frozen):
        np.testing.assert_array_equal(batch.next_observations[k, 3:], last)
    np.testing.assert_allclose(batch.actions[:, 0], -0.2 / LIMIT, rtol=1e-6)


def test_frames_of_two_episodes_that_begin_alike_are_kept_apart():
    replay = PixelReplay(SPACES, 0)
    for _ in range(2):
        replay.start(numbered(9))
        replay.add(numbered(8), np.zeros(2, np.float32), -1.0, 0.0, kind="demo")
        replay.add(numbered(9), np.zeros(2, np.float32), -1.0, 0.0, kind="demo")
    batch = replay.sample(100, ("demo",))
    pairs = set(map(tuple, batch.observations[:, ::3, 0, 0].tolist()))
    assert pairs == {(9, 9), (9, 8)}


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(ValueError, match="expected transitions of demo or online episodes"):
        PixelReplay(SPACES, 0).sample(1, ("demo", "online"))


def test_a_digest_tells_data_apart():
    digests = {filled(np.random.default_rng(seed))[0].digest() for seed in (0, 0, 1)}
    assert len(digests) == 2
