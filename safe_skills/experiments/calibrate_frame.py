"""`safe-skills calibrate frame`: where the task frame lies in an arm's frame, by touched points."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from safe_skills.data.files import write_text
from safe_skills.robots.calibration import TaskFrame, fit_task_frame, mean_of_still, tool_at_work
from safe_skills.robots.pose import Pose

HELP = (
    "Find the pose of the task frame in an arm's frame. The tool touches three or more known "
    "points of the table; the pose that fits them best is written as parameters of the nodes."
)
POINTS = "0,0 0.1,0 0,0.1"
NODES = ("safety_monitor", "hardware_bridge", "run_recorder", "trainer")
"""Nodes that have the arm's frames as parameters."""

STILL = 0.5
"""Seconds for which poses are averaged."""

STILL_WITHIN = 0.5e-3
"""How far the arm may move meanwhile [m]."""

CSV_COLUMNS = ("task_x", "task_y", "arm_x", "arm_y", "arm_z")


@dataclass(frozen=True)
class Touched:
    """Points in both frames, and the tool's pose at work, where it was measured."""

    in_task: np.ndarray
    in_arm: np.ndarray
    working: Pose | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--arm", default="PSM1", help="name of the arm (default: PSM1)")
    parser.add_argument("--namespace", default="", help="namespace of the arm's topics")
    parser.add_argument(
        "--points",
        default=POINTS,
        help=f"task coordinates x,y [m] of the points to touch (default: '{POINTS}')",
    )
    parser.add_argument(
        "--file",
        type=Path,
        help="points touched before, YAML or CSV, in place of the arm; docs/dvrk.md has the form",
    )
    parser.add_argument(
        "--tolerance",
        type=_millimetres,
        default=2e-3,
        metavar="MM",
        help="largest distance of a point from the fit [mm] (default: 2)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("task_frame.yaml"),
        help="file for the parameters (default: task_frame.yaml)",
    )


def run(args: argparse.Namespace) -> int:
    """Calibrates; returns the exit status.

    Raises:
        ValueError: points that cannot be used, or a pose that is stale or invalid; one line.
    """
    if args.file is None:
        points = parse_points(args.points)
        touched = _touch(args.arm, args.namespace, points)
    else:
        touched = read_points(args.file)
    frame = fit_task_frame(touched.in_task, touched.in_arm, args.tolerance)
    values = {"task_in_arm": [*frame.pose.position.tolist(), *frame.pose.quaternion.tolist()]}
    if touched.working is not None:
        quaternion, height = tool_at_work(frame.pose, touched.working)
        values |= {"tool_in_task": quaternion.tolist(), "height": height}
    write_text(args.out, parameters_text(values, frame))
    _report(frame, values, args.out)
    return 0


def parse_points(text: str) -> np.ndarray:
    """Returns (n, 3) points on the table [m] from "x,y x,y ..."; ValueError says what is wrong."""
    try:
        rows = [[float(number) for number in word.split(",")] for word in text.split()]
    except ValueError:
        rows = []
    if len(rows) < 3 or any(len(row) != 2 for row in rows) or not np.isfinite(rows).all():
        raise ValueError(f"--points: expected three or more of x,y in metres, got {text!r}")
    return _on_table(rows)


def read_points(path: Path) -> Touched:
    """Reads points touched before.

    Args:
        path: CSV with the columns task_x, task_y, arm_x, arm_y, arm_z [m]; or YAML with a list
            `points` of `task: [x, y]` and `arm: [x, y, z]`, and perhaps the tool's pose at work,
            `working: [x, y, z, qx, qy, qz, qw]`.

    Raises:
        ValueError: in one line: a file of another form.
        FileNotFoundError: no such file.
    """
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix.lower() == ".csv":
            rows = list(csv.DictReader(text.splitlines()))
            numbers = np.array([[float(row[name]) for name in CSV_COLUMNS] for row in rows])
            return Touched(_on_table(numbers[:, :2]), numbers[:, 2:], None)
        known = yaml.safe_load(text)
        task = [[float(number) for number in point["task"]] for point in known["points"]]
        arm = [[float(number) for number in point["arm"]] for point in known["points"]]
        working = known.get("working")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, yaml.YAMLError) as error:
        line = " ".join(str(error).split())
        raise ValueError(
            f"{path}: expected points as CSV ({', '.join(CSV_COLUMNS)}) or YAML "
            f"(points: task, arm; working), got {line or type(error).__name__}"
        ) from None
    if any(len(point) != 2 for point in task):
        raise ValueError(f"{path}: expected x, y of each point of the task")
    return Touched(
        _on_table(task),
        np.array(arm),
        None if working is None else Pose.from_values(working, "working"),
    )


def parameters_text(values: dict[str, Any], frame: TaskFrame) -> str:
    """Returns a parameter file with the values for every node that needs them."""
    lines = [
        "# Task frame by safe-skills calibrate frame, for a copy of config/ls3_cable.yaml.",
        f"# {len(frame.residuals)} points, {1e3 * frame.rms:.2f} mm rms, "
        f"{1e3 * frame.largest:.2f} mm at most off the fit.",
    ]
    for node in NODES:
        lines += [f"/**/{node}:", "  ros__parameters:"]
        lines += [f"    {name}: {_rounded(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _touch(arm: str, namespace: str, points: np.ndarray) -> Touched:
    """Has a person touch the points, and reads where the arm is."""
    # rclpy takes a while to load, and points from a file need none.
    from safe_skills.nodes.pose_reader import PoseReader

    with PoseReader(arm, namespace) as reader:
        touched = [
            _read(
                f"point {number} of {len(points)}: touch x {x:g} m, y {y:g} m with the tool's tip",
                reader.poses,
            ).position
            for number, (x, y, _) in enumerate(points, start=1)
        ]
        working = _read(
            "last: bring the tool to its working height and orientation over the table",
            reader.poses,
        )
        print(f"measured in frame {reader.frame!r}")
    return Touched(points, np.array(touched), working)


def _read(what: str, poses: Callable[[float], Sequence[Pose]]) -> Pose:
    """Asks for a pose until the arm stands still there; a pose that is invalid ends it."""
    while True:
        print(f"{what}, then press Enter: ", end="", flush=True)
        if not sys.stdin.readline():
            raise ValueError("expected Enter for each point, the input has ended")
        seen = poses(STILL)
        try:
            pose = mean_of_still(seen, STILL_WITHIN)
        except ValueError as error:
            print(error)
            continue
        print(f"  {', '.join(f'{entry:.4f}' for entry in pose.position)} m, {len(seen)} poses")
        return pose


def _report(frame: TaskFrame, values: dict[str, Any], out: Path) -> None:
    for number, residual in enumerate(frame.residuals, start=1):
        print(f"point {number}: {1e3 * residual:.2f} mm off the fit")
    if len(frame.residuals) == 3:
        print("three points always fit nearly: touch a fourth to know how good they are")
    for name, value in values.items():
        print(f"{name}: {_rounded(value)}")
    if "tool_in_task" not in values:
        print("tool_in_task and height were not measured: they need a pose at work")
    print(
        f"wrote {out}. Next: copy these lines into your copy of config/ls3_cable.yaml, under the "
        "same nodes; start it with robot:=dvrk and config:=YOUR_COPY; then go on with the "
        "checklist in docs/dvrk.md."
    )


def _on_table(points: Any) -> np.ndarray:
    return np.column_stack((np.asarray(points, dtype=np.float64), np.zeros(len(points))))


def _rounded(value: Any) -> Any:
    return [round(entry, 9) for entry in value] if isinstance(value, list) else round(value, 9)


def _millimetres(text: str) -> float:
    """A distance above 0 in millimetres; in metres."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 100.0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, at most 100, got '{text}'")
    return value / 1e3
