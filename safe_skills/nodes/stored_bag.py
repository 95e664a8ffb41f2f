"""Stored episodes as an MCAP file and back, bit by bit.

Their topics are apart from those of a robot, below `stored/`: who plays such a file beside a robot
moves nothing. Times are made up: an episode's frames are 0.1 s apart, as in LS3's tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray, Header, String

from safe_skills.data.episodes import Episode, EpisodeStore
from safe_skills.data.ring import Entry
from safe_skills.msg import EpisodeStatus
from safe_skills.nodes.conversions import TASK_FRAME, image_from_rgb, rgb_from_image
from safe_skills.nodes.mcap_log import McapLog
from safe_skills.nodes.recordings import Recording, RecordingError, deserialize

TOPICS = {
    "/stored/record": String,
    "/stored/image_raw": Image,
    "/stored/mask": Image,
    "/stored/action": Float32MultiArray,
    "/stored/episode": EpisodeStatus,
}
RECORD, IMAGE, MASK, ACTION, STEP = TOPICS

WORDS = (
    "kind",
    "seed",
    "policy",
    "revision",
    "layout",
    "violation",
    "task",
    "noise",
    "terminated",
    "truncated",
    "success",
)
"""What is true of a whole episode; goes before it, as JSON."""

PERIOD = 100_000_000
"""Between two frames [ns]."""


def write_episodes(store: EpisodeStore, path: Path) -> int:
    """Write all episodes of a store to one file, beside it first; returns how many.

    Raises:
        EpisodeError: An episode cannot be read.
        OSError: The file cannot be written; none is left.
    """
    log = McapLog(path)
    try:
        writer = _Writer(log)
        for episode in store:
            writer.write(episode)
        log.close()
    except BaseException:
        log.discard()
        raise
    return writer.episodes


class _Writer:
    def __init__(self, log: McapLog) -> None:
        self._log = log
        self._channels = {
            topic: log.add_topic(topic, f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}")
            for topic, kind in TOPICS.items()
        }
        self.episodes = 0
        self._stamp = 1_000_000_000  # a stamp of zero would be invalid
        self._count = 0

    def write(self, episode: Episode) -> None:
        words = {name: getattr(episode, name) for name in WORDS}
        words |= {"steps": len(episode), "masks": episode.masks is not None}
        self._say(RECORD, String(data=json.dumps(words)))
        for step in range(len(episode)):
            self._show(episode, step)
            self._say(ACTION, Float32MultiArray(data=episode.actions[step].tolist()))
            self._say(STEP, self._status(episode, step))
            self._stamp += PERIOD
        self._show(episode, len(episode))
        self._stamp += 10 * PERIOD
        self.episodes += 1

    def _show(self, episode: Episode, frame: int) -> None:
        self._say(IMAGE, image_from_rgb(episode.images[frame], self._header("camera")))
        if episode.masks is not None:
            self._say(MASK, _mask_message(episode.masks[frame], self._header("camera")))

    def _status(self, episode: Episode, step: int) -> EpisodeStatus:
        last = step == len(episode) - 1
        touched = bool(episode.costs[step] > 0)
        return EpisodeStatus(
            header=self._header(TASK_FRAME),
            episode=self.episodes,
            seed=max(episode.seed, 0),
            step=step + 1,
            reward=float(episode.rewards[step]),
            cost=float(episode.costs[step]),
            success=last and episode.success,
            violation=touched,
            violation_kind=episode.violation if touched else "",
            done=last,
            episode_return=float(episode.rewards[: step + 1].sum()),
            episode_cost=float(episode.costs[: step + 1].sum()),
        )

    def _header(self, frame: str) -> Header:
        seconds, rest = divmod(self._stamp, 1_000_000_000)
        return Header(stamp=Time(sec=seconds, nanosec=rest), frame_id=frame)

    def _say(self, topic: str, message: Any) -> None:
        # One nanosecond apart, so that whatever sorts by time keeps the order.
        self._count += 1
        at = self._stamp + self._count % 1000
        number = self._count & 0xFFFFFFFF
        self._log.add(Entry(self._channels[topic], serialize_message(message), at, at, number))


class StoredEpisodes:
    """Reads back what `write_episodes` wrote.

    Args:
        recording: that has the topics.

    Attributes:
        incomplete: episodes of which something is missing; they are left out.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.incomplete = 0
        self._words: dict[str, Any] | None = None
        self._parts: dict[str, list[Any]] = {}

    def __iter__(self) -> Iterator[Episode]:
        for recorded in self._recording.messages(TOPICS):
            try:
                message = deserialize(recorded, TOPICS[recorded.topic])
                self._take(recorded.topic, message)
            except ValueError as error:
                self._recording.problems.append(f"{self._recording.path}: {error}")
                continue
            if self._words is not None and self._complete:
                words, self._words = self._words, None
                yield _episode(words, self._parts)
        self.incomplete += self._words is not None

    def _take(self, topic: str, message: Any) -> None:
        if topic == RECORD:
            self.incomplete += self._words is not None
            self._words = _words(message.data)
            self._parts = {name: [] for name in (IMAGE, MASK, ACTION, STEP)}
        elif self._words is not None:
            self._parts[topic].append(_UNPACK[topic](message))

    @property
    def _complete(self) -> bool:
        steps, parts = self._words["steps"], self._parts
        frames = steps + 1
        return (
            len(parts[IMAGE]) == frames
            and len(parts[MASK]) == (frames if self._words["masks"] else 0)
            and len(parts[ACTION]) == len(parts[STEP]) == steps
        )


def _words(text: str) -> dict[str, Any]:
    try:
        words = json.loads(text)
        missing = [name for name in (*WORDS, "steps", "masks") if name not in words]
        if missing or not isinstance(words["steps"], int) or words["steps"] < 1:
            raise ValueError(f"without {', '.join(missing) or 'a number of steps'}")
    except (ValueError, TypeError) as error:
        raise RecordingError(f"{RECORD}: expected what is true of an episode ({error})") from None
    return words


def _episode(words: dict[str, Any], parts: dict[str, list[Any]]) -> Episode:
    rewards, costs = zip(*parts[STEP], strict=True)
    return Episode(
        images=np.stack(parts[IMAGE]),
        masks=np.stack(parts[MASK]) if words["masks"] else None,
        actions=np.stack(parts[ACTION]),
        rewards=np.array(rewards, np.float32),
        costs=np.array(costs, np.float32),
        **{name: words[name] for name in WORDS},
    )


def _mask_message(mask: np.ndarray, header: Header) -> Image:
    height, width = mask.shape
    message = Image(header=header, height=height, width=width, encoding="mono8", step=width)
    message.data = np.ascontiguousarray(mask).tobytes()
    return message


def _mask(message: Image) -> np.ndarray:
    size = (message.height, message.width)
    if message.encoding != "mono8" or len(message.data) != message.height * message.width:
        raise RecordingError(
            f"{MASK}: expected mono8 of {message.width}x{message.height}, got {message.encoding} "
            f"of {len(message.data)} bytes"
        )
    return np.frombuffer(message.data, np.uint8).reshape(size).copy()


_UNPACK = {
    IMAGE: rgb_from_image,
    MASK: _mask,
    ACTION: lambda message: np.array(message.data, np.float32),
    STEP: lambda message: (message.reward, message.cost),
}
