"""Training episodes out of recordings, by the code that gathers them from a running graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from safe_skills.data.episodes import Episode
from safe_skills.msg import AbstractAction, EpisodeStatus, PlanStatus
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of
from safe_skills.nodes.camera_encoder import CAMERA_PARAMETERS
from safe_skills.nodes.episode_topics import CableTopics, EpisodeTopics, SkillTopics
from safe_skills.nodes.parameters import Param, resolve
from safe_skills.nodes.recordings import Recording, RecordingError, deserialize
from safe_skills.nodes.stored_bag import RECORD, StoredEpisodes

TASKS = ("cable", "operation")
SIZES = {"cable": 64, "operation": 48}
"""Sides of the frames that the shipped models are trained on, in pixels."""

TABLE = {"crop": CAMERA_PARAMETERS["crop"], **ARM_PARAMETERS}
"""Parameters of a trainer by which it reads the topics."""

Handlers = dict[str, tuple[type, Callable[[Any], object]]]


@dataclass(frozen=True)
class BagSettings:
    """How recordings of a graph are read.

    Attributes:
        task: one of `TASKS`; "" finds out by the topics.
        number: of the task, for the episodes of an arm.
        namespace: of the robot, such as "/left"; "" for none.
        size: side of the task area in pixels; 0 takes that of the shipped models.
        parameters: values of `TABLE`.
    """

    task: str = ""
    number: int = 0
    namespace: str = ""
    size: int = 0
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {name: row.default for name, row in TABLE.items()}
    )

    def param(self, name: str) -> Any:
        """Return a parameter's value, as a node does."""
        return self.parameters[name]


def parameters_of(config: Path | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `TABLE` by a graph's parameter file, section `trainer`.

    Args:
        config: the file; None takes the defaults.
        overrides: that win over the file.

    Raises:
        ValueError: in one line: the file cannot be read, or a value does not fit.
    """
    given: dict[str, Any] = {}
    if config is not None:
        try:
            file = yaml.safe_load(config.read_text(encoding="utf-8"))
            sections = [file[name]["ros__parameters"] for name in file if name.endswith("trainer")]
            given = {name: value for name, value in sections[0].items() if name in TABLE}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"config {config}: {' '.join(str(error).split())}") from None
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ValueError(f"config {config}: expected a section /**/trainer") from None
    table: dict[str, Param] = TABLE
    values, problems = resolve(table, {**given, **overrides})
    if problems:
        raise ValueError("; ".join(problems))
    return values


class BagEpisodes:
    """The episodes in a recording; iterate once.

    A recording of a graph yields what a trainer would have gathered from it, one that
    `write_episodes` made yields what it was made from.

    Args:
        path: of an MCAP file, whole or cut off, or of a rosbag2 folder.
        settings: how a graph's topics are read.

    Attributes:
        incomplete: episodes of which something is missing: the steps before it are left out.
        refused: messages that could not be used, by kind, with the first line about each.

    Raises:
        ValueError: in one line: it is no recording, or has no episodes to be read.
    """

    def __init__(self, path: Path | str, settings: BagSettings) -> None:
        self._recording = Recording(path)
        self._settings = settings
        self.incomplete = 0
        self.refused: dict[str, tuple[int, str]] = {}
        self._now = 0.0
        there = self._recording.topics()
        self.stored = RECORD in there
        if not self.stored:
            self._topics = self._new_topics(there)

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read, a line each; complete after the iteration."""
        lines = [f"{line} ({count} such)" for count, line in self.refused.values()]
        return [*self._recording.problems, *(f"{self._recording.path}: {line}" for line in lines)]

    def __iter__(self) -> Iterator[Episode]:
        if self.stored:
            stored = StoredEpisodes(self._recording)
            yield from stored
            self.incomplete = stored.incomplete
            return
        assembler, handlers = self._topics.assembler, self._handlers()
        wanted = {topic: kind for topic, (kind, _) in handlers.items()}
        for recorded in self._recording.messages(wanted):
            kind, handle = handlers[recorded.topic]
            # Patience is counted by the recorder's clock, as a trainer counts by its own.
            self._now = max(self._now, 1e-9 * recorded.log_time)
            try:
                message = deserialize(recorded, kind)
            except RecordingError as error:
                self._refuse("damaged message", str(error))
                continue
            handle(message)
            yield from assembler.take(self._now)
        yield from assembler.take(math.inf)
        assembler.abandon()
        self.incomplete = assembler.incomplete

    def _new_topics(self, there: set[str]) -> EpisodeTopics:
        name, settings = self._name, self._settings
        if name("episode") not in there:
            found = sorted(topic for topic in there if topic.endswith("/episode"))
            hint = f"; --namespace could be {found[0].removesuffix('/episode')}" if found else ""
            raise RecordingError(
                f"{self._recording.path}: expected the topic {name('episode')}, which says what "
                f"came of each step; it is not recorded{hint}"
            )
        task = settings.task or ("operation" if name("abstract_action") in there else "cable")
        crop, size = settings.param("crop"), settings.size or SIZES[task]
        if task == "operation":
            return SkillTopics(settings.number, crop, size, self._refuse)
        if name(f"{settings.param('arm')}/servo_cp") not in there:
            raise RecordingError(
                f"{self._recording.path}: expected the set-points of an arm on "
                f"{name(settings.param('arm') + '/servo_cp')}; they are not recorded"
            )
        return CableTopics(arm_of(settings), crop, size, self._refuse)

    def _handlers(self) -> Handlers:
        topics, name = self._topics, self._name
        handlers: Handlers = {
            name("camera/image_raw"): (Image, topics.image),
            name("outcome/image_raw"): (Image, topics.outcome),
            name("episode_start"): (Header, topics.start),
            name("episode"): (EpisodeStatus, lambda message: topics.step(message, self._now)),
        }
        if isinstance(topics, SkillTopics):
            return handlers | {name("abstract_action"): (AbstractAction, topics.chosen)}
        arm = self._settings.param("arm")
        return handlers | {
            name(f"{arm}/servo_cp"): (PoseStamped, topics.set_point),
            name(f"{arm}/measured_cp"): (PoseStamped, topics.measured),
            name("plan_status"): (PlanStatus, topics.plan),
        }

    def _name(self, topic: str) -> str:
        namespace = self._settings.namespace.strip("/")
        return f"/{namespace}/{topic}" if namespace else f"/{topic}"

    def _refuse(self, kind: str, line: str) -> None:
        count, first = self.refused.get(kind, (0, line))
        self.refused[kind] = (count + 1, first)
