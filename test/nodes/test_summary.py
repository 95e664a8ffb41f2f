import json

import pytest

from safe_skills.data.statistics import percentiles, rate_interval
from safe_skills.nodes.summary import EpisodeRecord, RunLog, table_rows


def test_nothing_measured_is_unknown_not_zero():
    summary = RunLog().summary({"seed": 3})
    assert summary["episodes"] == 0 and summary["success_rate"] is None and summary["seed"] == 3
    assert summary["infeasible_share"] is None and summary["peak_rss_mb"] is None
    json.dumps(summary, allow_nan=False)
    assert ("success", "unknown") in table_rows(summary)


def episode(log, number, **last):
    assert not log.note_episode(EpisodeRecord(number, seed=10 + number, steps=1), False)
    return log.note_episode(EpisodeRecord(number, seed=10 + number, done=True, **last), False)


def test_episodes_are_counted_once_and_averaged_as_named():
    log = RunLog()
    assert episode(log, 0, steps=20, success=True, episode_return=-19.0)
    assert episode(log, 1, steps=30, success=True, episode_return=-29.0)
    assert episode(log, 2, steps=50, violation=True, violation_kind="cable", episode_return=-50.0)
    assert not log.note_episode(EpisodeRecord(2, steps=50, done=True, success=True), False)
    log.note_episode(EpisodeRecord(3, steps=4), False)
    summary = log.summary({})
    assert summary["episodes"] == 3
    assert summary["success_rate"] == pytest.approx(2 / 3)
    assert summary["success_interval_95"] == list(rate_interval(2, 3))
    assert summary["violation_rate"] == pytest.approx(1 / 3)
    assert summary["mean_return"] == pytest.approx(-98 / 3)
    assert summary["mean_steps"] == pytest.approx(25.0)
    assert [e["violation"] for e in summary["episode_list"]] == ["", "", "cable"]
    assert summary["episode_list"][1] == {
        "episode": 1,
        "seed": 11,
        "steps": 30,
        "return": -29.0,
        "cost": 0.0,
        "success": True,
        "violation": "",
    }


def test_a_violation_in_the_middle_is_not_forgotten_at_the_end():
    log = RunLog()
    log.note_episode(EpisodeRecord(0, violation=True, violation_kind="gripper"), False)
    log.note_episode(EpisodeRecord(0, done=True), True)
    assert log.finished and log.done[0].violation and log.done[0].violation_kind == "gripper"


def test_times_are_matched_by_stamp_and_repeats_do_not_count():
    log = RunLog()
    ms = 1_000_000
    for stamp, plan_done, safe, servo in ((0, 20, 22, 23), (100, 130, 131, 134)):
        log.note_servo(stamp * ms + 1, servo * ms + 1)
        log.note_safe_command(stamp * ms + 1, safe * ms + 1)
        log.note_command(stamp * ms + 1, plan_done * ms + 1)
        log.note_command(stamp * ms + 1, 500 * ms)
    log.note_command(300 * ms, 310 * ms)
    summary = log.summary({})
    assert summary["latency_ms"]["p50"] == pytest.approx(26.5)
    assert summary["gate_bridge_ms"] == percentiles([3.0, 4.0])


def answer(log, stamp, *, latent, command, safe, servo, encode_time=0.0, solve_time=None):
    """Note the times [ms] after its image at which a frame's answers were published."""
    ms = 1_000_000
    log.note_latent(stamp, stamp + latent * ms, encode_time)
    if solve_time is not None:
        log.note_plan(stamp, "cable-1", 0, solve_time, 0.5)
    log.note_command(stamp, stamp + command * ms)
    log.note_safe_command(stamp, stamp + safe * ms)
    log.note_servo(stamp, stamp + servo * ms)


def test_hops_lie_between_publications_and_the_first_image_does_not_count():
    log = RunLog()
    answer(log, 10**9, latent=900, command=910, safe=911, servo=912)
    answer(log, 2 * 10**9, latent=2, command=22, safe=23, servo=25)
    hops = {name: times["p50"] for name, times in log.summary({})["hops_ms"].items()}
    assert hops == {
        "image_to_latent": pytest.approx(2.0),
        "latent_to_command": pytest.approx(20.0),
        "command_to_safe": pytest.approx(1.0),
        "safe_to_servo": pytest.approx(2.0),
        "command_to_servo": pytest.approx(3.0),
        "image_to_servo": pytest.approx(25.0),
    }


def test_overhead_is_what_encoder_and_planner_did_not_take_themselves():
    log = RunLog()
    answer(log, 10**9, latent=1, command=2, safe=3, servo=4)
    answer(
        log, 2 * 10**9, latent=2, command=22, safe=23, servo=25, encode_time=1e-3, solve_time=0.019
    )
    answer(log, 3 * 10**9, latent=2, command=22, safe=23, servo=25, encode_time=1e-3)
    answer(log, 4 * 10**9, latent=2, command=22, safe=23, servo=25, solve_time=0.019)
    assert log.summary({})["overhead_ms"] == dict.fromkeys(
        ("p50", "p95", "p99"), pytest.approx(5.0)
    )


def test_a_frame_without_an_answer_has_no_hop_to_it():
    log = RunLog()
    log.note_latent(10**9, 10**9 + 1, 0.0)
    log.note_latent(2 * 10**9, 2 * 10**9 + 4_000_000, 0.0)
    summary = log.summary({})
    assert summary["hops_ms"]["image_to_latent"]["p50"] == pytest.approx(4.0)
    assert summary["hops_ms"]["latent_to_command"]["p50"] is None
    assert summary["overhead_ms"]["p99"] is None


def test_plans_gate_and_memory():
    log = RunLog()
    for stamp, (outcome, seconds) in enumerate(((0, 0.01), (0, 0.02), (1, 0.03), (2, 0.04)), 1):
        log.note_plan(stamp, "cable-1", outcome, seconds, 0.5)
    log.note_gate({"received": 1, "violations": 0, "seen_contacts": 0})
    log.note_gate({"received": 4, "violations": 1, "seen_contacts": 2})
    log.note_process(7, 300.0)
    log.note_process(7, 250.0)
    log.note_process(8, 100.0)
    summary = log.summary({"checkpoint": "c"})
    assert summary["outcomes"] == {"feasible": 2, "max_safe_set": 1, "hold": 1, "random": 0}
    assert summary["infeasible_share"] == 0.5 and summary["mean_feasible_share"] == 0.5
    assert summary["plan_ms"]["p50"] == pytest.approx(25.0)
    assert summary["gate"] == {"received": 4, "violations": 1}
    assert summary["seen_contacts"] == 2
    assert summary["peak_rss_mb"] == 400.0 and summary["processes"] == 2
    rows = dict(table_rows(summary))
    assert rows["checkpoint"] == "c (cable-1)"
    assert rows["plans"] == "feasible 2, max_safe_set 1, hold 1"
    assert rows["peak memory"] == "400 MB in 2 processes"
