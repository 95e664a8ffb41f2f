"""The task frame by one command, from files; with an arm it is in test/nodes."""

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from safe_skills import cli
from safe_skills.robots.dvrk import TOOL_DOWN, DvrkArm
from safe_skills.robots.pose import Pose

TRUE = Pose(np.array([0.01, -0.05, -0.15]), Rotation.from_rotvec([0.02, -0.03, 0.7]))
TASK = [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (-0.1, -0.05)]
ARM = [(TRUE.position + TRUE.rotation.apply((x, y, 0.0))).tolist() for x, y in TASK]
WORKING = TRUE @ Pose(np.array([0.02, 0.01, 0.015]), Rotation.from_quat(TOOL_DOWN))


def points_file(folder, **changes):
    known = {
        "points": [{"task": list(task), "arm": arm} for task, arm in zip(TASK, ARM, strict=True)],
        "working": [*WORKING.position.tolist(), *WORKING.quaternion.tolist()],
        **changes,
    }
    path = folder / "points.yaml"
    path.write_text(yaml.safe_dump(known))
    return path


def calibrate(folder, *arguments):
    return cli.main(["calibrate", "frame", "--out", str(folder / "frame.yaml"), *arguments])


def written(folder):
    return yaml.safe_load((folder / "frame.yaml").read_text())


def test_points_of_a_file_become_parameters_of_every_node(tmp_path, capsys):
    assert calibrate(tmp_path, "--file", str(points_file(tmp_path))) == 0
    nodes = written(tmp_path)
    assert set(nodes) >= {"/**/safety_monitor", "/**/hardware_bridge", "/**/run_recorder"}
    values = [node["ros__parameters"] for node in nodes.values()]
    assert all(value == values[0] for value in values)
    found = Pose.from_values(values[0]["task_in_arm"])
    np.testing.assert_allclose(found.position, TRUE.position, atol=1e-8)
    assert (found.rotation.inv() * TRUE.rotation).magnitude() < 1e-7
    assert values[0]["height"] == pytest.approx(0.015)
    arm = DvrkArm(
        values[0]["task_in_arm"],
        workspace=((-1.0, 1.0), (-1.0, 1.0)),
        tool_in_task=values[0]["tool_in_task"],
        height=values[0]["height"],
    )
    np.testing.assert_allclose(arm.position(WORKING), (0.02, 0.01), atol=1e-8)
    out = capsys.readouterr().out
    assert "point 4: 0.00 mm off the fit" in out and "docs/dvrk.md" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frame.yaml", "points.yaml"]


def test_the_parameters_are_those_of_the_nodes(tmp_path):
    from safe_skills.nodes.composed import node_class
    from safe_skills.nodes.parameters import resolve

    calibrate(tmp_path, "--file", str(points_file(tmp_path)))
    for node, given in written(tmp_path).items():
        table = node_class(node.removeprefix("/**/")).PARAMETERS
        assert resolve(table, given["ros__parameters"])[1] == []


def test_points_of_a_csv_file(tmp_path, capsys):
    path = tmp_path / "points.csv"
    rows = [",".join(map(str, (*task, *arm))) for task, arm in zip(TASK, ARM, strict=True)]
    path.write_text("\n".join(["task_x,task_y,arm_x,arm_y,arm_z", *rows]))
    assert calibrate(tmp_path, "--file", str(path)) == 0
    (first, *_) = written(tmp_path).values()
    assert set(first["ros__parameters"]) == {"task_in_arm"}
    assert "need a pose at work" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"points": []}, "rows of 3 finite numbers"),
        ({"points": [{"task": [0, 0]}]}, "expected points as CSV"),
        ({"points": [{"task": [0, 0, 0], "arm": [0, 0, 0]}]}, "expected x, y of each point"),
        ({"points": 7}, "expected points as CSV"),
        ({"working": [0.0] * 7}, "expected a quaternion of norm 1"),
    ],
)
def test_a_file_of_another_form_is_one_line(tmp_path, capsys, changes, line):
    assert calibrate(tmp_path, "--file", str(points_file(tmp_path, **changes))) == 2
    err = capsys.readouterr().err
    assert line in err and len(err.splitlines()) == 1
    assert not (tmp_path / "frame.yaml").exists()


def test_a_point_off_by_more_than_the_tolerance_is_refused(tmp_path, capsys):
    points = [{"task": list(t), "arm": list(a)} for t, a in zip(TASK, ARM, strict=True)]
    points[2]["arm"][0] += 0.02
    path = points_file(tmp_path, points=points)
    assert calibrate(tmp_path, "--file", str(path)) == 2
    assert "touch the points again" in capsys.readouterr().err
    assert calibrate(tmp_path, "--file", str(path), "--tolerance", "20") == 0


@pytest.mark.parametrize("points", ["0,0 0.1,0", "a,b c,d e,f", "0,0 0.1,0 0,nan", "0 1 2"])
def test_points_to_touch_that_make_no_sense_are_one_line(tmp_path, capsys, points):
    assert calibrate(tmp_path, "--points", points) == 2
    assert "--points: expected three or more" in capsys.readouterr().err
