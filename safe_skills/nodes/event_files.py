"""Writes what a black box holds into files, in a thread that leaves time to others. No ROS here."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safe_skills.data.ring import Entry
from safe_skills.nodes.mcap_log import McapLog

WORK = 0.0005
"""Time for which the thread works before it sleeps [s]: a gate in the same process waits so long
for the interpreter at most, and not for the 5 ms after which Python would take it from the thread.
"""

REST = 0.001
"""Time for which it sleeps then [s]."""

FOR_STOPS = 0.25
"""Share of files and bytes that violations leave to stops and to whoever asks for a file."""


@dataclass(frozen=True)
class Written:
    """How writing a file ended.

    Attributes:
        path: of the file, or where it should have gone.
        error: why there is none, in one line; "" where there is.
        messages: in the file.
        seconds: that it covers.
        bytes: that it takes.
    """

    path: Path
    error: str = ""
    messages: int = 0
    seconds: float = 0.0
    bytes: int = 0


class EventFiles:
    """A folder of MCAP files named by time and reason, within a bound of number and bytes.

    Nothing is ever deleted: where the bound is reached, nothing more is written. A file is written
    beside its name and renamed; one that cannot be written leaves nothing behind.

    Args:
        folder: made when the first file is written.
        max_files: in the folder.
        max_bytes: of the files in the folder.
    """

    def __init__(self, folder: Path, max_files: int, max_bytes: int) -> None:
        self.folder = folder
        self._max_files, self._max_bytes = max_files, max_bytes
        self._thread: threading.Thread | None = None
        self._result: Written | None = None

    @property
    def busy(self) -> bool:
        """Whether a file is being written, or how that ended was not taken yet."""
        return self._thread is not None

    def write(
        self,
        reason: str,
        at: float,
        entries: Sequence[Entry],
        topics: Mapping[int, tuple[str, str]],
        *,
        urgent: bool,
    ) -> Path:
        """Begin to write a file; returns where it will be. Only when it is not `busy`.

        Args:
            reason: for its name.
            at: when it happened [s since the epoch].
            entries: messages, references to which are kept until they are written.
            topics: topic and type by channel.
            urgent: whether it may use the last part of what the bounds allow.
        """
        path = self._free_path(reason, at)
        arguments = (path, list(entries), dict(topics), urgent)
        self._thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self._thread.start()
        return path

    def take(self, patience: float = 0.0) -> Written | None:
        """Return how writing ended, once; None while it goes on, after `patience` [s] at most."""
        if self._thread is None:
            return None
        self._thread.join(patience)
        if self._thread.is_alive():
            return None
        self._thread = None
        return self._result

    def _free_path(self, reason: str, at: float) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        name = f"{stamp}_{re.sub(r'[^A-Za-z0-9_-]+', '-', reason)[:60]}"
        path, number = self.folder / f"{name}.mcap", 1
        while path.exists():
            number += 1
            path = self.folder / f"{name}_{number}.mcap"
        return path

    def _run(self, path: Path, entries: list[Entry], topics: dict, urgent: bool) -> None:
        try:
            self._check_room(1.0 if urgent else 1.0 - FOR_STOPS)
            self._result = _write(path, entries, topics)
        except (OSError, ValueError) as error:
            line = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._result = Written(path, " ".join(line.split()))
        except Exception as error:
            # In a thread nobody would see it.
            self._result = Written(path, f"internal error: {error!r}")

    def _check_room(self, share: float) -> None:
        """Refuse to write beyond the bounds.

        Raises:
            ValueError: in one line.
            OSError: the folder cannot be made or read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        sizes = [file.stat().st_size for file in self.folder.glob("*.mcap")]
        if len(sizes) >= share * self._max_files or sum(sizes) >= share * self._max_bytes:
            raise ValueError(
                f"{self.folder} holds {len(sizes)} files of {sum(sizes) / 1e6:.0f} MB, as many as "
                f"max_files or max_total_mib allow: move them away"
            )


def _write(path: Path, entries: list[Entry], topics: dict[int, tuple[str, str]]) -> Written:
    log = McapLog(path)
    channels: dict[int, int] = {}
    try:
        until = time.thread_time() + WORK
        for entry in entries:
            if entry.channel not in channels:
                channels[entry.channel] = log.add_topic(*topics[entry.channel])
            log.add(entry._replace(channel=channels[entry.channel]))
            if time.thread_time() > until:
                time.sleep(REST)
                until = time.thread_time() + WORK
        log.close()
        size = path.stat().st_size
    except BaseException:
        log.discard()
        raise
    times = [entry.received for entry in entries] or [0]
    return Written(path, "", len(entries), 1e-9 * (max(times) - min(times)), size)
