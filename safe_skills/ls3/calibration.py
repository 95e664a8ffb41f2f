"""Levels delta_C and delta_S from held-out steps, each with a bound that finitely many steps allow.

Both are found by fixed-sequence testing (the way of "Learn then Test", Angelopoulos et al., 2021):
levels are tried in an order fixed beforehand, each by a Clopper-Pearson bound at the full
confidence, until the first that fails. What is promised holds for the last one before it with this
confidence over the draw of the steps, which have to be independent: one an episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from safe_skills.data.statistics import clopper_pearson

CONSTRAINT_LEVELS = tuple(round(0.05 * k, 2) for k in range(4, 20))
"""Candidates for delta_C, upwards from LS3's own 0.2."""

SAFE_SET_LEVELS = tuple(round(0.01 * k, 2) for k in range(1, 100))
"""Candidates for delta_S, upwards."""


class CalibrationError(ValueError):
    """There is no level of what was asked for; the message is one line."""


@dataclass(frozen=True)
class Level:
    """A level and what is known of it.

    Attributes:
        value: delta_C or delta_S.
        count: steps that went wrong, of `trials`.
        trials: steps that were looked at.
        bound: upper bound on their share, at the confidence asked for.
    """

    value: float
    count: int
    trials: int
    bound: float


@dataclass(frozen=True)
class Curve:
    """What held-out steps say of every candidate, so that levels can be chosen later.

    Attributes:
        values: (L,) candidates in the order in which they are tried.
        counts: (L,) steps that go wrong at each.
        trials: (L,) of how many.
    """

    values: tuple[float, ...]
    counts: tuple[int, ...]
    trials: tuple[int, ...]

    def level(self, allowed: float, confidence: float, name: str) -> Level:
        """The last candidate before the first whose share is not bounded by `allowed`.

        Raises:
            CalibrationError: it is already the first one.
        """
        found = None
        for value, count, trials in zip(self.values, self.counts, self.trials, strict=True):
            bound = clopper_pearson(count, trials, confidence)[1] if trials else 1.0
            if bound > allowed:
                break
            found = Level(value, count, trials, bound)
        if found is None:
            raise CalibrationError(
                f"{name}: not even {self.values[0]:g} keeps the share at {allowed:g} with "
                f"confidence {confidence:g}: {self.counts[0]} of {self.trials[0]} steps; allow "
                f"more or hold out more data"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {name: list(getattr(self, name)) for name in ("values", "counts", "trials")}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Curve:
        """Reads what `to_dict` wrote."""
        return cls(**{name: tuple(items) for name, items in values.items()})


def constraint_curve(probability: np.ndarray, unsafe: np.ndarray) -> Curve:
    """Of the steps that each delta_C lets through, how many are unsafe.

    Args:
        probability: (n,) predicted f_C of independent steps.
        unsafe: (n,) bool, whether they violated the constraint.
    """
    through = [probability <= value for value in CONSTRAINT_LEVELS]
    return Curve(
        CONSTRAINT_LEVELS,
        tuple(int((passed & unsafe).sum()) for passed in through),
        tuple(int(passed.sum()) for passed in through),
    )


def safe_set_curve(probability: np.ndarray) -> Curve:
    """How many states of the safe set each delta_S refuses.

    Args:
        probability: (n,) f_S of independent states that are in the sampled safe set.
    """
    return Curve(
        SAFE_SET_LEVELS,
        tuple(int((probability < value).sum()) for value in SAFE_SET_LEVELS),
        (len(probability),) * len(SAFE_SET_LEVELS),
    )
