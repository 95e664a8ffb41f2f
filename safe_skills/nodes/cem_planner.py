"""Node: latent states to commands, by LS3's planner."""

import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.planner import PlanOutcome
from safe_skills.ls3.planner_config import planner_profile
from safe_skills.msg import Command, LatentState, PlanStatus
from safe_skills.nodes import qos
from safe_skills.nodes.answers import GATE_FIRST, LastCommand
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    belief_from_latent,
    command_message,
    nanoseconds,
    plan_status_message,
)
from safe_skills.nodes.diagnostics import OK, Status
from safe_skills.nodes.model import DEVICE_PARAMETERS, checkpoint_folder, load_agent, share_cores
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.reload import RELOADED_MODEL_PARAMETERS, Successor, form_of


class CemPlanner(SkillNode):
    """Plans from the newest latent state (LS3 sec. 4.4) and asks for the plan's first step.

    Subscribes `latent` and `episode_start`; publishes `command` and `plan_status`. A latent state
    that is refused makes no command. One that repeats the stamp of the last is answered with the
    same command: the planner's warm start and random numbers advance once a frame. A checkpoint set
    while the node runs is used from the next `episode_start` on.
    """

    NAME = "cem_planner"
    PARAMETERS = {
        **RELOADED_MODEL_PARAMETERS,
        **DEVICE_PARAMETERS,
        "profile": Param(
            "realtime",
            "Size of the search: realtime, or paper (LS3 table 3).",
            choices=("realtime", "paper"),
        ),
        "delta_s": Param(
            0.8,
            "Required probability of ending in the safe set, before it is relaxed.",
            low=0.0,
            high=1.0,
            runtime=True,
        ),
        "delta_c": Param(
            0.2,
            "Greatest probability of a constraint violation allowed at any step of a plan.",
            low=0.0,
            high=1.0,
            runtime=True,
        ),
        "step_limit": Param(
            0.005,  # what hardware_bridge's max_speed covers in a control period of 0.1 s
            "Greatest component of a planned step [m], for a robot slower than the model's; 0: the "
            "model's own.",
            low=0.0,
            high=1.0,
        ),
        "infeasible": Param(
            "max_safe_set",
            "Without a feasible plan: the one nearest to the safe set among those that keep "
            "delta_c, hold, or the released code's random action (for reproduction only).",
            choices=("max_safe_set", "hold", "random"),
        ),
        "seed": Param(0, "Seed of the planner's random numbers.", low=0, high=2**31 - 1),
    }

    def configure(self) -> None:
        """Load the model and open the topics."""
        share_cores(self)
        self._successor = Successor(self, self._load, form_of, self._use)
        self._use(self._successor.model)
        self._last = LastCommand()
        self._start = 0
        self._plans = dict.fromkeys(PlanOutcome, 0)
        self._slowest = 0.0
        self._commands = self.advertise(Command, "command", qos.COMMAND)
        self._status = self.advertise(PlanStatus, "plan_status", qos.COMMAND)
        self.subscribe(LatentState, "latent", self._plan, qos.IMAGE)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self.serve(Trigger, "~/reload", self._successor.reload)
        self.diagnostics.add("plans", self._report_plans)

    def judge_parameters(self, values: dict[str, Any]) -> None:
        """Load a new checkpoint, or refuse it."""
        self._successor.judge(values)

    def parameters_changed(self, names: set[str]) -> None:
        """Plan with new levels from the next frame on, with a new model from the next episode."""
        self._successor.intend(names)
        levels = {name: self.param(name) for name in ("delta_s", "delta_c")}
        self._planner.config = replace(self._planner.config, **levels)

    def _load(self, checkpoint: str) -> LS3Agent:
        agent = load_agent(self, checkpoint_folder(checkpoint))
        _warm_up(agent)
        return agent

    def _use(self, agent: LS3Agent) -> None:
        config = planner_profile(
            self.param("profile"),
            delta_s=self.param("delta_s"),
            delta_c=self.param("delta_c"),
            infeasible=self.param("infeasible"),
            action_range=self._action_range(agent),
        )
        self._agent = agent
        self._planner = agent.planner(config, seed=self.param("seed"))

    def _action_range(self, agent: LS3Agent) -> float:
        limit = self.param("step_limit")
        return min(limit / float(agent.action_limit.max()), 1.0) if limit else 1.0

    def _new_episode(self, start: Header) -> None:
        if nanoseconds(start.stamp) > self._start:
            self._start = nanoseconds(start.stamp)
            self._successor.take_up()
        self._planner.reset()
        self._last.forget()

    def _plan(self, latent: LatentState) -> None:
        stamp = latent.header.stamp
        if nanoseconds(stamp) < self._start:
            return
        try:
            belief = belief_from_latent(latent, self._agent.model_id, self._agent.latent_dim)
        except ValueError as error:
            self.refuse("latent refused", f"latent state refused: {error}")
            return
        if self._last.answers(nanoseconds(stamp)):
            if (command := self._last.again()) is not None:
                self._commands.publish(command)
            return
        plan = self._planner.plan(*belief)
        source = self.NAME + (": hold" if plan.outcome is PlanOutcome.HOLD else "")
        try:
            command = command_message(plan.actions[0], source, stamp, TASK_FRAME)
        except ValueError as error:
            self.refuse("plan refused", f"plan refused: {error}")
            return
        self._commands.publish(command)
        self._last.note(command)
        time.sleep(GATE_FIRST)
        self._status.publish(plan_status_message(plan, self._agent.model_id, latent.header))
        self._plans[plan.outcome] += 1
        self._slowest = max(self._slowest, plan.solve_time)

    def _report_plans(self, status: Status) -> None:
        status.summary(OK, f"{sum(self._plans.values())} plans")
        self.refusals(status)
        for outcome, count in self._plans.items():
            status.add(outcome.name.lower(), count)
        status.add("slowest_plan_ms", 1e3 * self._slowest)
        self._slowest = 0.0


def _warm_up(agent: LS3Agent) -> None:
    """Plan once with a planner of its own: the first plan of a process takes much longer."""
    belief = np.zeros(agent.latent_dim, np.float32)
    agent.planner("realtime").plan(belief, belief)


def main() -> int:
    """Run the node."""
    return main_for(CemPlanner)


if __name__ == "__main__":
    sys.exit(main())
