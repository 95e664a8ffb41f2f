"""The judge finds every violation that is planted on a tape, and none on a clean one."""

import numpy as np
import pytest

from safe_skills.experiments.faults_judge import (
    Bounds,
    Gated,
    Point,
    Status,
    Tape,
    breaches,
    held_at,
    in_motion,
    stops,
    worst_state,
)

BOUNDS = Bounds(
    frame="task",
    workspace=np.array([[-0.15, 0.18], [-0.14, 0.085]]),
    units=np.ones(2),
    entries=2,
    step=0.03,
    norm=0.0425,
    change=0.06,
    lead=np.full(2, 0.04),
    speed=0.5,
)
SECOND = 1_000_000_000


def clean(seconds=5.0):
    """A robot that goes to and fro along x, 0.02 m in each period of 0.1 s."""
    tape = Tape()
    where = -0.1
    for k in range(round(10 * seconds)):
        at = 0.1 * k
        step = 0.02 if (k // 10) % 2 == 0 else -0.02
        tape.fed.append(Point(at, (where, 0.0)))
        tape.true.append(Point(at, (where, 0.0)))
        tape.commands.append(Gated(at + 0.02, k * SECOND, "task", (step, 0.0), k))
        tape.statuses.append(Status(at + 0.021, 0))
        where += step
        tape.set_points.append(Point(at + 0.03, (where, 0.0)))
    return tape


def rules(tape, bounds=BOUNDS):
    return [breach.rule for breach in breaches(tape, bounds)]


def test_a_clean_tape_has_no_breach():
    assert rules(clean()) == []


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        ((0.031, 0.0), "step limit"),
        ((0.0301, 0.0301), "norm limit"),
        ((np.nan, 0.0), "command not finite"),
        ((0.0, np.inf), "command not finite"),
        ((0.01,), "command size"),
        ((0.01, 0.01, 0.01), "command size"),
        ((), "command size"),
    ],
)
def test_a_command_that_should_not_have_passed_is_found(action, rule):
    tape = clean()
    tape.commands[7] = tape.commands[7]._replace(action=action)
    assert rule in rules(tape)


def test_a_command_in_another_frame_is_found():
    tape = clean()
    tape.commands[7] = tape.commands[7]._replace(frame="camera")
    assert rules(tape) == ["command frame"]


def test_a_step_out_of_the_workspace_is_found_and_one_back_inside_is_none():
    tape = clean()
    for points in (tape.fed, tape.true):
        points[:] = [point._replace(position=(0.17, 0.0)) for point in points]
    tape.set_points.clear()
    assert set(rules(tape)) == {"workspace"}
    for points in (tape.fed, tape.true):
        points[:] = [point._replace(position=(0.21, 0.0)) for point in points]
    tape.commands[:] = [c._replace(action=(-0.02, 0.0)) for c in tape.commands]
    assert rules(tape) == []
    tape.commands[3] = tape.commands[3]._replace(action=(0.0, 0.0))
    assert rules(tape) == []


def test_a_step_while_nothing_was_measured_is_found():
    tape = clean()
    tape.fed[:] = [point for point in tape.fed if not 1.0 < point.at < 3.0]
    found = rules(tape)
    assert "workspace" in found and "set-point unmeasured" in found


def test_too_great_a_change_is_found_but_not_braking_nor_a_new_image_for_the_same_step():
    bounds = BOUNDS
    tape = clean()
    tape.commands[7] = tape.commands[7]._replace(action=(0.03, 0.029))
    tape.commands[8] = tape.commands[8]._replace(action=(-0.03, -0.029))
    assert rules(tape) == ["change limit"]
    tape.commands[8] = tape.commands[8]._replace(action=(0.0, 0.0))
    assert rules(tape, bounds) == []
    # What answers the same image replaces what answered it before.
    tape.commands[8] = tape.commands[8]._replace(action=(-0.03, -0.02), stamp=7 * SECOND)
    assert rules(tape) == []


def test_a_change_is_not_judged_across_a_gap_or_the_start_of_an_episode():
    tape = clean()
    tape.commands[7] = tape.commands[7]._replace(action=(0.03, 0.029))
    tape.commands[8] = tape.commands[8]._replace(action=(-0.03, -0.029))
    tape.starts.append(0.75)
    assert rules(tape) == []
    tape.starts.clear()
    later = [c._replace(sequence=c.sequence + 1) for c in tape.commands[8:]]
    tape.commands[8:] = later
    assert rules(tape) == []


def test_the_gripper_and_units_of_an_arm_are_judged():
    bounds = Bounds(
        "task", np.array([[-1.0, 1.0]]), np.array([0.025]), 2, 1.0, 2.0, 4.0, np.array([0.1])
    )
    tape = Tape(fed=[Point(0.0, (0.0,))])
    tape.commands.append(Gated(0.1, 1, "task", (0.025, 1.0), 0))
    assert rules(tape, bounds) == []
    tape.commands.append(Gated(0.2, 2, "task", (0.026, 1.1), 1))
    assert rules(tape, bounds) == ["step limit", "gripper"]


@pytest.mark.parametrize(
    ("position", "rule"),
    [
        ((0.19, 0.0), "set-point workspace"),
        ((0.0, 0.1), "set-point workspace"),
        ((0.16, 0.0), "set-point lead"),
    ],
)
def test_a_set_point_out_of_bounds_is_found(position, rule):
    tape = clean()
    tape.set_points[7] = tape.set_points[7]._replace(position=position)
    assert rule in rules(tape)


def test_a_set_point_with_a_flaw_is_found():
    tape = clean()
    tape.set_points[7] = Point(0.73, (), "no unit quaternion")
    assert rules(tape) == ["set-point: no unit quaternion"]


def test_a_set_point_that_jumps_is_found_but_not_one_from_where_the_robot_is():
    tape = clean()
    tape.set_points[20] = tape.set_points[20]._replace(position=(0.055, 0.08))
    tape.fed[20] = tape.fed[20]._replace(position=(0.02, 0.05))
    assert set(rules(tape)) == {"set-point speed"}
    tape.fed[20] = tape.fed[20]._replace(position=(0.055, 0.08))
    assert "set-point speed" not in [b.rule for b in breaches(tape, BOUNDS) if b.at < 2.05]


def stopped(begin, end):
    tape = clean()
    tape.statuses[:] = [Status(s.at, 3 if begin <= s.at < end else 0) for s in tape.statuses]
    return tape


def test_everything_that_moves_while_stopped_is_found():
    assert set(rules(stopped(1.0, 4.0))) == {
        "command while stopped",
        "set-point while stopped",
        "motion while stopped",
    }


def test_a_robot_that_stands_while_stopped_is_at_rest_even_where_an_episode_begins():
    tape = stopped(1.0, 4.0)
    tape.commands[:] = [c for c in tape.commands if not 1.0 <= c.at < 4.05]
    tape.set_points[:] = [p for p in tape.set_points if not 1.0 <= p.at < 4.05]
    here = [0.1 if point.at < 2.6 else 0.0 for point in tape.true]
    for points in (tape.true, tape.fed):
        points[:] = [
            p._replace(position=(x, 0.0)) if 1.0 <= p.at < 4.0 else p
            for p, x in zip(points, here, strict=True)
        ]
    assert "motion while stopped" in rules(tape)
    tape.starts.append(2.6)
    assert rules(tape) == []


def test_stops_are_from_the_first_status_to_the_first_that_releases():
    statuses = [Status(0.0, 0), Status(1.0, 3), Status(2.0, 3), Status(3.0, 2), Status(4.0, 3)]
    assert stops(statuses) == [(1.0, 3.0), (4.0, np.inf)]


def test_a_robot_is_held_by_what_it_is_told_first():
    tape = clean()
    assert held_at(tape, 2.0, 3.0) == np.inf
    assert in_motion(tape, 2.0) and not in_motion(tape, 9.0)
    tape.holds.append(2.5)
    assert held_at(tape, 2.0, 3.0) == 2.5
    tape.statuses[24] = tape.statuses[24]._replace(state=2)
    assert held_at(tape, 2.0, 3.0) == pytest.approx(2.421)
    tape.commands[22] = tape.commands[22]._replace(action=(0.0, 0.0))
    assert held_at(tape, 2.0, 3.0) == pytest.approx(2.22)
    assert worst_state(tape, 2.0, 3.0) == 2 and worst_state(tape, 2.0, 2.4) == 0


def test_a_robot_whose_set_point_does_not_change_any_more_is_held():
    tape = clean()
    tape.set_points[:] = [p for p in tape.set_points if p.at < 2.2]
    assert held_at(tape, 2.0, 3.0) == pytest.approx(2.13)
    assert held_at(tape, 2.2, 3.0) == pytest.approx(2.2)
