"""Spoiled messages are spoiled copies, and wrong parameters are wrong."""

import math

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from safe_skills.experiments.faults_campaign import wrong_values
from safe_skills.experiments.faults_messages import (
    header_of,
    numbers_of,
    plausible,
    set_numbers,
    spoiled,
)
from safe_skills.experiments.faults_rig import STREAMS
from safe_skills.experiments.faults_schedule import SURFACES, kinds_of
from safe_skills.msg import AbstractAction, Command, LatentState, SafetyContext
from safe_skills.nodes.composed import node_class
from safe_skills.nodes.conversions import image_from_rgb, nanoseconds
from safe_skills.nodes.parameters import ParameterError
from safe_skills.systems import find_system

RNG = np.random.default_rng(0)


def sound(kind):
    header = Header(frame_id="task")
    header.stamp.sec = 1_000_000
    if kind is Command:
        return Command(header=header, action=[0.01, 0.02])
    if kind in (LatentState, SafetyContext):
        return kind(header=header, model_id="m1", mean=[0.5] * 4, stddev=[0.1] * 4)
    if kind is AbstractAction:
        return AbstractAction(header=header, model_id="m1", z=[0.5] * 4, eta=1.0)
    if kind is Image:
        return image_from_rgb(RNG.integers(0, 256, (8, 8, 3), np.uint8), header)
    if kind is JointState:
        return JointState(header=header, name=["a", "b"], position=[0.1, 0.2])
    message = PoseStamped(header=header)
    set_numbers(message, [0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0])
    return message


CASES = {
    (kind.name, target)
    for system in SURFACES
    for kind in kinds_of(system)
    if kind.mode in ("extra", "replaced") and kind.name not in ("late", "dropped", "reordered")
    for target in kind.targets
    if target in STREAMS
}


@pytest.mark.parametrize(("kind", "target"), sorted(CASES))
def test_a_spoiled_message_differs_and_leaves_the_one_it_was_made_from(kind, target):
    message, past = sound(STREAMS[target][0]), sound(STREAMS[target][0])
    past.header.stamp.sec -= 1
    before = repr(message)
    made = spoiled(kind, message, [past], RNG)
    assert repr(message) == before
    assert type(made) is type(message)
    if kind == "duplicate":
        assert made is message
    elif kind == "replay":
        assert made is past
    elif kind == "frozen":
        assert made.header == message.header
    else:
        assert repr(made) != before


def test_stamps_are_moved_as_said():
    message = sound(Command)
    at = nanoseconds(message.header.stamp)
    assert nanoseconds(spoiled("old stamp", message, [], RNG).header.stamp) <= at - 10**10
    assert nanoseconds(spoiled("future stamp", message, [], RNG).header.stamp) >= at + 10**10
    assert nanoseconds(spoiled("zero stamp", message, [], RNG).header.stamp) == 0
    start = Header()
    assert header_of(start) is start


def test_numbers_that_are_none_are_there():
    for kind in (Command, LatentState, AbstractAction, JointState, PoseStamped):
        assert any(math.isnan(v) for v in numbers_of(spoiled("NaN", sound(kind), [], RNG)))
        assert any(math.isinf(v) for v in numbers_of(spoiled("infinite", sound(kind), [], RNG)))


def test_an_intruder_asks_for_another_motion_of_the_same_form():
    command = plausible(sound(Command), RNG)
    assert command.source == "intruder" and max(map(abs, command.action)) <= 0.01
    assert plausible(sound(PoseStamped), RNG).pose.position.z == 0.3
    point = JointTrajectoryPoint(positions=[0.0, 1.0])
    arm = JointTrajectory(joint_names=["a", "b"], points=[point])
    (moved,) = plausible(arm, RNG).points
    assert np.abs(np.subtract(moved.positions, point.positions)).max() <= 0.02


@pytest.mark.parametrize("system", SURFACES)
def test_wrong_values_of_parameters_are_refused_by_their_table_or_are_fixed(system):
    specs = {spec.name: spec for spec in find_system(system).nodes({})}
    seen = set()
    for node in SURFACES[system].tuned:
        for name, row in node_class(specs[node].executable).PARAMETERS.items():
            for kind in (k.name for k in kinds_of(system) if k.mode == "parameter"):
                for value in wrong_values(kind, name, row):
                    seen.add(kind)
                    if kind == "parameter fixed":
                        assert not row.runtime
                        row.check(name, value)
                        continue
                    with pytest.raises(ParameterError):
                        row.check(name, value)
    assert len(seen) == 5
