"""How a message of the graph is spoiled: one function a kind of fault."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header

from safe_skills.msg import AbstractAction, Command, LatentState, SafetyContext

HOUR = 3600 * 1_000_000_000
FLOAT32 = (LatentState, SafetyContext, AbstractAction)
OVERSIZED = 100_000
"""Entries of a message that is far too long."""


def header_of(message: Any) -> Header:
    """The header of a message, or the header that it is."""
    return message if isinstance(message, Header) else message.header


def shift_stamp(message: Any, nanoseconds: int) -> None:
    """Moves a message's stamp; not below 0."""
    stamp = header_of(message).stamp
    moved = max(stamp.sec * 1_000_000_000 + stamp.nanosec + nanoseconds, 0)
    stamp.sec, stamp.nanosec = divmod(moved, 1_000_000_000)


def numbers_of(message: Any) -> list[float]:
    """The numbers that a message is about."""
    if isinstance(message, Command):
        return list(message.action)
    if isinstance(message, (LatentState, SafetyContext)):
        return list(message.mean)
    if isinstance(message, AbstractAction):
        return list(message.z)
    if isinstance(message, JointState):
        return list(message.position)
    p, q = message.pose.position, message.pose.orientation
    return [p.x, p.y, p.z, q.x, q.y, q.z, q.w]


def set_numbers(message: Any, numbers: Sequence[float]) -> None:
    """Replaces the numbers that a message is about."""
    if isinstance(message, FLOAT32):
        with np.errstate(over="ignore"):
            numbers = np.array(numbers, np.float32).tolist()
    if isinstance(message, Command):
        message.action = numbers
    elif isinstance(message, (LatentState, SafetyContext)):
        message.mean = numbers
    elif isinstance(message, AbstractAction):
        message.z = numbers
    elif isinstance(message, JointState):
        message.position = numbers
    else:
        p, q = message.pose.position, message.pose.orientation
        p.x, p.y, p.z, q.x, q.y, q.z, q.w = numbers


def _some(value: float) -> Callable[[Any, np.random.Generator], None]:
    """One or all of the numbers become a value."""

    def spoil(message: Any, rng: np.random.Generator) -> None:
        numbers = numbers_of(message) or [0.0]
        if rng.random() < 0.5:
            numbers = [value] * len(numbers)
        else:
            numbers[int(rng.integers(len(numbers)))] = value
        set_numbers(message, numbers)

    return spoil


def _infinite(message: Any, rng: np.random.Generator) -> None:
    _some(float(rng.choice([np.inf, -np.inf])))(message, rng)


def _huge(message: Any, rng: np.random.Generator) -> None:
    _some(float(rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(0.5, 30.0)))(message, rng)


def _denormal(message: Any, rng: np.random.Generator) -> None:
    _some(float(rng.choice([5e-324, -5e-324, 2e-308])))(message, rng)


def _negative(message: Any, rng: np.random.Generator) -> None:
    """The numbers, or the deviations where there are some, change their sign."""
    if hasattr(message, "stddev"):
        message.stddev = [-1.0 - abs(value) for value in message.stddev]
    else:
        set_numbers(message, [-value for value in numbers_of(message)])


def _wrong_size(message: Any, rng: np.random.Generator) -> None:
    size = len(numbers_of(message))
    sizes = [n for n in (0, 1, size - 1, size + 1, 1000) if n not in (size, -1)]
    set_numbers(message, [0.001] * int(rng.choice(sizes)))


def _oversized(message: Any, rng: np.random.Generator) -> None:
    if isinstance(message, Image):
        _pixels(message, np.zeros((1080, 1920, 3), np.uint8))
    else:
        set_numbers(message, [0.001] * OVERSIZED)


def _wrong_frame(message: Any, rng: np.random.Generator) -> None:
    header_of(message).frame_id = str(rng.choice(["", "camera", "base_link", "task2", "x" * 1000]))


def _wrong_model(message: Any, rng: np.random.Generator) -> None:
    message.model_id = str(rng.choice(["", "another", message.model_id[::-1], "x" * 10_000]))


def _old(message: Any, rng: np.random.Generator) -> None:
    shift_stamp(message, -int(rng.integers(10**10, HOUR)))


def _future(message: Any, rng: np.random.Generator) -> None:
    shift_stamp(message, int(rng.integers(10**10, HOUR)))


def _zero(message: Any, rng: np.random.Generator) -> None:
    stamp = header_of(message).stamp
    stamp.sec = stamp.nanosec = 0


# ---- images


def _pixels(message: Image, pixels: np.ndarray) -> None:
    message.height, message.width, _ = pixels.shape
    message.step = 3 * message.width
    message.data = pixels.tobytes()


def _flat(value: int) -> Callable[[Image, np.random.Generator], None]:
    def spoil(message: Image, rng: np.random.Generator) -> None:
        _pixels(message, np.full((message.height, message.width, 3), value, np.uint8))

    return spoil


def _noise(message: Image, rng: np.random.Generator) -> None:
    _pixels(message, rng.integers(0, 256, (message.height, message.width, 3), np.uint8))


def _resized(message: Image, rng: np.random.Generator) -> None:
    height, width = (int(n) for n in rng.choice([1, 7, 32, 63, 65, 480], 2))
    _pixels(message, rng.integers(0, 256, (height, width, 3), np.uint8))


def _truncated(message: Image, rng: np.random.Generator) -> None:
    message.data = bytes(message.data)[: int(rng.integers(len(message.data)))]


def _wrong_encoding(message: Image, rng: np.random.Generator) -> None:
    message.encoding = str(rng.choice(["", "mono8", "32FC1", "rgba8", "jpeg"]))


SPOIL: dict[str, Callable[[Any, np.random.Generator], None]] = {
    "wrong size": _wrong_size,
    "wrong frame": _wrong_frame,
    "wrong model": _wrong_model,
    "NaN": _some(np.nan),
    "infinite": _infinite,
    "huge": _huge,
    "denormal": _denormal,
    "negative": _negative,
    "old stamp": _old,
    "future stamp": _future,
    "zero stamp": _zero,
    "oversized": _oversized,
    "black": _flat(0),
    "white": _flat(255),
    "noise": _noise,
    "resized": _resized,
    "truncated": _truncated,
    "wrong encoding": _wrong_encoding,
}
"""Changes a message in place, by the name of the kind of fault."""


def spoiled(kind: str, message: Any, past: Sequence[Any], rng: np.random.Generator) -> Any:
    """A spoiled copy of a message.

    Args:
        kind: of the fault.
        message: the newest of its stream.
        past: earlier messages of the stream, the oldest first.
        rng: chooses values.
    """
    if kind == "duplicate":
        return message
    if kind == "replay":
        return past[int(rng.integers(len(past)))] if past else message
    made = copy.deepcopy(message)
    if kind == "frozen":
        made = copy.deepcopy(past[0] if past else message)
        made.header.stamp = message.header.stamp
        return made
    SPOIL[kind](made, rng)
    return made


def plausible(message: Any, rng: np.random.Generator) -> Any:
    """A message as an intruder would send it: of the right form, about another motion."""
    made = copy.deepcopy(message)
    if isinstance(made, Command):
        made.action = (0.01 * rng.uniform(-1.0, 1.0, len(made.action))).tolist()
        made.source = "intruder"
    elif isinstance(made, PoseStamped):
        made.pose.position.x += float(rng.uniform(-0.01, 0.01))
        made.pose.position.y += float(rng.uniform(-0.01, 0.01))
    else:
        for point in made.points:
            point.positions = [value + float(rng.uniform(-0.02, 0.02)) for value in point.positions]
    return made
