"""Training on a toy: a bar that moves in an image; interrupted, resumed, refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from safe_skills.data.latents import EpisodeLabels
from safe_skills.data.run_state import ResumeError
from safe_skills.data.settings import ConfigError
from safe_skills.experiments.ls3_settings import load_setting
from safe_skills.ls3 import training
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.learners import ValueLearner
from safe_skills.ls3.planner_config import planner_profile
from safe_skills.ls3.training import Trainer, TrainingEpisode

LATENT_MODELS = ("dynamics", "value", "safe_set", "constraint", "goal")
SHORT = {
    "encoder": {"iterations": 6, "batch_size": 8},
    "dynamics": {"iterations": 4, "batch_size": 8, "iterations_per_update": 2},
    "value": {"iterations": 4, "batch_size": 8, "hidden": [16], "iterations_per_update": 2},
    "safe_set": {"iterations": 4, "batch_size": 8, "hidden": [16], "iterations_per_update": 2},
    "constraint": {"iterations": 4, "batch_size": 8, "hidden": [16], "iterations_per_update": 2},
    "goal": {"iterations": 4, "batch_size": 8, "hidden": [16], "iterations_per_update": 2},
}


def bar(column):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:44, int(column) : int(column) + 3] = 255
    return mask


def episode(start, success=True, violation=False):
    columns = start + 4 * np.arange(7)
    rewards = np.full(6, -1.0, np.float32)
    costs = np.zeros(6, np.float32)
    if success:
        rewards[-1] = 0.0
    if violation:
        costs[3:] = 1.0
    actions = np.tile(np.float32([1.0, 0.0]), (6, 1))
    labels = EpisodeLabels(actions, rewards, costs, on_policy=success)
    return TrainingEpisode(np.stack([bar(column) for column in columns]), labels)


def data():
    return [episode(5), episode(9), episode(20, success=False, violation=True)]


def agent(**changes):
    config = LS3Config.from_dict({**SHORT, **changes})
    return LS3Agent(config, task="cable", layout="open", action_limit=np.array([0.03, 0.03]))


def train(folder, report=lambda *_: None, seed=0, updates=2, threads=2, start=None, learner=None):
    learner = learner or agent()
    options = {"report_every": 1, "threads": threads, "start": start}
    trainer = Trainer(learner, data(), folder, seed, report, **options)
    trainer.train_offline()
    done = list(trainer.train_online(updates, lambda update: [episode(6 + update)]))
    return learner, trainer, done


def weights(learner):
    return learner.models.state_dict()


def assert_same_weights(one, other):
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(other)[name], rtol=0, atol=0, msg=name)


def test_trains_every_model_offline_and_online(tmp_path):
    phases = []
    learner, trainer, done = train(tmp_path, lambda phase, *_: phases.append(phase))
    assert done == [0, 1]
    assert trainer.replay.episodes == 5
    # Side by side, but the encoder before all, and one update after the other.
    order = list(dict.fromkeys(phases))
    assert order[0] == "encoder"
    for k, prefix in enumerate(("", "update 1 ", "update 2 ")):
        expected = {prefix + name for name in LATENT_MODELS}
        assert set(order[1 + 5 * k : 6 + 5 * k]) == expected
    fresh = agent()
    for name in ("vae", "dynamics", "value", "safe_set", "constraint", "goal"):
        before, after = (next(getattr(a.models, name).parameters()) for a in (fresh, learner))
        assert not torch.equal(before, after)
    assert not torch.equal(learner.models.latent_scale, torch.ones(32))


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    "where", [("encoder", 3), ("value", 2), ("update 1 dynamics", 1), ("update 2 goal", 2)]
)
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, where):
    monkeypatch.setattr(training, "SAVE_PERIOD", 0.0)
    whole, _, _ = train(tmp_path / "whole")

    def kill(phase, iteration, *_):
        if (phase, iteration) == where:
            raise KilledError

    with pytest.raises(KilledError):
        train(tmp_path / "killed", kill)
    resumed, _, _ = train(tmp_path / "killed")
    assert_same_weights(whole, resumed)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, _, _ = train(tmp_path)
    calls = []
    again, _, done = train(tmp_path, lambda *call: calls.append(call))
    assert calls == []
    assert done == []
    assert_same_weights(first, again)


def test_the_seed_decides_everything(tmp_path):
    torch.manual_seed(1)
    one, _, _ = train(tmp_path / "one", updates=0)
    torch.manual_seed(2)
    other, _, _ = train(tmp_path / "other", updates=0)
    assert_same_weights(one, other)
    different, _, _ = train(tmp_path / "different", updates=0, seed=1)
    assert not torch.equal(
        weights(one)["goal.net.0.weight"], weights(different)["goal.net.0.weight"]
    )


def test_the_number_of_threads_does_not_matter_and_is_set_back(tmp_path):
    before = torch.get_num_threads()
    one, _, _ = train(tmp_path / "one", threads=1)
    other, _, _ = train(tmp_path / "other", threads=3)
    assert_same_weights(one, other)
    assert torch.get_num_threads() == before


def test_a_mistake_in_one_learner_ends_the_training(tmp_path, monkeypatch):
    def fail(self, batch):
        raise FloatingPointError("no gradient")

    monkeypatch.setattr(ValueLearner, "gradient", fail)
    with pytest.raises(FloatingPointError, match="no gradient"):
        train(tmp_path)


def test_the_state_of_another_run_is_refused(tmp_path):
    train(tmp_path, updates=0)
    with pytest.raises(ResumeError, match="another seed"):
        train(tmp_path, seed=1, updates=0)
    state = tmp_path / training.STATE
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(ResumeError, match="damaged"):
        train(tmp_path, updates=0)


def written_as_if_without(path, part, setting):
    """Rewrites a state as the package would have before a setting existed."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    identity = json.loads(metadata["identity"])
    del identity["model"][part][setting]
    save_file(tensors, path, {**metadata, "identity": json.dumps(identity)})


def test_a_state_from_before_a_setting_existed_goes_on_with_its_default(tmp_path):
    whole, _, _ = train(tmp_path / "whole")
    train(tmp_path / "old", updates=1)
    written_as_if_without(tmp_path / "old" / training.STATE, "constraint", "noise")
    again, _, _ = train(tmp_path / "old")
    assert_same_weights(whole, again)
    written_as_if_without(tmp_path / "old" / training.STATE, "constraint", "noise")
    noisy = agent(constraint={**SHORT["constraint"], "noise": 0.1})
    with pytest.raises(ResumeError, match="another seed, configuration"):
        train(tmp_path / "old", learner=noisy)


def test_a_run_that_plans_otherwise_goes_on_from_what_another_has_trained_offline(tmp_path):
    without = {"online": {"planner": {"use_safe_set": False}}}
    whole, _, _ = train(tmp_path / "whole", learner=agent(**without))
    train(tmp_path / "other")
    phases = []
    report = lambda phase, *_: phases.append(phase)  # noqa: E731
    start = tmp_path / "other"
    again, _, _ = train(tmp_path / "again", report, learner=agent(**without), start=start)
    assert_same_weights(whole, again)
    assert phases and all(phase.startswith("update") for phase in phases)
    # Once begun it goes on from its own state.
    train(tmp_path / "again", learner=agent(**without), start=tmp_path / "nowhere")


def test_what_another_run_has_trained_is_refused_where_it_is_not_the_same(tmp_path):
    train(tmp_path / "other", updates=0)
    with pytest.raises(ResumeError, match="another seed"):
        train(tmp_path / "seed", seed=1, start=tmp_path / "other")
    with pytest.raises(ResumeError, match="another seed, configuration"):
        learner = agent(safe_set={**SHORT["safe_set"], "gamma_s": 0.0})
        train(tmp_path / "model", learner=learner, start=tmp_path / "other")
    with pytest.raises(ResumeError, match="expected a run that was trained offline"):
        train(tmp_path / "none", start=tmp_path / "nowhere")


def test_encoder_learns_to_reconstruct(tmp_path):
    learner = agent(
        encoder={"iterations": 300, "batch_size": 21, "augmentation": "none", "learning_rate": 3e-3}
    )
    trainer = Trainer(learner, data(), tmp_path, 0)
    trainer.train_offline()
    images = trainer.images.float() / 255
    with torch.no_grad():
        mean, _ = learner.models.encode(images)
        error = (learner.models.decode(mean) - images).square().mean()
        trivial = (images.mean(0) - images).square().mean()
    assert error < 0.5 * trivial


def test_normalized_latents_have_unit_variance(tmp_path):
    learner, trainer, _ = train(tmp_path, updates=0)
    spread = trainer.replay.mean.var(0) + trainer.replay.stddev.square().mean(0)
    # The frozen tail of the violating episode counts for the encoder but not in the replay.
    assert spread.median() == pytest.approx(1.0, abs=0.3)


def test_a_setting_says_how_many_frames_in_the_goal_are_learned_from(tmp_path):
    stays = episode(5)
    stays.labels.rewards[2:] = 0.0
    for frames, kept in ((0, 7), (2, 5)):
        learner = agent(goal={**SHORT["goal"], "frames": frames})
        trainer = Trainer(learner, [stays], tmp_path / str(frames), 0)
        trainer.train_offline()
        assert len(trainer.replay) == kept


def test_unknown_settings_are_refused():
    with pytest.raises(ConfigError, match="unknown setting encoder.depth; known: architecture"):
        agent(encoder={"depth": 3})
    with pytest.raises(ConfigError, match="value.members: expected"):
        agent(value={"members": "five"})
    with pytest.raises(ConfigError, match="goal.frames: expected at least 0, got -1"):
        agent(goal={"frames": -1})
    with pytest.raises(ConfigError, match="encoder.image_size"):
        agent(encoder={"image_size": 30})


def test_the_papers_networks_train_and_plan(tmp_path):
    _, paper = load_setting("cable", "paper")
    few = {"iterations": 2, "batch_size": 4}
    learner = LS3Agent(
        replace(
            paper,
            encoder=replace(paper.encoder, **few),
            **{name: replace(getattr(paper, name), **few) for name in LATENT_MODELS},
        ),
        task="cable",
        layout="open",
        action_limit=np.array([0.03, 0.03]),
    )
    Trainer(learner, data(), tmp_path, 0).train_offline()
    belief = learner.encode_views(bar(5)[None])
    small = planner_profile("paper", candidates=20, elites=4)
    plan = learner.planner(small).plan(*(part[0] for part in belief))
    assert plan.actions.shape == (5, 2)
    assert np.isfinite(plan.actions).all()
