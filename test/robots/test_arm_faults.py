"""What counts as a trajectory that is not followed, and as a gripper that is stuck."""

import numpy as np
import pytest

from safe_skills.robots.arm_faults import FollowingError, GripperWatch

HERE = np.zeros(2)
THERE = np.array([0.0, 0.5])
OPEN, CLOSED = np.full(2, 0.035), np.zeros(2)
HALF = np.full(2, 0.017)


def following():
    return FollowingError(("waist", "elbow"), tolerance=0.2, patience=1.0)


def test_a_lag_that_ends_in_time_is_fine():
    watch = following()
    assert not watch.observe(HERE, THERE, 0.0)
    assert not watch.observe(HERE, THERE, 1.0)
    assert not watch.observe(THERE - 0.1, THERE, 1.1)
    assert not watch.observe(HERE, THERE, 1.2)
    assert not watch.observe(HERE, THERE, 2.1)
    assert watch.reason == ""


def test_joints_that_stay_behind_are_a_fault_until_they_arrive():
    watch = following()
    watch.observe(HERE, THERE, 0.0)
    assert watch.observe(HERE, THERE, 1.1)
    assert watch.reason.startswith("trajectory not reached: elbow is 0.5 rad from its command")
    # They are told to hold where they are, which they do: that is not what they had to reach.
    assert not watch.observe(HERE, HERE, 1.2)
    assert not watch.observe(HERE, None, 9.0)
    assert watch.reason
    assert not watch.observe(THERE, HERE, 9.1)
    assert watch.reason == ""


def test_without_a_command_and_after_a_new_start_there_is_no_fault():
    watch = following()
    watch.observe(HERE, THERE, 0.0)
    assert not watch.observe(HERE, None, 5.0)
    assert not watch.observe(HERE, THERE, 5.1)
    assert watch.observe(HERE, THERE, 6.2)
    watch.reset()
    assert watch.reason == "" and not watch.observe(HERE, THERE, 6.3)


def gripper():
    return GripperWatch(tolerance=0.002, patience=1.0)


def test_a_gripper_that_arrives_is_watched_no_further():
    watch = gripper()
    watch.command(0.035, True, CLOSED, 0.0)
    assert not watch.observe(HALF, 0.5)
    assert not watch.observe(OPEN - 0.001, 0.9)
    assert not watch.observe(CLOSED, 9.0)
    assert watch.reason == "" and not watch.blocks


def test_a_gripper_that_does_not_open_blocks_until_it_does_or_is_told_to_close():
    watch = gripper()
    watch.command(0.035, True, CLOSED, 0.0)
    assert not watch.observe(HALF, 1.0)
    assert watch.observe(HALF, 1.1) and watch.blocks
    assert watch.reason.startswith("gripper stuck: told to open, a finger is at 0.0170 m")
    assert not watch.observe(HALF, 1.2)
    watch.command(0.035, True, HALF, 1.3)
    assert watch.blocks
    watch.observe(OPEN, 1.4)
    assert not watch.blocks
    watch.command(0.0, False, OPEN, 2.0)
    watch.command(0.035, True, HALF, 3.0)
    watch.observe(HALF, 5.0)
    assert watch.blocks
    watch.command(0.0, False, HALF, 5.1)
    assert not watch.blocks


def test_fingers_that_stop_short_on_their_way_hold_something():
    watch = gripper()
    watch.command(0.0, False, OPEN, 0.0)
    assert not watch.observe(HALF, 5.0)
    watch.command(0.0, False, HALF, 6.0)
    assert not watch.observe(HALF, 9.0)
    assert watch.reason == ""


def test_fingers_that_do_not_move_when_they_close_are_stuck_but_block_nothing():
    watch = gripper()
    watch.command(0.0, False, OPEN, 0.0)
    assert watch.observe(OPEN, 1.1)
    assert watch.reason.startswith("gripper stuck: told to close") and not watch.blocks


@pytest.mark.parametrize("opening", [True, False])
def test_fingers_that_are_not_measured_are_not_judged(opening):
    watch = gripper()
    watch.command(0.035 if opening else 0.0, opening, None, 0.0)
    assert not watch.observe(None, 9.0)
    assert watch.reason == ""
