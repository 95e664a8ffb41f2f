import numpy as np
import pytest
import torch

from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.nodes.gate_models import GateModels
from safe_skills.paths import checkpoint_dir


@pytest.fixture(scope="module", params=["cable_open", "cable_tight"])
def trained(request):
    return LS3Agent.load(checkpoint_dir(request.param))


def test_the_gates_models_say_what_the_agents_say(trained):
    models = GateModels(trained)
    rng = np.random.default_rng(3)
    for _ in range(200):
        mean = 2.0 * rng.standard_normal(trained.latent_dim).astype(np.float32)
        action = rng.uniform(-2.0, 2.0, 2) * trained.action_limit
        for name, arguments in (
            ("constraint_probability", (mean,)),
            ("safe_set_probability", (mean,)),
            ("predicted_constraint_probability", (mean, action)),
        ):
            here = getattr(models, name)(*arguments)
            assert here == pytest.approx(getattr(trained, name)(*arguments), abs=5e-5)


def test_far_latents_give_probabilities_and_unknown_ones_none(trained):
    models = GateModels(trained)
    for scale in (-1e4, 1e4, 1e20):
        mean = np.full(trained.latent_dim, scale, np.float32)
        for probability in (
            models.constraint_probability(mean),
            models.safe_set_probability(mean),
        ):
            assert 0.0 <= probability <= 1.0
    unknown = np.full(trained.latent_dim, np.nan, np.float32)
    assert np.isnan(models.constraint_probability(unknown))
    assert np.isnan(models.predicted_constraint_probability(unknown, np.zeros(2)))


def test_the_weights_are_a_copy(trained):
    models = GateModels(trained)
    mean = np.ones(trained.latent_dim, np.float32)
    before = models.constraint_probability(mean)
    changed = LS3Agent.load(checkpoint_dir("cable_open"))
    own = GateModels(changed)
    expected = own.constraint_probability(mean)
    with torch.no_grad():
        for parameter in changed.models.parameters():
            parameter.zero_()
    assert own.constraint_probability(mean) == expected
    assert models.constraint_probability(mean) == before


def test_networks_of_another_form_are_refused_in_one_line():
    torch.manual_seed(0)
    agent = LS3Agent(LS3Config(), task="cable", layout="open", action_limit=np.full(2, 0.03))
    agent.models.requires_grad_(False)
    agent.models.constraint.net[1] = torch.nn.Tanh()
    with pytest.raises(ValueError, match="expected the gate's models to agree") as caught:
        GateModels(agent)
    assert "\n" not in str(caught.value)
