"""What a campaign comes to, from outcomes and a tape that are known."""

import json
import math

import pytest
from test_faults_judge import BOUNDS, clean

from safe_skills.experiments.faults_campaign import Outcome
from safe_skills.experiments.faults_judge import Status, Tape
from safe_skills.experiments.faults_report import (
    HEADINGS,
    draw,
    holds_of,
    rows,
    summarize,
    write_markdown,
)
from safe_skills.experiments.faults_schedule import Burst, Kind
from safe_skills.experiments.faults_soak import is_flat, memory_of, slope, windows

SILENCE = Kind("silence", "silence", ("command",), must_hold=True)
NAN = Kind("NaN", "extra", ("command",))


def outcome(kind, begin, count=1, **more):
    made = Outcome(
        Burst(kind, kind.targets[0], count, 0), begin, begin + 0.5, complete=True, **more
    )
    made.onsets = made.onsets or [begin]
    return made


def campaign():
    tape = clean(5.0)
    tape.holds.append(1.15)
    tape.commands[25] = tape.commands[25]._replace(action=(0.04, 0.0))
    tape.statuses[26] = Status(2.62, 2)
    done = [
        outcome(SILENCE, 1.0, recovered=1.7),
        outcome(NAN, 2.5, count=25, recovered=3.1, accepted=["x was taken"]),
        outcome(NAN, 3.5, count=25, crashes=["gate ended with 1"]),
        Outcome(Burst(NAN, "command", 25, 0), 4.5, 4.7),
    ]
    return done, tape


def test_a_campaign_is_summed_up_by_kind():
    done, tape = campaign()
    summary = summarize(done, tape, BOUNDS, 0.1)
    assert summary["injected"] == 51
    assert summary["unsafe_passed"] == 2 and summary["broken_rules"] == {"step limit": 1}
    assert summary["crashes"] == 1 and summary["crash_lines"] == ["gate ended with 1"]
    assert summary["recovered_share"] == pytest.approx(26 / 51)
    assert summary["hold_p99_periods"] == pytest.approx(1.5)
    nan = summary["by_kind"]["NaN (extra)"]
    assert nan["injected"] == 50 and nan["unsafe_passed"] == 2 and nan["crashes"] == 1
    assert nan["effects"] == {"no effect": 25, "limited": 0, "held": 25, "stopped": 0}
    assert nan["hold_p99_periods"] is None and nan["recovered_share"] == 0.5
    assert summary["breaches"][0]["during"] == "NaN (extra): command"
    assert summary["not_recovered"] == ["NaN (extra): command"]
    json.dumps(summary, allow_nan=False)


def test_a_fault_that_holds_nothing_counts_with_all_its_time_and_one_at_rest_not_at_all():
    tape = clean(5.0)
    assert holds_of(outcome(SILENCE, 1.0), tape, 0.1) == [pytest.approx(10.0)]
    assert holds_of(outcome(NAN, 1.0), tape, 0.1) == []
    tape.commands[:] = [c for c in tape.commands if c.at > 3.0]
    assert holds_of(outcome(SILENCE, 1.0), tape, 0.1) == []


def test_table_and_picture_are_written(tmp_path):
    done, tape = campaign()
    summary = summarize(done, tape, BOUNDS, 0.1)
    table = rows(summary)
    assert [row[0] for row in table] == ["NaN (extra)", "silence", "all"]
    assert all(len(row) == len(HEADINGS) for row in table)
    write_markdown(tmp_path / "faults.md", "Faults", summary)
    assert "| all | 51 |" in (tmp_path / "faults.md").read_text()
    draw(tmp_path / "faults.png", summary)
    assert (tmp_path / "faults.png").stat().st_size > 1000


def test_a_campaign_that_was_interrupted_at_once_has_a_report():
    summary = summarize([], Tape(), BOUNDS, 0.1)
    assert summary["injected"] == 0 and summary["recovered_share"] is None
    assert rows(summary)[-1][0] == "all"


def test_slopes_are_by_the_hour_and_windows_have_their_own_p99():
    assert slope([0.0, 1800.0, 3600.0], [100.0, 101.0, 102.0]) == pytest.approx(2.0)
    assert slope([1.0], [1.0]) == 0.0
    found = windows([0.0, 1.0, 25.0], [5.0, 5.0, 7.0], length=10.0)
    assert found == [5.0, None, 7.0] and windows([], []) == []


def test_a_run_is_flat_by_its_criterion():
    assert is_flat({"gate": 4.0}, {"set_point": [10.0, None, 14.0]})
    assert not is_flat({"gate": 6.0}, {"set_point": [10.0]})
    assert not is_flat({"gate": 0.0}, {"set_point": [10.0, 16.0]})
    assert memory_of(__import__("os").getpid()) > 10.0 and math.isfinite(memory_of(1))
