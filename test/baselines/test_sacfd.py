"""SACfD: cloning, backups and Stable-Baselines3's updates against what they should come to."""

import dataclasses

import numpy as np
import pytest
import torch
from stable_baselines3.common.utils import polyak_update
from track import CONFIG, LIMIT, SPACES, offline_replay

from safe_skills.baselines.replay import PixelReplay
from safe_skills.baselines.sacfd import SacFromDemonstrations, cloning_loss


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def agent(replay=None, **changes):
    config = dataclasses.replace(CONFIG, sacfd=dataclasses.replace(CONFIG.sacfd, **changes))
    return SacFromDemonstrations(SPACES, config, replay or offline_replay(), 0)


def copies(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(module, before):
    return {n for n, tensor in module.state_dict().items() if not torch.equal(tensor, before[n])}


def test_cloning_sums_over_dimensions_and_averages_over_the_batch():
    actions = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    loss = cloning_loss(actions, torch.tensor([[1.0, 0.0], [0.5, 0.0]]))
    assert loss.item() == pytest.approx((2.0 + 0.25) / 2)


def test_cloning_trains_the_mean_and_nothing_else():
    made = agent(learning_rate=3e-2)
    actor, before, critic = made.sac.actor, copies(made.sac.actor), copies(made.sac.critic)
    losses = [made.phases()[0].step() for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    untouched = set(before) - changed(actor, before)
    assert untouched == {"log_std.weight", "log_std.bias"}
    assert not changed(made.sac.critic, critic)
    demonstrated = made.replay.sample(1, ("demo",))
    choice = made.choose(demonstrated.observations[0].numpy(), explore=False)
    assert choice.executed[0] == pytest.approx(0.2 / LIMIT, abs=0.15)
    assert choice.executed is choice.proposed and not choice.recovers


def test_a_backup_takes_the_gradient_of_the_soft_bellman_error_on_demonstrations_alone():
    """Another agent of the same seed makes the step, written out."""
    made, other = agent(), agent()
    step = made.phases()[1].step
    generator, draws = torch.get_rng_state(), other.replay.rng.bit_generator.state
    made.replay.rng.bit_generator.state = draws
    before = copies(made.sac.actor)
    loss = step()
    torch.set_rng_state(generator)
    sac, settings = other.sac, CONFIG.sacfd
    batch = other.replay.sample(settings.batch_size, ("demo",))
    with torch.no_grad():
        actions, log_prob = sac.actor.action_log_prob(batch.next_observations)
        twins = sac.critic_target(batch.next_observations, actions)
        soft = torch.minimum(*twins) - settings.temperature * log_prob[:, None]
        target = batch.rewards - settings.penalty * batch.costs + settings.discount * soft
    errors = [(q - target) ** 2 for q in sac.critic(batch.observations, batch.actions)]
    expected = (errors[0].mean() + errors[1].mean()) / 2
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    sac.critic.optimizer.zero_grad()
    expected.backward()
    sac.critic.optimizer.step()
    polyak_update(sac.critic.parameters(), sac.critic_target.parameters(), settings.target_rate)
    for name, tensor in sac.policy.state_dict().items():
        torch.testing.assert_close(made.sac.policy.state_dict()[name], tensor)
    assert not changed(made.sac.actor, before)


def test_online_updates_learn_the_penalized_reward():
    """Of one step that ends with reward -1 in violation the value is -1 - penalty."""
    replay = PixelReplay(SPACES, 0)
    frame = np.full(SPACES.frame_shape, 128, np.uint8)
    replay.start(frame)
    replay.add(frame, np.zeros(2, np.float32), -1.0, 1.0, kind="online", terminated=True)
    made = agent(replay, penalty=3.0, learning_rate=3e-2)
    for _ in range(80):
        losses = made.learn()
    batch = replay.sample(1, ("online",))
    values = made.sac.critic(batch.observations, batch.actions)
    assert [value.item() for value in values] == pytest.approx([-4.0, -4.0], abs=0.1)
    assert set(losses) == {"actor", "critic"} and losses["critic"] < 0.1


def test_constraint_data_is_not_learned_from():
    replay = offline_replay()
    made = agent(replay)
    for source in (made._demonstrations, made.sac.replay_buffer):
        assert "constraint" not in source.kinds
    batch = made.sac.replay_buffer.sample(300)
    assert batch.actions[:, 0].min() > 0


def test_exploring_draws_and_the_mode_does_not():
    made = agent()
    seen = np.zeros(SPACES.observation.shape, np.uint8)
    modes = {tuple(made.choose(seen, explore=False).executed) for _ in range(3)}
    draws = {tuple(made.choose(seen, explore=True).executed) for _ in range(3)}
    assert len(modes) == 1 and len(draws) == 3
    assert np.abs(list(draws)).max() <= 1.0
