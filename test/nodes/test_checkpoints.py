"""Whatever is wrong with a checkpoint: one line, no latent, no command, no traceback."""

import shutil

import pytest

from safe_skills.nodes.camera_encoder import CameraEncoder
from safe_skills.nodes.cem_planner import CemPlanner
from safe_skills.nodes.safety_monitor import SafetyMonitor

NODES = [CameraEncoder, CemPlanner, SafetyMonitor]


def missing(folder):
    shutil.rmtree(folder)
    return "no such folder"


def without_weights(folder):
    (folder / "model.safetensors").unlink()
    return "model.safetensors is missing"


def truncated(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return "damaged"


def flipped(folder):
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 0xFF
    weights.write_bytes(data)
    return "damaged"


def of_another_task(folder):
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("task: cable", "task: grasp"))
    return "expected task 'cable', found 'grasp'"


def no_yaml(folder):
    (folder / "config.yaml").write_bytes(b"\xff\xfe{{{{")
    return "config.yaml"


DAMAGES = [missing, without_weights, truncated, flipped, of_another_task, no_yaml]


@pytest.mark.parametrize("node_class", NODES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_checkpoint_is_one_line_and_the_node_stays_unconfigured(
    graph, lines, checkpoint, tmp_path, node_class, damage
):
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    says = damage(folder)
    node = graph.start(node_class, checkpoint=str(folder))
    assert not node.is_active
    errors = [text for severity, text in lines if severity in ("ERROR", "FATAL")]
    assert len(errors) == 1 and says in errors[0] and "\n" not in errors[0]
    assert errors[0].startswith(f"cannot configure: checkpoint {folder}")
    assert not {"/latent", "/command", "/command_safe"} & {p.topic_name for p in node.publishers}


@pytest.mark.parametrize("name", ["", "no_such_checkpoint"])
def test_a_name_that_is_no_checkpoint_is_said(graph, name):
    node = graph.start(CemPlanner, checkpoint=name)
    assert not node.is_active and "checkpoint" in node.fault
