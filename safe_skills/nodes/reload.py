"""Another checkpoint for a node that runs: loaded at once, used from the next episode on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from std_srvs.srv import Trigger

from safe_skills.data.checkpoint import CheckpointError
from safe_skills.ls3.agent import LS3Agent
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.model import MODEL_PARAMETERS, checkpoint_folder
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

    The node's parameter `checkpoint` names the model that is wanted. Setting it loads that model;
    where it cannot be used, the parameter is refused with one line and everything stays as it was.
    It is taken up by `take_up`, which the node calls when an episode begins, and by the service
    `~/reload`, at once: for a node that was started again while the others went on.

    Latents carry the id of their model, and a node refuses those of another: while the nodes of a
    graph use different models, the robot does not move.

    Args:
        node: whose parameter and service it is.
        load: reads a model from a folder; `ValueError` in one line where it cannot be used.
        form: what must stay the same from one model to the next, by name: sizes, limits.
        use: called with a model that is taken up.
    """

    def __init__(
        self,
        node: SkillNode,
        load: Callable[[Path], AnyModel],
        form: Callable[[AnyModel], dict[str, Any]],
        use: Callable[[AnyModel], None],
    ) -> None:
        self._node, self._load, self._form, self._use = node, load, form, use
        self._wanted = node.param("checkpoint")
        self.model = load(checkpoint_folder(self._wanted))
        self._candidate: tuple[str, AnyModel] | None = None
        self._next: tuple[str, AnyModel] | None = None

    def judge(self, checkpoint: str) -> None:
        """Load what the parameter is about to name.

        Raises:
            ValueError: In one line: it cannot be used in place of the present model.
        """
        folder = checkpoint_folder(checkpoint)
        found = self._load(folder)
        expected, form = self._form(self.model), self._form(found)
        for name, value in expected.items():
            if form.get(name) != value:
                raise CheckpointError(
                    f"checkpoint {folder}: expected {name} {value} as of the model in use, "
                    f"found {form.get(name)}"
                )
        self._candidate = (checkpoint, found)

    def intend(self) -> None:
        """Use the model that the parameter names, from the next episode on."""
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
