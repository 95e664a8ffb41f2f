"""The latent replay: labels, redrawing, dropping of frozen tails."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from safe_skills.data.latents import EpisodeLabels, LatentReplay

GAMMA = 0.9


def labels(rewards, costs=None, on_policy=True, online=False):
    n = len(rewards)
    return EpisodeLabels(
        actions=np.arange(2 * n, dtype=np.float32).reshape(n, 2),
        rewards=np.asarray(rewards, np.float32),
        costs=np.zeros(n, np.float32) if costs is None else np.asarray(costs, np.float32),
        on_policy=on_policy,
        online=online,
    )


def add(replay, item, mean=None):
    frames = len(item.rewards) + 1
    mean = np.zeros((frames, 3), np.float32) if mean is None else mean
    replay.add(mean, np.full((frames, 3), 0.1, np.float32), item)


@pytest.fixture
def replay():
    return LatentReplay(latent_dim=3, action_dim=2, discount=GAMMA)


def test_a_successful_episode_lies_in_the_safe_set_up_to_the_goal(replay):
    add(replay, labels([-1, -1, 0]))
    assert replay.frame_labels["in_set"].tolist() == [True] * 4
    assert replay.frame_labels["goal"].tolist() == [False, False, False, True]
    assert replay.known_next_values.isnan().tolist() == [True, True, False, False]
    assert replay.known_next_values[2:].tolist() == [0, 0]


def test_the_goal_is_worth_nothing_and_kept_at_no_cost(replay):
    add(replay, labels([-1, 0]))
    assert replay.value_frame.tolist() == [0, 1, 2]
    assert replay.rewards.tolist() == [-1, 0, 0]
    assert replay.returns.tolist() == [-1, 0, 0]


def test_what_follows_the_last_visit_to_the_goal_is_not_in_the_set(replay):
    add(replay, labels([-1, 0, -1]))
    assert replay.frame_labels["in_set"].tolist() == [True, True, True, False]


def test_a_failed_episode_is_outside(replay):
    add(replay, labels([-1, -1]))
    assert not replay.frame_labels["in_set"].any()


def test_frozen_tail_is_dropped_and_its_value_kept(replay):
    add(replay, labels([-1, -1, -1, -1, -1], costs=[0, 0, 1, 1, 1]))
    assert len(replay) == 4
    assert replay.steps == 3
    assert replay.frame_labels["violation"].tolist() == [False, False, False, True]
    assert replay.known_next_values[-1].item() == pytest.approx(-(1 + GAMMA))
    expected = -sum(GAMMA**i for i in range(5))
    assert replay.returns[0].item() == pytest.approx(expected)


def test_successors_stay_within_their_episode(replay):
    add(replay, labels([-1, -1]))
    add(replay, labels([-1]))
    assert replay.successor.tolist() == [1, 2, 2, 4, 4]
    assert replay.step_frame.tolist() == [0, 1, 3]


def test_each_sample_draws_the_latent_anew_around_the_stored_belief(replay):
    mean = np.array([[0.0, 1, 2], [3, 4, 5]], np.float32)
    add(replay, labels([-1]), mean)
    generator = torch.Generator().manual_seed(0)
    first = replay.transitions(4000, generator)
    second = replay.transitions(4000, generator)
    assert not torch.equal(first.latents, second.latents)
    torch.testing.assert_close(first.latents.mean(0), torch.from_numpy(mean[0]), atol=0.01, rtol=0)
    torch.testing.assert_close(first.latents.std(0), torch.full((3,), 0.1), atol=0.01, rtol=0)
    torch.testing.assert_close(
        first.next_latents.mean(0), torch.from_numpy(mean[1]), atol=0.01, rtol=0
    )


def test_value_learns_from_on_policy_episodes_only(replay):
    add(replay, labels([-1, -1], on_policy=False))
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="no demonstrations"):
        replay.value_targets(4, generator)
    add(replay, labels([0], on_policy=True))
    assert (replay.value_targets(50, generator).rewards == 0).all()
    assert replay.steps == 3


def test_balanced_batches_hold_as_many_positives_as_negatives(replay):
    add(replay, labels([-1] * 50 + [0]))
    batch = replay.frames("goal", 40, torch.Generator().manual_seed(0), balanced=True)
    assert batch.label.sum() == 20


def test_without_negatives_a_balanced_batch_is_drawn_from_all(replay):
    add(replay, labels([-1, 0]))
    batch = replay.frames("in_set", 6, torch.Generator().manual_seed(0), balanced=True)
    assert batch.label.tolist() == [1] * 6


def test_frames_come_with_their_successors_where_asked_for(replay):
    mean = np.array([[0.0, 1, 2], [3, 4, 5]], np.float32)
    replay.add(mean, np.zeros_like(mean), labels([-1]))
    generator = torch.Generator().manual_seed(0)
    assert replay.frames("goal", 4, generator).next_latents is None
    batch = replay.frames("goal", 20, generator, with_next=True)
    torch.testing.assert_close(batch.next_latents, torch.from_numpy(mean[[1] * 20]))
    assert set(batch.latents[:, 0].tolist()) == {0.0, 3.0}


def test_episodes_added_together_are_those_added_one_by_one(replay):
    items = [labels([-1, 0]), labels([-1, -1, -1], costs=[0, 1, 1]), labels([-1], on_policy=False)]
    beliefs = [np.full((len(item.rewards) + 1, 3), k, np.float32) for k, item in enumerate(items)]
    together = LatentReplay(latent_dim=3, action_dim=2, discount=GAMMA)
    together.extend(zip(beliefs, beliefs, items, strict=True))
    for mean, item in zip(beliefs, items, strict=True):
        replay.add(mean, mean, item)
    assert together.episodes == replay.episodes == 3
    for name in ("beliefs", "actions", "successor", "step_frame", "value_frame", "returns"):
        torch.testing.assert_close(getattr(together, name), getattr(replay, name))
    for name, values in replay.frame_labels.items():
        assert torch.equal(together.frame_labels[name], values)


def test_lengths_must_fit(replay):
    with pytest.raises(ValueError, match="3 frames"):
        replay.add(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), labels([-1, -1]))


def drawn_frames(replay, seed=0):
    """Frames that each kind of batch draws, told by the first dimension of their latents."""
    generator = torch.Generator().manual_seed(seed)
    replay.beliefs[:, 3:] = 0.0
    batches = {
        "transitions": replay.transitions(4000, generator).latents,
        "value": replay.value_targets(4000, generator).latents,
        "goal": replay.frames("goal", 4000, generator).latents,
        "balanced": replay.frames("goal", 4000, generator, balanced=True).latents,
    }
    return {name: latents[:, 0].round().long() for name, latents in batches.items()}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_every_batch_comes_from_the_online_episodes(share):
    replay = LatentReplay(latent_dim=3, action_dim=2, discount=GAMMA, online_share=share)
    numbered = np.repeat(np.arange(1000, dtype=np.float32)[:, None], 3, 1)
    for first in range(0, 90, 10):
        add(replay, labels([-1] * 8 + [0]), numbered[first : first + 10])
    before = drawn_frames(replay)
    assert all(
        frames.unique().numel() > 80 for name, frames in before.items() if name != "balanced"
    )
    add(replay, labels([-1] * 8 + [0], online=True), numbered[90:100])
    for name, frames in drawn_frames(replay).items():
        online = (frames >= 90).float().mean().item()
        assert online == pytest.approx(share + (1 - share) * 0.1, abs=0.03), name


def test_online_failures_and_no_goal_leave_the_positives_as_they_are():
    replay = LatentReplay(latent_dim=3, action_dim=2, discount=GAMMA, online_share=1.0)
    numbered = np.repeat(np.arange(20, dtype=np.float32)[:, None], 3, 1)
    add(replay, labels([-1, -1, 0]), numbered[:4])
    add(replay, labels([-1, -1, -1], online=True), numbered[4:8])
    frames = drawn_frames(replay)["balanced"]
    assert set(frames[:2000].tolist()) == {3}
    assert set(frames[2000:].tolist()) == {4, 5, 6, 7}


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize(
    ("rewards", "costs"),
    [
        ([-1, -1, -1, -1], None),
        ([-1, -1, 0, 0], None),
        ([-1, 0, -1, -1, -1], None),
        ([-1, -1, -1, -1], [0, 0, 1, 1]),
    ],
    ids=["out of time", "goal at the end", "goal on the way", "violation"],
)
def test_a_value_leads_to_the_one_some_steps_later(rewards, costs, steps):
    """Against a walk along the episode, one step at a time."""
    single, several = (
        LatentReplay(latent_dim=3, action_dim=2, discount=GAMMA, value_steps=n) for n in (1, steps)
    )
    for replay in (single, several):
        add(replay, labels([-1, 0]))  # so that frames do not begin at 0
        add(replay, labels(rewards, costs))
    place = {int(frame): row for row, frame in enumerate(single.value_frame)}
    for row, frame in enumerate(single.value_frame.tolist()):
        total, discount, now = 0.0, 1.0, frame
        for _ in range(steps):
            at = place[now]
            total += discount * single.rewards[at].item()
            discount *= GAMMA
            known, now = single.known_next_values[at], int(single.next_value_frame[at])
            if not known.isnan() or now not in place:
                break
        assert several.rewards[row].item() == pytest.approx(total)
        assert several.discounts[row].item() == pytest.approx(discount)
        assert several.next_value_frame[row] == now
        torch.testing.assert_close(several.known_next_values[row], known, equal_nan=True)


@pytest.mark.parametrize("balanced", [False, True])
def test_an_online_episode_that_ran_out_of_time_is_undecided(replay, balanced):
    """What reached the goal, what violated and what no robot did online is decided."""
    add(replay, labels([-1, 0], online=False))
    add(replay, labels([-1, -1], online=False))
    add(replay, labels([-1, -1], costs=[0, 1], online=True))
    add(replay, labels([-1, 0], online=True))
    decided = set(range(len(replay)))
    mean = np.full((4, 3), 100.0, np.float32)
    add(replay, labels([-1, -1, -1], online=True), mean)
    assert set(replay.decided.tolist()) == decided and len(replay) == len(decided) + 4
    replay.online_share = 0.5
    seeded = torch.Generator().manual_seed(0)
    draw = {"batch_size": 400, "generator": seeded, "balanced": balanced}
    assert replay.frames("in_set", **draw).latents.max() > 90
    batch = replay.frames("in_set", **draw, decided=True)
    assert batch.latents.max() < 90 and 0 < batch.label.mean() < 1


@pytest.mark.parametrize(
    ("rewards", "kept"),
    [
        ([-1, -1, 0, 0, 0, 0], 4),
        ([-1, 0, 0, -1, 0], 5),
        ([-1, 0, 0, 0, -1], 5),
        ([0, 0, 0, 0], 2),
        ([-1, -1, -1], 3),
    ],
    ids=["stays", "comes back", "leaves", "starts there", "never arrives"],
)
def test_of_the_last_stay_in_the_goal_only_the_first_frames_are_kept(rewards, kept):
    replay = LatentReplay(latent_dim=3, action_dim=2, discount=GAMMA, goal_frames=2)
    add(replay, labels(rewards))
    assert replay.steps == kept and len(replay) == kept + 1
    assert replay.frame_labels["goal"].tolist() == [False, *(r == 0 for r in rewards[:kept])]
    whole = LatentReplay(latent_dim=3, action_dim=2, discount=GAMMA)
    add(whole, labels(rewards))
    torch.testing.assert_close(replay.returns[:kept], whole.returns[:kept])
    if rewards[kept - 1] == 0:
        assert replay.known_next_values[-1] == 0 and replay.returns[-1] == 0


def test_without_freezing_the_safe_set_follows_the_last_violation_before_the_goal(replay):
    costs = [0, 1, 0, 1, 0, 0]
    item = replace(labels([-1, -1, -1, -1, -1, 0], costs, on_policy=False), freezes=False)
    add(replay, item)
    assert len(replay) == 7
    assert replay.frame_labels["violation"].tolist() == [
        False,
        False,
        True,
        False,
        True,
        *[False] * 2,
    ]
    assert replay.frame_labels["in_set"].tolist() == [*[False] * 4, True, True, True]
    assert replay.steps == 6
    add(replay, replace(item, costs=np.zeros(6, np.float32)))
    assert replay.frame_labels["in_set"][7:].all()
    add(replay, replace(item, rewards=np.full(6, -1, np.float32)))
    assert not replay.frame_labels["in_set"][14:].any()


def test_without_freezing_a_violation_tells_nothing_of_the_next_value(replay):
    add(replay, replace(labels([-1, -1, -1], [0, 1, 0]), freezes=False))
    assert replay.known_next_values.isnan().all()
    assert len(replay.returns) == 3
