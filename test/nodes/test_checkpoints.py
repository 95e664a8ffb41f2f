"""Whatever is wrong with a checkpoint: one line, no latent, no command, no traceback."""

import re
import shutil

import pytest

from safe_skills.nodes.camera_encoder import CameraEncoder
from safe_skills.nodes.cem_planner import CemPlanner
from safe_skills.nodes.safety_monitor import SafetyMonitor
from safe_skills.nodes.safety_posterior import SafetyPosterior
from safe_skills.nodes.skill_decoder import SkillDecoder
from safe_skills.nodes.skill_policy import SkillPolicy

NODES = [
    *((node_class, "checkpoint") for node_class in (CameraEncoder, CemPlanner, SafetyMonitor)),
    *((node_class, "prior_checkpoint") for node_class in (SafetyPosterior, SkillPolicy)),
    (SkillDecoder, "prior_checkpoint"),
]


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
    task = re.search(r"^task: (\w+)$", config.read_text(), re.MULTILINE)[1]
    config.write_text(config.read_text().replace(f"task: {task}", "task: pushing"))
    return f"expected task '{task}', found 'pushing'"


def no_yaml(folder):
    (folder / "config.yaml").write_bytes(b"\xff\xfe{{{{")
    return "config.yaml"


DAMAGES = [missing, without_weights, truncated, flipped, of_another_task, no_yaml]


@pytest.mark.parametrize(("node_class", "whole"), NODES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_checkpoint_is_one_line_and_the_node_stays_unconfigured(
    graph, lines, request, tmp_path, node_class, whole, damage
):
    folder = tmp_path / "checkpoint"
    shutil.copytree(request.getfixturevalue(whole), folder)
    says = damage(folder)
    node = graph.start(node_class, checkpoint=str(folder))
    assert not node.is_active
    errors = [text for severity, text in lines if severity in ("ERROR", "FATAL")]
    assert len(errors) == 1 and says in errors[0] and "\n" not in errors[0]
    assert errors[0].startswith(f"cannot configure: checkpoint {folder}")
    topics = {"/latent", "/command", "/command_safe", "/safety_context", "/abstract_action"}
    assert not topics & {p.topic_name for p in node.publishers}


def test_a_skill_prior_with_a_damaged_encoder_makes_no_latent(graph, prior_checkpoint, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(prior_checkpoint, folder)
    says = flipped(folder)
    node = graph.start(CameraEncoder, checkpoint=str(folder))
    assert not node.is_active and says in node.fault


@pytest.mark.parametrize("name", ["", "no_such_checkpoint"])
def test_a_name_that_is_no_checkpoint_is_said(graph, name):
    node = graph.start(CemPlanner, checkpoint=name)
    assert not node.is_active and "checkpoint" in node.fault
