"""What is around a command: each condition says its own name, in silence too."""

import dataclasses
import math

import pytest

from safe_skills.safety import Evidence, Gate, GateCommand, GateLimits, GateState

BOX = ((-0.2, 0.2), (-0.2, 0.2))
LIMITS = GateLimits(
    BOX,
    rate_limit=20.0,
    tracking_limit=0.05,
    reconstruction_limit=0.01,
    latent_distance_limit=12.0,
    frozen_limit=0.03,
    violation_budget=3.0,
    plan_timeout=0.5,
    bridge_timeout=0.5,
)
GOOD = Evidence(
    now=10.0,
    latent_received=10.0,
    image_received=10.0,
    robot_received=10.0,
    plan_received=10.0,
    bridge_received=10.0,
    command_rate=20.0,
    robot_state="moving",
    tracking_error=0.05,
    reconstruction_error=0.01,
    latent_distance=12.0,
    frozen_distance=0.03,
    plan_feasible=True,
    violations=3,
    latent_matches=True,
    constraint_probability=0.5,
    predicted_constraint_probability=0.5,
    position=(0.0, 0.0),
)


STEP = GateCommand((0.01, 0.0), "task")


def judge(gate, command=STEP, **changes):
    return gate.check(command, dataclasses.replace(GOOD, **changes))


def test_at_its_limit_everything_passes():
    decision = judge(Gate(LIMITS))
    assert decision.state == GateState.OK and decision.observed == ()


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"command_rate": 21.0}, "rate"),
        ({"robot_state": "fault"}, "robot_fault"),
        ({"robot_state": "disabled"}, "robot_not_ready"),
        ({"robot_state": "unhomed"}, "robot_not_ready"),
        ({"robot_state": "unconnected"}, "robot_not_ready"),
        ({"robot_state": "a newer state"}, "robot_not_ready"),
        ({"tracking_error": 0.051}, "tracking"),
        ({"reconstruction_error": 0.011}, "reconstruction"),
        ({"reconstruction_error": math.nan}, "reconstruction"),
        ({"latent_distance": 12.1}, "latent_distance"),
        ({"latent_distance": math.inf}, "latent_distance"),
        ({"frozen_distance": 0.031}, "frozen_view"),
        ({"violations": 4}, "violation_budget"),
        ({"plan_received": None}, "plan_missing"),
        ({"plan_received": 9.4}, "plan_stale"),
        ({"bridge_received": None}, "bridge_missing"),
        ({"bridge_received": 9.4}, "bridge_stale"),
    ],
)
def test_a_condition_that_lasts_holds(changes, code, silent):
    gate = Gate(LIMITS)
    command = None if silent else STEP
    decisions = [judge(gate, command, **changes) for _ in range(3)]
    assert decisions[-1].state == GateState.HOLD and decisions[-1].reasons == (code,)
    assert not decisions[-1].action.any()
    # What waits is observed before.
    assert all(code in (*d.reasons, *(f.code for f in d.observed)) for d in decisions)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"constraint_probability": 0.51}, "constraint_present"),
        ({"plan_feasible": False}, "plan_infeasible"),
    ],
)
def test_what_is_only_watched_has_no_effect(changes, code):
    decision = judge(Gate(LIMITS), **changes)
    assert decision.state == GateState.OK and decision.action[0] == 0.01
    assert [finding.code for finding in decision.observed] == [code]


def test_what_nobody_says_is_not_judged():
    silence = dict.fromkeys(
        ("robot_state", "tracking_error", "reconstruction_error", "latent_distance"), None
    )
    decision = judge(Gate(LIMITS), **silence, frozen_distance=None, plan_feasible=None)
    assert decision.state == GateState.OK and decision.observed == ()
