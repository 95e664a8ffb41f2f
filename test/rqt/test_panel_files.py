"""What rqt and Foxglove are told agrees with the code and the messages."""

import ast
import importlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ament_index_python.packages import get_package_share_directory

from safe_skills import msg
from safe_skills.rqt.link import SERVICES, TOPICS

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = json.loads((ROOT / "config" / "safety_foxglove.json").read_text())
DOCS = (ROOT / "docs" / "rqt.md").read_text(encoding="utf-8")
MESSAGES = {topic: kind for _, kind, topic, _ in TOPICS}


def plugin_class():
    (library,) = ElementTree.parse(ROOT / "plugin.xml").iter("library")
    (found,) = library.iter("class")
    return found


def test_rqt_finds_the_plugin_that_package_xml_names():
    (export,) = ElementTree.parse(ROOT / "package.xml").iter("rqt_gui")
    assert export.get("plugin") == "${prefix}/plugin.xml"
    found = plugin_class()
    assert found.get("base_class_type") == "rqt_gui_py::Plugin"
    module, _, name = found.get("type").rpartition(".")
    source = (ROOT / Path(*module.split(".")).with_suffix(".py")).read_text(encoding="utf-8")
    classes = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert name in classes
    assert {element.tag for element in found.iter()} >= {"qtgui", "label", "description"}


def test_what_rqt_needs_is_installed():
    share = Path(get_package_share_directory("safe_skills"))
    package = ElementTree.parse(share / "package.xml")
    if not list(package.iter("rqt_gui")):
        pytest.skip("the installed package is older than its sources: run make install")
    assert (share / "plugin.xml").read_text() == (ROOT / "plugin.xml").read_text()
    assert (share / "config" / "safety_panel.perspective").is_file()
    index = share.parents[0] / "ament_index" / "resource_index" / "packages" / "safe_skills"
    assert index.exists()


def test_the_perspective_opens_the_plugin():
    perspective = json.loads((ROOT / "config" / "safety_panel.perspective").read_text())
    manager = perspective["groups"]["pluginmanager"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    name = f"safe_skills/{plugin_class().get('name')}"
    assert running == {name: [1]}
    (group,) = manager["groups"]
    assert group == f"plugin__{name.replace('/', '__')}__1"
    assert set(manager["groups"][group]["groups"]["plugin"]["keys"]) == {"namespace"}


def strings(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def panels(tree):
    if isinstance(tree, str):
        return [tree]
    return panels(tree["first"]) + panels(tree["second"])


def assert_is_a_field(topic, field):
    kind = MESSAGES[topic]
    assert kind.__module__.startswith(msg.__name__)
    assert field in kind.get_fields_and_field_types(), f"{topic} has no {field}"


def test_foxglove_draws_fields_that_there_are():
    assert sorted(panels(LAYOUT["layout"])) == sorted(LAYOUT["configById"])
    paths = [text for text in strings(LAYOUT) if re.fullmatch(r"/\w+\.\w+", text)]
    assert len(paths) >= 10
    for path in paths:
        assert_is_a_field(*path[1:].split("."))
    services = {c["serviceName"] for c in LAYOUT["configById"].values() if "serviceName" in c}
    assert services == {f"/{name}" for name in SERVICES.values()}
    topics = {c["topicPath"] for c in LAYOUT["configById"].values() if "topicPath" in c}
    assert topics == {"/safety_status", "/violation"}


def test_every_number_of_the_status_has_its_path_in_the_documents():
    table = set(re.findall(r"^\| `/(\w+/\w+)` \|", DOCS, flags=re.MULTILINE))
    for path in table:
        assert_is_a_field(*path.split("/"))
    types = msg.SafetyStatus.get_fields_and_field_types()
    numbers = {name for name, kind in types.items() if re.fullmatch(r"double|u?int\d+", kind)}
    assert {f"safety_status/{name}" for name in numbers} <= table


def test_commands_in_the_documents_name_files_that_there_are():
    for path in set(re.findall(r"config/safety_\w+\.\w+", DOCS)):
        assert (ROOT / path).is_file()
    importlib.import_module("safe_skills.rqt.__main__")
