"""Summaries of measurements: percentiles, intervals and bounds for rates.

`scipy.stats` is imported where it is needed: it takes a second and 60 MB, which every node of the
graph would pay that has a model whose metrics were made with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Returns p50, p95 and p99; None where there is nothing to measure."""
    if len(values) == 0:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(np.asarray(values, dtype=np.float64), (50, 95, 99))
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean of at least one value and its standard error; None of a single value."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 1:
        return float(array[0]), None
    return float(array.mean()), float(array.std(ddof=1) / np.sqrt(len(array)))


def rate_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a rate; (0, 1) where there were no trials."""
    if trials == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def clopper_pearson(count: int, trials: int, confidence: float) -> tuple[float, float]:
    """One-sided Clopper-Pearson bounds (lower, upper) of a rate, each at this confidence."""
    from scipy.stats import beta

    alpha = 1 - confidence
    lower = 0.0 if count == 0 else float(beta.ppf(alpha, count, trials - count + 1))
    upper = 1.0 if count == trials else float(beta.ppf(1 - alpha, count + 1, trials - count))
    return lower, upper
