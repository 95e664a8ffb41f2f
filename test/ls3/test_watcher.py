"""A watcher over latents on a line: it learns, resumes, forecasts, and is refused elsewhere."""

import numpy as np
import pytest
import torch

from safe_skills.data.checkpoint import CheckpointError
from safe_skills.data.latents import EpisodeLabels
from safe_skills.data.run_state import ResumeError
from safe_skills.ls3.calibration import CalibrationError, constraint_curve, safe_set_curve
from safe_skills.ls3.watcher import Watcher
from safe_skills.ls3.watcher_config import WatcherConfig
from safe_skills.ls3.watcher_training import LatentEpisode, WatcherTrainer
from safe_skills.nodes.gate_models import GateModels

SHORT = {
    "dynamics": {"members": 2, "hidden": [16], "batch_size": 64, "iterations": 300},
    "safe_set": {"hidden": [16], "batch_size": 64, "iterations": 300, "learning_rate": 3e-3},
    "constraint": {"hidden": [16], "batch_size": 64, "iterations": 300, "learning_rate": 3e-3},
}


def watcher(encoder_id="line-1", **changes):
    config = WatcherConfig.from_dict({**SHORT, **changes})
    return Watcher(config, task="line", encoder_id=encoder_id, latent_dim=2, action_dim=1)


def episodes(count=60):
    """The first number moves by half the action; beyond 1 is a violation, the goal is at -1."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        at = [rng.uniform(-0.5, 1.0)]
        actions = rng.uniform(-1, 1, (8, 1)).astype(np.float32)
        for action in actions[:, 0]:
            at.append(at[-1] + 0.5 * action)
        at = np.array(at)
        latents = np.stack((at, np.ones_like(at)), 1).astype(np.float32)
        reached = at[1:] < -1
        labels = EpisodeLabels(
            actions=actions,
            rewards=np.where(reached, 0.0, -1.0).astype(np.float32),
            costs=(at[1:] > 1).astype(np.float32),
            on_policy=False,
            freezes=False,
        )
        made.append(LatentEpisode(latents, labels))
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    made = watcher()
    WatcherTrainer(made, episodes(), tmp_path_factory.mktemp("run"), seed=0).train()
    return made


def test_it_learns_what_moves_what_violates_and_what_succeeds(trained):
    states = np.array([[-1.2, 1], [0.8, 1], [1.4, 1]], np.float32)
    constraint = trained.probabilities("constraint", states)
    assert constraint[0] < constraint[1] < constraint[2]
    assert constraint[2] > 0.8
    safe_set = trained.probabilities("safe_set", states)
    assert safe_set[0] > max(safe_set[1:])
    forecast = trained.forecast(states[1:2], np.array([[-1.0], [1.0]]))
    assert forecast.constraint[0] < 0.5 < forecast.constraint[1]
    assert forecast.safe_set[0] > forecast.safe_set[1]


def test_a_forecast_is_the_worst_member_for_f_c_and_their_mean_for_f_s(trained):
    state, action = np.array([0.7, 1.0], np.float32), np.array([0.4], np.float32)
    following, _ = trained.models.dynamics(*(torch.from_numpy(v)[None] for v in (state, action)))
    each = [float(trained.models.constraint(latent)) for latent in following]
    assert trained.predicted_constraint_probability(state, action) == pytest.approx(max(each))
    each = [float(trained.models.safe_set(latent)) for latent in following]
    found = trained.forecast(state[None], action[None]).safe_set
    assert found[0] == pytest.approx(np.mean(each))


def test_the_gate_of_the_graph_takes_it_for_an_agent(trained):
    gate = GateModels(trained)
    state, action = np.array([0.7, 1.0], np.float32), np.array([0.4])
    for name, arguments in (
        ("constraint_probability", (state,)),
        ("safe_set_probability", (state,)),
        ("predicted_constraint_probability", (state, action)),
    ):
        expected = getattr(trained, name)(*arguments)
        assert getattr(gate, name)(*arguments) == pytest.approx(expected, abs=1e-5)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("where", ["dynamics", "safe_set", "constraint"])
def test_a_killed_run_goes_on_to_the_same_weights(trained, where, tmp_path):
    def killed(phase, done, *_):
        if (phase, done) == (where, 100):
            trainer.save()
            raise KilledError

    trainer = WatcherTrainer(watcher(), episodes(), tmp_path, seed=0, report=killed)
    with pytest.raises(KilledError):
        trainer.train()
    again = watcher()
    trainer = WatcherTrainer(again, episodes(), tmp_path, seed=0)
    assert {learner.name: learner.steps for learner in trainer.learners}[where] == 100
    trainer.train()
    for name, tensor in trained.models.state_dict().items():
        torch.testing.assert_close(again.models.state_dict()[name], tensor, rtol=0, atol=0)


def test_the_state_of_another_run_is_refused(tmp_path):
    quick = {name: {**SHORT[name], "iterations": 2} for name in SHORT}
    WatcherTrainer(watcher(**quick), episodes(4), tmp_path, seed=0).train()
    for other, seed in ((watcher(**quick), 1), (watcher("line-2", **quick), 0), (watcher(), 0)):
        with pytest.raises(ResumeError, match="another seed, configuration or data set"):
            WatcherTrainer(other, episodes(4), tmp_path, seed=seed)


def test_a_checkpoint_is_for_its_task_and_its_encoder(trained, tmp_path):
    curves = {
        "delta_c": constraint_curve(np.full(100, 0.1), np.zeros(100, bool)).to_dict(),
        "delta_s": safe_set_curve(np.linspace(0.3, 0.9, 100)).to_dict(),
    }
    trained.save(tmp_path, {"calibration": curves})
    again = Watcher.load(tmp_path, task="line", encoder_id="line-1")
    state = np.array([0.7, 1.0], np.float32)
    assert again.safe_set_probability(state) == trained.safe_set_probability(state)
    levels = again.thresholds()
    assert levels.delta_c.value == 0.95
    assert 0.3 <= levels.delta_s.value < 0.36
    assert again.thresholds(refused=0.5).delta_s.value > levels.delta_s.value
    with pytest.raises(CheckpointError, match="expected latents of line-2, it was trained on"):
        Watcher.load(tmp_path, encoder_id="line-2")
    with pytest.raises(CheckpointError, match="expected task 'cable', found 'line'"):
        Watcher.load(tmp_path, task="cable")


def test_levels_are_those_of_a_calibrated_checkpoint():
    with pytest.raises(CalibrationError, match="line-untrained: has not been calibrated"):
        watcher().thresholds()
