"""The safe set's recursion (LS3 eq. 11) on a chain of states, against its fixed point."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from safe_skills.data.latents import EpisodeLabels, LatentReplay
from safe_skills.ls3.config import SafeSetConfig
from safe_skills.ls3.learners import SafeSetLearner
from safe_skills.ls3.networks import Classifier

STATES = 6
SUCCESSES = 3
SETTINGS = SafeSetConfig(hidden=(16,), learning_rate=1e-2, batch_size=128, target_period=20)


def fixed_point(gamma):
    """f of the states 0 to 5, where every frame counts alike.

    State 4 is a demonstration's in three of four frames and the end of a failed episode, which is
    its own successor, in the fourth; states 0 to 3 were seen in that episode only.
    """
    in_the_set = SUCCESSES / (SUCCESSES + 1 - gamma)
    return [*(in_the_set * gamma**steps for steps in (4, 3, 2, 1)), in_the_set, 1.0]


def learned(gamma, online=False, **changes):
    """f after training on demonstrations 4 -> 5, the goal, and a failure 0 -> 1 -> 2 -> 3 -> 4.

    With `online` the robot failed so itself, as it ran out of time.
    """
    replay = LatentReplay(STATES, 2, discount=0.99)
    for states in [(4, 5)] * SUCCESSES + [(0, 1, 2, 3, 4)]:
        failed = states[-1] == 4
        rewards = np.full(len(states) - 1, -1.0, np.float32)
        rewards[-1] = -1.0 if failed else 0.0
        actions = np.zeros((len(rewards), 2), np.float32)
        labels = EpisodeLabels(
            actions, rewards, np.zeros_like(rewards), on_policy=True, online=online and failed
        )
        latents = np.eye(STATES, dtype=np.float32)[list(states)]
        replay.add(latents, np.zeros_like(latents), labels)
    torch.manual_seed(0)
    classifier = Classifier(SETTINGS.hidden, STATES)
    generator = torch.Generator().manual_seed(0)
    settings = replace(SETTINGS, gamma_s=gamma, **changes)
    learner = SafeSetLearner(
        classifier, settings, replay, generator, settings.target_period or None
    )
    for _ in range(900):
        learner.step()
    with torch.no_grad():
        return classifier(torch.eye(STATES)).numpy()


@pytest.mark.parametrize("target_period", [20, 0], ids=["target network", "own target"])
@pytest.mark.parametrize("gamma", [0.3, 0.9])
def test_it_is_learned_up_to_its_fixed_point(gamma, target_period):
    found = learned(gamma, target_period=target_period)
    np.testing.assert_allclose(found, fixed_point(gamma), atol=0.06)


def test_states_before_the_set_are_safer_than_to_plain_classification():
    plain, recursive = learned(0.0), learned(0.9)
    np.testing.assert_allclose(plain, [0, 0, 0, 0, SUCCESSES / (SUCCESSES + 1), 1], atol=0.06)
    assert recursive[3] > 0.7 > 0.1 > plain[3]
    assert (np.diff(recursive) > 0).all()


def test_a_robot_that_ran_out_of_time_unlearns_the_way_unless_that_is_undecided():
    assert learned(0.0, online=True)[4] == pytest.approx(SUCCESSES / (SUCCESSES + 1), abs=0.06)
    assert learned(0.0, online=True, timeouts="undecided")[4] > 0.95


def test_only_known_words_for_timeouts():
    with pytest.raises(ValueError, match="expected outside or undecided, got 'ignored'"):
        SafeSetConfig(timeouts="ignored")
