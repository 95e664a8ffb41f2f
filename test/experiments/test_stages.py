import pytest

from safe_skills.experiments import stages
from safe_skills.experiments.stages import Stage, StageError, read, run_stages


@pytest.fixture
def commands(monkeypatch):
    """Commands of Python in place of safe-skills: {result} is where the result belongs."""
    prelude = "import json, sys; path = sys.argv[-1]; words = sys.argv[1:-2]\n"
    script = (
        prelude + "if words[0] == 'fail': sys.exit('it is broken')\n"
        "if words[0] == 'silent': sys.exit(0)\n"
        "with open(path, 'w') as f: json.dump({'words': words}, f)\n"
        "with open(words[-1], 'a') as f: f.write(words[0] + ' ')\n"
    )
    python = stages.sys.executable

    def command(stage):
        return [python, "-c", script, *stage.words, "--json", str(stage.result)]

    monkeypatch.setattr(Stage, "command", property(command))


def made(folder, name, after=()):
    log = str(folder / "order")
    needs = tuple(folder / f"{need}.json" for need in after)
    return Stage((name, log), folder / f"{name}.json", needs)


@pytest.mark.parametrize("workers", [1, 3])
def test_stages_run_after_what_they_need_and_only_once(tmp_path, commands, workers):
    work = [made(tmp_path, "c", "ab"), made(tmp_path, "a"), made(tmp_path, "b", "a")]
    run_stages(work, workers)
    assert (tmp_path / "order").read_text().split() == ["a", "b", "c"]
    assert read(work[0])["words"][0] == "c"
    work[2].result.unlink()
    run_stages(work, workers)
    assert (tmp_path / "order").read_text().split() == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("name", "says"), [("fail", "it is broken"), ("silent", "it said nothing")]
)
def test_a_failure_is_one_line_with_its_reason_and_stops_what_follows(
    tmp_path, commands, name, says
):
    work = [made(tmp_path, name), made(tmp_path, "after", (name,))]
    with pytest.raises(StageError, match=f"^safe-skills {name} .*: {says} .*log"):
        run_stages(work, 2)
    assert not (tmp_path / "after.json").exists()


def test_a_need_that_nothing_makes_is_named(tmp_path, commands):
    with pytest.raises(StageError, match=r"no stage makes .*nothing\.json"):
        run_stages([made(tmp_path, "a", ("nothing",))], 1)


def test_the_command_is_the_installed_one(tmp_path):
    stage = Stage(("train", "sac"), tmp_path / "x.json")
    assert stage.command[1:] == [
        "-m", "safe_skills.cli", "train", "sac", "--json", str(tmp_path / "x.json"),
    ]  # fmt: skip
