"""Recordings become the episodes that a trainer would gather, episodes a recording, bit by bit."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import fields

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import Writer
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from safe_skills.cli import main
from safe_skills.data.episodes import KINDS, Episode, EpisodeStore
from safe_skills.data.ring import Entry
from safe_skills.envs.cable import CableEnv
from safe_skills.msg import AbstractAction, EpisodeStatus, PlanStatus
from safe_skills.nodes.bag_episodes import BagEpisodes, BagSettings, parameters_of
from safe_skills.nodes.conversions import TASK_FRAME, image_from_rgb, pose_message
from safe_skills.nodes.mcap_log import McapLog
from safe_skills.nodes.recordings import Recording, RecordingError
from safe_skills.nodes.stored_bag import write_episodes
from safe_skills.robots.dvrk import SIMULATED_TASK_IN_ARM, DvrkArm

ARM = DvrkArm(SIMULATED_TASK_IN_ARM, workspace=((-0.15, 0.18), (-0.14, 0.085)))
STEPS = 12


class Log:
    """Says what a graph would, into a file."""

    def __init__(self, path, namespace=""):
        self.log, self.channels, self.namespace = McapLog(path), {}, namespace
        self.now = 10**18

    def say(self, topic, message):
        if topic not in self.channels:
            kind = type(message)
            name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            self.channels[topic] = self.log.add_topic(f"{self.namespace}/{topic}", name)
        self.now += 1000
        data = serialize_message(message)
        self.log.add(Entry(self.channels[topic], data, self.now, self.now))


def stamp_of(number):
    return Time(sec=1000 + number // 10, nanosec=(number % 10) * 100_000_000)


def play(log, number, seed, action=(0.02, 0.0)):
    """An episode of the environment, said as the graph says it; returns it as it was."""
    env = CableEnv()
    observation, info = env.reset(seed=seed)
    images, actions, rewards, costs, ended = [observation["image"]], [], [], [], False
    place = np.asarray(info["gripper"], np.float64)
    log.say("episode_start", Header(stamp=stamp_of(100 * number), frame_id=TASK_FRAME))
    for step in range(STEPS):
        at = 100 * number + step + 1
        header, camera = Header(stamp=stamp_of(at)), Header(stamp=stamp_of(at), frame_id="camera")
        log.say("PSM1/measured_cp", pose_message(ARM.target(place), header))
        log.say("camera/image_raw", image_from_rgb(observation["image"], camera))
        log.say("plan_status", PlanStatus(header=header, model_id="cable-1"))
        place = place + action
        log.say("PSM1/servo_cp", pose_message(ARM.target(place), header))
        observation, reward, terminated, truncated, info = env.step(np.array(action))
        images.append(observation["image"])
        actions.append(action)
        rewards.append(reward)
        costs.append(info["cost"])
        ended = step == STEPS - 1 or terminated
        if ended:
            final = Header(stamp=stamp_of(at + 1), frame_id="camera")
            log.say("outcome/image_raw", image_from_rgb(observation["image"], final))
        log.say(
            "episode",
            EpisodeStatus(
                header=header,
                episode=number,
                seed=seed,
                step=step + 1,
                reward=float(reward),
                cost=float(info["cost"]),
                success=bool(terminated),
                violation=bool(info["violation"]),
                violation_kind=info["violation"],
                done=ended,
                episode_cost=float(sum(costs)),
            ),
        )
        if ended:
            break
    env.close()
    return {
        "images": np.stack(images),
        "actions": np.array(actions, np.float32),
        "rewards": np.array(rewards, np.float32),
        "costs": np.array(costs, np.float32),
        "seed": seed,
        "policy": "ls3 cable-1",
    }


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording of three episodes, and what they were."""
    path = tmp_path_factory.mktemp("recorded") / "run.mcap"
    log = Log(path)
    truth = [play(log, number, 5 + number) for number in range(3)]
    log.log.close()
    return path, truth


def assert_same(episode, truth):
    for name, value in truth.items():
        if name == "actions":
            np.testing.assert_allclose(episode.actions, value, atol=1e-7)
        else:
            np.testing.assert_array_equal(getattr(episode, name), value, err_msg=name)


def identical(a, b):
    for item in fields(Episode):
        one, other = getattr(a, item.name), getattr(b, item.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype and one.shape == other.shape, item.name
            assert one.tobytes() == other.tobytes(), item.name
        else:
            assert one == other and type(one) is type(other), item.name


def test_a_recording_yields_the_environments_own_episodes(recorded, tmp_path, capsys):
    path, truth = recorded
    out, figures = tmp_path / "out", tmp_path / "figures.json"
    assert main(["data", "from-bag", str(path), "--out", str(out), "--json", str(figures)]) == 0
    episodes = list(EpisodeStore(out))
    assert len(episodes) == 3
    for episode, expected in zip(episodes, truth, strict=True):
        assert episode.kind == "online"
        assert_same(episode, expected)
    (row,) = json.loads(figures.read_text())["recordings"]
    assert (row["episodes"], row["incomplete"], row["problems"]) == (3, 0, [])
    assert "Episodes" in capsys.readouterr().out
    # Episodes that are there are not mixed with new ones.
    assert main(["data", "from-bag", str(path), "--out", str(out)]) == 2
    assert "expected a new or an empty folder" in capsys.readouterr().err


def drawn(rng, kind, masks, steps):
    size, dim = int(rng.integers(4, 9)), int(rng.integers(1, 6))
    shape = (steps + 1, size, size + 1)
    costs = rng.integers(0, 2, steps).astype(np.float32)
    return Episode(
        images=rng.integers(0, 256, (*shape, 3), np.uint8),
        masks=rng.choice(np.array([0, 255], np.uint8), shape) if masks else None,
        actions=rng.normal(size=(steps, dim)).astype(np.float32),
        rewards=rng.normal(size=steps).astype(np.float32),
        costs=costs,
        terminated=bool(rng.integers(2)),
        truncated=bool(rng.integers(2)),
        success=bool(rng.integers(2)),
        kind=kind,
        seed=int(rng.integers(2**31)),
        policy='Demonstrator "ü" 0.1',
        revision="1.0+dirty",
        layout="tight",
        violation="cable" if costs.any() else "",
        task=int(rng.integers(40)) if rng.integers(2) else None,
        noise=float(rng.random()) if rng.integers(2) else None,
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(KINDS), st.booleans(), st.integers(1, 40))
def test_episodes_go_to_a_recording_and_come_back_bit_by_bit(
    tmp_path_factory, seed, kind, masks, steps
):
    folder, rng = tmp_path_factory.mktemp("round"), np.random.default_rng(seed)
    store = EpisodeStore(folder / "episodes")
    episodes = [drawn(rng, kind, masks, steps) for _ in range(2)]
    store.append(episodes)
    assert write_episodes(store, folder / "all.mcap") == 2
    back = BagEpisodes(folder / "all.mcap", BagSettings())
    found = list(back)
    assert back.stored and not back.problems and back.incomplete == 0
    for before, after in zip(episodes, found, strict=True):
        identical(before, after)
    shutil.rmtree(folder)


def test_both_directions_by_command(tmp_path, capsys):
    rng, store = np.random.default_rng(1), EpisodeStore(tmp_path / "a")
    for kind, count in (("demo", 10), ("demo", 2), ("online", 3)):
        store.append([drawn(rng, kind, kind == "demo", 5) for _ in range(count)])
    file = tmp_path / "all.mcap"
    assert main(["data", "to-bag", str(store.folder), "--out", str(file)]) == 0
    assert "15 episodes" in capsys.readouterr().out
    assert main(["data", "from-bag", str(file), "--out", str(tmp_path / "b")]) == 0
    for before, after in zip(store, EpisodeStore(tmp_path / "b"), strict=True):
        identical(before, after)
    for arguments, says in (
        ([str(store.folder), "--out", str(file)], "is there already"),
        ([str(tmp_path / "none"), "--out", "x.mcap"], "there is none"),
        ([str(tmp_path), "--out", "x.mcap"], "it has none"),
    ):
        assert main(["data", "to-bag", *arguments]) == 2
        assert says in capsys.readouterr().err


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 1.0))
def test_a_file_that_is_cut_off_is_read_up_to_there(recorded, tmp_path_factory, share):
    path, truth = recorded
    whole = path.read_bytes()
    # What is not whole lacks at least its last byte; less than the magic is no recording.
    data = whole[: max(8, int(share * (len(whole) - 1)))]
    cut = tmp_path_factory.mktemp("cut") / "run.mcap.partial"
    cut.write_bytes(data)
    try:
        bag = BagEpisodes(cut, BagSettings())
    except RecordingError as error:
        assert "expected the topic /episode" in str(error)
        return
    episodes = list(bag)
    assert len(bag.problems) == 1 and "read up to there" in bag.problems[0]
    # In order, from the first one on; the last may have lost its beginning, never its end.
    for episode, expected in zip(episodes, truth, strict=False):
        assert_same(episode, expected)


def test_a_killed_recorder_loses_no_episode_that_was_over(recorded, tmp_path):
    """The recorder's own log, ended by SIGKILL while it records a fourth episode."""
    path, truth = recorded
    code = f"""
        import sys, time
        from random import Random
        from safe_skills.data.ring import Entry
        from safe_skills.nodes.mcap_log import McapLog
        from mcap.reader import make_reader
        log, channels, rng = McapLog({str(tmp_path / "killed.mcap")!r}), {{}}, Random(0)
        with open({str(path)!r}, "rb") as stream:
            for schema, channel, m in make_reader(stream).iter_messages():
                if channel.topic not in channels:
                    channels[channel.topic] = log.add_topic(channel.topic, schema.name)
                log.add(Entry(channels[channel.topic], m.data, m.log_time, m.publish_time))
        for k in range(100):
            data = bytes(1000) + rng.randbytes(2000)
            log.add(Entry(channels["/camera/image_raw"], data, m.log_time + k, m.log_time))
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
    bag = BagEpisodes(tmp_path / "killed.mcap.partial", BagSettings())
    for episode, expected in zip(list(bag), truth, strict=True):
        assert_same(episode, expected)
    assert "cut off" in bag.problems[0]
    # What is no image is told and left out.
    assert any("image refused" in line for line in bag.problems[1:])


def test_around_a_damaged_part_the_rest_is_read(recorded, tmp_path):
    path, truth = recorded
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20] = bytes(20)
    (tmp_path / "run.mcap").write_bytes(data)
    bag = BagEpisodes(tmp_path / "run.mcap", BagSettings())
    episodes = list(bag)
    assert any("damaged" in line for line in bag.problems)
    assert_same(episodes[0], truth[0])
    # Of an episode that has lost steps, what comes after them is kept.
    last = episodes[-1]
    assert last.seed == 7 and (bag.incomplete or len(last) == len(truth[2]["rewards"]))
    np.testing.assert_array_equal(last.images, truth[2]["images"][-len(last) - 1 :])


def test_a_folder_of_rosbag2_is_one_recording(recorded, tmp_path):
    path, truth = recorded
    folder = tmp_path / "bag"
    folder.mkdir()
    logs = [McapLog(folder / f"bag_{number}.mcap") for number in (0, 10)]
    channels = [{}, {}]
    messages = list(Recording(path)._records(path))
    for count, (schema, channel, message) in enumerate(messages):
        # Split within an episode.
        part = count > len(messages) // 2
        if channel.topic not in channels[part]:
            channels[part][channel.topic] = logs[part].add_topic(channel.topic, schema.name)
        number = channels[part][channel.topic]
        logs[part].add(Entry(number, message.data, message.log_time, message.publish_time))
    for log in logs:
        log.close()
    for named in (False, True):
        if named:
            about = {"storage_identifier": "mcap", "relative_file_paths": ["bag_0.mcap"]}
            about["relative_file_paths"].append("bag_10.mcap")
            text = yaml.safe_dump({"rosbag2_bagfile_information": about})
            (folder / "metadata.yaml").write_text(text)
        episodes = list(BagEpisodes(folder, BagSettings()))
        for episode, expected in zip(episodes, truth, strict=True):
            assert_same(episode, expected)
    (folder / "metadata.yaml").write_text(text.replace("mcap\n", "sqlite3\n"))
    with pytest.raises(RecordingError, match="expected storage mcap, got sqlite3"):
        BagEpisodes(folder, BagSettings())


def test_what_is_no_recording_of_ours_is_refused_in_one_line(recorded, tmp_path):
    text, empty = tmp_path / "notes.mcap", tmp_path / "empty"
    text.write_text("not a recording at all")
    empty.mkdir()
    packed = tmp_path / "run.mcap.zstd"
    packed.write_bytes(b"x")
    foreign, other = tmp_path / "foreign.mcap", tmp_path / "other.mcap"
    for path, encoding, definition in ((foreign, "ros1", b""), (other, "cdr", b"int32 another")):
        with path.open("wb") as stream:
            writer = Writer(stream)
            writer.start("ros2", "test")
            kind = writer.register_schema("safe_skills/msg/EpisodeStatus", "ros2msg", definition)
            for topic in ("/episode", "/abstract_action"):
                channel = writer.register_channel(topic, encoding, kind)
                writer.add_message(channel, 1, b"1234", 1)
            writer.finish()
    away = tmp_path / "away.mcap"
    log = Log(away, "/left")
    play(log, 0, 5)
    log.log.close()
    for path, says in (
        (tmp_path / "none", "there is none"),
        (text, "expected an MCAP file"),
        (empty, "expected a folder with MCAP files"),
        (packed, "expand it first"),
        (foreign, "/episode: expected safe_skills/msg/EpisodeStatus in cdr, got .* in ros1"),
        (other, "recorded with another definition"),
        (away, "expected the topic /episode, .*--namespace could be /left"),
    ):
        with pytest.raises(ValueError, match=says) as caught:
            list(BagEpisodes(path, BagSettings()))
        assert "\n" not in str(caught.value)
    (episode,) = BagEpisodes(away, BagSettings(namespace="/left"))
    assert episode.seed == 5
    with pytest.raises(ValueError, match="expected the set-points of an arm on /PSM2/servo_cp"):
        BagEpisodes(recorded[0], BagSettings(parameters=parameters_of(None, {"arm": "PSM2"})))


def test_frames_of_a_real_robot_come_from_its_parameter_file(recorded, tmp_path):
    path, _ = recorded
    config = tmp_path / "mine.yaml"
    turned = [0.0, 0.0, -0.1, 0.0, 0.0, 0.0, 1.0]
    mine = {"/**/trainer": {"ros__parameters": {"robot": "dvrk", "task_in_arm": turned}}}
    config.write_text(yaml.safe_dump(mine))
    parameters = parameters_of(config, {})
    assert parameters["task_in_arm"] == turned and parameters["robot"] == "dvrk"
    config.write_text("a: b")
    with pytest.raises(ValueError, match="expected a section"):
        parameters_of(config, {})
    config.write_text(yaml.safe_dump({"trainer": {"ros__parameters": {"height": 99.0}}}))
    with pytest.raises(ValueError, match="height: expected"):
        parameters_of(config, {})


def test_an_arms_episodes_have_what_its_policy_chose(tmp_path):
    path, rng = tmp_path / "grasp.mcap", np.random.default_rng(0)
    log, images, actions = Log(path), [], []
    for step in range(4):
        header = Header(stamp=stamp_of(step + 1))
        images.append(rng.integers(0, 256, (48, 48, 3), np.uint8))
        actions.append(rng.uniform(-1, 1, 3).astype(np.float32))
        log.say("camera/image_raw", image_from_rgb(images[-1], header))
        z = AbstractAction(header=header, model_id="p", source="policy x", eta=1.0)
        z.z = actions[-1].tolist()
        log.say("abstract_action", z)
        done = step == 3
        if done:
            images.append(rng.integers(0, 256, (48, 48, 3), np.uint8))
            log.say("outcome/image_raw", image_from_rgb(images[-1], Header(stamp=stamp_of(9))))
        log.say("episode", EpisodeStatus(header=header, seed=3, done=done, success=done))
    log.log.close()
    (episode,) = BagEpisodes(path, BagSettings(number=35))
    np.testing.assert_array_equal(episode.images, np.stack(images))
    np.testing.assert_array_equal(episode.actions, np.stack(actions))
    assert (episode.task, episode.policy, episode.success) == (35, "safer policy x", True)


@pytest.mark.slow
def test_a_recorded_training_yields_what_its_trainer_gathered(tmp_path):
    command = [sys.executable, "-m", "safe_skills.cli", "run", "ls3_cable", "--train", "true"]
    command += ["--episodes", "2", "--record", str(tmp_path / "run.mcap")]
    command += ["-p", f"trainer.out:={tmp_path / 'online'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    gathered = list(EpisodeStore(tmp_path / "online" / "episodes"))
    assert len(gathered) == 2
    bag = BagEpisodes(tmp_path / "run.mcap", BagSettings())
    for recorded, expected in zip(bag, gathered, strict=True):
        identical(recorded, expected)
    assert bag.incomplete == 0 and not bag.problems
