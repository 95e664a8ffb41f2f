"""Node: the last latent states to the safety context c."""

import sys
import time

import numpy as np
from std_msgs.msg import Header

from safe_skills.msg import LatentState, SafetyContext
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.conversions import belief_from_latent, nanoseconds
from safe_skills.nodes.diagnostics import OK, Status
from safe_skills.nodes.model import MODEL_PARAMETERS
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.skill_conversions import context_message
from safe_skills.nodes.skill_model import load_prior
from safe_skills.nodes.watch import DropCounter
from safe_skills.safer.prior import SkillPrior

WARM_UP = 20
"""Contexts computed before the first frame: the first of a process take much longer."""


class SafetyPosterior(SkillNode):
    """Keeps the window Lambda of an episode's last states and publishes q(c | Lambda) (SAFER 4.2).

    Subscribes `latent` and `episode_start`; publishes `safety_context` with the stamp of the newest
    state and how much of the window has been seen. A state that repeats the stamp of the newest is
    answered with the same context; one that is older is refused, and the window stays as it is.
    """

    NAME = "safety_posterior"
    PARAMETERS = {
        **MODEL_PARAMETERS,
        "gap": Param(
            0.5,
            "Time between the stamps of two states after which the window is forgotten [s].",
            low=0.001,
            high=3600.0,
            runtime=True,
        ),
    }

    def configure(self) -> None:
        """Load the prior and open the topics."""
        self._prior = load_prior(self)
        _warm_up(self._prior)
        self._history = self._prior.history()
        self._drops = DropCounter()
        self._start = 0
        self._newest: int | None = None
        self._answer: SafetyContext | None = None
        self._answered = self._gaps = 0
        self._contexts = self.advertise(SafetyContext, "safety_context", qos.COMMAND)
        self.subscribe(LatentState, "latent", self._infer, qos.LATENT_WINDOW)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self.diagnostics.add("contexts", self._report_contexts)

    def activate(self) -> None:
        """Begin with an empty window: what came while the node was inactive is missing."""
        self._forget()

    def _new_episode(self, start: Header) -> None:
        self._start = max(self._start, nanoseconds(start.stamp))
        self._forget()

    def _forget(self) -> None:
        self._history.reset()
        self._newest = self._answer = None

    def _infer(self, latent: LatentState, info: dict) -> None:
        stamp = nanoseconds(latent.header.stamp)
        if stamp < self._start:
            return
        self._drops.count(info["publisher_gid"]["data"], info["publication_sequence_number"])
        try:
            features = self._features(latent, stamp)
            if stamp != self._newest:
                self._take(features, stamp)
                self._answer = self._answer_of(latent.header)
        except ValueError as error:
            self.refuse("latent refused", f"latent state refused: {error}")
            return
        if self._answer is not None:
            self._contexts.publish(self._answer)

    def _features(self, latent: LatentState, stamp: int) -> np.ndarray:
        size = self._prior.config.encoder.features
        features, _ = belief_from_latent(latent, self._prior.model_id, size)
        if self._newest is not None and stamp < self._newest:
            raise ValueError(
                f"expected stamps that rise, got one {1e-9 * (self._newest - stamp):.3f} s before "
                f"the newest in the window"
            )
        return features

    def _take(self, features: np.ndarray, stamp: int) -> None:
        if self._newest is not None and stamp - self._newest > 1e9 * self.param("gap"):
            gap = 1e-9 * (stamp - self._newest)
            self.get_logger().warning(f"window forgotten: no latent state for {gap:.3f} s")
            self._history.reset()
            self._gaps += 1
        self._history.push_features(features)
        self._newest, self._answer = stamp, None

    def _answer_of(self, header: Header) -> SafetyContext:
        began = time.perf_counter()
        context = self._history.context()
        spent = time.perf_counter() - began
        message = context_message(*context, self._prior.model_id, header, spent)
        self._answered += 1
        return message

    def _report_contexts(self, status: Status) -> None:
        self.refusals(status)
        status.merge(OK, f"{self._answered} contexts")
        status.add("fill", self._answer.fill if self._answer is not None else 0.0)
        status.add("gaps", self._gaps)
        status.add("dropped", self._drops.dropped)


def _warm_up(prior: SkillPrior) -> None:
    history = prior.history()
    for _ in range(WARM_UP):
        history.push_features(np.zeros(prior.config.encoder.features, np.float32))
        history.context()


def main() -> int:
    """Run the node."""
    return main_for(SafetyPosterior)


if __name__ == "__main__":
    sys.exit(main())
