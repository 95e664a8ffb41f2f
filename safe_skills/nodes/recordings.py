"""Reads recorded messages out of MCAP files: whole ones, cut-off ones, and folders of rosbag2."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import yaml
from mcap.exceptions import EndOfFile, McapError
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.writer import MCAP0_MAGIC
from rclpy.serialization import deserialize_message

from safe_skills.nodes.mcap_log import full_definition

LARGEST_RECORD = 2**30
"""Bytes; a length beyond that is damage, and would take the memory."""


class RecordingError(ValueError):
    """A recording that cannot be used; the message is one line."""


class Recorded(NamedTuple):
    """A message as it was recorded.

    Attributes:
        topic: its name, absolute.
        data: serialized.
        log_time: when the recorder received it [ns].
    """

    topic: str
    data: bytes
    log_time: int


class Recording:
    """The messages of a file, or of a folder as `ros2 bag record -s mcap` makes it.

    What can be read is read: up to the cut, where a recorder was killed, and around parts that are
    damaged.

    Args:
        path: of the file or folder.

    Raises:
        RecordingError: it is neither.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.problems: list[str] = []
        """What could not be read, a line each; complete once the messages have been read."""
        self.files = _files_of(self.path)

    def topics(self) -> set[str]:
        """Return the names of the topics in it; raises as `messages` does."""
        found: set[str] = set()
        for file in self.files:
            with file.open("rb") as stream:
                _, channels = _summary(stream)
            names = {channel.topic for channel in channels.values()}
            found |= names or {channel.topic for _, channel, _ in self._records(file)}
        self.problems.clear()  # they will be found again
        return found

    def messages(self, wanted: dict[str, type]) -> Iterator[Recorded]:
        """Yield the messages of some topics in the order in which they were recorded.

        Args:
            wanted: classes by topic.

        Raises:
            RecordingError: a file is no MCAP file, or a topic is of another type, encoding or
                definition.
        """
        for file in self.files:
            channels: dict[int, Channel | None] = {}
            for schema, channel, message in self._records(file):
                if channel.id not in channels:
                    kind = wanted.get(channel.topic)
                    if kind is not None:
                        _check_type(file, channel, schema, kind)
                    channels[channel.id] = channel if kind is not None else None
                if channels[channel.id] is not None:
                    yield Recorded(channel.topic, message.data, message.log_time)

    def _records(self, file: Path) -> Iterator[tuple[Schema | None, Channel, Message]]:
        with file.open("rb") as stream:
            if stream.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                raise RecordingError(f"{file}: expected an MCAP file, got another")
            schemas, channels = _summary(stream)
            stream.seek(0)
            strangers = 0
            for record in self._parts(file, stream):
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels.get(record.channel_id)
                    if channel is None:
                        strangers += 1
                        continue
                    yield schemas.get(channel.schema_id), channel, record
            if strangers:
                self.problems.append(f"{file}: {strangers} messages of unnamed topics left out")

    def _parts(self, file: Path, stream: BinaryIO) -> Iterator[McapRecord]:
        reader = StreamReader(stream, emit_chunks=True, record_size_limit=LARGEST_RECORD)
        records, damaged = iter(reader.records), 0
        while True:
            try:
                record = next(records)
            except StopIteration:
                break
            except (McapError, ValueError, struct.error, MemoryError) as error:
                self.problems.append(_why(file, stream, error))
                break
            if not isinstance(record, Chunk):
                yield record
                continue
            try:
                parts = breakup_chunk(record, validate_crc=True)
            except Exception:
                # Each decompressor has exceptions of its own for what is damaged.
                damaged += 1
                continue
            yield from parts
        if damaged:
            self.problems.append(f"{file}: {damaged} damaged parts left out")


def deserialize(recorded: Recorded, kind: type) -> Any:
    """Return a recorded message as an object of its class.

    Raises:
        RecordingError: its bytes are none of that class.
    """
    try:
        return deserialize_message(recorded.data, kind)
    except Exception as error:
        # rclpy raises what the middleware does, which has no type in common.
        reason = " ".join(str(error).split())
        raise RecordingError(f"{recorded.topic}: a damaged message ({reason})") from None


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix in (".zstd", ".zst"):
            raise RecordingError(f"{path}: compressed as a whole: expand it first (zstd -d)")
        return [path]
    if not path.is_dir():
        raise RecordingError(f"{path}: expected a recording, there is none")
    files = _named_by_rosbag2(path / "metadata.yaml")
    # Without its metadata, as of a recorder that was killed, numbers tell the order.
    files = files or sorted(path.glob("*.mcap"), key=_by_number)
    if not files:
        raise RecordingError(f"{path}: expected a folder with MCAP files, as of ros2 bag record")
    return [one for file in files for one in _files_of(file)]


def _named_by_rosbag2(metadata: Path) -> list[Path]:
    try:
        known = yaml.safe_load(metadata.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        storage, names = known["storage_identifier"], known["relative_file_paths"]
        files = [metadata.parent / Path(name).name for name in names]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []
    if storage != "mcap":
        raise RecordingError(
            f"{metadata.parent}: expected storage mcap, got {storage}; ros2 bag convert changes it"
        )
    return files


def _by_number(path: Path) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", path.stem)], path.name


def _summary(stream: BinaryIO) -> tuple[dict[int, Schema], dict[int, Channel]]:
    """Schemas and channels as the end of the file repeats them; none where it has no end."""
    try:
        summary = SeekingReader(stream).get_summary()
    except Exception:
        # What stands there instead of a footer may be anything.
        summary = None
    return (dict(summary.schemas), dict(summary.channels)) if summary else ({}, {})


def _why(file: Path, stream: BinaryIO, error: Exception) -> str:
    if isinstance(error, EndOfFile) or not stream.read(1):
        return f"{file}: cut off, as by a recorder that was killed; read up to there"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{file}: damaged ({reason}); read up to there"


def _check_type(file: Path, channel: Channel, schema: Schema | None, kind: type) -> None:
    package, name = kind.__module__.split(".")[0], kind.__name__
    expected = f"{package}/msg/{name}"
    got = schema.name if schema else "no type"
    if got != expected or channel.message_encoding != "cdr":
        raise RecordingError(
            f"{file}: {channel.topic}: expected {expected} in cdr, "
            f"got {got} in {channel.message_encoding or 'no encoding'}"
        )
    if schema.encoding == "ros2msg":
        recorded = schema.data.decode("utf-8", "replace")
        if _fields(recorded, expected) != _fields(full_definition(expected), expected):
            raise RecordingError(
                f"{file}: {channel.topic}: recorded with another definition of {expected} than is "
                f"installed"
            )


def _fields(definition: str, first: str) -> dict[str, list[str]]:
    """The lines of every type in a definition, without comments and spaces that mean nothing."""
    found: dict[str, list[str]] = {}
    for number, part in enumerate(re.split(r"^={3,}\s*$", definition, flags=re.MULTILINE)):
        lines = [" ".join(line.split("#", 1)[0].split()) for line in part.splitlines()]
        lines = [line for line in lines if line]
        name = first
        if number and lines and lines[0].startswith("MSG:"):
            name = lines.pop(0).removeprefix("MSG:").strip()
        found[name.replace("/msg/", "/")] = lines
    return found
