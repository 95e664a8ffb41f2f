"""Parameters and loading of SAFER's models, for every node that uses them."""

from pathlib import Path

from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.model import checkpoint_folder, model_folder
from safe_skills.nodes.parameters import Param
from safe_skills.safer.policy import SkillPolicy
from safe_skills.safer.prior import SkillPrior

TASK = "operation"

BOUND_PARAMETERS = {
    "allowed": Param(
        0.15,
        "Unsafe share that the bound on z stands for; one for which the checkpoint has an eta.",
        low=0.0,
        high=1.0,
    ),
    "eta": Param(
        0.0, "The bound on z itself; 0: the checkpoint's eta for `allowed`.", low=0.0, high=10.0
    ),
}


def load_prior(node: SkillNode, folder: Path | None = None) -> SkillPrior:
    """Load a skill prior, and log which one it is.

    Args:
        node: that asks for it.
        folder: of the checkpoint; None takes the one that the node's parameters name.

    Raises:
        CheckpointError: In one line; see `SkillPrior.load`.
    """
    folder = folder or model_folder(node)
    prior = SkillPrior.load(folder, task=TASK)
    node.get_logger().info(f"{prior.method} prior {prior.model_id} from {folder}")
    return prior


def bound_of(node: SkillNode, prior: SkillPrior) -> float:
    """Return the bound on |z|_inf that a node's parameters ask for.

    Raises:
        ValueError: In one line: the prior has no eta for this share, or is of a method that
            promises nothing and none is given.
    """
    given = node.param("eta")
    if given > 0.0:
        return given
    if prior.method != "safer":
        raise ValueError(
            f"eta: expected a bound above 0 for a prior of method {prior.method}, which assures "
            f"nothing; got 0"
        )
    return prior.eta(node.param("allowed"))


def load_policy(
    node: SkillNode, name: str, prior: SkillPrior, eta: float, *, spread: bool = False
) -> SkillPolicy:
    """Load a policy over a prior, and log which one it is.

    Args:
        node: that asks for it.
        name: of a shipped policy, or its checkpoint folder.
        prior: that it is to be used with.
        eta: the bound that it has to keep.
        spread: whether actions are to be drawn from its distribution.

    Raises:
        CheckpointError: In one line; see `SkillPolicy.load`.
        ValueError: In one line: it chooses no abstract actions, reads frames, leaves the bound, or
            has no distribution to draw from.
    """
    folder = checkpoint_folder(name)
    policy = SkillPolicy.load(folder, prior_id=prior.model_id)
    if policy.actions != "skill":
        raise ValueError(
            f"policy {folder}: expected one that chooses abstract actions, got one for "
            f"{policy.actions} actions"
        )
    if policy.observation != "features":
        raise ValueError(
            f"policy {folder}: expected one that reads the prior's features, which are all that a "
            f"latent state holds; got one that reads frames"
        )
    if policy.bound > eta:
        raise ValueError(
            f"policy {folder}: expected a bound of at most eta = {eta:.4g}, got {policy.bound:.4g}"
        )
    if spread and policy.spread is None:
        raise ValueError(
            f"policy {folder}: expected one with a spread, to explore with, as updates of a "
            f"training write it; got one that has a mode only"
        )
    node.get_logger().info(f"policy {policy.model_id} from {folder}")
    return policy
