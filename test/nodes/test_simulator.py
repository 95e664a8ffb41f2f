"""The simulated dVRK over real DDS: it moves as `CableEnv` does, and ignores what it should."""

import math

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Empty, Header, String
from std_srvs.srv import Trigger

from safe_skills.envs.cable import CableEnv
from safe_skills.envs.cable_layouts import find_layout
from safe_skills.envs.cable_policies import RoutePolicy
from safe_skills.msg import EpisodeStatus
from safe_skills.nodes import qos, simulation
from safe_skills.nodes.conversions import nanoseconds, pose_from_message, rgb_from_image
from safe_skills.nodes.conversions import pose_message as pack_pose
from safe_skills.nodes.simulator import Simulator
from safe_skills.robots import psm_kinematics as psm
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.servo import ServoLimits, SetPointServo

SEED = 1_000_000
LAYOUT = find_layout("open")
ARM = DvrkArm(workspace=LAYOUT.workspace)


class Client:
    """What a bridge and its planner do, in one: it answers images with set-points."""

    def __init__(self, graph, **parameters):
        self.graph = graph
        self.images = graph.collect(Image, "camera/image_raw", qos.IMAGE)
        self.episodes = graph.collect(EpisodeStatus, "episode", qos.EVENT)
        self.starts = graph.collect(Header, "episode_start", qos.EVENT)
        self.measured = graph.collect(PoseStamped, "PSM1/measured_cp", qos.CRTK_STATE_LATEST)
        self.set_points = graph.collect(PoseStamped, "PSM1/setpoint_cp", qos.CRTK_STATE_LATEST)
        self.events = {
            kind: graph.collect(String, f"PSM1/{kind}", qos.EVENT)
            for kind in ("error", "warning", "status")
        }
        self.servo = SetPointServo(ServoLimits(workspace=LAYOUT.workspace, state_timeout=10.0))
        self.node = graph.start(Simulator, **parameters)
        assert self.node.is_active, self.node.fault
        graph.matched(self.node)
        assert graph.until(lambda: self.images and self.measured and self.set_points)

    def position(self):
        self.measured.clear()
        assert self.graph.until(lambda: self.measured)
        return ARM.position(pose_from_message(self.measured[-1]))

    def send(self, set_point, stamp=None, frame="PSM1_base"):
        header = Header(stamp=stamp or self.images[-1].header.stamp, frame_id=frame)
        pose = pack_pose(ARM.target(np.asarray(set_point)), header)
        self.graph.publish("PSM1/servo_cp", pose, qos.COMMAND)

    def send_joints(self, topic, positions, names=()):
        message = JointState(name=list(names), position=[float(value) for value in positions])
        self.graph.publish(f"PSM1/{topic}", message, qos.COMMAND)

    def step(self, action):
        """Answers the newest image with a displacement and waits for the outcome."""
        self.servo.observe(self.position(), 0.0)
        steps = len(self.episodes)
        shown = self.images[-1].header.stamp
        self.send(self.servo.command(action, 0.0).set_point)
        assert self.graph.until(lambda: len(self.episodes) > steps)
        outcome = self.episodes[-1]
        assert outcome.header.stamp == shown
        if not outcome.finished:
            assert self.graph.until(lambda: self.images[-1].header.stamp != shown)
        return outcome

    def said(self, kind):
        return [message.data for message in self.events[kind]]

    def hears(self, kind, text):
        assert self.graph.until(lambda: any(text in line for line in self.said(kind))), self.said(
            kind
        )


def test_lockstep_gives_what_the_environment_gives(graph):
    client = Client(graph, seed=SEED, episodes=2)
    env = CableEnv("open")
    rng = np.random.default_rng(0)
    policies = [
        RoutePolicy(LAYOUT.demo_route, LAYOUT.demo_step, 1e-3, rng),
        lambda state: np.array([0.02, 0.0]),
    ]
    for episode, policy in enumerate(policies):
        observation, _ = env.reset(seed=SEED + episode)
        client.servo.restart()
        assert len(client.starts) == episode + 1
        assert nanoseconds(client.images[-1].header.stamp) > nanoseconds(client.starts[-1].stamp)
        total = cost = 0.0
        over = False
        while not over:
            np.testing.assert_array_equal(rgb_from_image(client.images[-1]), observation["image"])
            action = policy(env.state)
            observation, reward, terminated, truncated, info = env.step(action)
            outcome = client.step(action)
            total, cost = total + reward, cost + info["cost"]
            assert (outcome.episode, outcome.seed) == (episode, SEED + episode)
            assert (outcome.reward, outcome.cost) == (reward, info["cost"])
            assert (outcome.success, outcome.violation_kind) == (
                info["success"],
                info["violation"],
            )
            over = terminated or truncated or info["cost"] > 0
        assert outcome.done
        while not (terminated or truncated):
            _, reward, terminated, truncated, info = env.step(np.zeros(2))
            total, cost = total + reward, cost + info["cost"]
        assert (outcome.episode_return, outcome.episode_cost) == (total, cost)
        assert outcome.finished == (episode == 1)
    assert [status.success for status in client.episodes if status.done] == [True, False]
    env.close()
    client.send([0.0, 0.0])
    client.hears("warning", "servo_cp ignored: the run is over")
    shown = len(client.images)
    graph.spin(0.6)
    assert len(client.images) == shown


def test_lockstep_waits_and_shows_the_same_image_again(graph):
    client = Client(graph)
    first = client.images[-1]
    before = client.position()
    assert graph.until(lambda: len(client.images) >= 3, 2.0)
    assert all(image == first for image in client.images)
    stamp = first.header.stamp
    client.send(before + [0.02, 0.0], Time(sec=stamp.sec, nanosec=stamp.nanosec ^ 1))
    client.hears("warning", "servo_cp ignored: expected the stamp of the newest image")
    client.send_joints("move_jp", [0, 0, 0.1, 0, 0, 0])
    client.hears("warning", "move_jp ignored: in lockstep only servo_cp moves the arm")
    np.testing.assert_array_equal(client.position(), before)
    assert client.episodes == []
    client.step([0.02, 0.0])
    assert client.position()[0] > before[0] + 0.01


def test_hold_in_lockstep_stops_without_a_step(graph):
    client = Client(graph)
    client.step([0.03, 0.0])
    measured = client.position()
    graph.publish("PSM1/hold", Empty(), qos.COMMAND)
    set_point = client.set_points

    def held():
        set_point.clear()
        graph.until(lambda: set_point)
        return np.allclose(ARM.position(pose_from_message(set_point[-1])), measured, atol=1e-9)

    assert graph.until(held)
    assert len(client.episodes) == 1


BAD_POSES = {
    "nan": lambda pose: setattr(pose.pose.position, "x", math.nan),
    "infinite": lambda pose: setattr(pose.pose.position, "z", -math.inf),
    "zero quaternion": lambda pose: setattr(
        pose.pose, "orientation", type(pose.pose.orientation)(x=0.0, y=0.0, z=0.0, w=0.0)
    ),
    "out of reach": lambda pose: setattr(pose.pose.position, "z", -0.5),
    "another frame": lambda pose: setattr(pose.header, "frame_id", "PSM2_base"),
}


@pytest.mark.parametrize("clock", ["lockstep", "realtime"])
def test_what_is_not_sound_is_an_error_and_no_motion(graph, clock):
    client = Client(graph, clock=clock)
    before = client.position()
    commanded = client.set_points[-1].pose
    for spoil in BAD_POSES.values():
        pose = pack_pose(
            ARM.target(np.zeros(2)),
            Header(stamp=client.images[-1].header.stamp, frame_id="PSM1_base"),
        )
        spoil(pose)
        client.node._crtk.refusals._logged.clear()
        heard = len(client.said("error"))
        graph.publish("PSM1/servo_cp", pose, qos.COMMAND)
        assert graph.until(lambda before=heard: len(client.said("error")) > before)
    for topic, positions, names in (
        ("servo_jp", [0.0] * 5, ()),
        ("servo_jp", [math.nan] * 6, ()),
        ("servo_jp", [0.0] * 6, ["a", "b", "c", "d", "e", "f"]),
        ("move_jp", [0.0] * 7, ()),
        ("jaw/servo_jp", [math.inf], ()),
        ("jaw/move_jp", [], ()),
    ):
        client.node._crtk.refusals._logged.clear()
        heard = len(client.said("error"))
        client.send_joints(topic, positions, names)
        assert graph.until(lambda before=heard: len(client.said("error")) > before), topic
    assert all("\n" not in line and "expected" in line for line in client.said("error"))
    # In realtime the physics goes on and lets the gripper creep by nanometres.
    np.testing.assert_allclose(client.position(), before, atol=1e-6)
    assert client.set_points[-1].pose == commanded
    assert client.episodes == []


def test_a_disabled_arm_ignores_commands_and_its_data_are_invalid(graph):
    client = Client(graph, initial_state="DISABLED", clock="realtime")
    assert nanoseconds(client.measured[-1].header.stamp) == 0
    client.send([0.0, 0.0])
    client.hears("warning", "servo_cp ignored: expected the arm to be ENABLED and homed")
    graph.publish("PSM1/hold", Empty(), qos.COMMAND)
    client.hears("warning", "hold ignored: expected the arm to be ENABLED and homed")
    graph.publish("PSM1/free", Empty(), qos.COMMAND)
    client.hears("warning", "free ignored")
    measured = client.measured
    start = measured[-1].pose
    measured.clear()
    assert graph.until(lambda: len(measured) > 20)
    assert all(nanoseconds(message.header.stamp) == 0 for message in measured)
    assert abs(measured[-1].pose.position.x - start.position.x) < 1e-6
    assert client.episodes == []


def test_realtime_follows_commands_and_the_wall_clock(graph):
    client = Client(graph, clock="realtime", episodes=1)
    start = client.position()
    # Nobody has commanded yet: images come, but the episode has not begun.
    assert graph.until(lambda: len(client.images) >= 4)
    assert client.episodes == []
    client.send(start + [0.0, 0.03])
    assert graph.until(lambda: client.position()[1] > start[1] + 0.028)
    assert graph.until(lambda: len(client.episodes) >= 5)
    stamps = [nanoseconds(status.header.stamp) for status in client.episodes]
    assert stamps == sorted(set(stamps))
    assert set(stamps) <= {nanoseconds(image.header.stamp) for image in client.images}
    assert [status.step for status in client.episodes[:5]] == [1, 2, 3, 4, 5]
    client.send(start, stamp=Time(sec=1))
    client.hears("warning", "servo_cp ignored: it answers an image of an earlier episode")


def test_realtime_moves_the_arm_by_move_cp_and_joints(graph):
    client = Client(graph, clock="realtime")
    joints = graph.collect(JointState, "PSM1/measured_js", qos.CRTK_STATE_LATEST)
    goals = graph.collect(JointState, "PSM1/setpoint_js", qos.CRTK_STATE_LATEST)
    jaw = graph.collect(JointState, "PSM1/jaw/measured_js", qos.CRTK_STATE_LATEST)
    target = client.position() + [0.02, 0.05]
    pose = pack_pose(ARM.target(target), Header(frame_id=""))
    graph.publish("PSM1/move_cp", pose, qos.COMMAND)
    client.send_joints("jaw/move_jp", [0.5], ["jaw"])
    assert graph.until(lambda: np.allclose(client.position(), target, atol=2e-3))
    assert graph.until(lambda: jaw and jaw[-1].position[0] == 0.5)
    assert list(joints[-1].name) == list(psm.JOINT_NAMES)
    expected = psm.inverse(ARM.target(client.position()))
    np.testing.assert_allclose(joints[-1].position, expected, atol=1e-3)
    beyond = np.array(joints[-1].position)
    beyond[3] = 9.0
    client.send_joints("servo_jp", beyond, psm.JOINT_NAMES)
    client.hears("warning", "servo_jp: clamped to the limits of roll")
    assert graph.until(lambda: goals and abs(goals[-1].position[3] - psm.JOINT_HIGH[3]) < 1e-6)


def test_the_camera_is_described_and_sizes_are_parameters(graph):
    infos = graph.collect(CameraInfo, "camera/camera_info", qos.IMAGE)
    views = graph.collect(Image, "overview/image_raw", qos.IMAGE)
    client = Client(graph, image_size=96, overview=True, overview_size=[160, 120])
    assert graph.until(lambda: infos and views)
    image, info, view = client.images[-1], infos[-1], views[-1]
    assert (image.encoding, image.width, image.height) == ("rgb8", 96, 96)
    assert (info.width, info.height) == (96, 96)
    assert info.header == image.header == view.header
    np.testing.assert_allclose(info.k, [192, 0, 47.5, 0, 192, 47.5, 0, 0, 1])
    assert (view.width, view.height) == (160, 120)


@pytest.mark.parametrize("clock", ["lockstep", "realtime"])
def test_the_first_image_waits_for_those_who_record(graph, clock, lines):
    images = graph.collect(Image, "camera/image_raw", qos.IMAGE)
    node = graph.start(Simulator, audience="recorder", clock=clock)
    graph.matched(node)
    graph.spin(0.4)
    assert images == []
    recorder = graph.add(rclpy.create_node("recorder"))
    recorder.create_subscription(EpisodeStatus, "episode", lambda message: None, qos.EVENT)
    assert graph.until(lambda: images)
    assert not [text for severity, text in lines if severity == "WARN"]


def test_the_first_image_does_not_wait_for_ever(graph, monkeypatch, lines):
    monkeypatch.setattr(simulation, "AUDIENCE_PATIENCE", 0.2)
    images = graph.collect(Image, "camera/image_raw", qos.IMAGE)
    graph.start(Simulator, audience="recorder,writer")
    assert graph.until(lambda: images)
    expected = "the run begins without recorder, writer: their records lack its start"
    assert ("WARN", expected) in lines


def test_bad_parameters_are_refused_in_one_line(graph):
    for parameters, line in (
        ({"layout": "nowhere"}, "layout: expected one of open, tight, got 'nowhere'"),
        ({"overview_size": [640]}, "overview_size: expected width, height"),
        ({"seed": -1}, "seed: expected 0"),
    ):
        node = graph.start(Simulator, **parameters)
        assert not node.is_active
        assert line in node.fault and "\n" not in node.fault


def test_it_can_be_stopped_and_started_again(graph):
    client = Client(graph)
    client.step([0.02, 0.0])
    node = client.node
    node.trigger_deactivate()
    graph.spin(0.2)
    shown = len(client.images)
    graph.spin(0.6)
    assert len(client.images) == shown
    node.trigger_activate()
    assert graph.until(lambda: len(client.images) > shown)
    assert client.step([0.02, 0.0]).step == 2
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.bring_up()
    client.servo.restart()
    starts = len(client.starts)
    assert graph.until(lambda: len(client.starts) >= starts)
    graph.matched(node)
    shown = len(client.images)
    assert graph.until(lambda: len(client.images) > shown)
    assert client.step([0.02, 0.0]).step == 1


def test_operating_state_over_crtk_msgs(graph):
    messages = pytest.importorskip("crtk_msgs.msg")
    states = graph.collect(messages.OperatingState, "PSM1/operating_state", qos.EVENT)
    client = Client(graph, initial_state="DISABLED", clock="realtime")

    def command(text):
        message = messages.StringStamped(string=text)
        graph.publish("PSM1/state_command", message, qos.COMMAND)

    assert graph.until(lambda: states)
    assert (states[-1].state, states[-1].is_homed) == ("DISABLED", False)
    command("home")
    assert graph.until(lambda: states[-1].state == "ENABLED" and states[-1].is_homed)
    assert graph.until(lambda: nanoseconds(client.measured[-1].header.stamp) > 0)
    command("pause")
    assert graph.until(lambda: states[-1].state == "PAUSED")
    client.send([0.0, 0.0])
    client.hears("warning", "servo_cp ignored")
    command("dance")
    client.hears("error", "state_command: expected one of enable, disable")


def run_into_the_obstacle(client):
    while not (outcome := client.step((0.03, 0.0))).done:
        pass
    return outcome


def test_the_outcome_of_an_episode_is_shown_and_every_so_many_episodes_it_waits(graph):
    seen = graph.collect(Image, "outcome/image_raw", qos.LOG)
    client = Client(graph, episodes=3, pause_every=2)
    client.step((0.0, 0.0))
    assert not seen
    outcome = run_into_the_obstacle(client)
    assert graph.until(lambda: seen)
    last = nanoseconds(outcome.header.stamp)
    env = CableEnv()
    env.reset(seed=SEED)
    env.step(np.zeros(2))
    for _ in range(outcome.step - 1):
        observation, *_ = env.step(np.array([0.03, 0.0]))
    env.close()
    np.testing.assert_array_equal(rgb_from_image(seen[-1]), observation["image"])
    assert last < nanoseconds(seen[-1].header.stamp) < nanoseconds(client.starts[-1].stamp)

    while not (client.episodes[-1].episode == 1 and client.episodes[-1].done):
        client.servo.restart()
        client.servo.observe(client.position(), 0.0)
        client.send(client.servo.command((0.03, 0.0), 0.0).set_point)
    images = len(client.images)
    graph.spin(0.8)
    assert len(client.starts) == 2 and len(client.images) == images
    client.send((0.0, 0.0))
    client.hears("warning", "the run waits for resume")
    resume = graph.peer.create_client(Trigger, "simulator/resume")
    assert resume.wait_for_service(5.0)
    for goes_on in (True, False):
        answer = resume.call_async(Trigger.Request())
        assert graph.until(answer.done)
        assert answer.result().success is goes_on
    assert graph.until(lambda: len(client.images) > images)
    assert len(client.starts) == 3
    outcome = run_into_the_obstacle(client)
    assert outcome.episode == 2 and outcome.finished and outcome.seed == SEED + 2
