"""The house rules that a program can hold: who imports whom, and what the builds must find."""

import ast
import configparser
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ament_index_python.packages import get_package_prefix
from rclpy.serialization import deserialize_message, serialize_message

import safe_skills

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "safe_skills"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Which part of safe_skills may import which others: nodes -> {ls3, ...} -> data, never back.
ALGORITHMS = {"ls3", "safer", "baselines", "safety", "robots", "envs", "data"}
ALLOWED = {
    "data": set(),
    "ls3": {"data"},
    "safer": {"data"},
    # Soft actor-critic learns over SAFER's priors.
    "baselines": {"data", "safer"},
    "safety": {"data"},
    "robots": {"data"},
    # Simulators are robots too: they move by a robot's kinematics and are built from its URDF.
    "envs": {"data", "robots", "paths"},
    "paths": set(),
    "systems": {"paths", "robots"},
    "nodes": ALGORITHMS | {"paths", "systems", "msg"},
    "rqt": {"data", "safety", "robots", "nodes", "paths", "msg"},
    "experiments": ALGORITHMS | {"paths", "systems", "nodes", "msg"},
    "cli": ALGORITHMS | {"paths", "systems", "nodes", "experiments"},
}
# Used where they are installed. No ROS distribution carries crtk_msgs; ray is for clusters; the
# others make a window, which a robot need not have, and rqt is there where it loads the panel.
WINDOWS = {"PyQt5", "python_qt_binding", "rqt_gui_py"}
OPTIONAL = {"crtk_msgs", "ray"} | WINDOWS
ROS = re.compile(r"^(rclpy|launch\w*|rosidl\w*|ament\w*|\w+_msgs|\w+_interfaces|std_srvs)$")


def part_of(module: str) -> str:
    """The part that a dotted name below safe_skills belongs to; "" for safe_skills itself."""
    return (module.split(".") + [""])[1]


def module_name(path: Path, package: Path = PACKAGE) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Dotted names of all that a module imports, wherever in it, relative imports resolved."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                levels = node.level - is_package
                package = module.split(".")[: -levels or None]
                base = ".".join([*package, base] if base else package)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def broken_rules(source: str, module: str, is_package: bool = False) -> list[str]:
    own = part_of(module)
    problems = []
    for name in sorted(imports(source, module, is_package)):
        if own in ALGORITHMS and ROS.match(name.split(".")[0]):
            problems.append(f"{module} imports {name}, but {own} does without ROS")
        other = part_of(name)
        if name.split(".")[0] == "safe_skills" and other in ALLOWED | {"msg": None}:
            if own and other != own and other not in ALLOWED[own]:
                problems.append(f"{module} imports {name}, but {own} may not import {other}")
    return problems


def entry_points(group: str) -> dict[str, str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options.entry_points"][group].strip().splitlines()
    return dict(re.split(r"\s*=\s*", line.strip(), maxsplit=1) for line in lines)


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    module = module_name(path)
    own = part_of(module)
    assert not own or own in ALLOWED, f"say in ALLOWED what safe_skills.{own} may import"
    is_package = path.name == "__init__.py"
    assert broken_rules(path.read_text(encoding="utf-8"), module, is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("safe_skills.ls3.agent", "from safe_skills.envs.cable import CableEnv"),
        ("safe_skills.ls3.agent", "from safe_skills import safety"),
        ("safe_skills.safety.gate", "import safe_skills.ls3.agent"),
        ("safe_skills.data.vision", "from ..nodes import qos"),
        ("safe_skills.robots.servo", "def f():\n    from safe_skills.msg import Command"),
        ("safe_skills.safety.gate", "from geometry_msgs.msg import Pose"),
        ("safe_skills.envs.cable", "import rclpy.time"),
        ("safe_skills.systems", "from safe_skills.nodes.base import SkillNode"),
    ],
)
def test_a_wrong_import_is_noticed(module, source):
    assert len(broken_rules(source, module)) == 1


def test_only_the_panel_opens_windows():
    for path in MODULES:
        module = module_name(path)
        found = imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
        windows = {name for name in found if name.split(".")[0] in WINDOWS}
        assert not windows or part_of(module) == "rqt", f"{module} imports {sorted(windows)}"


def test_relative_imports_of_a_package_are_resolved():
    assert imports("from .a import b", "safe_skills.ls3", True) == {"safe_skills.ls3.a.b"}
    assert imports("from . import b", "safe_skills.ls3.c") == {"safe_skills.ls3.b"}


def test_algorithms_run_without_ros():
    """What they import in turn counts too, so all are imported in a fresh interpreter."""
    names = [module_name(path) for path in MODULES]
    names = [name for name in names if part_of(name) in ALGORITHMS]
    code = (
        "import importlib, sys\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}))\n"
        "print(sorted(name for name in sys.modules if name.startswith('safe_skills.')))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert run.returncode == 0, run.stderr
    loaded, own = (set(ast.literal_eval(line)) for line in run.stdout.splitlines())
    assert {name for name in loaded if ROS.match(name)} == set()
    assert {part_of(name) for name in own} <= ALGORITHMS | {"paths"}


@pytest.mark.parametrize("group", ["console_scripts", "safe_skills.nodes"])
def test_entry_points_name_functions(group):
    for name, target in entry_points(group).items():
        module, function = target.split(":")
        path = ROOT / Path(*module.split(".")).with_suffix(".py")
        assert path.is_file(), f"entry point {name}: no {path}"
        assert function in functions(path), f"entry point {name}: no {function}() in {path}"


def test_every_node_is_an_executable():
    nodes = {p.stem for p in (PACKAGE / "nodes").glob("*.py") if "main" in functions(p)}
    assert nodes == set(entry_points("safe_skills.nodes"))
    for name, target in entry_points("safe_skills.nodes").items():
        assert target == f"safe_skills.nodes.{name}:main"


def test_installed_executables_are_those_of_setup_cfg():
    folder = Path(get_package_prefix("safe_skills")) / "lib" / "safe_skills"
    installed = {file.name for file in folder.iterdir() if os.access(file, os.X_OK)}
    assert installed == set(entry_points("safe_skills.nodes"))


def test_one_version():
    declared = ElementTree.parse(ROOT / "package.xml").findtext("version")
    assert safe_skills.__version__ == declared == importlib.metadata.version("safe_skills")


def test_imported_packages_are_declared():
    """ROS packages in package.xml, all others in install_requires of setup.cfg."""
    ros = {
        e.text
        for e in ElementTree.parse(ROOT / "package.xml").iter()
        if e.tag in ("depend", "exec_depend")
    }
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    required = {
        re.match(r"[\w-]+", line)[0].lower()
        for line in config["options"]["install_requires"].strip().splitlines()
    }
    distributions = importlib.metadata.packages_distributions()
    names = set()
    for path in [*MODULES, *(ROOT / "launch").glob("*.py")]:
        module = module_name(path) if path in MODULES else path.stem
        is_package = path.name == "__init__.py"
        found = imports(path.read_text(encoding="utf-8"), module, is_package)
        names |= {name.split(".")[0] for name in found}
    for name in names - sys.stdlib_module_names - OPTIONAL - {"safe_skills", "__future__"}:
        if ROS.match(name):
            assert name in ros, f"package.xml does not declare {name}"
        else:
            found = {d.lower().replace("_", "-") for d in distributions[name]}
            assert found & required, f"setup.cfg lacks {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "msg").glob("*.msg")), ids=lambda path: path.stem)
def test_messages_are_built_as_written(path):
    message = getattr(importlib.import_module("safe_skills.msg"), path.stem)
    lines = [line.split("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [words for words in lines if words]
    fields = [words[1] for words in lines if "=" not in "".join(words)]
    constants = dict("".join(words[1:]).split("=") for words in lines if "=" in "".join(words))
    assert list(message.get_fields_and_field_types()) == fields, "stale build: run make install"
    assert {name: str(getattr(message, name)) for name in constants} == constants
    assert deserialize_message(serialize_message(message()), message) == message()
