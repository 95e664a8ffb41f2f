"""Node: latent states to abstract actions, by a learned policy or by draws of the prior."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.msg import AbstractAction, LatentState
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.conversions import belief_from_latent, nanoseconds
from safe_skills.nodes.diagnostics import OK, Status
from safe_skills.nodes.model import MODEL_PARAMETERS
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.reload import Successor
from safe_skills.nodes.skill_conversions import abstract_action_message
from safe_skills.nodes.skill_model import BOUND_PARAMETERS, bound_of, load_policy, load_prior
from safe_skills.safer.policy import truncated_normal

WARM_UP = 5
"""Actions chosen before the first frame: the first of a process take much longer."""

PRIOR = "prior"
"""Source of an abstract action that no policy chose."""


@dataclass(frozen=True)
class Chooser:
    """Who chooses abstract actions.

    Attributes:
        model_id: of the policy, or `PRIOR`.
        eta: bound that it keeps.
        choose: from psi(s) (d,) and a source of draws to z (A,).
    """

    model_id: str
    eta: float
    choose: Callable[[np.ndarray, np.random.Generator], np.ndarray]


class SkillPolicy(SkillNode):
    """Chooses an abstract action within eta for each latent state (SAFER sec. 4.4, Alg. 1 line 4).

    Subscribes `latent` and `episode_start`; publishes `abstract_action`. Without a policy it draws
    from the prior within eta. A state that repeats the stamp of the last one is answered with the
    same abstract action: draws advance once a frame. A policy set while the node runs is used from
    the next `episode_start` on.
    """

    NAME = "skill_policy"
    PARAMETERS = {
        **MODEL_PARAMETERS,
        **BOUND_PARAMETERS,
        "policy": Param(
            "",
            "Policy over this prior: its checkpoint folder or the name of a shipped one; empty: "
            "draws of the prior. One set while the node runs is used from the next episode on.",
            runtime=True,
        ),
        "explore": Param(
            False,
            "Whether actions are drawn from the policy's distribution, to learn from, or are its "
            "mode.",
        ),
        "seed": Param(0, "Seed of the draws.", low=0, high=2**31 - 1),
    }

    def configure(self) -> None:
        """Load the prior and the policy over it, and open the topics."""
        self._prior = load_prior(self)
        self._eta = bound_of(self, self._prior)
        self._successor = Successor(self, self._load, lambda _: {}, self._use, "policy")
        self._chooser = self._successor.model
        self._rng = np.random.default_rng(self.param("seed"))
        self._size = self._prior.config.encoder.features
        self._start = 0
        self._last: AbstractAction | None = None
        self._chosen = 0
        self._actions = self.advertise(AbstractAction, "abstract_action", qos.COMMAND)
        self.subscribe(LatentState, "latent", self._choose, qos.IMAGE)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self.serve(Trigger, "~/reload", self._successor.reload)
        self.diagnostics.add("abstract actions", self._report_actions)

    def judge_parameters(self, values: dict[str, Any]) -> None:
        """Load a new policy, or refuse it."""
        self._successor.judge(values)

    def parameters_changed(self, names: set[str]) -> None:
        """Have the new policy choose from the next episode on."""
        self._successor.intend(names)

    def _load(self, name: str) -> Chooser:
        chooser = self._chooser_of(name)
        # The first draw takes a second, and no seed's draws are to be used up.
        for _ in range(WARM_UP):
            features = np.zeros(self._prior.config.encoder.features, np.float32)
            chooser.choose(features, np.random.default_rng())
        return chooser

    def _chooser_of(self, name: str) -> Chooser:
        eta, size = self._eta, self._prior.action_dim
        if not name:
            return Chooser(PRIOR, eta, lambda _, rng: truncated_normal(rng, eta, size))
        explore = self.param("explore")
        policy = load_policy(self, name, self._prior, eta, spread=explore)
        choose = policy.draw if explore else lambda features, _: policy.act(features)
        return Chooser(policy.model_id, policy.bound, choose)

    def _use(self, chooser: Chooser) -> None:
        self._chooser = chooser

    def _new_episode(self, start: Header) -> None:
        if nanoseconds(start.stamp) > self._start:
            self._start = nanoseconds(start.stamp)
            self._successor.take_up()

    def _choose(self, latent: LatentState) -> None:
        if nanoseconds(latent.header.stamp) < self._start:
            # Of the episode before, whose frames nobody decodes any more.
            return
        try:
            features, _ = belief_from_latent(latent, self._prior.model_id, self._size)
            if self._last is None or self._last.header.stamp != latent.header.stamp:
                self._last = self._answer(features, latent)
        except ValueError as error:
            self.refuse("latent refused", f"latent state refused: {error}")
            return
        self._actions.publish(self._last)

    def _answer(self, features: np.ndarray, latent: LatentState) -> AbstractAction:
        chooser = self._chooser
        began = time.perf_counter()
        z = chooser.choose(features, self._rng)
        spent = time.perf_counter() - began
        message = abstract_action_message(
            z, chooser.eta, self._prior.model_id, chooser.model_id, latent.header, spent
        )
        self._chosen += 1
        return message

    def _report_actions(self, status: Status) -> None:
        self.refusals(status)
        status.merge(OK, f"{self._chosen} abstract actions by {self._chooser.model_id}")
        status.add("eta", self._chooser.eta)


def main() -> int:
    """Run the node."""
    return main_for(SkillPolicy)


if __name__ == "__main__":
    sys.exit(main())
