"""The SROS2 policies that ship allow what the running graph does, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from safe_skills.experiments.access_policy import (
    OPERATOR,
    differences,
    policy_text,
    read_policy,
)
from safe_skills.systems import SYSTEMS

FOLDER = Path(__file__).resolve().parents[2] / "config" / "sros2"


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_policy_is_that_of_the_graph(system, tmp_path):
    # In a process of its own: nodes are found by name, and tests before may have left the same.
    path = tmp_path / "policy.xml"
    words = ["-m", "safe_skills.experiments.access_policy", system, str(path)]
    environment = {**os.environ, "ROS_DOMAIN_ID": "101"}
    subprocess.run([sys.executable, *words], check=True, env=environment)
    used = read_policy(path)
    allowed = read_policy(FOLDER / f"{system}.policy.xml")
    found = list(differences(allowed, used))
    assert found == [], f"python -m safe_skills.experiments.access_policy {system} writes it anew"
    # Only the gate feeds the bridge, only the bridge the robot.
    owners = {"/command_safe": "safety_monitor"}
    robot = {"ls3_cable": "/PSM1/servo_cp", "safer_grasp": "/arm_controller/joint_trajectory"}
    owners[robot[system]] = "hardware_bridge"
    for topic, owner in owners.items():
        assert [name for name, access in allowed.items() if topic in access["publish"]] == [owner]
    for access in allowed.values():
        assert access["publish"] >= {"/rosout", "/parameter_events"}


def test_what_is_missing_and_what_is_too_much_is_said():
    nothing = dict.fromkeys(("publish", "subscribe", "reply", "request"), frozenset())
    used = {"a": {**nothing, "publish": frozenset({"/x"})}}
    allowed = {"a": {**nothing, "publish": frozenset({"/y"})}, "b": nothing}
    assert list(differences(allowed, used)) == ["a may not publish /x", "a need not publish /y"]


def test_a_policy_is_read_as_it_was_written_and_another_format_is_refused(tmp_path):
    access = {
        "publish": frozenset({"/x", "/y"}),
        "subscribe": frozenset(),
        "reply": frozenset({"/a/s"}),
        "request": frozenset({"/b/s"}),
    }
    path = tmp_path / "policy.xml"
    path.write_text(policy_text("system", {"a": access}))
    assert read_policy(path) == {"a": access, "operator": OPERATOR}
    path.write_text(path.read_text().replace('reply="ALLOW"', 'reply="DENY"'))
    with pytest.raises(ValueError, match="expected rights that are given"):
        read_policy(path)
    path.write_text('<policy version="0.1.0"/>')
    with pytest.raises(ValueError, match=r"expected a policy of version 0\.2\.0"):
        read_policy(path)
