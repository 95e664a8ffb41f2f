"""What holds for each of LS3's simulated tasks."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from image_task_play import wander

import safe_skills.envs  # noqa: F401  registers the environments
from safe_skills.envs.image_task import ImageTaskEnv
from safe_skills.envs.scripted import RandomWalk, ScriptedPolicy
from safe_skills.envs.tasks import TASKS, find_task

IMAGE_TASKS = [name for name, task in TASKS.items() if not task.masked]


@pytest.fixture(scope="module", params=IMAGE_TASKS)
def task(request):
    return TASKS[request.param]


@pytest.fixture(scope="module")
def env(task):
    made = task.make()
    yield made
    made.close()


@pytest.mark.parametrize("name", TASKS)
def test_tasks_say_what_their_environments_are(name):
    task = find_task(name)
    made = gymnasium.make(task.env_id)
    limit = np.array(task.action_limit, np.float32)
    np.testing.assert_array_equal(made.action_space.high, limit)
    np.testing.assert_array_equal(made.action_space.low, -limit)
    assert made.observation_space["image"].shape == (64, 64, 3)
    assert ("mask" in made.observation_space.spaces) == task.masked
    made.reset(seed=0)
    steps, truncated = 0, False
    while not truncated:
        _, reward, terminated, truncated, info = made.step(np.zeros(2, np.float32))
        steps += 1
        assert not terminated and reward == -1.0 and info["success"] is False
    assert steps == task.horizon
    made.close()


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"task: expected one of \[.*'navigation'.*got 'walking'"):
        find_task("walking")


@pytest.mark.parametrize("observation", ["rgb", "state"])
def test_gymnasium_accepts_the_environment(task, observation):
    made = gymnasium.make(task.env_id, observation=observation)
    check_env(made.unwrapped, skip_render_check=True)
    made.close()


def test_rendering_is_for_people_and_changes_nothing(task):
    plain, drawn = task.make(), task.make(render_mode="rgb_array")
    assert plain.render() is None
    plain.reset(seed=5), drawn.reset(seed=5)
    for _ in range(3):
        picture = drawn.render()
        assert picture.dtype == np.uint8 and min(picture.shape[:2]) >= 384 and picture.shape[2] == 3
        action = 0.5 * plain.action_space.high
        np.testing.assert_array_equal(
            plain.step(action)[0]["image"], drawn.step(action)[0]["image"]
        )
    plain.close(), drawn.close()


@pytest.mark.parametrize("random_start", [False, True])
def test_an_episode_depends_on_its_seed_alone(task, env, random_start):
    if random_start and not env.reset_options:
        pytest.skip("starts at one place")
    alone = wander(task.make(), 7, random_start=random_start)
    for seed, steps in ((1, 12), (7, 0), (2, 1)):
        wander(env, seed, steps)
        assert wander(env, 7, random_start=random_start) == alone
    assert wander(env, 8, random_start=random_start) != alone


def test_another_process_sees_the_same_pixels(task):
    command = (
        "import sys; sys.path.insert(0, 'test/envs'); from image_task_play import wander;"
        "import safe_skills.envs; from safe_skills.envs.tasks import find_task;"
        f"print(wander(find_task('{task.name}').make(), 11))"
    )
    told = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.split()[-1] == wander(task.make(), 11)


def test_no_graphics_library_is_needed(task):
    """A machine without a display may have none."""
    command = (
        "import re; import safe_skills.envs; from safe_skills.envs.tasks import find_task;"
        f"env = find_task('{task.name}').make(render_mode='rgb_array');"
        "env.reset(seed=0); env.step(env.action_space.high); env.render();"
        "maps = open('/proc/self/maps').read();"
        r"print(sorted(set(re.findall(r'lib(?:E?GL|GLX|OSMesa)[^/\n]*', maps))))"
    )
    told = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.splitlines()[-1] == "[]"


def test_unseeded_resets_follow_the_first_seed(env):
    if not env.reset_options:
        pytest.skip("starts at one place")
    starts = []
    for _ in range(2):
        env.reset(seed=3)
        starts.append([env.reset(options={"random_start": True})[0]["image"] for _ in range(2)])
    np.testing.assert_array_equal(starts[0], starts[1])
    assert (starts[0][0] != starts[0][1]).any()


def test_observations_are_not_changed_afterwards(env):
    first, _ = env.reset(seed=1)
    kept = first["image"].copy()
    env.step(env.action_space.high)
    np.testing.assert_array_equal(first["image"], kept)


@pytest.mark.parametrize("action", [[0.0, np.nan], [np.inf, 0.0], [0.0], np.zeros((1, 2))])
def test_a_bad_action_is_refused_and_nothing_moves(env, action):
    before, _ = env.reset(seed=1)
    step = env.state.step
    with pytest.raises(ValueError, match="action: expected 2 finite numbers") as refusal:
        env.step(np.asarray(action))
    assert "\n" not in str(refusal.value) and env.state.step == step
    np.testing.assert_array_equal(env._observe()["image"], before["image"])


def test_a_longer_action_is_the_longest_allowed(env):
    ends = []
    for factor in (1.0, 50.0):
        env.reset(seed=6)
        ends.append(env.step(factor * env.action_space.high)[0]["image"])
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"render_mode": "human"}, "render_mode: expected None or 'rgb_array', got 'human'"),
        ({"observation": "depth"}, "observation: expected one of .*, got 'depth'"),
    ],
)
def test_unknown_options_are_refused(env, options, message):
    with pytest.raises(ValueError, match=message):
        type(env)(**options)


def test_an_unknown_reset_option_is_refused(env):
    with pytest.raises(ValueError, match=r"options: expected some of .*, got \['start'\]"):
        env.reset(seed=0, options={"start": (0, 0)})


class Line(ImageTaskEnv):
    """A point on a line at 0: the goal is 2, the constraint from 4 on."""

    task = TASKS["navigation"]
    violation_name = "point"
    at = 0.0

    def _state_space(self):
        return gymnasium.spaces.Dict(at=gymnasium.spaces.Box(-1e3, 1e3, (1,)))

    def _start(self, random_start):
        self.at = 0.0

    def _simulate(self, action):
        self.at += action[0]

    def _violates(self):
        return self.at >= 4

    def _in_goal(self):
        return self.at == 2

    def _state_observation(self):
        return {"at": np.array([self.at], np.float32)}

    def _draw(self):
        raise AssertionError("nothing is drawn")

    _draw_overview = _draw


def test_success_stays_told_and_the_episode_goes_on():
    line = Line(observation="state")
    line.reset(seed=0)
    ends = [line.step(np.array([x, 0.0])) for x in (1, 1, 1)]
    assert [end[1] for end in ends] == [-1.0, 0.0, -1.0]
    assert [end[4]["success"] for end in ends] == [False, True, True]
    assert not any(end[2] or end[3] for end in ends)


def test_the_goal_terminates_where_asked_to():
    line = Line(observation="state", end_at_goal=True)
    line.reset(seed=0)
    assert [line.step(np.array([1.0, 0.0]))[1:4] for _ in range(2)] == [
        (-1.0, False, False),
        (0.0, True, False),
    ]


def test_a_violation_freezes_everything_until_the_horizon():
    line = Line(observation="state")
    line.reset(seed=0)
    for _ in range(2):
        *_, info = line.step(np.array([2.0, 0.0]))
    assert info == {"cost": 1.0, "success": True, "violation": "point"}
    for step in range(3, 101):
        observation, reward, terminated, truncated, info = line.step(np.array([-1.0, 0.0]))
        assert observation["at"] == 4.0 and reward == -1.0 and info["cost"] == 1.0
        assert not terminated and truncated == (step == 100)
    _, info = line.reset(seed=0)
    assert info == {"cost": 0.0, "success": False, "violation": ""}


class Still(ScriptedPolicy):
    """Does nothing, but for first action and noise."""

    def _control(self, state):
        return np.zeros(2)


class At:
    """A state of a step."""

    def __init__(self, step):
        self.step = step


def test_the_first_action_is_random_and_the_noise_as_asked_for():
    task = TASKS["navigation"]
    first = [Still(task, np.random.default_rng(s), 0.0)(At(0)) for s in range(300)]
    assert np.abs(first).max() <= 3 and np.std(first) == pytest.approx(3 / np.sqrt(3), rel=0.1)
    policy = Still(task, np.random.default_rng(0), 0.2)
    later = [policy(At(1)) for _ in range(500)]
    assert np.std(later) == pytest.approx(0.6, rel=0.1)
    loud = Still(task, np.random.default_rng(0), 50.0)
    assert np.abs([loud(At(1)) for _ in range(50)]).max() == 3.0


def test_a_random_walk_keeps_its_direction_for_some_steps():
    task = TASKS["navigation"]
    walk = RandomWalk(task, np.random.default_rng(0), noise=0.0)
    actions = np.array([walk(At(step)) for step in range(1, 400)])
    steps = np.diff(actions, axis=0)[(np.abs(actions[1:]) < 2.9).all(1)]
    assert steps.std() == pytest.approx(0.2 * 3, rel=0.15)
    assert np.corrcoef(actions[:-1, 0], actions[1:, 0])[0, 1] > 0.8
