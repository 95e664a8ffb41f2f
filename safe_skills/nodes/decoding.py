"""From a frame's latent state, context and abstract action to its action, or why there is none.

No ROS here: what arrives is put in, and what is due comes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from safe_skills.nodes.stamps import StampMatcher

if TYPE_CHECKING:
    from safe_skills.safer.prior import SkillPrior

LATENT, CONTEXT, ABSTRACT_ACTION = "latent", "context", "abstract_action"
"""What a frame's action is made of."""

DEPTH = 64
"""Frames that may wait for their parts."""

REASONS = (
    *(f"no_{part}" for part in (LATENT, CONTEXT, ABSTRACT_ACTION)),
    "window_too_short",
    "abstract_action_too_large",
    "action_not_finite",
)
"""Why there is no action, in the order in which they are looked for."""

NAN = float("nan")


def largest_entry(z: np.ndarray) -> float:
    """|z|_inf of an abstract action (A,)."""
    return float(np.abs(z).max())


def within(largest: float, eta: float) -> bool:
    """Whether |z|_inf keeps a bound; z travels as float32, which may round the bound upwards."""
    return bool(largest <= np.float32(eta))


class ContextPart(NamedTuple):
    """What is read of a context: the mean of c (C,), and the share of the window that was seen."""

    mean: np.ndarray
    fill: float


@dataclass(frozen=True)
class Answer:
    """What a frame came to.

    Attributes:
        stamp: of the frame [ns].
        action: (A,) in [-1, 1]; None for no motion.
        reason: one of `REASONS`; empty where there is an action.
        decode_time: of the flow [s]; 0 without an action.
        wait_time: from the first to the last part that came [s].
        fill: of the window, NaN without a context.
        largest: |z|_inf, NaN without an abstract action.
    """

    stamp: int
    action: np.ndarray | None
    reason: str
    decode_time: float
    wait_time: float
    fill: float
    largest: float


class SkillDecoding:
    """Decodes frames whose parts have come (SAFER Alg. 1, line 5); gives up those that lack one.

    Every frame is answered once, in rising order of stamps. A frame that a newer one has overtaken
    is not answered at all.

    Args:
        prior: the flow.
        eta: |z|_inf may be no larger.
        patience: time from a frame's first part after which it is given up [s].
        min_fill: least share of the window that must have been seen; nothing to a prior without c.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        prior: SkillPrior,
        eta: float,
        *,
        patience: float,
        min_fill: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.prior, self.eta = prior, eta
        self.patience, self.min_fill = patience, min_fill
        self._clock = clock
        parts = (LATENT, CONTEXT, ABSTRACT_ACTION)
        self.matcher = StampMatcher(
            (part for part in parts if prior.context_size or part != CONTEXT), DEPTH
        )

    def put(self, part: str, stamp: int, value: Any) -> Answer | None:
        """Takes a part of a frame; returns the answer, if it was the last one.

        Args:
            part: `LATENT`, `CONTEXT` or `ABSTRACT_ACTION`.
            stamp: of the frame [ns].
            value: psi(s) (d,), a `ContextPart`, or z (A,).
        """
        parts = self.matcher.put(part, stamp, (self._clock(), value))
        return None if parts is None else self._answer(stamp, parts)

    def overdue(self) -> list[Answer]:
        """The frames to give up now, the oldest first.

        A frame without a latent state counts only where all its other parts have come: a stray
        message with a stamp from the future must not pass for a frame, after which none older
        would be answered.
        """
        now = self._clock()
        given_up = []
        for stamp, parts in self.matcher.waiting.items():
            missing = self.matcher.missing(stamp)
            began = min(when for when, _ in parts.values())
            if now - began >= self.patience and (LATENT in parts or missing == [LATENT]):
                given_up.append(self._hold(stamp, parts, f"no_{missing[0]}"))
                self.matcher.close(stamp)
        return given_up

    def start_episode(self, stamp: int) -> None:
        """Answers frames of this stamp [ns] and newer ones only."""
        self.matcher.begin(stamp)

    def _answer(self, stamp: int, parts: Mapping[str, tuple[float, Any]]) -> Answer:
        context = parts[CONTEXT][1] if CONTEXT in parts else None
        z = parts[ABSTRACT_ACTION][1]
        if context is not None and context.fill < self.min_fill:
            return self._hold(stamp, parts, "window_too_short")
        if not within(largest_entry(z), self.eta):
            return self._hold(stamp, parts, "abstract_action_too_large")
        began = self._clock()
        mean = np.empty(0, np.float32) if context is None else context.mean
        action = self.prior.decode(z, parts[LATENT][1], mean)
        if not np.isfinite(action).all():
            return self._hold(stamp, parts, "action_not_finite")
        return self._made(stamp, parts, action, "", self._clock() - began)

    def _hold(self, stamp: int, parts: Mapping[str, tuple[float, Any]], reason: str) -> Answer:
        return self._made(stamp, parts, None, reason, 0.0)

    def _made(
        self,
        stamp: int,
        parts: Mapping[str, tuple[float, Any]],
        action: np.ndarray | None,
        reason: str,
        decode_time: float,
    ) -> Answer:
        times = [when for when, _ in parts.values()]
        return Answer(
            stamp=stamp,
            action=action,
            reason=reason,
            decode_time=decode_time,
            wait_time=max(times) - min(times),
            fill=parts[CONTEXT][1].fill if CONTEXT in parts else NAN,
            largest=largest_entry(parts[ABSTRACT_ACTION][1]) if ABSTRACT_ACTION in parts else NAN,
        )
