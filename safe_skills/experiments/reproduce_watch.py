"""`safe-skills reproduce safer-watch`: SAFER's skills with and without LS3's safe set watching."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from safe_skills.experiments.results import Result
from safe_skills.experiments.safer_runs import PRIOR_SEED, TABLE_1, Run
from safe_skills.experiments.skill_rollout import SkillEpisode, summarize
from safe_skills.experiments.stages import Stage, read

PRIOR = "safer"
ALLOWED = 0.15
"""Unsafe share of the eta that counts, as in SAFER's table."""
EPISODE_FIELDS = [item.name for item in fields(SkillEpisode)]
PRIOR_EPISODES = 0.3
"""Share of the scale's episodes that the prior by itself runs on each held-out task."""


class Case(NamedTuple):
    """What counts, and what becomes of an action that the safe set objects to."""

    gate: str
    response: str = ""


CASES = (
    Case("eta"),
    Case("safe-set", "hold"),
    Case("safe-set", "redraw"),
    Case("safe-set", "plan"),
    Case("both", "hold"),
    Case("both", "redraw"),
    Case("both", "plan"),
)


def watcher_stage(run: Run) -> Stage:
    """The safe set over the prior."""
    data = [stage.result for stage in run.data()]
    setting = "small" if run.scale.prior_setting == "small" else "default"
    return Stage.of(
        run.folder / "safe-set.json",
        *("train", "safe-set", "operation", "--prior", run.checkpoint(PRIOR)),
        *("--data", *(path.with_suffix("") for path in data)),
        *("--setting", setting, "--seed", PRIOR_SEED, "--out", run.folder / "safe-set"),
        after=(*data, run.prior(PRIOR).result),
    )


def evaluation(run: Run, case: Case, policy: Stage | None = None, task: int = 0) -> Stage:
    """A case on all held-out tasks, z drawn from the prior; or under a policy, on its task."""
    name = "_".join(filter(None, (policy.result.stem if policy else "prior", *case)))
    words = ["evaluate", "operation", "--prior", run.checkpoint(PRIOR), "--gate", case.gate]
    after = [run.prior(PRIOR).result]
    if case.response:
        watcher = run.folder / "safe-set" / "checkpoint"
        words += ["--watch", watcher, "--response", case.response]
        after.append(watcher_stage(run).result)
    if policy is not None:
        checkpoint = policy.result.with_suffix("") / "checkpoint"
        words += ["--policy", checkpoint, "--tasks", task, "--episodes", run.scale.episodes]
        after.append(policy.result)
    else:
        episodes = max(1, round(PRIOR_EPISODES * run.scale.episodes))
        words += ["--allowed", ALLOWED, "--episodes", episodes]
    result = run.folder / "watch" / f"{name}.json"
    return Stage.of(result, *words, "--workers", 1, after=after)


def learned(run: Run) -> list[tuple[int, Stage]]:
    """SAFER's policy of each task, of the first seed, with its task."""
    agent, seed = TABLE_1["SAFER"], run.scale.seeds[0]
    return [(task, run.policy(agent, task, seed)) for task in run.scale.tasks]


def stages(run: Run) -> list[Stage]:
    """Everything that has to be run."""
    policies = learned(run)
    prior = [evaluation(run, case) for case in CASES]
    watched = [evaluation(run, case, stage, task) for case in CASES for task, stage in policies]
    before = [*run.data(), run.prior(PRIOR), watcher_stage(run)]
    return [*before, *prior, *(stage for _, stage in policies), *watched]


def rows(run: Run) -> list[dict[str, Any]]:
    """One row a case: of the prior by itself, then of the policies, all episodes together."""
    found = []
    for actor in ("prior", "policies"):
        for case in CASES:
            measured = (
                [evaluation(run, case)]
                if actor == "prior"
                else [evaluation(run, case, stage, task) for task, stage in learned(run)]
            )
            found.append({"actor": actor, **case._asdict(), **_together(measured)})
    return found


def _together(measured: list[Stage]) -> dict[str, Any]:
    """Figures of the episodes of several runs as of one, with 95 % intervals."""
    episodes = []
    for stage in measured:
        for one in read(stage)["episodes"]:
            episodes.append(SkillEpisode(**{key: one[key] for key in EPISODE_FIELDS}))
    figures = summarize(episodes)
    row: dict[str, Any] = {"runs": len(measured), "episodes": len(episodes)}
    for name in ("success", "clean_success", "contact"):
        low, high = figures[f"{name}_interval_95"]
        row |= {name: figures[f"{name}_rate"], f"{name}_low": low, f"{name}_high": high}
    low, high = figures["unsafe_interval_95"]
    row |= {"unsafe_steps": figures["unsafe_steps"], "unsafe_low": low, "unsafe_high": high}
    row["violations_an_episode"] = figures["violations"] / len(episodes)
    return row | {name: figures[name] for name in ("held_steps", "replaced_steps")}


def draw(figure: Figure, found: list[dict[str, Any]]) -> None:
    """Success, success without contact and contacts, a bar a case."""
    both = figure.subplots(1, 2, sharey=True)
    measures = ("success", "clean_success", "contact")
    for axes, actor in zip(both, ("prior", "policies"), strict=True):
        chosen = [row for row in found if row["actor"] == actor]
        names = ["\n".join(filter(None, (row["gate"], row["response"]))) for row in chosen]
        places = np.arange(len(chosen))
        for index, measure in enumerate(measures):
            heights = [row[measure] for row in chosen]
            ends = [
                (row[measure] - row[f"{measure}_low"], row[f"{measure}_high"] - row[measure])
                for row in chosen
            ]
            axes.bar(
                places + 0.27 * (index - 1),
                heights,
                width=0.25,
                yerr=np.transpose(ends),
                label=measure.replace("_", " "),
                error_kw={"linewidth": 0.8},
            )
        axes.set_xticks(places, names, fontsize=7)
        axes.set(title=actor, ylim=(0, 1))
    both[0].set_ylabel("share of episodes")
    handles, labels = both[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, fontsize=7)


RESULTS = {
    "safer-watch": Result(
        "held-out tasks with eta, with LS3's safe set, and with both", stages, rows, draw
    )
}
