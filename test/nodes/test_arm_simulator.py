"""The simulated arm over real DDS: behind the bridge it does what `OperationEnv` does."""

import itertools
import math

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header

from safe_skills.envs.operation import OperationEnv
from safe_skills.envs.operation_policy import ScriptedGrasp
from safe_skills.msg import Command, EpisodeStatus
from safe_skills.nodes import qos, simulation
from safe_skills.nodes.arm_simulator import ArmSimulator
from safe_skills.nodes.conversions import nanoseconds, rgb_from_image
from safe_skills.nodes.joints import trajectory_message
from safe_skills.nodes.trajectory_bridge import TrajectoryBridge
from safe_skills.robots import arm5_kinematics as kinematics
from safe_skills.robots.arm5 import SIMULATED_VELOCITY, STEP_LIMIT, Arm5

SEED = 1_000_000
TASK = 38
ARM = Arm5()
NAMES = kinematics.JOINT_NAMES + kinematics.FINGER_NAMES
ARM_TOPIC, GRIPPER_TOPIC = (f"{name}_controller/joint_trajectory" for name in ("arm", "gripper"))
WAITS = 3600.0
IN_LOCKSTEP = {
    "stamped": True,
    "gripper_time": 0.0,
    "max_velocity": [SIMULATED_VELOCITY] * 5,
    **dict.fromkeys(
        ("command_timeout", "state_timeout", "link_timeout", "goal_time", "gripper_timeout"), WAITS
    ),
}


class Client:
    """What the rest of the graph does, in one: it answers images."""

    def __init__(self, graph, **parameters):
        self.graph = graph
        self.images = graph.collect(Image, "camera/image_raw", qos.IMAGE)
        self.episodes = graph.collect(EpisodeStatus, "episode", qos.EVENT)
        self.starts = graph.collect(Header, "episode_start", qos.EVENT)
        self.states = graph.collect(JointState, "joint_states", qos.CRTK_STATE_LATEST)
        self.node = graph.start(ArmSimulator, **{"task": TASK, **parameters})
        assert self.node.is_active, self.node.fault
        graph.matched(self.node)
        assert graph.until(lambda: self.images and self.states)

    @property
    def stamp(self):
        return self.images[-1].header.stamp

    def joints(self):
        """(7,) measured now."""
        self.states.clear()
        assert self.graph.until(lambda: self.states)
        return np.array(self.states[-1].position)

    def send(self, positions, seconds=0.05, stamp=None, names=kinematics.JOINT_NAMES):
        stamp = Time() if stamp is None else stamp
        topic = ARM_TOPIC if len(positions) != 2 else GRIPPER_TOPIC
        message = trajectory_message(names, positions, seconds, stamp)
        self.graph.publish(topic, message, qos.COMMAND)

    def grip(self, position, **kwargs):
        self.send([position] * 2, names=kinematics.FINGER_NAMES, **kwargs)

    def ends(self, act):
        """Acts, and returns the outcome of the step that this was, with a new image."""
        steps, shown = len(self.episodes), self.stamp
        act()
        assert self.graph.until(lambda: len(self.episodes) > steps)
        outcome = self.episodes[-1]
        assert outcome.header.stamp == shown
        if not outcome.finished:
            assert self.graph.until(lambda: self.stamp != shown)
        return outcome


class Commander:
    """Stands for encoder, policy, decoder and gate: answers every image with the next action."""

    def __init__(self, graph, actions):
        self.graph = graph
        self.node = graph.add(rclpy.create_node("commander"))
        self.commands = self.node.create_publisher(Command, "command_safe", qos.COMMAND)
        self.node.create_subscription(Image, "camera/image_raw", self.answer, qos.IMAGE)
        self.actions, self.images = actions, []
        self.last = Command()

    def answer(self, image):
        stamp = image.header.stamp
        # A simulator that waits shows the image again: the answer may have been lost.
        if stamp != self.last.header.stamp:
            action = next(self.actions, None)
            if action is None:
                return
            self.images.append(rgb_from_image(image))
            displacement = np.clip(action[:4], -1.0, 1.0) * STEP_LIMIT
            self.last = Command(header=Header(stamp=stamp, frame_id="task"), source="test")
            self.last.action = [*displacement.tolist(), float(action[4])]
        self.commands.publish(self.last)


def played(episodes):
    """Actions, pictures and results of the environment in some episodes."""
    env = OperationEnv(TASK)
    policies = (
        ScriptedGrasp(np.random.default_rng(0)),
        ScriptedGrasp(np.random.default_rng(1), 0.8),
        lambda state: np.array([0.3, 0.3, -1.0, 1.0, -1.0]),
    )
    for episode, policy in zip(range(episodes), policies, strict=False):
        picture, _ = env.reset(seed=SEED + episode)
        over = False
        while not over:
            action = policy(env.state)
            shown = picture
            picture, reward, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            yield action, shown, reward, info, over, env.scene.joint_states[0]
    env.close()


def test_behind_the_bridge_in_lockstep_it_is_the_environment_bit_for_bit(graph):
    expected = list(played(3))
    episodes = graph.collect(EpisodeStatus, "episode", qos.EVENT)
    bridge = graph.start(TrajectoryBridge, **IN_LOCKSTEP)
    commander = Commander(graph, iter([row[0] for row in expected]))
    node = graph.start(ArmSimulator, task=TASK, seed=SEED, episodes=3)
    assert bridge.is_active and node.is_active, bridge.fault + node.fault
    assert graph.until(lambda: episodes and episodes[-1].finished, 60.0)
    assert len(episodes) == len(commander.images) == len(expected)
    ends = []
    for outcome, image, row in zip(episodes, commander.images, expected, strict=True):
        _, shown, reward, info, over, _ = row
        np.testing.assert_array_equal(image, shown)
        assert (outcome.reward, outcome.cost) == (reward, info["cost"])
        assert (outcome.success, outcome.violation_kind) == (info["success"], info["violation"])
        assert outcome.done == over
        if over:
            ends.append((outcome.success, outcome.episode_cost > 0.0))
    np.testing.assert_array_equal(node._scene.joint_states[0], expected[-1][5])
    assert ends[0] == (True, False) and (False, True) in ends
    assert bridge._counts["slowed"] == 0


def test_lockstep_waits_for_both_controllers_in_either_order(graph):
    client = Client(graph)
    before = client.joints()
    goal = before[:5] + [0.1, 0.0, 0.0, 0.0, 0.0]
    first = client.images[-1]
    client.send(goal, stamp=client.stamp)
    assert graph.until(lambda: len(client.images) >= 3)
    assert client.images[-1] == first and client.episodes == []
    np.testing.assert_array_equal(client.joints(), before)
    client.ends(lambda: client.grip(0.0, stamp=client.stamp, seconds=0.0))
    moved = client.joints()
    assert abs(moved[0] - goal[0]) < 0.02 and moved[5] < 0.03
    client.grip(0.035, stamp=client.stamp, seconds=0.0)
    client.ends(lambda: client.send(before[:5], stamp=client.stamp))
    np.testing.assert_allclose(client.joints()[:5], before[:5], atol=0.02)


def test_a_trajectory_of_now_is_taken_in_lockstep_but_is_no_step(graph):
    client = Client(graph)
    client.ends(
        lambda: (
            client.grip(0.035, stamp=client.stamp),
            client.send(client.joints()[:5] + [0.2, 0, 0, 0, 0], 1.0, stamp=client.stamp),
        )
    )
    moving = client.joints()
    client.send(moving[:5])
    graph.spin(0.2)
    assert len(client.episodes) == 1
    np.testing.assert_array_equal(client.joints(), moving)
    np.testing.assert_array_equal(client.node._scene._target, moving[:5])


def test_stamps_of_other_images_and_commands_after_the_end_are_refused(graph, lines):
    client = Client(graph, episodes=1)
    stamp = client.stamp
    other = Time(sec=stamp.sec, nanosec=stamp.nanosec ^ 1)
    joints = client.joints()[:5]
    client.send(joints, stamp=other)
    assert any("expected the stamp of the newest image" in text for _, text in lines)
    for _ in range(30):
        client.grip(0.035, stamp=client.stamp)
        client.ends(lambda: client.send(joints, stamp=client.stamp))
    last = client.episodes[-1]
    assert last.finished and last.step == 30 and last.episode_return == -30.0
    client.node.refusals._logged.clear()
    client.send(joints, stamp=client.stamp)
    assert any("refused: the run is over" in text for _, text in lines)


@pytest.mark.parametrize("clock", ["lockstep", "realtime"])
def test_what_a_controller_refuses_is_one_line_and_no_motion(graph, lines, clock):
    client = Client(graph, clock=clock)
    joints = client.joints()[:5]
    target = client.node._scene._target.copy()
    far = joints + 0.5
    for positions, changes in (
        (far[:4], {"names": kinematics.JOINT_NAMES[:4]}),
        (far, {"names": ["a", "b", "c", "d", "e"]}),
        (far[:4], {}),
        ([math.nan, *far[1:]], {}),
        (far, {"stamp": Time(sec=5)}),
    ):
        client.node.refusals._logged.clear()
        lines.clear()
        client.send(positions, **changes)
        errors = [text for severity, text in lines if severity == "ERROR"]
        assert len(errors) == 1 and "\n" not in errors[0]
        assert errors[0].startswith(f"{ARM_TOPIC} refused: ")
    np.testing.assert_array_equal(client.node._scene._target, target)
    np.testing.assert_allclose(client.joints()[:5], joints, atol=1e-3)
    assert client.episodes == []


def test_realtime_follows_trajectories_in_their_time(graph):
    client = Client(graph, clock="realtime", episodes=1)
    start = client.joints()
    # Nobody has commanded yet: images come, but the episode has not begun.
    assert graph.until(lambda: len(client.images) >= 4)
    assert client.episodes == []
    goal = start[:5] + [0.3, 0.0, 0.0, 0.0, 0.3]
    client.send(goal[::-1], 0.5, names=kinematics.JOINT_NAMES[::-1])
    seen = []
    assert graph.until(lambda: seen.append(client.joints()[0]) or abs(seen[-1] - goal[0]) < 0.01)
    assert any(0.05 < joint - start[0] < 0.25 for joint in seen)
    client.grip(0.01, seconds=0.2)
    assert graph.until(lambda: abs(client.joints()[5] - 0.01) < 1e-3)
    assert graph.until(lambda: len(client.episodes) >= 5)
    assert [status.step for status in client.episodes[:5]] == [1, 2, 3, 4, 5]


def test_realtime_refuses_what_answers_an_earlier_episode_or_has_ended(graph, lines):
    client = Client(graph, clock="realtime")
    joints = client.joints()[:5]
    client.send(joints + 0.3, stamp=Time(sec=5))
    assert any("it answers an image of an earlier episode" in text for _, text in lines)
    stamp = client.stamp
    assert graph.until(lambda: nanoseconds(client.stamp) > nanoseconds(stamp) + 200_000_000)
    client.node.refusals._logged.clear()
    client.send(joints + 0.3, 0.05, stamp=stamp)
    assert any("ends in the future, it ended" in text for _, text in lines)
    client.send(joints + [0.1, 0, 0, 0, 0], 60.0, stamp=client.stamp)
    assert client.node._scene._target[0] == joints[0] + 0.1


def test_it_follows_the_bridge_in_realtime_and_starts_again(graph):
    calm = {"command_timeout": 10.0, "state_timeout": 10.0, "link_timeout": 10.0}
    bridge = graph.start(TrajectoryBridge, max_velocity=[SIMULATED_VELOCITY] * 5, **calm)
    Commander(graph, itertools.repeat(np.array([0.0, 0.4, 0.0, 0.0, 1.0])))
    client = Client(graph, clock="realtime", episodes=2)
    start = ARM.position(ARM.reading(NAMES, client.joints().tolist()))

    def there():
        return ARM.position(ARM.reading(NAMES, client.joints().tolist()))[1] > start[1] + 0.05

    assert graph.until(there, 10.0)
    assert graph.until(lambda: client.episodes and client.episodes[-1].finished, 20.0)
    assert [status.episode for status in client.episodes if status.done] == [0, 1]
    assert bridge._counts["holds"] <= 1


def test_joints_camera_and_sizes_are_described(graph):
    infos = graph.collect(CameraInfo, "camera/camera_info", qos.IMAGE)
    views = graph.collect(Image, "overview/image_raw", qos.IMAGE)
    client = Client(graph, image_size=96, overview=True, overview_size=[160, 120])
    assert graph.until(lambda: infos and views)
    image, info, view, state = client.images[-1], infos[-1], views[-1], client.states[-1]
    assert (image.encoding, image.width, image.height) == ("rgb8", 96, 96)
    assert info.header == image.header == view.header
    focal = 48 / math.tan(math.radians(33.0) / 2)
    np.testing.assert_allclose(info.k, [focal, 0, 47.5, 0, focal, 47.5, 0, 0, 1])
    assert (view.width, view.height) == (160, 120)
    assert list(state.name) == list(NAMES) and len(state.velocity) == 7
    np.testing.assert_allclose(
        ARM.position(ARM.reading(state.name, list(state.position))), [0.21, 0, 0.15, 0], atol=1e-3
    )
    assert nanoseconds(state.header.stamp) >= nanoseconds(client.starts[0].stamp)


def test_the_first_image_does_not_wait_for_ever(graph, monkeypatch, lines):
    monkeypatch.setattr(simulation, "AUDIENCE_PATIENCE", 0.2)
    images = graph.collect(Image, "camera/image_raw", qos.IMAGE)
    graph.start(ArmSimulator, audience="recorder")
    assert graph.until(lambda: images)
    assert ("WARN", "the run begins without recorder: their records lack its start") in lines


def test_bad_parameters_are_refused_in_one_line(graph):
    for parameters, line in (
        ({"task": 40}, "task: expected 0 to 39, got 40"),
        ({"overview_size": [640]}, "overview_size: expected width, height"),
        ({"clock": "slow"}, "clock: expected one of lockstep, realtime"),
        ({"image_size": 47}, "image_size: expected 48"),
    ):
        node = graph.start(ArmSimulator, **parameters)
        assert not node.is_active
        assert line in node.fault and "\n" not in node.fault


def test_it_can_be_stopped_and_started_again(graph):
    client = Client(graph)

    def step():
        client.grip(0.035, stamp=client.stamp)
        client.send(client.joints()[:5], stamp=client.stamp)

    client.ends(step)
    client.node.trigger_deactivate()
    graph.spin(0.2)
    shown = len(client.images)
    graph.spin(0.6)
    assert len(client.images) == shown
    client.node.trigger_activate()
    assert graph.until(lambda: len(client.images) > shown)
    assert client.ends(step).step == 2
    client.node.trigger_deactivate()
    client.node.trigger_cleanup()
    assert client.node.bring_up()
    graph.matched(client.node)
    shown = len(client.images)
    assert graph.until(lambda: len(client.images) > shown)
    assert client.ends(step).step == 1
