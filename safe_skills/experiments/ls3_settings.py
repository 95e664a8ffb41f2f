"""What a run of LS3 is made of: its task's settings, the paper's ablations, and the agent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from safe_skills.data.episodes import EpisodeStore
from safe_skills.data.settings import ConfigError, from_mapping
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.tasks import Task, find_task
from safe_skills.experiments.collect_cable import collect_cable
from safe_skills.experiments.collect_task import OPTIONS, VARIED, collect_task
from safe_skills.experiments.training_runs import load_section
from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.observation import FrameObservation, MaskObservation

ABLATIONS = ("none", "no-safe-set", "bc-safe-set", "no-constraint")
"""LS3 sec. 5.1: "LS3(-SS)" plans without the safe set, "LS3(BC SS)" learns it by classification.
Fig. 7: "No Constraints" plans without the constraint estimator.
"""


def load_setting(task: str, name: str) -> tuple[dict[str, int | bool], LS3Config]:
    """Reads a section of a task's training configuration: episodes by kind, and the model.

    Beside the numbers of episodes, `varied` says whether the demonstrations are.

    Raises:
        ConfigError: for an unknown section or key.
    """
    section = load_section(f"ls3_{task}.yaml", name, ("data", "model"))
    counts = dict(section["data"])
    known = [*OPTIONS.values(), *(["varied"] if task in VARIED else [])]
    unknown = sorted(set(counts) - set(known))
    if unknown:
        raise ConfigError(
            f"setting {name}: unknown kind of episodes {unknown[0]!r}; known: {', '.join(known)}"
        )
    return counts, from_mapping(LS3Config, section["model"])


def ablated(config: LS3Config, ablation: str = "none", **planner: float | int | None) -> LS3Config:
    """A configuration with one of the paper's ablations.

    Args:
        config: the whole method's.
        ablation: one of `ABLATIONS`.
        planner: settings of the planner that acts (`horizon`, `delta_c`, `delta_s`); None leaves
            one as it is.

    Raises:
        ConfigError: for a value out of range, or another ablation.
    """
    if ablation not in ABLATIONS:
        raise ConfigError(f"ablation: expected one of {', '.join(ABLATIONS)}, got {ablation!r}")
    if ablation == "bc-safe-set":
        config = replace(config, safe_set=replace(config.safe_set, gamma_s=0.0))
    changes = {name: value for name, value in planner.items() if value is not None}
    if ablation == "no-safe-set":
        changes["use_safe_set"] = False
    if ablation == "no-constraint":
        changes["use_constraint"] = False
    online = replace(config.online, planner={**config.online.planner, **changes})
    return replace(config, online=online)


def new_agent(task: Task, layout: str, config: LS3Config) -> LS3Agent:
    """An untrained agent of a task; `layout` is "" where there is but one."""
    limit = np.array(task.action_limit)
    if layout:
        limit = np.full(len(limit), LAYOUTS[layout].step_limit)
    observation = (
        MaskObservation()
        if task.masked
        else FrameObservation(size=config.encoder.image_size, stack=task.frame_stack)
    )
    return LS3Agent(
        config, task=task.name, layout=layout, action_limit=limit, observation=observation
    )


def layout_of(task: str, layout: str | None) -> str:
    """The layout to use: the cable's are named, other tasks have but one, "".

    Raises:
        ConfigError: a layout is asked for where there are none.
    """
    if find_task(task).masked:
        return layout or "open"
    if layout:
        raise ConfigError(f"--layout: the task {task} has none, got {layout!r}")
    return ""


def collect(
    folder: Path, task: str, layout: str, counts: dict[str, int | bool], **options: Any
) -> EpisodeStore:
    """Collects the episodes of a setting, or completes what is there."""
    if layout:
        return collect_cable(folder, layout, **counts, **options)
    kinds = {kind: counts[name] for kind, name in OPTIONS.items() if name in counts}
    return collect_task(folder, task, kinds, varied=counts.get("varied", False), **options)
