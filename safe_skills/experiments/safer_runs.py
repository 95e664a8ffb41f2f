"""The commands that SAFER's tables and figures are made of: data, priors, policies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from safe_skills.data.settings import from_mapping
from safe_skills.experiments.results import load_section
from safe_skills.experiments.stages import Stage

PRIOR_SEED = 0


class Prior(NamedTuple):
    """How a prior is trained: by which method, with which settings, going on from which other."""

    method: str
    changes: tuple[str, ...] = ()
    start: str | None = None


def _going_on(rho: float) -> Prior:
    """The setting `cautious`: every contact is unsafe, with this weight, after a SAFER prior."""
    changes = (
        "objective.contacts=any",
        f"objective.rho={rho}",
        "optimization.iterations=1500",
        "optimization.learning_rate=5.0e-4",
    )
    return Prior("safer", changes, start="safer")


PRIORS = {
    "safer": Prior("safer"),
    "safer-cautious": _going_on(rho=4),
    "safer-strict": _going_on(rho=8),
    "parrot": Prior("parrot"),
    "context-parrot": Prior("context-parrot"),
    "safer-without-c": Prior("safer", ("posterior.kind=none",)),
    "parrot-with-unsafe": Prior("parrot", ("objective.imitate=successful",)),
}
RANKED = ("safer", "safer-cautious", "safer-strict", "parrot", "context-parrot")


class Agent(NamedTuple):
    """Who learns a task: over which prior, choosing what, within the eta of which unsafe share."""

    prior: str
    actions: str = "skill"
    allowed: float | None = None


TABLE_1 = {
    "SAC": Agent("safer", "raw"),
    "PARROT": Agent("parrot"),
    "Context PARROT": Agent("context-parrot"),
    "Prior Explore": Agent("safer", "explore"),
    "SAFER": Agent("safer"),
    "SAFER, cautious": Agent("safer-cautious"),
}
WITHOUT_C = {"SAFER": Agent("safer"), "SAFER without c": Agent("safer-without-c")}
WITH_UNSAFE = {
    "PARROT": Agent("parrot"),
    "PARROT with unsafe steps": Agent("parrot-with-unsafe"),
}
BOUNDS = {f"allowed {share:g}": Agent("safer", allowed=share) for share in (0.15, 0.3, 0.45)}


@dataclass(frozen=True)
class Scale:
    """Sizes of a reproduction; config/reproduce/safer.yaml explains them."""

    data_steps: int
    evaluation_data_steps: int
    prior_setting: str
    sac_steps: int
    tasks: tuple[int, ...]
    seeds: tuple[int, ...]
    episodes: int


def load_scale(name: str) -> Scale:
    """Reads a scale of config/reproduce/safer.yaml, one of `SCALES`."""
    return from_mapping(Scale, load_section("safer.yaml", name))


@dataclass(frozen=True)
class Run:
    """The stages of a scale, in a folder.

    Attributes:
        scale: how large.
        folder: of data, checkpoints and measurements.
    """

    scale: Scale
    folder: Path

    def data(self) -> list[Stage]:
        """Episodes of the training and of the evaluation tasks."""
        sizes = {
            "training": self.scale.data_steps,
            "evaluation": self.scale.evaluation_data_steps,
        }
        return [
            Stage.of(
                self.folder / "data" / f"{tasks}.json",
                *("collect", "operation", "--tasks", tasks, "--steps", steps, "--workers", 1),
                *("--out", self.folder / "data" / tasks),
            )
            for tasks, steps in sizes.items()
        ]

    def prior(self, name: str) -> Stage:
        """One of `PRIORS`, ranked on the held-out episodes and tasks."""
        spec = PRIORS[name]
        data = [stage.result for stage in self.data()]
        start = ("--start", self.checkpoint(spec.start)) if spec.start else ()
        return Stage.of(
            self.folder / f"{name}.json",
            *("train", spec.method, "operation"),
            *("--data", *(path.with_suffix("") for path in data)),
            *("--setting", self.scale.prior_setting, "--seed", PRIOR_SEED),
            *(word for change in spec.changes for word in ("--set", change)),
            *start,
            *("--out", self.folder / name),
            after=[*data, self.prior(spec.start).result] if spec.start else data,
        )

    def checkpoint(self, prior: str) -> Path:
        """Where `prior` puts the checkpoint."""
        return self.folder / prior / "checkpoint"

    def calibration(self, prior: str) -> Stage:
        """The prior by itself within each eta, on the held-out tasks."""
        return Stage.of(
            self.folder / f"calibration_{prior}.json",
            *("evaluate", "operation", "--prior", self.checkpoint(prior)),
            *("--episodes", self.scale.episodes, "--workers", 1),
            after=[self.prior(prior).result],
        )

    def policy(self, agent: Agent, task: int, seed: int) -> Stage:
        """What an agent learns of a task."""
        folder = self.policy_folder(agent, task, seed)
        allowed = () if agent.allowed is None else ("--allowed", agent.allowed)
        return Stage.of(
            folder.with_suffix(".json"),
            *("train", "sac", "--prior", self.checkpoint(agent.prior), "--task", task),
            *("--actions", agent.actions, *allowed),
            *("--steps", self.scale.sac_steps, "--seed", seed),
            *("--episodes", self.scale.episodes, "--out", folder),
            after=[self.prior(agent.prior).result],
        )

    def policy_folder(self, agent: Agent, task: int, seed: int) -> Path:
        """The run folder of `policy`; the default bound of SAFER is that of 15 %."""
        allowed = "" if agent.allowed in (None, 0.15) else f"_{100 * agent.allowed:.0f}-percent"
        return self.folder / "policies" / f"{agent.prior}_{agent.actions}{allowed}_{task}_{seed}"

    def policies(self, agent: Agent, task: int | None = None) -> list[Stage]:
        """What an agent learns of all tasks, or of one, from all seeds."""
        tasks = self.scale.tasks if task is None else (task,)
        return [self.policy(agent, task, seed) for task in tasks for seed in self.scale.seeds]

    def learning(self, agents: dict[str, Agent], task: int | None = None) -> list[Stage]:
        """Everything that some agents need, and they themselves."""
        priors = {agent.prior: self.prior(agent.prior) for agent in agents.values()}
        learned = [stage for agent in agents.values() for stage in self.policies(agent, task)]
        return [*self.data(), *priors.values(), *learned]
