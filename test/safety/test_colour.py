"""Contact seen by colour masks, against a brute-force search of neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from safe_skills.safety.colour import seen_contact

masks = npst.arrays(np.bool_, (7, 9), elements=st.booleans(), fill=st.just(False))


@settings(max_examples=200, deadline=None)
@given(masks, masks, st.integers(0, 3))
def test_agrees_with_the_chebyshev_distance(cable, obstacle, dilate_px):
    distances = [
        np.abs(np.subtract(a, b)).max() for a in np.argwhere(cable) for b in np.argwhere(obstacle)
    ]
    expected = bool(distances) and min(distances) <= dilate_px
    assert seen_contact(cable.astype(np.uint8) * 255, obstacle, dilate_px) == expected


@pytest.mark.parametrize(
    ("cable", "obstacle", "dilate_px", "line"),
    [
        (np.zeros((4, 4)), np.zeros((4, 5)), 1, "two of the same"),
        (np.zeros((4, 4, 3)), np.zeros((4, 4, 3)), 1, "two of the same"),
        (np.zeros((0, 4)), np.zeros((0, 4)), 1, "two of the same"),
        (np.zeros((4, 4)), np.zeros((4, 4)), -1, "0 to 100"),
    ],
)
def test_masks_that_do_not_fit_are_refused(cable, obstacle, dilate_px, line):
    with pytest.raises(ValueError, match=line):
        seen_contact(cable, obstacle, dilate_px)
