import mujoco
import numpy as np
import pytest
from image_task_play import play

from safe_skills.envs.box_camera import BoxCamera, View
from safe_skills.envs.pushing import PushingEnv, PushingState, is_pushed
from safe_skills.envs.pushing_policies import (
    PushingDemonstrator,
    PushingOutburst,
    PushingWanderer,
    VariedPushingDemonstrator,
)
from safe_skills.envs.pushing_scene import VIEW

IDLE = np.zeros(2)


@pytest.fixture(scope="module")
def env():
    made = PushingEnv(observation="state")
    yield made
    made.close()


def place(env, block, position):
    """Puts a block (by number) somewhere, upright."""
    env.reset(seed=0)
    env.scene.data.qpos[6:].reshape(3, 7)[block, :3] = position


def test_all_episodes_start_alike_and_the_blocks_stay_where_they_are(env):
    env.reset(seed=0)
    start = env.state.blocks
    np.testing.assert_allclose(start[:, 0], (-0.16, 0, 0.16))
    np.testing.assert_allclose(start[:, 1], -0.03)
    for _ in range(3):
        *_, info = env.step(IDLE)
    np.testing.assert_allclose(env.state.blocks, start, atol=0.005)
    assert info == {"cost": 0.0, "success": False, "violation": ""}
    env.reset(seed=1)
    np.testing.assert_array_equal(env.state.blocks, start)
    with pytest.raises(ValueError, match=r"options: expected some of \(\), got \['random_start'\]"):
        env.reset(options={"random_start": True})


def test_the_reference_code_starts_with_blocks_that_throw_each_other_apart():
    env = PushingEnv(observation="state", blocks="overlapping")
    env.reset(seed=0)
    np.testing.assert_allclose(env.state.blocks[:, 0], (-0.05, 0, 0.05))
    env.step(IDLE)
    gaps = np.diff(env.state.blocks[:, 0])
    assert (gaps > 0.08).all()
    with pytest.raises(ValueError, match="blocks: expected one of .*, got 'stacked'"):
        PushingEnv(blocks="stacked")


def test_the_gripper_follows_its_target_in_one_step(env):
    env.reset(seed=0)
    for action in ((0.05, 0.0), (0.05, 0.03), (-0.02, 0.05)):
        env.step(np.array(action))
        np.testing.assert_allclose(env.state.gripper, env.scene.target, atol=0.005)
    np.testing.assert_allclose(env.scene.target, (0.08, 0.08))


def test_the_target_stays_within_40_cm(env):
    env.reset(seed=0)
    for _ in range(10):
        env.step(np.array([0.05, 0.05]))
    np.testing.assert_allclose(env.scene.target, (0.4, 0.4))


@pytest.mark.parametrize(
    ("position", "pushed"),
    [
        ((0, -0.08, 0), True),
        ((0, -0.07, 0), False),
        ((0.19, -0.1, 0), True),
        ((0.21, -0.1, 0), False),
        ((0, 0.08, 0), True),
    ],
)
def test_where_a_block_counts_as_pushed(position, pushed):
    assert is_pushed(np.array([position] * 3)).tolist() == [pushed] * 3


def test_the_reward_is_0_where_all_blocks_are_pushed(env):
    env.reset(seed=0)
    blocks = env.scene.data.qpos[6:].reshape(3, 7)
    blocks[:, 1] = -0.1
    assert env.step(IDLE)[1] == 0.0
    blocks[1, 1] = -0.05
    assert env.step(IDLE)[1] == -1.0


@pytest.mark.parametrize("side", [-1, 1])
def test_a_block_that_falls_off_a_side_freezes_everything(env, side):
    place(env, 2, (0.38 * side, 0.0, 0.02))
    *_, info = env.step(np.array([0.05, 0.0]))
    assert info["cost"] == 1.0 and info["violation"] == "block"
    before = env.state
    _, reward, terminated, truncated, info = env.step(np.array([0.05, 0.0]))
    assert (reward, terminated, truncated, info["cost"]) == (-1.0, False, False, 1.0)
    np.testing.assert_array_equal(env.state.blocks, before.blocks)
    np.testing.assert_array_equal(env.state.gripper, before.gripper)
    assert env.state.step == before.step + 1


def test_a_block_is_pushed_off_the_side_by_the_gripper(env):
    """The border keeps blocks on the table in front; at the sides there is a gap."""
    env.reset(seed=0)
    for action in [(0.0, -0.05)] * 4 + [(0.05, 0.0)] * 8:
        *_, info = env.step(np.array(action))
    assert info["violation"] == "block"
    env.reset(seed=0)
    for action in [(0.0, -0.05)] * 8:
        *_, info = env.step(np.array(action))
    assert info["violation"] == "" and -0.25 < env.state.blocks[1, 1] < -0.15


def test_a_demonstration_pushes_all_blocks_and_none_off():
    env = PushingEnv(observation="state", end_at_goal=True)
    played = play(env, PushingDemonstrator(np.random.default_rng(1)), 0)
    assert played.success and not played.violation
    assert -75 < played.total < -40
    assert is_pushed(env.state.blocks).all()


def path_of(policy):
    """Gripper and blocks, step by step, of an episode that ends in the goal."""
    env = PushingEnv(observation="state", end_at_goal=True)
    states = []

    def watched(state):
        states.append(state)
        return policy(state)

    played = play(env, watched, 0)
    assert played.success and not played.violation
    return np.array([state.gripper for state in states]), np.array([s.blocks for s in states])


def test_varied_demonstrations_take_the_blocks_in_any_order():
    firsts = set()
    for seed in range(3):
        _, blocks = path_of(VariedPushingDemonstrator(np.random.default_rng(seed)))
        pushed = np.array([is_pushed(now) for now in blocks])
        firsts.add(pushed[pushed.any(axis=1).argmax()].argmax())
    assert len(firsts) > 1


def varied(mishaps=100, **odds):
    """A varied demonstrator without noise and with mishaps of the given odds up to a step."""
    policy = VariedPushingDemonstrator(np.random.default_rng(0), noise=0.0)
    policy._mishaps = mishaps
    policy.SLIP_BEGINS = policy.LEAVES = 0.0
    for name, value in odds.items():
        setattr(policy, name, value)
    return policy


def seen(gripper, ys, step=1):
    """A state with blocks pushed to some y."""
    blocks = np.array([[0.16 * (k - 1), y, 0.0] for k, y in enumerate(ys)])
    return PushingState(np.array(gripper), blocks, step)


def test_a_varied_demonstration_retreats_where_it_went_astray():
    policy = varied()
    policy._block = 0

    def action(gripper, y):
        return policy(seen(gripper, (y, -0.03, -0.03))).tolist()

    assert action((-0.13, -0.1), -0.05) == [0.0, 0.05]
    assert action((-0.13, -0.07), -0.05) == [0.0, 0.05]
    assert action((-0.13, -0.05), -0.05) == pytest.approx([-0.03, 0.0])
    assert action((-0.16, -0.1), -0.05) == [0.0, -0.05]
    assert action((-0.16, -0.1), -0.11) == [0.0, 0.05]
    assert action((-0.16, 0.0), -0.11) == [0.0, 0.0] and policy._block != 0


def test_while_there_are_mishaps_a_block_half_way_is_left_for_another():
    policy = varied(LEAVES=1.0)
    policy._block = 0
    policy(seen((-0.16, 0.0), (-0.03, -0.03, -0.11)))
    assert policy._block == 0
    policy(seen((-0.16, 0.0), (-0.05, -0.03, -0.11)))
    assert policy._block == 1
    # Nothing else is left to be pushed.
    policy(seen((0.0, 0.0), (-0.11, -0.05, -0.11)))
    assert policy._block == 1


def test_while_there_are_mishaps_it_slips():
    policy = varied(SLIP_BEGINS=1.0, SLIP_ENDS=0.0)
    actions = np.array([policy(seen((0.0, 0.0), (-0.03,) * 3)) for _ in range(200)])
    assert (np.abs(actions) > 0.04).any(axis=0).all() and np.abs(actions.mean(0)).max() < 0.01


def test_after_the_mishaps_the_nearest_block_comes_first_and_is_pushed_to_the_end():
    policy = varied(mishaps=10, SLIP_BEGINS=1.0, LEAVES=1.0)
    policy._block = 0
    assert policy(seen((0.14, 0.0), (-0.03,) * 3, step=10)) == pytest.approx([0.02, 0.0])
    assert policy._block == 2
    assert policy(seen((0.16, -0.1), (-0.03, -0.03, -0.05), step=11)).tolist() == [0.0, -0.05]
    policy(seen((0.16, 0.0), (-0.03, -0.03, -0.11), step=12))
    assert policy._block == 1
    # A block half way is its own, however near another one is.
    policy(seen((-0.12, 0.0), (-0.03, -0.05, -0.11), step=13))
    assert policy._block == 1


def test_some_varied_demonstrations_have_no_mishaps_and_none_has_them_for_long():
    steps = [VariedPushingDemonstrator(np.random.default_rng(n))._mishaps for n in range(300)]
    assert 0.1 < np.mean(np.array(steps) == 0) < 0.3 and 60 < max(steps) < 70


def test_a_wanderer_goes_everywhere_and_pushes_blocks_from_the_side():
    env = PushingEnv(observation="state")
    grippers, sideways = [], []
    for seed in range(3):
        states = []
        policy = PushingWanderer(np.random.default_rng(seed))

        def watched(state, policy=policy, states=states):
            states.append(state)
            return policy(state)

        play(env, watched, seed)
        grippers += [state.gripper for state in states]
        sideways.append(np.abs(states[-1].blocks[:, 0] - states[0].blocks[:, 0]).max())
    low, high = np.min(grippers, axis=0), np.max(grippers, axis=0)
    assert (low < (-0.2, -0.2)).all() and (high > (0.2, 0.05)).all()
    assert max(sideways) > 0.05


def test_outbursts_move_on_and_act_at_random():
    policy = PushingOutburst(np.random.default_rng(0))

    class State:
        step = 1

    actions = np.array([policy(State) for _ in range(2000)])
    towards = (actions == PushingOutburst.TOWARDS).all(axis=1)
    # An outburst begins with 0.2 and ends with 0.1 afterwards: its share is 0.18 / 0.28.
    assert np.mean(~towards) == pytest.approx(0.18 / 0.28, abs=0.08)
    assert np.abs(actions).max() <= 0.05 and actions[~towards].std() > 0.02


def projected(point, size):
    """(row, column) of a point [m] in a square picture of the task's camera."""
    forward = np.subtract(VIEW.target, VIEW.position)
    up = np.array(VIEW.up)
    offset = np.subtract(point, VIEW.position)
    right = np.cross(forward, up)
    scale = size / 2 / np.tan(np.radians(VIEW.height / 2)) / (offset @ forward)
    return int(size / 2 - offset @ up * scale), int(size / 2 + offset @ right * scale)


def test_the_picture_shows_every_block_where_it_is():
    env = PushingEnv()
    image = env.reset(seed=0)[0]["image"].astype(int)
    tops = env.state.blocks + (0, 0, 0.06)
    for top, colour in zip(tops, ((1, 0, 1), (1, 0, 0), (1, 1, 0)), strict=True):
        seen = image[projected(top, 64)]
        np.testing.assert_array_equal(seen > 128, np.array(colour, bool))
    table = image[projected((0.0, -0.15, -0.05), 64)]
    assert table[1] > 150 and table[0] < 40 and table[2] < 40
    env.close()


def test_pictures_follow_the_boxes_and_translucent_ones_are_not_drawn():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><geom type="box" pos="0 0 1" size="1 1 .1" rgba="1 0 0 .5"/>'
        '<body><joint type="slide" axis="1 0 0"/><geom type="box" size=".1 .1 .1" rgba="0 1 0 1"/>'
        "</body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    view = View((0.0, 0.0, 2.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), 40.0)
    camera = BoxCamera(model, data, view)
    first = camera.picture(32, 32)
    assert first[16, 16, 1] > 150 and first[..., 0].max() == 0
    data.qpos[0] = 0.4
    mujoco.mj_forward(model, data)
    second = camera.picture(32, 32)
    assert second[16, 16].tolist() == [0, 0, 0] and second[16, 24, 1] > 150
    data.qpos[0] = 0.0
    mujoco.mj_forward(model, data)
    np.testing.assert_array_equal(camera.picture(32, 32), first)
    camera.close(), camera.close()
