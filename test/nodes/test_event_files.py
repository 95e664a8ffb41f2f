"""Files of a black box: whole or not there, and never more than allowed."""

import resource
import time

from mcap.reader import make_reader
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String

from safe_skills.data.ring import Entry
from safe_skills.nodes.event_files import EventFiles

MIB = 2**20
TOPICS = {3: ("/said", "std_msgs/msg/String"), 5: ("/silent", "std_msgs/msg/Header")}


def entries(count=20, size=0):
    data = serialize_message(String(data="x" * size))
    return [Entry(3, data, 10**9 * k, 10**9 * k + 5, k) for k in range(count)]


def write(files, reason="violation_step", urgent=False, **given):
    path = files.write(reason, 0.0, entries(**given), TOPICS, urgent=urgent)
    assert files.busy
    written = files.take(60.0)
    assert written is not None and not files.busy and files.take() is None
    assert written.path == path
    return written


def test_a_file_is_named_by_time_and_reason_and_reads_back(tmp_path):
    folder = tmp_path / "made" / "here"
    written = write(EventFiles(folder, 10, MIB), "violation_../odd name")
    assert written.error == "" and (written.messages, written.seconds) == (20, 19.0)
    assert [p.name for p in folder.iterdir()] == ["19700101T000000Z_violation_-odd-name.mcap"]
    assert written.bytes == written.path.stat().st_size
    with written.path.open("rb") as stream:
        found = list(make_reader(stream).iter_messages())
    assert {channel.topic for _, channel, _ in found} == {"/said"}
    assert {schema.name for schema, _, _ in found} == {"std_msgs/msg/String"}
    assert [(m.log_time, m.publish_time, m.sequence) for *_, m in found] == [
        (entry.received, entry.published, entry.sequence) for entry in entries()
    ]
    assert deserialize_message(found[0][2].data, String).data == ""


def test_two_files_of_one_second_have_two_names(tmp_path):
    files = EventFiles(tmp_path, 10, MIB)
    assert write(files).path != write(files).path
    assert len(list(tmp_path.iterdir())) == 2


def test_at_the_bound_nothing_more_is_written_and_nothing_deleted(tmp_path):
    files = EventFiles(tmp_path, 4, MIB)
    paths = [write(files).path for _ in range(3)]
    refused = write(files)
    assert "holds 3 files" in refused.error and "move them away" in refused.error
    # The last part is for stops and for whoever asks.
    paths.append(write(files, "stop_emergency_stop", urgent=True).path)
    assert "holds 4 files" in write(files, "snapshot", urgent=True).error
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    paths[0].unlink()
    assert write(files, "snapshot", urgent=True).error == ""


def test_bytes_are_bounded_too(tmp_path):
    files = EventFiles(tmp_path, 100, 3000)
    assert write(files).error == ""
    while not write(files).error:
        assert len(list(tmp_path.iterdir())) < 10
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 3000 + 3000


def test_where_no_folder_can_be_there_is_one_line_and_no_file(tmp_path):
    (tmp_path / "file").write_text("in the way")
    written = write(EventFiles(tmp_path / "file" / "folder", 10, MIB))
    assert written.error == "Not a directory"


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    files = EventFiles(tmp_path, 10, MIB)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        written = write(files, count=5000, size=10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert written.error and "\n" not in written.error
    assert list(tmp_path.iterdir()) == []
    assert write(files, count=5000, size=10).error == ""


def test_a_mistake_is_told_and_leaves_nothing(tmp_path):
    files = EventFiles(tmp_path, 10, MIB)
    files.write("x", 0.0, [Entry(3, b"", -1, 0)], TOPICS, urgent=True)
    assert "internal error" in files.take(60.0).error and list(tmp_path.iterdir()) == []


def test_the_thread_leaves_time_to_others(tmp_path, monkeypatch):
    """However many messages there are, it rests after each bit of work."""
    rests = []
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: (rests.append(seconds), sleep(0))[1])
    assert write(EventFiles(tmp_path, 10, 100 * MIB), count=4000, size=100).error == ""
    assert len(rests) >= 3 and set(rests) == {0.001}
