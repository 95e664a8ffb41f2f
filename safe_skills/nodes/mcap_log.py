"""An MCAP file of serialized ROS 2 messages, as rosbag2 and Foxglove read it. No rclpy in here."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from mcap.writer import Writer

from safe_skills.data.ring import Entry

CHUNK_BYTES = 64 * 1024
"""A killed recorder loses at most the chunk it was filling."""

PARTIAL = ".partial"
"""Ending of the name of a file that is not finished."""

_PRIMITIVES = frozenset(
    "bool byte char float32 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 "
    "string wstring".split()
)
_SEPARATOR = "=" * 80


def definition_of(type_name: str) -> str:
    """Return the `.msg` text of a type such as `std_msgs/msg/Header`.

    Raises:
        ValueError: It is not installed with its `.msg` file.
    """
    package, _, name = type_name.split("/")
    try:
        path = Path(get_package_share_directory(package)) / "msg" / f"{name}.msg"
        return path.read_text(encoding="utf-8")
    except (PackageNotFoundError, FileNotFoundError):
        raise ValueError(f"no definition of {type_name} is installed") from None


def nested_types(definition: str, package: str) -> list[str]:
    """Return the message types that a definition's fields use, in order, each once."""
    found: dict[str, None] = {}
    for line in definition.splitlines():
        words = line.split("#", 1)[0].split()
        if len(words) < 2:
            continue
        base = re.split(r"[\[<]", words[0], maxsplit=1)[0]
        if base in _PRIMITIVES:
            continue
        parts = base.split("/")
        owner = parts[0] if len(parts) > 1 else package
        found[f"{owner}/msg/{parts[-1]}"] = None
    return list(found)


def full_definition(type_name: str, read: Callable[[str], str] = definition_of) -> str:
    """Return a definition followed by those of all nested types (MCAP's `ros2msg` encoding).

    Args:
        type_name: Such as `sensor_msgs/msg/Image`.
        read: Returns the `.msg` text of a type.
    """
    parts = {type_name: read(type_name)}
    waiting = nested_types(parts[type_name], type_name.split("/")[0])
    while waiting:
        nested = waiting.pop(0)
        if nested not in parts:
            parts[nested] = read(nested)
            waiting += nested_types(parts[nested], nested.split("/")[0])
    first, *rest = parts.items()
    text = first[1].rstrip("\n") + "\n"
    for nested, definition in rest:
        package, _, name = nested.split("/")
        text += f"{_SEPARATOR}\nMSG: {package}/{name}\n{definition.rstrip()}\n"
    return text


class McapLog:
    """Writes serialized messages to `path` + `.partial`, renamed to `path` when closed.

    A partial file that a kill left behind holds all whole chunks: `safe-skills data from-bag` reads
    it as it is, `mcap recover` repairs it. One that is found is set aside under another number.

    Args:
        path: Where the finished file goes; folders are made.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + PARTIAL)
        self.messages = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _set_aside(self.partial)
        self._stream: BinaryIO = open(self.partial, "wb")
        self._writer = Writer(self._stream, chunk_size=CHUNK_BYTES)
        self._writer.start(profile="ros2", library="safe_skills")
        self._schemas: dict[str, int] = {}

    def add_topic(self, topic: str, type_name: str) -> int:
        """Register a topic; returns its channel.

        Raises:
            ValueError: The type's definition is not installed.
        """
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.register_schema(
                type_name, "ros2msg", full_definition(type_name).encode()
            )
        return self._writer.register_channel(topic, "cdr", self._schemas[type_name])

    def add(self, entry: Entry) -> None:
        """Append a message in CDR."""
        self._writer.add_message(
            entry.channel,
            log_time=entry.received,
            data=entry.data,
            publish_time=entry.published,
            sequence=entry.sequence,
        )
        self.messages += 1

    def flush(self) -> None:
        """Hand whole chunks to the operating system."""
        self._stream.flush()

    def close(self) -> None:
        """Write the index, see it on the disk, and rename the file."""
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        os.replace(self.partial, self.path)

    def abandon(self) -> None:
        """Leave the partial file as it is: it could not be written to its end."""
        with suppress(OSError):
            # Tries to write the rest, where the disk may be full.
            self._stream.close()

    def discard(self) -> None:
        """Leave nothing behind."""
        self.abandon()
        self.partial.unlink(missing_ok=True)


def _set_aside(partial: Path) -> None:
    """A recorder that is started again must not write over what one that was killed has left."""
    if partial.exists():
        stem, number = partial.name.removesuffix(PARTIAL), 1
        while (aside := partial.with_name(f"{stem}.{number}{PARTIAL}")).exists():
            number += 1
        os.replace(partial, aside)
