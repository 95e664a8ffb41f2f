"""Rankings against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.safer.ranking import auc, ranking, unsafe_share_at_top

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=20)


@given(PAIRS)
def test_auc_counts_pairs(pairs):
    log_prob, unsafe = (np.array(column) for column in zip(*pairs, strict=True))
    safe, bad = log_prob[~unsafe], log_prob[unsafe]
    if len(safe) == 0 or len(bad) == 0:
        assert auc(log_prob, unsafe) is None
        return
    compared = safe[:, None] - bad[None]
    assert auc(log_prob, unsafe) == pytest.approx(((compared > 0) + 0.5 * (compared == 0)).mean())


def test_share_among_the_most_likely():
    log_prob = np.arange(100.0)
    unsafe = np.zeros(100, bool)
    unsafe[[0, 50, 91, 99]] = True
    assert unsafe_share_at_top(log_prob, unsafe, 0.1) == 0.2
    assert unsafe_share_at_top(log_prob, unsafe, 0.01) == 1.0
    found = ranking(log_prob, unsafe)
    assert found["unsafe_share"] == 0.04
    assert found["unsafe_in_top_10_percent"] == 0.2
    assert found["unsafe_in_top_25_percent"] == 2 / 25
