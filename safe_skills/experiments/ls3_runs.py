"""The commands that LS3's tables and figures are made of: data, trainings, their checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from safe_skills.data.settings import from_mapping, require
from safe_skills.envs.tasks import TASKS
from safe_skills.experiments.ls3_settings import load_setting
from safe_skills.experiments.results import load_section
from safe_skills.experiments.stages import Stage
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.planner_config import planner_profile

DATA_SEED = 0


class Method(NamedTuple):
    """A method of the paper.

    Attributes:
        title: as the paper calls it.
        command: of `safe-skills train`.
        ablation: of LS3.
    """

    title: str
    command: str
    ablation: str = ""


METHODS = {
    "sacfd": Method("SACfD", "sacfd"),
    "awac": Method("AWAC", "awac"),
    "recovery": Method("SACfD+RRL", "recovery"),
    "ls3-no-safe-set": Method("LS3(-SS)", "ls3", "no-safe-set"),
    "ls3-bc-safe-set": Method("LS3(BC SS)", "ls3", "bc-safe-set"),
    "ls3": Method("LS3", "ls3"),
}
SWEEPS = ("delta_c", "delta_s", "horizon")
NO_CONSTRAINT = "none"


@dataclass(frozen=True)
class TaskScale:
    """What is trained on a task; config/reproduce/ls3.yaml explains it."""

    setting: str
    baselines: str
    updates: int
    seeds: tuple[int, ...]
    methods: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        require(not unknown, f"methods: expected some of {', '.join(METHODS)}, got {unknown}")
        require(bool(self.seeds), "seeds: expected one or more, got none")


@dataclass(frozen=True)
class Sweeps:
    """Settings of the planner that are varied; config/reproduce/ls3.yaml explains them."""

    task: str
    updates: int
    seeds: tuple[int, ...]
    delta_c: tuple[float | str, ...]
    delta_s: tuple[float, ...]
    horizon: tuple[int, ...]


@dataclass(frozen=True)
class Scale:
    """Sizes of a reproduction; config/reproduce/ls3.yaml explains them."""

    episodes: int
    checkpoint_every: int
    checkpoint_episodes: int
    tasks: dict[str, TaskScale]
    sweeps: Sweeps

    def __post_init__(self) -> None:
        unknown = [name for name in self.tasks if name not in TASKS]
        require(not unknown, f"tasks: expected some of {', '.join(TASKS)}, got {unknown}")
        own = self.tasks.get(self.sweeps.task)
        require(
            own is not None
            and "ls3" in own.methods
            and set(self.sweeps.seeds) <= set(own.seeds)
            and self.sweeps.updates <= own.updates,
            "sweeps: expected a task that ls3 is trained on, with some of its seeds, and no more "
            f"updates, got {self.sweeps}",
        )


def load_scale(name: str) -> Scale:
    """Reads a scale of config/reproduce/ls3.yaml, one of `SCALES`.

    Raises:
        ConfigError: there is none, or it says what does not go together.
    """
    values = load_section("ls3.yaml", name)
    tasks = {
        task: from_mapping(TaskScale, sizes, f"tasks.{task}")
        for task, sizes in values["tasks"].items()
    }
    return from_mapping(Scale, values | {"tasks": tasks})


@dataclass(frozen=True)
class Run:
    """The stages of a scale, in a folder.

    Attributes:
        scale: how large.
        folder: of data, checkpoints and measurements.
    """

    scale: Scale
    folder: Path

    def data(self, task: str) -> Stage:
        """Episodes of a task, as many as its setting of LS3 names; all methods learn from them."""
        counts, _ = _setting(task, self.scale.tasks[task].setting)
        folder = self.folder / "data" / task
        counts = dict(counts)
        varied = ["--varied"] if counts.pop("varied", False) else []
        return Stage.of(
            folder.with_suffix(".json"),
            *("collect", task, *(word for kind in counts for word in (f"--{kind}", counts[kind]))),
            *varied,
            *("--seed", DATA_SEED, "--workers", 1, "--out", folder),
        )

    def training(self, method: str, task: str, seed: int) -> Stage:
        """One of `METHODS` learns a task; `run_folder` has what it leaves."""
        ablation = METHODS[method].ablation
        words = ("--ablation", ablation) if ablation else ()
        updates = self.scale.tasks[task].updates
        name = f"{method}_{task}_{seed}"
        whole = method == "ls3-no-safe-set" and "ls3" in self.scale.tasks[task].methods
        return self._train(method, task, name, seed, updates, *words, after_whole=whole)

    def trainings(self, method: str, task: str) -> list[Stage]:
        """A method learns a task from all seeds; none where the scale does not name it."""
        sizes = self.scale.tasks.get(task)
        if sizes is None or method not in sizes.methods:
            return []
        return [self.training(method, task, seed) for seed in sizes.seeds]

    def checkpoints(self, training: Stage) -> Stage:
        """How good the agents of a training were (fig. 6)."""
        return Stage.of(
            self.folder / "checkpoints" / training.result.name,
            *("evaluate", "run", run_folder(training)),
            *("--every", self.scale.checkpoint_every),
            *("--episodes", self.scale.checkpoint_episodes, "--workers", 1),
            after=[training.result],
        )

    def own_value(self, name: str) -> float:
        """What the setting of the swept task has for one of `SWEEPS`."""
        task = self.scale.sweeps.task
        _, config = _setting(task, self.scale.tasks[task].setting)
        planner = planner_profile(config.online.profile, task, **config.online.planner)
        return getattr(planner, name)

    def values(self, name: str) -> list[float | str]:
        """The values of a sweep, with the setting's own."""
        named = getattr(self.scale.sweeps, name)
        numbers = sorted({*(v for v in named if v != NO_CONSTRAINT), self.own_value(name)})
        return [*(v for v in named if v == NO_CONSTRAINT), *numbers]

    def sweep(self, name: str, value: float | str) -> list[Stage]:
        """LS3 with a value of one of `SWEEPS`, from all seeds.

        The setting's own value is that of the whole training, which is read as far as the sweep
        goes.
        """
        sweeps = self.scale.sweeps
        if value == self.own_value(name):
            return [self.training("ls3", sweeps.task, seed) for seed in sweeps.seeds]
        text = value if value == NO_CONSTRAINT else f"{value:g}"
        words = ("--ablation", "no-constraint") if text == NO_CONSTRAINT else (f"--{name}", text)
        return [
            self._train(
                *("ls3", sweeps.task, f"ls3_{sweeps.task}_{name}-{text}_{seed}"),
                *(seed, sweeps.updates, *words),
                after_whole=True,
            )
            for seed in sweeps.seeds
        ]

    def episodes_per_update(self, task: str) -> int:
        """K of LS3 on a task."""
        _, config = _setting(task, self.scale.tasks[task].setting)
        return config.online.episodes_per_update

    def _train(
        self,
        method: str,
        task: str,
        name: str,
        seed: int,
        updates: int,
        *words: object,
        after_whole: bool = False,
    ) -> Stage:
        """A training; `after_whole`: of what the whole method learned offline of this seed."""
        command, sizes = METHODS[method].command, self.scale.tasks[task]
        data = self.data(task)
        after = [data.result]
        of_ls3 = command == "ls3"
        setting = sizes.setting if of_ls3 else sizes.baselines
        own = ["--data-seed", DATA_SEED, "--keep", "last"] if of_ls3 else []
        if after_whole:
            whole = self.training("ls3", task, seed)
            own += ["--offline", run_folder(whole)]
            after.append(whole.result)
        folder = self.folder / "runs" / name
        return Stage.of(
            folder.with_name(f"{name}.json"),  # a value in the name may have a point, too
            *("train", command, task, "--setting", setting, *words, "--seed", seed),
            *("--data", data.result.with_suffix(""), *own, "--updates", updates),
            *("--episodes", self.scale.episodes, "--workers", 1, "--out", folder),
            after=after,
        )


@cache
def _setting(task: str, name: str) -> tuple[dict[str, int | bool], LS3Config]:
    return load_setting(task, name)


def run_folder(training: Stage) -> Path:
    """What `Run.training` leaves: its episodes, its checkpoints."""
    return training.result.with_suffix("")
