"""Small skill priors with random weights, and policies over them."""

from pathlib import Path

import torch

from safe_skills.safer.config import SaferConfig, for_method
from safe_skills.safer.policy import SkillPolicy
from safe_skills.safer.prior import SkillPrior

CONFIG = SaferConfig.from_dict(
    {
        "encoder": {"channels": [4, 8], "features": 12},
        "flow": {"hidden": [16]},
        "posterior": {"width": 8, "heads": 2, "layers": 1, "window": 5, "size": 3},
    }
)
ETA = 0.7
"""For an unsafe share of 15 %."""


def make_prior(method="safer", seed=0) -> SkillPrior:
    """A prior whose actions depend on z, on the state and on c."""
    torch.manual_seed(seed)
    config = for_method(CONFIG, method)
    prior = SkillPrior(config, method=method, task="operation", action_dim=5)
    for coupling in prior.models.flow.couplings:
        torch.nn.init.normal_(coupling.net[-1].weight, std=0.3)
    prior.models.requires_grad_(False).eval()
    return prior


def save_prior(folder: Path, method="safer", seed=0) -> Path:
    assurance = [{"allowed": 0.15, "eta": ETA}, {"allowed": 0.3, "eta": 1.2}]
    make_prior(method, seed).save(folder, {"assurance": assurance})
    return folder


def save_policy(folder: Path, prior: SkillPrior, seed=0, **changes) -> Path:
    """A policy over a prior that was loaded from its checkpoint."""
    torch.manual_seed(seed)
    settings = {
        "features": prior.config.encoder.features,
        "action_dim": prior.action_dim,
        "bound": ETA,
        "hidden": (16,),
        "actions": "skill",
        "prior_id": prior.model_id,
        "task": "operation",
        "task_number": 34,
    }
    SkillPolicy(**{**settings, **changes}).save(folder, {"note": "random weights"})
    return folder
