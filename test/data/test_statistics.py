"""Percentiles and intervals."""

import pytest
from scipy.stats import binomtest

from safe_skills.data.statistics import clopper_pearson, percentiles, rate_interval


def test_percentiles():
    assert percentiles(range(101)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None}


def test_wilson_interval_by_its_formula():
    n, p, z = 200, 0.97, 1.959963984540054
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert rate_interval(194, 200) == pytest.approx((centre - half, centre + half))
    assert rate_interval(0, 0) == (0.0, 1.0)


def test_clopper_pearson_is_scipys():
    for count, trials in ((0, 10), (3, 40), (40, 40)):
        lower, upper = clopper_pearson(count, trials, 0.95)
        low = binomtest(count, trials, alternative="greater").proportion_ci(0.95)
        high = binomtest(count, trials, alternative="less").proportion_ci(0.95)
        assert lower == pytest.approx(low.low, abs=1e-9)
        assert upper == pytest.approx(high.high, abs=1e-9)
