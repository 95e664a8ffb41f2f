import hashlib
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import safe_skills.envs  # noqa: F401  registers the environments
from safe_skills.data.vision import RED, hsv_mask
from safe_skills.envs.cable import CableEnv, violation_kind
from safe_skills.envs.cable_layouts import LAYOUTS, find_layout
from safe_skills.envs.cable_scene import GRIPPER_RADIUS, LINK_RADIUS, LINKS, Contacts

IDLE = np.zeros(2, dtype=np.float32)


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def env(request):
    made = CableEnv(request.param)
    yield made
    made.close()


def wander(env, seed, steps=12):
    """Hash of every image, mask and node of an episode with random actions, contacts included."""
    digest = hashlib.sha256()
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        digest.update(observation["image"].tobytes() + observation["mask"].tobytes())
        digest.update(env.state.cable.tobytes() + env.state.gripper.tobytes())
        observation, *_ = env.step(rng.uniform(-0.01, 0.03, 2).astype(np.float32))
    return digest.hexdigest()


def drive(env, target, steps=50, limit=0.02):
    """Moves the gripper straight towards a point; returns the last step's results."""
    for _ in range(steps):
        offset = np.asarray(target) - env.state.set_point
        results = env.step(offset * min(1.0, limit / max(np.linalg.norm(offset), 1e-9)))
        _, _, terminated, truncated, info = results
        if terminated or truncated or info["violation"]:
            break
    return results


def corner(env):
    """Upper right corner of the obstacle."""
    return np.add(env.layout.obstacle_centre, env.layout.obstacle_half)


def place(env, head, heading):
    """Puts the gripper at `head`, the straight cable towards `heading` degrees."""
    env.reset(seed=0)
    env.scene.place(head, np.full(LINKS, np.radians(heading)))


@pytest.mark.parametrize("observation", ["rgb", "state"])
def test_gymnasium_accepts_the_environment(observation):
    made = gymnasium.make("safe_skills/Cable-v0", layout="tight", observation=observation)
    assert made.unwrapped.layout is LAYOUTS["tight"]
    check_env(made.unwrapped, skip_render_check=True)
    made.close()


def test_rendering_is_for_people_and_changes_nothing():
    plain, drawn = CableEnv("open"), CableEnv("open", render_mode="rgb_array")
    assert plain.render() is None
    plain.reset(seed=5), drawn.reset(seed=5)
    for _ in range(3):
        picture = drawn.render()
        assert picture.shape == (480, 640, 3) and picture.dtype == np.uint8
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
        expected, *_ = plain.step(np.array([0.01, 0.02]))
        got, *_ = drawn.step(np.array([0.01, 0.02]))
        np.testing.assert_array_equal(got["image"], expected["image"])


def test_an_episode_depends_on_its_seed_alone(env):
    alone = wander(CableEnv(env.layout.name), 7)
    for seed, steps in ((1, 12), (7, 0), (2, 1), (7, 2), (7, 5)):
        wander(env, seed, steps)
        assert wander(env, 7) == alone
    assert wander(env, 8) != alone


def test_another_process_sees_the_same_pixels():
    command = (
        "import sys; sys.path.insert(0, 'test/envs'); from test_cable import *;"
        "print(wander(CableEnv('tight'), 11))"
    )
    told = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split()[-1] == wander(CableEnv("tight"), 11)


def test_unseeded_resets_differ_but_follow_the_first_seed(env):
    env.reset(seed=3)
    first, _ = env.reset()
    env.reset(seed=3)
    again, _ = env.reset()
    np.testing.assert_array_equal(first["image"], again["image"])
    assert (env.reset()[0]["image"] != again["image"]).any()


def test_a_violation_freezes_the_scene_until_the_horizon(env):
    env.reset(seed=2)
    x, y = env.layout.obstacle_centre
    observation, reward, terminated, truncated, info = drive(env, (x, y))
    assert info["violation"] == "gripper" and info["cost"] == 1.0
    assert reward == -1.0 and not terminated and not truncated
    state = env.state
    for step in range(state.step + 1, 51):
        later, reward, terminated, truncated, info = env.step(np.array([-0.03, 0.03]))
        assert reward == -1.0 and info["cost"] == 1.0 and info["violation"] == "gripper"
        assert not terminated and truncated == (step == 50)
        np.testing.assert_array_equal(later["image"], observation["image"])
        np.testing.assert_array_equal(later["mask"], observation["mask"])
    np.testing.assert_array_equal(env.state.cable, state.cable)
    _, info = env.reset(seed=2)
    assert info["cost"] == 0.0 and info["violation"] == ""


def test_without_success_the_episode_is_truncated_at_the_horizon(env):
    env.reset(seed=1)
    ends = [env.step(IDLE)[1:4] for _ in range(50)]
    assert ends == [(-1.0, False, False)] * 49 + [(-1.0, False, True)]


def test_the_cable_dragged_over_a_corner_is_a_violation_of_the_cable(env):
    place(env, corner(env) + (0.04, 0.02), 180)
    *_, info = env.step(IDLE)
    assert info["violation"] == ""
    *_, info = drive(env, corner(env) + (0.04, -0.09))
    assert info["violation"] == "cable"


@pytest.mark.parametrize("side", ["left", "right", "top"])
def test_the_gripper_pushed_into_any_side_is_a_violation_of_the_gripper(env, side):
    x, y = env.layout.obstacle_centre
    right, top = corner(env)
    away, heading = {
        "left": ((2 * x - right - 0.03, top - 0.03), 180),
        "right": ((right + 0.03, top - 0.03), 0),
        "top": ((x, top + 0.03), 90),
    }[side]
    place(env, away, heading)
    *_, info = env.step(IDLE)
    assert info["violation"] == ""
    *_, info = drive(env, (x, top - 0.03), limit=0.03)
    assert info["violation"] == "gripper"
    assert distance_to_obstacle(env.layout, info["gripper"]) < GRIPPER_RADIUS + 0.001


def test_leaving_the_obstacle_is_no_contact(env):
    place(env, corner(env) + (LINK_RADIUS + 0.004, -0.02), -90)
    *_, info = drive(env, corner(env) + (0.10, -0.02))
    assert info["violation"] == ""


def distance_to_obstacle(layout, points):
    outside = np.maximum(np.abs(points - layout.obstacle_centre) - layout.obstacle_half, 0.0)
    return np.linalg.norm(outside, axis=-1).min()


def centre_line(nodes):
    share = np.linspace(0.0, 1.0, 6)[None, :, None]
    return (nodes[:-1, None] + (nodes[1:] - nodes[:-1])[:, None] * share).reshape(-1, 2)


@pytest.mark.parametrize("target", [(0.0, -0.1), (0.06, -0.16), (0.14, 0.08)])
def test_contacts_agree_with_the_distance_to_the_obstacle(env, target):
    """A contact is told if and only if the cable or the post is nearer than its radius.

    Contacts are found before the motion of a substep, so they may be told one substep late; a
    substep moves less than 2 mm.
    """
    layout, scene = env.layout, env.scene
    env.reset(seed=4)
    seen = set()
    for point in ((-0.03, 0.06), (0.06, 0.06), target):
        for _ in range(14):
            offset = np.asarray(point) - scene.set_point
            scene.command(scene.set_point + np.clip(offset, -0.015, 0.015))
            for _ in range(layout.substeps):
                contacts = scene.advance(1)
                cable = distance_to_obstacle(layout, centre_line(scene.cable_points()))
                gripper = distance_to_obstacle(layout, scene.gripper_position)
                assert cable < 0.0075 if contacts.cable else cable > 0.005
                assert gripper < 0.0095 if contacts.gripper else gripper > 0.007
                seen.add(violation_kind(contacts))
    expected = {(0.0, -0.1): "gripper", (0.06, -0.16): "cable", (0.14, 0.08): ""}[target]
    assert expected in seen
    assert target != (0.14, 0.08) or seen == {""}


def test_a_gripper_contact_names_the_violation_first():
    assert violation_kind(Contacts(gripper=True, cable=True)) == "gripper"
    assert violation_kind(Contacts(gripper=False, cable=True)) == "cable"
    assert violation_kind(Contacts(gripper=False, cable=False)) == ""


def test_reaching_the_goal_rewards_and_terminates(env):
    x, y = env.layout.goal_centre
    place(env, (x, y + 0.06), 90)
    _, reward, terminated, truncated, info = drive(env, env.layout.goal_centre)
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["success"] and info["cost"] == 0.0
    inside = np.abs(env.state.cable - env.layout.goal_centre) <= env.layout.goal_half
    assert inside.all(axis=1).any()


@pytest.mark.parametrize("action", [[0.0, np.nan], [np.inf, 0.0], [0.0], np.zeros((1, 2))])
def test_a_bad_action_is_refused_and_nothing_moves(env, action):
    env.reset(seed=1)
    before = env.state
    with pytest.raises(ValueError, match="action: expected 2 finite numbers") as refusal:
        env.step(np.asarray(action))
    assert "\n" not in str(refusal.value)
    np.testing.assert_array_equal(env.state.cable, before.cable)
    np.testing.assert_array_equal(env.state.set_point, before.set_point)
    assert env.state.step == before.step


def test_a_longer_action_is_the_longest_allowed(env):
    ends = []
    for action in ([0.03, 0.03], [5.0, 0.04]):
        env.reset(seed=6)
        env.step(np.array(action))
        ends.append(env.state.cable)
    np.testing.assert_array_equal(*ends)


def test_the_gripper_stays_in_the_workspace(env):
    (left, right), (bottom, top) = env.layout.workspace
    env.reset(seed=0)
    for _ in range(20):
        env.step(np.array([-0.03, 0.03]))
    np.testing.assert_allclose(env.state.gripper, (left, top), atol=0.003)


def test_one_step_moves_the_gripper_by_the_action(env):
    env.reset(seed=0)
    before = env.state.gripper
    for _ in range(4):
        env.step(np.array([-0.005, 0.02]))
    np.testing.assert_allclose(env.state.gripper - before, (-0.02, 0.08), atol=0.004)


def test_the_mask_by_colour_is_the_true_mask(env):
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        for _ in range(6):
            found, true = hsv_mask(observation["image"], RED), observation["mask"]
            union = ((found > 0) | (true > 0)).sum()
            assert union > 20 and ((found > 0) & (true > 0)).sum() >= 0.95 * union
            observation, *_ = env.step(np.array([0.0, 0.03]))


def test_pixels_and_task_frame_agree(env):
    """Image centre is the origin, x to the right, y up: the cable's nodes lie on its pixels."""
    env.reset(seed=9)
    size, span = 256, env.layout.camera_span
    mask = env.scene.cable_segmentation(size)
    nodes = env.scene.cable_points()[2:-1]
    columns = ((nodes[:, 0] + span) / (2 * span) * size).astype(int)
    rows = ((span - nodes[:, 1]) / (2 * span) * size).astype(int)
    assert (mask[rows, columns] == 255).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "wide"}, r"layout: expected one of \['open', 'tight'\], got 'wide'"),
        ({"render_mode": "human"}, "render_mode: expected None or 'rgb_array', got 'human'"),
        ({"observation": "depth"}, "observation: expected one of .*, got 'depth'"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CableEnv(**options)


def test_a_bad_set_point_is_refused(env):
    env.reset(seed=0)
    before = env.scene.set_point
    with pytest.raises(ValueError, match="set-point: expected 2 finite numbers"):
        env.scene.command([0.0, np.nan])
    np.testing.assert_array_equal(env.scene.set_point, before)


def test_layouts_are_found_by_name():
    assert find_layout("tight").name == "tight"
