"""Geometry of the cable routing tasks (LS3 section 5.3, "cable routing")."""

from __future__ import annotations

from dataclasses import dataclass

Interval = tuple[float, float]
Point = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class CableLayout:
    """One arrangement of table, cable, obstacle and goal; metres, seconds, task frame.

    A cable lies on a table, a gripper holds one end of it. Any part of the cable has to reach the
    goal area; neither the gripper nor the cable may touch the obstacle.

    Attributes:
        name: key in `LAYOUTS`.
        start: centre of the held end at the start.
        start_spread: half width of the uniform scatter of the start, per component.
        tail_length: length of the cable.
        tail_heading: range of the cable's first direction [deg], clockwise from +x (90 is down).
        tail_curvature: range of the cable's curvature at the start [1/m].
        obstacle_centre: centre of the obstacle's footprint.
        obstacle_half: half extents of that footprint.
        obstacle_height: height of the obstacle.
        goal_centre: centre of the goal area.
        goal_half: half extents of the goal area.
        demo_route: way points of the slow, safe demonstrator; the last one is in the goal.
        demo_spread: half width of the scatter of the way points between start and goal.
        fast_route: way points of a safe route for the full step, to show what is possible.
        workspace: ((xmin, xmax), (ymin, ymax)), where the gripper's set-point may be.
        camera_span: half width of the square that the top-down camera sees.
        horizon: steps of an episode.
        control_period: time of one step.
        substeps: physics steps of one step.
        step_limit: largest displacement of one step, per component.
        demo_step: largest displacement of one step of the demonstrator (norm).
        windup_margin: how far the set-point may lead the gripper beyond one step.
    """

    name: str
    obstacle_centre: Point
    obstacle_half: Point
    goal_centre: Point
    goal_half: Point
    demo_route: tuple[Point, ...]
    fast_route: tuple[Point, ...]
    start: Point = (-0.135, -0.055)
    start_spread: float = 0.015
    tail_length: float = 0.175
    tail_heading: Interval = (90.0, 122.0)
    tail_curvature: Interval = (-3.5, 3.5)
    obstacle_height: float = 0.04
    demo_spread: float = 0.006
    workspace: tuple[Interval, Interval] = ((-0.15, 0.18), (-0.14, 0.085))
    camera_span: float = 0.25
    horizon: int = 50
    control_period: float = 0.1
    substeps: int = 24
    step_limit: float = 0.03
    demo_step: float = 0.02
    windup_margin: float = 0.01
    cable_colour: Colour = (0.86, 0.10, 0.10)
    goal_colour: Colour = (0.20, 0.75, 0.30)
    obstacle_colour: Colour = (0.15, 0.30, 0.85)
    gripper_colour: Colour = (0.25, 0.25, 0.27)
    table_colour: Colour = (0.92, 0.90, 0.86)


# "open": corners of the demonstrator's way may be cut a lot. "tight": the goal lies close behind
# the obstacle; to aim 15 cm ahead along that way is enough to drag the cable over the obstacle.
LAYOUTS = {
    "open": CableLayout(
        name="open",
        obstacle_centre=(0.0, -0.1625),
        obstacle_half=(0.025, 0.0875),
        goal_centre=(0.17, -0.15),
        goal_half=(0.035, 0.035),
        demo_route=((-0.145, 0.078), (0.17, 0.08), (0.17, -0.15)),
        fast_route=((-0.05, 0.04), (0.12, 0.04), (0.17, -0.15)),
    ),
    "tight": CableLayout(
        name="tight",
        obstacle_centre=(0.012, -0.153),
        obstacle_half=(0.025, 0.097),
        goal_centre=(0.09, -0.14),
        goal_half=(0.035, 0.035),
        demo_route=((-0.145, 0.078), (0.17, 0.08), (0.09, -0.14)),
        fast_route=((-0.06, 0.06), (0.15, 0.05), (0.09, -0.14)),
    ),
}


def find_layout(name: str) -> CableLayout:
    """Returns the layout of this name; ValueError names the ones that exist."""
    try:
        return LAYOUTS[name]
    except KeyError:
        raise ValueError(f"layout: expected one of {sorted(LAYOUTS)}, got {name!r}") from None
