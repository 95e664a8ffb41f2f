import json
import os
import signal
import subprocess
import sys
import time

import pytest

from safe_skills import cli
from safe_skills.nodes.composed import parse_overrides

NODES = ["cem_planner", "simulator"]


def run(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "safe_skills.cli", "run", "ls3_cable", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
        **options,
    )


def test_overrides_are_parsed_as_yaml():
    texts = [
        "simulator.seed:=7",
        "simulator.overview:=true",
        "cem_planner.infeasible:=hold",
        "simulator.overview_size:=[32, 32]",
    ]
    assert parse_overrides(texts, NODES) == {
        "simulator": {"seed": 7, "overview": True, "overview_size": [32, 32]},
        "cem_planner": {"infeasible": "hold"},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed:=7", "expected NODE.PARAMETER:=VALUE, got 'seed:=7'"),
        ("simulator.seed=7", "expected NODE.PARAMETER:=VALUE"),
        ("robot.seed:=7", "unknown node robot; this system has cem_planner, simulator"),
        ("simulator.seed:=[7", "is not YAML"),
    ],
)
def test_overrides_that_make_no_sense_are_refused_in_one_line(text, says):
    with pytest.raises(ValueError, match="-p: ") as caught:
        parse_overrides([text], NODES)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_ends_with_its_summary_files_and_status_0(checkpoint, tmp_path):
    files = {name: tmp_path / f"run.{name}" for name in ("json", "gif", "mcap")}
    child = run(
        f"--checkpoint={checkpoint}",
        "--episodes=1",
        "--seed=5",
        f"--json={files['json']}",
        f"--gif={files['gif']}",
        f"--record={files['mcap']}",
        "--black_box=true",
        "-p",
        f"black_box.folder:={tmp_path / 'box'}",
        "-p",
        "black_box.passed_over:=[none]",
        "-p",
        "safety_monitor.step_limit:=0.02",
    )
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert "Traceback" not in err and "ERROR" not in err
    assert "success" in out and "gate and bridge" in out
    summary = json.loads(files["json"].read_text())
    # What was broken is in the black box's files, the last of them written at the end.
    box = sorted((tmp_path / "box").glob("*_violation_*.mcap"))
    assert bool(box) == (summary["gate"]["violations"] > 0)
    assert set(tmp_path.iterdir()) - {tmp_path / "box"} == set(files.values())
    assert summary["episodes"] == 1 and summary["complete"] is True
    assert summary["seed"] == 5 and summary["episode_list"][0]["seed"] == 5
    assert summary["checkpoint"] == str(checkpoint)
    steps = summary["episode_list"][0]["steps"]
    assert steps <= summary["plans"] + 1 and summary["gate"]["received"] >= summary["plans"] - 1
    assert summary["gate"]["limited"] > 0
    assert summary["processes"] == 1 and 100 < summary["peak_rss_mb"] < 1500
    for times in ("plan_ms", "latency_ms", "gate_bridge_ms"):
        assert 0 < summary[times]["p50"] <= summary[times]["p99"]
    assert summary["latency_ms"]["p50"] > summary["plan_ms"]["p50"]
    check_gif(files["gif"])
    check_bag(files["mcap"], steps)


def check_gif(path):
    from PIL import Image

    with Image.open(path) as gif:
        assert gif.n_frames > 1 and gif.size == (320 + 144, 2 * 144 + 22)


def check_bag(path, steps):
    from mcap.reader import make_reader
    from rclpy.serialization import deserialize_message

    from safe_skills.msg import Command

    with path.open("rb") as stream:
        reader = make_reader(stream)
        counts = {}
        for schema, channel, message in reader.iter_messages():
            counts[channel.topic] = counts.get(channel.topic, 0) + 1
            if channel.topic == "/command_safe":
                assert schema.name == "safe_skills/msg/Command"
                assert len(deserialize_message(message.data, Command).action) == 2
    for topic in ("/camera/image_raw", "/latent", "/command", "/command_safe", "/PSM1/servo_cp"):
        assert counts[topic] >= steps - 2, (topic, counts)
    assert {"/episode", "/safety_status", "/plan_status", "/diagnostics"} <= set(counts)


def test_an_interrupt_ends_with_the_summary_of_what_was_done(checkpoint, tmp_path):
    path = tmp_path / "run.json"
    child = run(f"--checkpoint={checkpoint}", "--episodes=0", f"--json={path}")
    lines = []
    for line in child.stderr:
        lines.append(line)
        if "simulated PSM, ENABLED" in line:
            break
    time.sleep(2.0)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err and "gate and bridge" in out
    summary = json.loads(path.read_text())
    assert summary["complete"] is False and summary["plans"] > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--checkpoint=/nowhere"], "checkpoint /nowhere: no such folder"),
        (["-p", "simulator.speed:=3"], "unknown parameter speed; this node knows"),
        (["-p", "simulator.state_rate:=0.5"], "state_rate: expected 1 to 1000, got 0.5"),
        (["-p", "robot.speed:=3"], "unknown node robot"),
        (["--episodes=many"], "episodes: expected a whole number, got 'many'"),
        (["--json=/proc/no/file.json"], "json: cannot write /proc/no/file.json"),
        (["--gif=/tmp"], "gif: expected a file to write, got the folder /tmp"),
        (["--config=/nowhere.yaml"], "No such file or directory"),
        (["--robot=dvrk"], "task_in_arm: expected the measured pose"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_status_2(checkpoint, capfd, arguments, says):
    if not any(text.startswith("--checkpoint") for text in arguments):
        arguments = [f"--checkpoint={checkpoint}", *arguments]
    assert cli.main(["run", "ls3_cable", *arguments]) == 2
    out, err = capfd.readouterr()
    problems = [
        line
        for line in err.splitlines()
        if "[INFO]" not in line and not line.startswith("pybullet build time")
    ]
    assert len(problems) == 1 and says in problems[0], err
    assert "success" not in out


def test_a_damaged_parameter_file_is_one_line(checkpoint, capfd, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("cem_planner: {ros__parameters: [")
    assert cli.main(["run", "ls3_cable", f"--checkpoint={checkpoint}", f"--config={path}"]) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"safe-skills run: config {path}: ") and len(err.splitlines()) == 1
