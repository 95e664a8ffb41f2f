"""What the documents say of nodes, parameters, options, commands and settings is what the code has.

A table row that has drifted fails with the row as it should be.
"""

import argparse
import ast
import importlib
import json
import re
import shlex
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import yaml
from gate_codes import reason_codes

from safe_skills.baselines.config import BaselineConfig
from safe_skills.cli import COMMANDS
from safe_skills.data.episodes import KINDS
from safe_skills.envs.cable_layouts import LAYOUTS
from safe_skills.envs.tasks import TASKS
from safe_skills.experiments.ls3_runs import METHODS, SWEEPS, load_scale
from safe_skills.experiments.reproduce import FAMILIES
from safe_skills.experiments.results import SCALES
from safe_skills.ls3.config import LS3Config
from safe_skills.ls3.planner_config import PROFILES, PlannerConfig
from safe_skills.nodes.base import AUTOSTART
from safe_skills.nodes.composed import node_class
from safe_skills.paths import config_file
from safe_skills.safer.config import SaferConfig
from safe_skills.safety import FORMS, GateState
from safe_skills.systems import LAUNCH_OPTIONS, SYSTEMS, find_system

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
TEXTS = {"README.md": README, **DOCS}
SETUP = (ROOT / "setup.cfg").read_text(encoding="utf-8")
NODES = sorted(re.findall(r"^ +(\w+) = safe_skills\.nodes\.\1:main$", SETUP, re.MULTILINE))


def anchor_of(heading):
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def sections(text, level):
    """Bodies of the headings of one level, by heading; higher headings end them too."""
    parts = re.split(rf"^(#{{1,{level}}}) (.+)$", text, flags=re.MULTILINE)
    found = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {heading: body for marks, heading, body in found if len(marks) == level}


def rows(text):
    """Lines of tables whose first cell is one name in backquotes."""
    return [line for line in text.splitlines() if re.match(r"^\| `[^`]+` \|", line)]


def in_json(value):
    return f"`{json.dumps(value)}`"


def parameter_row(name, param):
    allowed = ", ".join(param.choices)
    if param.low is not None or param.high is not None:
        allowed = f"{param.low:g} to {param.high:g}"
    when = "running" if param.runtime else "unconfigured"
    return f"| `{name}` | {in_json(param.default)} | {allowed} | {when} | {param.description} |"


def parameters_of(node):
    """Parameter rows of a node's section and of the common sections that it links to."""
    by_heading = sections(DOCS["nodes.md"], 3)
    table = by_heading["Parameters of " + node]
    found = rows(table)
    for heading, common in by_heading.items():
        if f"(#{anchor_of(heading)})" in table:
            found += rows(common)
    return found


@pytest.mark.parametrize("node", NODES)
def test_every_parameter_of_a_node_is_described_as_it_is(node):
    known = {"autostart": AUTOSTART, **node_class(node).PARAMETERS}
    expected = [parameter_row(name, param) for name, param in known.items()]
    assert sorted(parameters_of(node)) == sorted(expected)


def text_of(argument, before):
    """A topic's name in a call: a literal, or an f-string with ARM for what it fills in."""
    if isinstance(argument, ast.Name):
        argument = before[argument.id]
    if isinstance(argument, ast.JoinedStr):
        parts = argument.values
        return "".join(part.value if isinstance(part, ast.Constant) else "ARM" for part in parts)
    return argument.value


def topics_of(node):
    """Names that a node's class and those that it derives from give to `advertise` and so on."""
    modules = {part.__module__ for part in node_class(node).__mro__}
    own = sorted(name for name in modules if name.startswith("safe_skills.nodes."))
    return [topic for module in own for topic in topics_in(module.rpartition(".")[2])]


def topics_in(module):
    """Names that a module gives to `advertise`, `subscribe` and `serve`."""
    tree = ast.parse((ROOT / "safe_skills" / "nodes" / f"{module}.py").read_text())
    before = {
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("advertise", "subscribe", "serve")
        and getattr(node.func.value, "id", "") == "self"
    ]
    return [text_of(call.args[1], before) for call in calls]


@pytest.mark.parametrize("node", [name for name in NODES if name != "bag_recorder"])
def test_every_topic_and_service_of_a_node_is_named_in_its_section(node):
    topics = topics_of(node)
    body = sections(DOCS["nodes.md"], 2)[node]
    assert len(topics) >= 2
    assert [topic for topic in topics if f"`{topic}`" not in body] == []


def test_nodes_that_are_described_exist():
    described = [name for name in sections(DOCS["nodes.md"], 2) if "_" in name or name in NODES]
    assert sorted(described) == NODES


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=str)
def test_every_option_of_a_system_is_described_as_it_is(system):
    for option in system.options:
        choices = ", ".join(option.choices)
        row = f"| `{option.name}` | {in_json(option.default)} | {choices} | {option.help} |"
        assert row in README.splitlines()


def test_every_command_and_every_message_is_named():
    named = set(re.findall(r"^\| `(?:safe-skills )?(\w+)", README, flags=re.MULTILINE))
    messages = {path.stem for path in (ROOT / "msg").glob("*.msg")}
    assert set(COMMANDS) | messages <= named


def lines_of_code():
    """Lines in the code blocks of all documents, continued ones joined, without comments."""
    for name, text in TEXTS.items():
        for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.split(" #")[0].strip()
                if words:
                    yield name, words


def parser_of(command):
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    importlib.import_module(COMMANDS[command]).configure(parser)
    return parser


def parsers_with_options():
    """Parsers by what follows `safe-skills`; bench's options are not in the README."""
    for command in COMMANDS:
        if command == "run":
            continue
        parser = parser_of(command)
        parts = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if parts and command != "bench":
            yield from ((f"{command} {name}", part) for name, part in parts[0].items())
        else:
            yield command, parser


PARSERS = dict(parsers_with_options())


@pytest.mark.parametrize("words", PARSERS)
def test_every_option_of_a_command_is_named(words):
    command, _, part = words.partition(" ")
    found = [line for line in rows(README) if line.startswith(f"| `safe-skills {command} ")]
    if part:
        found = [row for row in found if re.search(rf"`(safe-skills {command} )?{part}[ `]", row)]
    (row,) = found
    known = {a.option_strings[-1] for a in PARSERS[words]._actions if a.option_strings}
    assert set(re.findall(r"`(--[\w-]+)`", row)) == known - {"--help"}


def test_commands_in_the_documents_exist_with_their_options():
    seen = set()
    for _, line in lines_of_code():
        words = shlex.split(line) if line.startswith(("safe-skills", ".venv/bin")) else []
        if words and words[0].removeprefix(".venv/bin/") == "safe-skills":
            parser_of(words[1]).parse_args(words[2:])
            seen.add(words[1])
    assert seen == set(COMMANDS)


def test_launches_in_the_documents_use_known_options():
    launches = [shlex.split(line) for _, line in lines_of_code() if "ros2 launch" in line]
    assert launches
    for words in launches:
        assert words[:3] == ["ros2", "launch", "safe_skills"]
        system = find_system(words[3].removesuffix(".launch.py"))
        given = dict(word.split(":=", 1) for word in words[4:] if word != "--show-args")
        for option in LAUNCH_OPTIONS:
            option.parse(given.pop(option.name, option.default))
        system.values(given)


def test_parameters_set_in_the_documents_exist():
    texts = [line for _, line in lines_of_code() if "ros2 param set" in line]
    assert texts
    for words in map(str.split, texts):
        param = node_class(words[3].lstrip("/")).PARAMETERS[words[4]]
        assert param.runtime
        param.check(words[4], json.loads(words[5]))


def test_targets_of_make_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    used = {
        word
        for _, line in lines_of_code()
        for word in re.findall(r"^make (?:\w+=\S+ )?([\w-]+)", line)
    }
    assert {"run", "test"} <= used <= set(targets)


def test_every_reason_code_and_state_of_the_gate_is_explained_in_order():
    codes = reason_codes()
    assert len(codes) == len(set(codes)) >= 40
    by_heading = sections(DOCS["safety.md"], 2)
    ordered = rows(by_heading["Reasons, in the order of their checks"])
    assert [re.match(r"^\| `([^`]+)`", row)[1] for row in ordered] == codes
    table = [re.match(r"^\| `([^`]+)`", row)[1] for row in rows(DOCS["safety.md"])]
    assert {state.name for state in GateState} <= set(table)
    assert {"seen_contact", "stop_unverified"} <= set(table)


def test_every_check_is_in_the_table_of_rules_as_it_is():
    for name, form in FORMS.items():
        words = [name, form.action.name.lower(), form.least.name.lower()]
        numbers = f"{form.triggers}, {form.releases}" if form.debounced else "1"
        assert f"| `{words[0]}` | {words[1]} | {words[2]} | {numbers} |" in DOCS["safety.md"]


def settings(config, section=""):
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from settings(value, f"{item.name}.")
        else:
            yield section + item.name, list(value) if isinstance(value, tuple) else value


def test_every_setting_of_ls3_is_named():
    named = set(re.findall(r"`([\w.]+)`", DOCS["ls3.md"]))
    for name, _ in settings(LS3Config()):
        assert name in named or name.split(".")[1] in named, name


def test_defaults_of_ls3_are_those_of_the_code():
    known = dict(settings(LS3Config())) | dict(settings(PlannerConfig(), "planner."))
    found = [re.match(r"^\| `(\w+\.\w+)` \| `([^`]+)` \|", row) for row in rows(DOCS["ls3.md"])]
    found = {match[1]: json.loads(match[2]) for match in found if match}
    assert {name for name in known if name.startswith("planner.")} <= set(found)
    assert found == {name: known[name] for name in found}


def test_settings_and_defaults_of_safer_are_those_of_the_code():
    known = dict(settings(SaferConfig()))
    found = [re.match(r"^\| `(\w+\.\w+)` \| `([^`]+)` \|", row) for row in rows(DOCS["safer.md"])]
    assert {match[1]: json.loads(match[2]) for match in found if match} == known


def test_settings_of_the_baselines_are_those_of_the_code_and_of_the_small_scale():
    known = dict(settings(BaselineConfig()))
    text = config_file("training/ls3_baselines.yaml").read_text(encoding="utf-8")
    small = yaml.safe_load(text)["cpu"]
    small = {f"{part}.{name}": v for part, values in small.items() for name, v in values.items()}
    cells = [re.split(r" *\| *", row.strip("| "), maxsplit=3) for row in rows(DOCS["baselines.md"])]
    found = [(name.strip("`"), default, value) for name, default, value, _ in cells]
    assert {name: json.loads(default.strip("`")) for name, default, _ in found} == known
    assert {name: json.loads(v.strip("`")) for name, _, v in found if v} == small


def test_what_the_realtime_profile_changes_is_listed():
    paper, realtime = (dict(settings(PROFILES[name])) for name in ("paper", "realtime"))
    changed = [name for name in paper if paper[name] != realtime[name]]
    changes = ", ".join(f"`{name}={json.dumps(realtime[name])}`" for name in changed)
    assert f" {changes}." in " ".join(DOCS["ls3.md"].split())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_geometry_of_a_layout_is_that_of_the_code(layout):
    column = 1 + sorted(LAYOUTS).index(layout.name)
    lines = [re.split(r" *\| *", row.strip("| ")) for row in rows(DOCS["cable.md"])]
    cells = {words[0]: words[column] for words in lines}
    for name in ("obstacle_centre", "obstacle_half", "goal_centre", "goal_half"):
        assert cells[f"`{name}`"] == "({:g}, {:g})".format(*getattr(layout, name))


@pytest.mark.parametrize(
    ("column", "name"), list(enumerate(["navigation", "reacher", "pushing"], 1))
)
def test_the_tables_of_tasks_are_those_of_the_code(column, name):
    task, lines = TASKS[name], DOCS["tasks.md"].splitlines()
    assert "| | navigation | reacher | pushing |" in lines
    cells = [re.split(r" *\| *", line.strip("| ")) for line in lines if "|" in line]
    found = {row[0]: row[column] for row in cells if len(row) == 4}
    assert found["environment"] == f"`{task.env_id}`"
    assert found["horizon T"] == str(task.horizon)
    assert found["frames that learners stack"] == str(task.frame_stack)
    (counts,) = [row[1:] for row in cells if row[0] == name and len(row) == 4]
    for kind, cell in zip(("demo", "constraint", "random"), counts, strict=True):
        if kind in task.episodes:
            assert re.match(rf"{task.episodes[kind]}\b", cell)
        else:
            assert not cell[0].isdigit()


def test_kinds_of_episodes_are_explained():
    text = DOCS["cable.md"] + DOCS["operation.md"]
    assert set(KINDS) <= set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))


def test_links_lead_to_files_and_headings():
    for name, text in TEXTS.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for target in re.findall(r"(?<!\!)\[[^]]+\]\(([^)]+)\)", text):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            file = (folder / path) if path else folder / name
            assert file.exists(), f"{name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
                assert anchor in map(anchor_of, headings), f"{name}: {target}"


def methods_of(sizes):
    return ", ".join(METHODS[name].title for name in METHODS if name in sizes.methods)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_of_ls3_are_described_as_they_are(scale):
    lines = DOCS["reproducing.md"].splitlines()
    sizes = load_scale(scale)
    for task, own in sizes.tasks.items():
        numbers = f"{own.updates} | {len(own.seeds)} | {methods_of(own)}"
        assert f"| `{scale}` | {task} | `{own.setting}`, `{own.baselines}` | {numbers} |" in lines
    sweeps = sizes.sweeps
    values = [", ".join(map(str, getattr(sweeps, name))) for name in SWEEPS]
    numbers = f"{sweeps.updates} | {len(sweeps.seeds)} | {' | '.join(values)}"
    assert f"| `{scale}` | {sweeps.task} | {numbers} |" in lines


def test_every_result_is_named():
    named = [re.match(r"^\| `([^`]+)`", row)[1] for row in rows(DOCS["reproducing.md"])]
    assert set(FAMILIES) == {name for name in named if name not in SCALES}
