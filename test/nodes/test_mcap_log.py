import signal
import subprocess
import sys
import textwrap

import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader, make_reader

from safe_skills.data.ring import Entry
from safe_skills.nodes.mcap_log import McapLog, full_definition, nested_types

DEFINITIONS = {
    "a/msg/Top": "# comment\nuint8 X=1 # c\nHeader h\nb/Leaf[] leaves\nMid mid\nstring<=5[<=3] t",
    "a/msg/Header": "string frame # Leaf",
    "a/msg/Mid": "b/Leaf leaf\nfloat64[3] v",
    "b/msg/Leaf": "int32 x",
}


def test_nested_types_are_found_in_order():
    found = nested_types(DEFINITIONS["a/msg/Top"], "a")
    assert found == ["a/msg/Header", "b/msg/Leaf", "a/msg/Mid"]


def test_full_definition_has_every_type_once():
    text = full_definition("a/msg/Top", DEFINITIONS.__getitem__)
    parts = text.split("=" * 80 + "\n")
    assert parts[0] == DEFINITIONS["a/msg/Top"] + "\n"
    assert [part.splitlines()[0] for part in parts[1:]] == [
        "MSG: a/Header",
        "MSG: b/Leaf",
        "MSG: a/Mid",
    ]


def test_installed_messages_are_found_with_all_they_hold():
    text = full_definition("safe_skills/msg/Violation")
    nested = [line for line in text.splitlines() if line.startswith("MSG: ")]
    assert set(nested) == {
        "MSG: std_msgs/Header",
        "MSG: builtin_interfaces/Time",
        "MSG: safe_skills/Command",
    }
    with pytest.raises(ValueError, match="no definition of nowhere/msg/X is installed"):
        full_definition("nowhere/msg/X")


def test_the_file_appears_when_it_is_closed_and_reads_back(tmp_path):
    path = tmp_path / "deep" / "run.mcap"
    log = McapLog(path)
    channel = log.add_topic("/command", "safe_skills/msg/Command")
    other = log.add_topic("/again", "safe_skills/msg/Command")
    for k in range(5):
        log.add(Entry(channel, bytes([k]), 10 + k, k, k))
    log.add(Entry(other, b"x", 99, 98))
    assert not path.exists()
    log.close()
    assert [p.name for p in path.parent.iterdir()] == ["run.mcap"]
    with path.open("rb") as stream:
        reader = make_reader(stream)
        assert reader.get_header().profile == "ros2"
        got = [
            (schema.name, schema.encoding, channel.topic, channel.message_encoding, message)
            for schema, channel, message in reader.iter_messages()
        ]
    assert [entry[2] for entry in got] == ["/command"] * 5 + ["/again"]
    assert {entry[:2] for entry in got} == {("safe_skills/msg/Command", "ros2msg")}
    assert {entry[3] for entry in got} == {"cdr"}
    assert [m.data for *_, m in got] == [bytes([k]) for k in range(5)] + [b"x"]
    assert got[3][4].log_time == 13 and got[3][4].publish_time == 3 and got[3][4].sequence == 3


def test_a_killed_recorder_leaves_what_it_had_in_whole_chunks(tmp_path):
    code = f"""
        import sys, time
        from safe_skills.data.ring import Entry
        from safe_skills.nodes.mcap_log import McapLog
        log = McapLog({str(tmp_path / "run.mcap")!r})
        channel = log.add_topic("/command", "safe_skills/msg/Command")
        for k in range(100):
            log.add(Entry(channel, bytes(10_000), k, k))
        log.flush()
        print("written", flush=True)
        time.sleep(60)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert [p.name for p in tmp_path.iterdir()] == ["run.mcap.partial"]
    read = []
    with (tmp_path / "run.mcap.partial").open("rb") as stream:
        records = NonSeekingReader(stream)
        with pytest.raises(EndOfFile):
            for _, _, message in records.iter_messages(log_time_order=False):
                read.append(message.log_time)
    assert len(read) >= 90 and read == list(range(len(read)))


def test_what_a_killed_recorder_left_is_not_written_over(tmp_path):
    for text in ("first", "second"):
        (tmp_path / "run.mcap.partial").write_text(text)
        McapLog(tmp_path / "run.mcap").close()
    assert (tmp_path / "run.mcap.1.partial").read_text() == "first"
    assert (tmp_path / "run.mcap.2.partial").read_text() == "second"
    log = McapLog(tmp_path / "other.mcap")
    log.discard()
    assert not list(tmp_path.glob("other*"))
