"""Node: latent states to abstract actions, by a learned policy or by draws of the prior."""

import sys
import time

import numpy as np

from safe_skills.msg import AbstractAction, LatentState
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.conversions import belief_from_latent
from safe_skills.nodes.diagnostics import OK, Status
from safe_skills.nodes.model import MODEL_PARAMETERS
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.skill_conversions import abstract_action_message
from safe_skills.nodes.skill_model import BOUND_PARAMETERS, bound_of, load_policy, load_prior
from safe_skills.safer.policy import Actor, PriorActor

WARM_UP = 5
"""Actions chosen before the first frame: the first of a process take much longer."""

PRIOR = "prior"
"""Source of an abstract action that no policy chose."""


class SkillPolicy(SkillNode):
    """Chooses an abstract action within eta for each latent state (SAFER sec. 4.4, Alg. 1 line 4).

    Subscribes `latent`; publishes `abstract_action`. Without a policy it draws from the prior
    within eta. A state that repeats the stamp of the last one is answered with the same abstract
    action: draws advance once a frame.
    """

    NAME = "skill_policy"
    PARAMETERS = {
        **MODEL_PARAMETERS,
        **BOUND_PARAMETERS,
        "policy": Param(
            "",
            "Policy over this prior: its checkpoint folder or the name of a shipped one; empty: "
            "draws of the prior.",
        ),
        "seed": Param(0, "Seed of the draws.", low=0, high=2**31 - 1),
    }

    def configure(self) -> None:
        """Load the prior and the policy over it, and open the topics."""
        prior = load_prior(self)
        eta = bound_of(self, prior)
        policy = load_policy(self, prior, eta)
        self._actor: Actor
        if policy is None:
            # The first draw takes a second, and no seed's draws are to be used up.
            _warm_up(PriorActor(eta, prior.action_dim, np.random.default_rng()), 0)
            rng = np.random.default_rng(self.param("seed"))
            self._actor, self._eta, self._source = (
                PriorActor(eta, prior.action_dim, rng),
                eta,
                PRIOR,
            )
        else:
            self._actor, self._eta, self._source = policy, policy.bound, policy.model_id
            _warm_up(policy, prior.config.encoder.features)
        self._model_id = prior.model_id
        self._size = prior.config.encoder.features
        self._last: AbstractAction | None = None
        self._chosen = 0
        self._actions = self.advertise(AbstractAction, "abstract_action", qos.COMMAND)
        self.subscribe(LatentState, "latent", self._choose, qos.IMAGE)
        self.diagnostics.add("abstract actions", self._report_actions)

    def _choose(self, latent: LatentState) -> None:
        try:
            features, _ = belief_from_latent(latent, self._model_id, self._size)
            if self._last is None or self._last.header.stamp != latent.header.stamp:
                self._last = self._answer(features, latent)
        except ValueError as error:
            self.refuse("latent refused", f"latent state refused: {error}")
            return
        self._actions.publish(self._last)

    def _answer(self, features: np.ndarray, latent: LatentState) -> AbstractAction:
        began = time.perf_counter()
        z = self._actor.act(features)
        spent = time.perf_counter() - began
        message = abstract_action_message(
            z, self._eta, self._model_id, self._source, latent.header, spent
        )
        self._chosen += 1
        return message

    def _report_actions(self, status: Status) -> None:
        self.refusals(status)
        status.merge(OK, f"{self._chosen} abstract actions by {self._source}")
        status.add("eta", self._eta)


def _warm_up(policy: Actor, size: int) -> None:
    for _ in range(WARM_UP):
        policy.act(np.zeros(size, np.float32))


def main() -> int:
    """Run the node."""
    return main_for(SkillPolicy)


if __name__ == "__main__":
    sys.exit(main())
