"""What is injected is a pure function of seed, count and system."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_skills.experiments.faults_messages import SPOIL
from safe_skills.experiments.faults_schedule import SURFACES, kinds_of, make_schedule

SYSTEMS = sorted(SURFACES)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 3000), st.sampled_from(SYSTEMS))
def test_a_schedule_has_as_many_faults_as_asked_for_and_is_the_same_again(seed, count, system):
    bursts = make_schedule(seed, count, system)
    assert sum(burst.count for burst in bursts) == count
    assert all(burst.count > 0 and burst.target in burst.kind.targets for burst in bursts)
    assert bursts == make_schedule(seed, count, system)


def test_another_seed_has_other_faults():
    assert make_schedule(0, 500, "ls3_cable") != make_schedule(1, 500, "ls3_cable")


@pytest.mark.parametrize("system", SYSTEMS)
def test_ten_thousand_faults_have_every_kind_at_every_target(system):
    bursts = make_schedule(0, 10_000, system)
    seen = Counter((burst.kind.name, burst.kind.mode, burst.target) for burst in bursts)
    for kind in kinds_of(system):
        for target in kind.targets:
            assert seen[kind.name, kind.mode, target] >= 1, (kind.name, target)
    slow = [burst for burst in bursts if burst.kind.is_slow]
    # Each takes seconds: so many fit into a quarter of an hour.
    assert len(slow) <= 200 and all(burst.count == 1 for burst in slow)


def test_every_kind_of_message_can_be_made():
    made = {*SPOIL, "duplicate", "replay", "frozen", "late", "dropped", "reordered"}
    for system in SYSTEMS:
        names = {k.name for k in kinds_of(system) if k.mode in ("extra", "replaced")}
        assert names <= made


def test_an_unknown_system_is_refused_in_one_line():
    with pytest.raises(ValueError, match="expected ls3_cable or safer_grasp, got 'ls4'"):
        make_schedule(0, 1, "ls4")
