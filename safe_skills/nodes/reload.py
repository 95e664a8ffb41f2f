"""Another model for a node that runs: loaded at once, used from the next episode on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from std_srvs.srv import Trigger

from safe_skills.data.checkpoint import CheckpointError
from safe_skills.ls3.agent import LS3Agent
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.model import MODEL_PARAMETERS
from safe_skills.nodes.parameters import Param

RELOADED_MODEL_PARAMETERS = {
    **MODEL_PARAMETERS,
    "checkpoint": Param(
        MODEL_PARAMETERS["checkpoint"].default,
        "Checkpoint folder, or the name of a pretrained checkpoint that ships with the package; "
        "one set while the node runs is used from the next episode on.",
        runtime=True,
    ),
}


def form_of(agent: LS3Agent) -> dict[str, Any]:
    """What an LS3 agent has in common with those that may follow it."""
    return {
        "latents of": agent.latent_dim,
        "a largest step [m] of": agent.action_limit.tolist(),
        "masks": agent.mask_config,
    }


class Model(Protocol):
    """Any learned model of a node."""

    model_id: str


AnyModel = TypeVar("AnyModel", bound=Model)


class Successor(Generic[AnyModel]):
    """The model in use, and the one that takes its place when the next episode begins.

    A parameter of the node names the model that is wanted. Setting it loads that model; where it
    cannot be used, the parameter is refused with one line and everything stays as it was.
    It is taken up by `take_up`, which the node calls when an episode begins, and by the service
    `~/reload`, at once: for a node that was started again while the others went on.

    Latents carry the id of their model, and a node refuses those of another: while the nodes of a
    graph use different models, the robot does not move.

    Args:
        node: whose parameter and service it is.
        load: reads the model that a value of the parameter names; `ValueError` in one line where
            it cannot be used.
        form: what must stay the same from one model to the next, by name: sizes, limits.
        use: called with a model that is taken up.
        parameter: its name.
    """

    def __init__(
        self,
        node: SkillNode,
        load: Callable[[str], AnyModel],
        form: Callable[[AnyModel], dict[str, Any]],
        use: Callable[[AnyModel], None],
        parameter: str = "checkpoint",
    ) -> None:
        self._node, self._load, self._form, self._use = node, load, form, use
        self._parameter = parameter
        self._wanted = node.param(parameter)
        self.model = load(self._wanted)
        self._candidate: tuple[str, AnyModel] | None = None
        self._next: tuple[str, AnyModel] | None = None

    def judge(self, values: dict[str, Any]) -> None:
        """Load what the parameter is about to name, if it is among new values of parameters.

        Raises:
            ValueError: In one line: it cannot be used in place of the present model.
        """
        if self._parameter not in values:
            return
        name = values[self._parameter]
        found = self._load(name)
        expected, form = self._form(self.model), self._form(found)
        for what, value in expected.items():
            if form.get(what) != value:
                raise CheckpointError(
                    f"{self._parameter} {name}: expected {what} {value} as of the model in use, "
                    f"found {form.get(what)}"
                )
        self._candidate = (name, found)

    def intend(self, names: set[str]) -> None:
        """Use the model that the parameter names from the next episode on, if it has changed."""
        if self._parameter not in names:
            return
        self._next, self._candidate = self._candidate, None
        if self._next is not None and self._next[1].model_id == self.model.model_id:
            self._wanted, self._next = self._next[0], None

    def take_up(self) -> None:
        """Use the model that is to come, if there is one."""
        if self._next is None:
            return
        (self._wanted, self.model), self._next = self._next, None
        self._use(self.model)
        self._node.get_logger().info(f"in use: model {self.model.model_id}")

    def reload(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Answer `~/reload`: take the model up now."""
        self.take_up()
        response.success = True
        response.message = self.model.model_id
        return response
