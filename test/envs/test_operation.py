"""The Operation environment: rewards, contacts, episodes that depend on task and seed alone."""

import hashlib
import itertools
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import safe_skills.envs  # noqa: F401  registers the environments
from safe_skills.envs.operation import (
    HORIZON,
    STEP_LIMIT,
    WORKSPACE,
    OperationEnv,
    violation_kind,
)
from safe_skills.envs.operation_policy import ScriptedGrasp
from safe_skills.envs.operation_scene import CONTAINER_CENTRE, WALL, Contacts
from safe_skills.envs.operation_tasks import OperationTask, find_task
from safe_skills.robots import arm5_kinematics as arm5

IDLE = np.array([0.0, 0.0, 0.0, 0.0, 1.0], dtype=np.float32)
FINGER = np.array([0.065, 0.008, 0.018])  # along the approach, across it, and the third way


@pytest.fixture(scope="module")
def env():
    made = OperationEnv(3, observation="state")
    yield made
    made.close()


def noisy_episode(env, task, seed, steps=HORIZON):
    """Hash of all observations, costs and object poses of an episode; contacts are among them."""
    digest = hashlib.sha256()
    observation, _ = env.reset(seed=seed, options={"task": task})
    policy = ScriptedGrasp(np.random.default_rng([seed, 1]), 0.4)
    for _ in range(steps):
        digest.update(observation.tobytes() + env.state.corners.tobytes())
        observation, reward, terminated, _, info = env.step(policy(env.state))
        digest.update(f"{reward} {info['cost']}".encode())
        if terminated:
            break
    return digest.hexdigest()


def drive(env, target, steps=20, grip=1.0):
    """Moves the tool straight to (x, y, z, yaw); returns each step's results."""
    results = []
    for _ in range(steps):
        offset = (np.asarray(target) - env.state.set_point) / STEP_LIMIT
        results.append(env.step(np.array([*np.clip(offset, -1, 1), grip])))
        if np.abs(offset).max() < 1e-6:
            break
    return results


@pytest.mark.parametrize("observation", ["rgb", "state"])
def test_gymnasium_accepts_the_environment(observation):
    made = gymnasium.make("safe_skills/Operation-v0", task=39, observation=observation)
    assert made.unwrapped.task is find_task(39)
    check_env(made.unwrapped, skip_render_check=True)
    made.close()


def test_an_episode_depends_on_task_and_seed_alone():
    env = OperationEnv(0)
    alone = noisy_episode(OperationEnv(5), 5, 7)
    for task, seed, steps in ((1, 7, 30), (5, 7, 0), (5, 8, 9), (5, 7, 1), (39, 7, 12)):
        noisy_episode(env, task, seed, steps)
        assert noisy_episode(env, 5, 7) == alone
    assert len({noisy_episode(env, task, seed) for task in (5, 6) for seed in (7, 8)}) == 4


def test_another_process_sees_the_same_pixels():
    command = (
        "import sys; sys.path.insert(0, 'test/envs'); from test_operation import *;"
        "print(noisy_episode(OperationEnv(0), 38, 11))"
    )
    told = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split()[-1] == noisy_episode(OperationEnv(0), 38, 11)


def test_unseeded_resets_differ_but_follow_the_first_seed(env):
    env.reset(seed=3)
    first, _ = env.reset()
    env.reset(seed=3)
    again, _ = env.reset()
    np.testing.assert_array_equal(first, again)
    assert (env.reset()[0] != again).any()


def test_rendering_is_for_people_and_changes_nothing():
    plain, drawn = OperationEnv(2), OperationEnv(2, render_mode="rgb_array")
    assert plain.render() is None
    plain.reset(seed=5), drawn.reset(seed=5)
    for _ in range(3):
        picture = drawn.render()
        assert picture.shape == (480, 640, 3) and picture.dtype == np.uint8
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
        expected, *_ = plain.step(IDLE)
        got, *_ = drawn.step(IDLE)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("task", [0, 20, 39])
def test_the_camera_sees_object_container_and_gripper(task):
    env = OperationEnv(task)
    for seed in range(4):
        image, _ = env.reset(seed=seed)
        red, green, blue = image.astype(int).transpose(2, 0, 1)
        assert ((red > 1.5 * green) & (red > 1.5 * blue)).sum() >= 8  # the object
        assert ((blue > 1.3 * red) & (blue > green)).sum() >= 100  # the container
        assert ((green > 1.5 * red) & (green > 1.5 * blue)).sum() >= 15  # the fingers
    env.close()


def test_success_rewards_once_and_ends_the_episode(env):
    for task in (0, 39):
        env.reset(seed=1, options={"task": task})
        policy = ScriptedGrasp(np.random.default_rng(0))
        rewards, terminated = [], False
        while not terminated:
            lowest = env.state.corners[:, 2].min()
            assert not env.scene.extracted()
            _, reward, terminated, truncated, info = env.step(policy(env.state))
            rewards.append(reward)
            assert not truncated and info["success"] == terminated
        assert rewards == [-1.0] * (len(rewards) - 1) + [1.0]
        assert lowest <= env.state.rim + 0.01 < env.state.corners[:, 2].min()
        assert 8 <= len(rewards) < HORIZON


def test_an_object_above_the_rim_that_nobody_holds_is_no_success(env):
    env.reset(seed=1, options={"task": 0})
    env.scene.place(env.task, CONTAINER_CENTRE, 0.0)
    client, body = env.scene._client, env.scene._object
    client.resetBasePositionAndOrientation(body, (0.3, 0.2, 0.3), (0, 0, 0, 1))
    _, reward, terminated, _, info = env.step(IDLE)
    assert env.state.corners[:, 2].min() > env.state.rim + 0.01
    assert reward == -1.0 and not terminated and not info["success"]


def test_an_episode_is_truncated_after_thirty_steps(env):
    env.reset(seed=0)
    for step in range(1, HORIZON + 1):
        _, reward, terminated, truncated, info = env.step(IDLE)
        assert reward == -1.0 and not terminated and truncated == (step == HORIZON)
        assert info["cost"] == 0.0 and not info["success"]


def test_the_episode_goes_on_after_a_contact(env):
    env.reset(seed=0, options={"task": 3})
    x, y = CONTAINER_CENTRE
    # The left finger, which lies 39 mm beside the tool, comes down on the wall.
    above = (x, y - env.task.width / 2 - WALL / 2 - 0.039)
    drive(env, (*above, 0.15, 0.0))
    touching = drive(env, (*above, env.task.height - 0.01, 0.0))[-1]
    assert touching[4]["cost"] == 1.0 and touching[4]["violation"] == "finger"
    assert not touching[2] and not touching[3]
    leaving = drive(env, (x, y, 0.15, 0.0))[-1]
    assert leaving[4]["cost"] == 0.0 and leaving[4]["violation"] == ""


def separation(centre, axes, half, wall_centre, wall_half):
    """Gap between an oriented box and an upright one along their best separating axis [m]."""
    edges = np.cross(axes.T[:, None], np.eye(3)[None]).reshape(-1, 3)
    lengths = np.linalg.norm(edges, axis=1)
    directions = np.vstack([axes.T, np.eye(3), edges[lengths > 1e-6]])
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    reach = np.abs(directions @ axes) @ half + np.abs(directions) @ wall_half
    return (np.abs(directions @ (centre - wall_centre)) - reach).max()


def gap(env):
    """Least gap between the fingers and the walls [m], from the geometry alone."""
    scene, task = env.scene, env.task
    states = scene._client.getJointStates(scene._arm, scene._joints)
    joints = np.array([state[0] for state in states])
    pose = arm5.forward(joints[:5])
    axes, tip = pose.rotation.as_matrix(), pose.position
    middle, outer, high = task.width / 2 + WALL / 2, task.width / 2 + WALL, task.height / 2
    walls = [((0, side * middle), (outer, WALL / 2, high)) for side in (1, -1)]
    walls += [((side * middle, 0), (WALL / 2, outer, high)) for side in (1, -1)]
    return min(
        separation(
            tip + axes @ [-FINGER[0] / 2, sign * (opening + FINGER[1] / 2), 0.0],
            axes,
            FINGER / 2,
            np.array([*np.add(CONTAINER_CENTRE, shift), high]),
            np.array(half),
        )
        for sign, opening in zip((1, -1), joints[5:], strict=True)
        for shift, half in walls
    )


def test_a_finger_is_said_to_touch_exactly_when_it_meets_a_wall(env):
    """In every physics step of noisy descents, against the geometry of boxes."""
    agreed = {True: 0, False: 0}
    for seed in range(6):
        env.reset(seed=seed, options={"task": 39 - seed % 3})
        policy = ScriptedGrasp(np.random.default_rng([seed, 1]), 0.5)
        scene = env.scene
        for _ in range(14):
            action = policy(env.state)
            target = np.clip(env.state.set_point + action[:4] * STEP_LIMIT, *np.array(WORKSPACE).T)
            env._set_point = target
            scene.command(target[:3], target[3])
            scene.grip(action[4] > 0)
            before = gap(env)
            for _ in range(16):
                touches = scene.advance(1).finger
                after = gap(env)
                # The solver pushes apart in the step in which it finds the contact.
                if min(before, after) > 1e-3:
                    assert not touches
                    agreed[False] += 1
                elif max(before, after) < -1e-4:
                    assert touches
                    agreed[True] += 1
                before = after
    assert agreed[False] > 300 and agreed[True] > 30, agreed


def test_object_and_container_may_touch(env):
    """Only the robot counts: the object lies against a wall."""
    env.reset(seed=0, options={"task": 0})
    half = np.ptp(env.state.corners[:, 1]) / 2
    env.scene.place(env.task, (CONTAINER_CENTRE[0], env.task.width / 2 - half), 0.0)
    scene = env.scene
    for _ in range(5):
        *_, info = env.step(IDLE)
        assert info["cost"] == 0.0
    assert scene._client.getContactPoints(scene._object, scene._container)


def test_the_arm_counts_as_the_fingers_do():
    """Over high walls the palm comes down on the rim."""
    env = OperationEnv(OperationTask(0, 0.3, 0.08, 0.075), observation="state")
    env.reset(seed=0)
    results = drive(env, (*CONTAINER_CENTRE, 0.005, np.pi / 4), steps=12)
    assert {info["violation"] for *_, info in results} == {"", "arm"}
    assert all(info["cost"] == float(bool(info["violation"])) for *_, info in results)
    assert results[-1][4]["task"] == -1


def test_violations_have_names():
    assert violation_kind(Contacts(False, False)) == ""
    assert violation_kind(Contacts(finger=False, arm=True)) == "arm"
    assert violation_kind(Contacts(finger=True, arm=True)) == "finger"


def test_actions_add_up_and_the_gripper_obeys(env):
    env.reset(seed=4, options={"task": 0})
    start = env.state.set_point
    np.testing.assert_allclose(start, [0.21, 0.0, 0.15, 0.0], atol=1e-4)
    for action in ([0.4, -0.2, 0.4, 0.5, 1.0], [0.4, -0.2, 0.4, 0.5, -1.0]):
        env.step(np.array(action))
    moved = env.state
    expected = start + 2 * np.array([0.4, -0.2, 0.4, 0.5]) * STEP_LIMIT
    np.testing.assert_allclose(moved.set_point, expected, atol=1e-8)
    drive(env, moved.set_point, steps=3, grip=-1.0)
    tool = env.state.tool
    np.testing.assert_allclose([*tool.position, tool.yaw], expected, atol=2e-3)
    assert tool.opening < 0.002
    drive(env, moved.set_point, steps=1)
    env.step(IDLE), env.step(IDLE)
    assert env.state.tool.opening > 0.065


def test_the_set_point_stays_in_the_workspace(env):
    lower, upper = np.array(WORKSPACE).T
    rng = np.random.default_rng(0)
    for seed in range(4):
        env.reset(seed=seed)
        corner = rng.choice([-1.0, 1.0], 5)
        for _ in range(12):
            env.step(corner * 7)
            assert (env.state.set_point >= lower).all() and (env.state.set_point <= upper).all()


@pytest.mark.parametrize("corner", list(itertools.product(*WORKSPACE)))
def test_the_arm_reaches_every_corner_of_the_workspace(corner):
    *position, yaw = corner
    joints = arm5.inverse(arm5.downward(np.array(position), yaw))
    np.testing.assert_allclose(arm5.forward(joints).position, position, atol=1e-9)


@pytest.mark.parametrize("bad", [[0.0] * 4, [0.0] * 6, [np.nan, 0, 0, 0, 0], [0, 0, 0, 0, np.inf]])
def test_bad_actions_are_refused(env, bad):
    env.reset(seed=0)
    with pytest.raises(ValueError, match="^action: expected 5 finite numbers, got") as refusal:
        env.step(np.array(bad))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("task", [-1, 40, 3.0, "3", None])
def test_a_task_out_of_range_is_refused_in_one_line(env, task):
    with pytest.raises(ValueError, match="^task: expected 0 to 39, got") as refusal:
        OperationEnv(task)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match="^task: expected 0 to 39, got"):
        env.reset(options={"task": task})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"render_mode": "human"}, "render_mode: expected None or 'rgb_array', got 'human'"),
        ({"observation": "mask"}, "observation: expected one of .*, got 'mask'"),
    ],
)
def test_unknown_modes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OperationEnv(0, **arguments)


def test_unknown_options_are_refused(env):
    with pytest.raises(ValueError, match="options: expected 'task' only, got"):
        env.reset(options={"object": 3})
