"""Messages of a running graph, and the clock by which a panel under test counts."""

import math

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from std_msgs.msg import Header

from safe_skills.msg import Command, PlanStatus, SafetyStatus, SkillStatus, Violation
from safe_skills.nodes.conversions import image_from_rgb
from safe_skills.rqt.inbox import Item


class Clock:
    """Monotonic seconds that the test sets."""

    def __init__(self, now=100.0):
        self.now = now

    def __call__(self):
        return self.now


def header(seconds=0):
    return Header(stamp=Time(sec=seconds), frame_id="task")


def status(state=SafetyStatus.OK, reasons=(), **fields):
    values = {
        "constraint_probability": 0.1,
        "predicted_constraint_probability": 0.2,
        "safe_set_probability": 0.9,
        "latency": 0.02,
    }
    return SafetyStatus(state=state, reasons=list(reasons), **{**values, **fields})


def violation(kind="constraint", value=0.9, limit=0.5, seconds=0, source="cem_planner"):
    command = Command(source=source)
    return Violation(header=header(seconds), kind=kind, value=value, limit=limit, command=command)


def plan(actions=((0.03, 0.0), (0.03, 0.0)), **fields):
    flat = [float(entry) for action in actions for entry in action]
    return PlanStatus(horizon=len(actions), planned_actions=flat, solve_time=0.03, **fields)


def skill(largest=0.5, eta=1.0):
    return SkillStatus(largest=largest, eta=eta, decode_time=0.001, fill=math.nan)


def diagnostics(*statuses):
    """Of (name, level, message)."""
    rows = [DiagnosticStatus(name=n, level=bytes([lev]), message=m) for n, lev, m in statuses]
    return DiagnosticArray(status=rows)


def frame(colour=(230, 225, 215), size=64):
    """A camera frame with a red cable lying across it."""
    image = np.full((size, size, 3), colour, np.uint8)
    image[size // 2 : size // 2 + size // 16, size // 4 : 3 * size // 4] = (220, 25, 25)
    return image_from_rgb(image, header())


def feed(model, now, **messages):
    """Give the model one message a kind."""
    for kind, message in messages.items():
        model.take(Item(now, kind, message))
