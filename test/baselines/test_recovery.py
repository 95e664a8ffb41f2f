"""Recovery RL: risks against closed forms, the switch, and who learns from which action."""

import dataclasses

import numpy as np
import pytest
import torch
from track import CONFIG, SPACES, offline_replay

from safe_skills.baselines.recovery import SacWithRecovery
from safe_skills.baselines.replay import PixelReplay

GAMMA = 0.6


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def agent(replay=None, **changes):
    settings = {"learning_rate": 2e-2, "target_rate": 0.2, "gamma_risk": GAMMA, **changes}
    config = dataclasses.replace(CONFIG, recovery=dataclasses.replace(CONFIG.recovery, **settings))
    config = dataclasses.replace(config, sacfd=dataclasses.replace(CONFIG.sacfd, batch_size=32))
    return SacWithRecovery(SPACES, config, replay or offline_replay(), 0)


def frame(number):
    picture = np.zeros(SPACES.frame_shape, np.uint8)
    picture[:, 4 * number : 4 * number + 4] = 255
    return picture


def chain():
    """Frames 0, 1, 2; the step from 1 to 2 violates, and there it stays."""
    replay = PixelReplay(SPACES, 0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        replay.start(frame(0))
        for following in (1, 2, 2):
            action = rng.uniform(-1, 1, 2).astype(np.float32)
            cost = float(following == 2)
            replay.add(frame(following), action, -1.0, cost, kind="constraint")
    return replay


def crossroads():
    """From frame 0, pushing forward violates and pulling back does not."""
    replay = PixelReplay(SPACES, 0)
    rng = np.random.default_rng(0)
    for _ in range(200):
        action = rng.uniform(-1, 1, 2).astype(np.float32)
        replay.start(frame(0))
        bad = action[0] > 0
        replay.add(frame(2 if bad else 1), action, -1.0, float(bad), kind="random", terminated=True)
    return replay


def stacked(*numbers):
    return np.concatenate([frame(number) for number in numbers])


def risk(made, observation, action=(0.0, 0.0)):
    with torch.no_grad():
        features = made.safety_critic.features(torch.from_numpy(observation[None]))
        return made.safety_critic.risk(features, torch.tensor([action])).item()


def test_risks_of_a_chain_are_powers_of_gamma():
    made = agent(chain())
    step = made.phases()[-1].step
    for _ in range(200):
        loss = step()
    assert risk(made, stacked(1, 2)) == pytest.approx(1.0, abs=0.06)
    assert risk(made, stacked(0, 1)) == pytest.approx(1.0, abs=0.06)
    assert risk(made, stacked(0, 0)) == pytest.approx(GAMMA, abs=0.1)
    assert loss < 0.01


def test_the_recovery_policy_goes_where_the_risk_is_least_and_acts_where_it_is_too_high():
    made = agent(crossroads(), eps_risk=0.5)
    for _ in range(150):
        made.phases()[-1].step()
    here = stacked(0, 0)
    assert risk(made, here, (0.8, 0.0)) > 0.8 and risk(made, here, (-0.8, 0.0)) < 0.2
    with torch.no_grad():
        made.sac.actor.mu.weight.zero_()
        for wanted, recovers in ((1.0, True), (-1.0, False)):
            made.sac.actor.mu.bias.copy_(torch.tensor([wanted, 0.0]))
            choice = made.choose(here, explore=False)
            assert choice.recovers is recovers
            assert choice.proposed[0] == pytest.approx(np.tanh(wanted), abs=1e-5)
            assert choice.executed[0] < -0.3
    assert risk(made, here, tuple(choice.executed)) < 0.5


@pytest.mark.parametrize(("eps", "recovers"), [(0.0, True), (1.0, False)])
def test_at_the_ends_of_the_threshold_one_policy_always_acts(eps, recovers):
    made = agent(eps_risk=eps)
    for _ in range(5):
        choice = made.choose(stacked(0, 1), explore=True)
        assert choice.recovers is recovers
        assert (choice.executed is choice.proposed) is not recovers


def test_learning_risk_takes_executed_actions_and_the_task_proposed_ones():
    """Done was what violates, proposed what does not: the risk is that of what was done."""
    replay = PixelReplay(SPACES, 0)
    done, meant = np.array([0.9, 0.0], np.float32), np.array([-0.9, 0.0], np.float32)
    replay.start(frame(0))
    replay.add(frame(2), done, -1.0, 1.0, kind="online", terminated=True, proposed=meant)
    replay.start(frame(0))
    replay.add(frame(1), meant, 0.0, 0.0, kind="online", terminated=True, proposed=done)
    made = agent(replay)
    for _ in range(60):
        losses = made.learn()
    assert set(losses) == {"actor", "critic", "risk"}
    here = stacked(0, 0)
    assert risk(made, here, (0.9, 0.0)) > 0.8 and risk(made, here, (-0.9, 0.0)) < 0.2
    batch = torch.from_numpy(here[None])
    with torch.no_grad():
        values = [made.sac.critic(batch, torch.tensor([[a, 0.0]]))[0].item() for a in (0.9, -0.9)]
    assert values[0] > values[1]


def test_a_step_takes_the_gradients_of_both_losses():
    """Another agent of the same seed makes the same draws; its losses are written out."""
    made, other = agent(), agent()
    generator = torch.get_rng_state()
    loss = made.phases()[-1].step()
    torch.set_rng_state(generator)
    batch = other.replay.sample(32, ("demo", "random", "constraint", "online"), executed=True)
    with torch.no_grad():
        following = other.sac.actor(batch.next_observations)
        seen = other.safety_target.features(batch.next_observations)
        risks = torch.maximum(*other.safety_target.estimates(seen, following))
        target = batch.costs + (1 - batch.costs) * GAMMA * risks
    features = other.safety_critic.features(batch.observations)
    twins = other.safety_critic.estimates(features, batch.actions)
    expected = sum((risk - target).square().mean() for risk in twins) / 2
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    assert_same_gradients(
        made.safety_critic.features_extractor, other.safety_critic.features_extractor
    )

    features = features.detach()  # the recovery policy sees those of before the critic's step
    danger = torch.maximum(*made.safety_critic.estimates(features, other.recovery(features)))
    danger.mean().backward()
    assert_same_gradients(made.recovery, other.recovery)


def assert_same_gradients(one, two):
    for mine, theirs in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-6)
