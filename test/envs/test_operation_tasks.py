"""The 40 tasks, their objects, and the scripted policy that they were chosen with."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safe_skills.cli import main
from safe_skills.envs.operation import OperationEnv
from safe_skills.envs.operation_objects import OBJECTS, load_mesh
from safe_skills.envs.operation_policy import FOOTPRINT, OPENING, best_grasp
from safe_skills.envs.operation_scene import CONTAINER_CENTRE
from safe_skills.envs.operation_tasks import (
    FIRST_EVALUATION_TASK,
    HEIGHTS,
    LONGEST,
    SPANS,
    TASK_FILE,
    TASKS,
    WIDTHS,
    draw_task,
    find_task,
    operation_tasks,
)
from safe_skills.experiments.collect_operation_tasks import SOLVED, Job, draw_tasks, measure
from safe_skills.experiments.operation_rollout import figures, noise_of, play

SHIPPED = json.loads(TASK_FILE.read_text(encoding="utf-8"))


def test_there_are_forty_tasks_with_an_object_each():
    assert len(operation_tasks()) == TASKS == 40
    assert len({task.object for task in operation_tasks()}) == TASKS
    for number, task in enumerate(operation_tasks()):
        assert find_task(number) is find_task(np.int64(number)) is task
        middle, longest = np.sort(load_mesh(task.object).extents)[1:] * task.scale
        # The scale is rounded to 1e-4.
        assert middle < SPANS[1] + 2e-5 and longest < LONGEST + 2e-5 < task.width
        assert middle > SPANS[0] - 2e-5 or longest > LONGEST - 2e-5
        assert WIDTHS[0] <= task.width <= WIDTHS[1] and HEIGHTS[0] <= task.height <= HEIGHTS[1]


def test_the_hardest_are_held_out_and_all_are_solved_without_noise():
    rows = SHIPPED["tasks"]
    contact = [row["contact_rate"] for row in rows]
    assert contact == sorted(contact)
    assert min(contact[FIRST_EVALUATION_TASK:]) >= max(contact[:FIRST_EVALUATION_TASK])
    assert TASKS - FIRST_EVALUATION_TASK == 6
    assert min(row["quiet_success_rate"] for row in rows) >= SOLVED


def test_shipped_figures_are_those_of_the_present_simulation():
    """The easiest and the hardest task measured again, with some of the episodes."""
    for number in (0, 39):
        shipped = SHIPPED["tasks"][number]
        _, found = measure(Job(shipped["drawn"], find_task(number), 8))
        assert {name: found[name] for name in ("object", "scale", "width", "height")} == {
            name: shipped[name] for name in ("object", "scale", "width", "height")
        }
        assert found["quiet_success_rate"] >= 7 / 8
        spread = 3 * np.sqrt(shipped["contact_rate"] * (1 - shipped["contact_rate"]) / 8)
        assert abs(found["contact_rate"] - shipped["contact_rate"]) < spread


def test_tasks_are_drawn_alike_each_time_and_sorted(tmp_path, capsys):
    once = draw_tasks(1, episodes=2, workers=1, tasks=3)
    assert once == draw_tasks(1, episodes=2, workers=1, tasks=3)
    assert [row["contact_rate"] for row in once] == sorted(row["contact_rate"] for row in once)
    assert all(row["quiet_success_rate"] >= SOLVED for row in once)
    assert once != draw_tasks(2, episodes=2, workers=1, tasks=3)


def test_drawing_leaves_out_what_was_used_and_what_is_no_body():
    rng = np.random.default_rng(0)
    allowed = {3, 168}
    task = draw_task(rng, set(range(OBJECTS)) - allowed)
    assert task.object == 3
    with pytest.raises(ValueError, match="object 168: its mesh is not finite"):
        load_mesh(168)
    with pytest.raises(ValueError, match="object: expected 0 to 999, got 1000"):
        load_mesh(1000)


@pytest.mark.parametrize("number", [0, 5, 267])
def test_an_object_lies_on_its_flat_side_as_the_mesh_says(number):
    """The hull that the policy sees is where the simulator's body is."""
    mesh = load_mesh(number)
    assert mesh.extents.argmin() == 2
    env = OperationEnv(find_task(34), observation="state")
    env.reset(seed=0)
    corners = env.state.corners
    low, high = env.scene._client.getAABB(env.scene._object)
    # PyBullet's boxes are wider by a margin, for a mesh that is turned by more.
    assert (corners.min(axis=0) > np.array(low) - 1e-3).all()
    assert (corners.max(axis=0) < np.array(high) + 1e-3).all()
    assert -0.002 < corners[:, 2].min() < 0.002
    env.close()


@given(st.floats(-0.015, 0.015), st.floats(-0.015, 0.015), st.floats(-1.5, 1.5), st.floats(-2, 2))
def test_the_chosen_grasp_fits_between_object_and_walls(x, y, heading, yaw):
    """An object 4 cm wide and 6 long, anywhere in a container that leaves room."""
    width = 0.12
    turn = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * [0.03, 0.02]
    outline = corners @ turn.T + CONTAINER_CENTRE + [x, y]
    centre, chosen = best_grasp(outline, width, yaw)
    assert abs(chosen - yaw) <= np.pi / 2 + 1e-9
    along = np.array([-np.sin(chosen), np.cos(chosen)])
    across = np.array([along[1], -along[0]])
    offsets = (outline - centre) @ along
    assert np.abs(offsets).max() < OPENING / 2
    for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        corner = centre + a * FOOTPRINT[0] * along + b * FOOTPRINT[1] * across
        assert (np.abs(corner - CONTAINER_CENTRE) < width / 2).all()


def test_noise_makes_both_classes():
    """Without noise nearly all succeed cleanly; with much, fewer succeed and most touch."""
    env = OperationEnv(0, observation="state")
    rows = {}
    for level in (0.0, 0.5):
        rollouts = [play(env, 2 * k, 50 + k, (level, level)) for k in range(16)]
        assert all(rollout.noise == level for rollout in rollouts)
        rows[level] = figures((rollout.success, rollout.costs) for rollout in rollouts)
    env.close()
    assert rows[0.0]["success_rate"] >= 0.9 and rows[0.0]["contact_rate"] <= 0.15
    assert rows[0.5]["success_rate"] <= 0.85 and rows[0.5]["contact_rate"] >= 0.5


def test_noise_is_drawn_for_each_episode_from_the_range():
    levels = [noise_of(seed, (0.05, 0.5))[0] for seed in range(200)]
    assert 0.05 <= min(levels) < 0.08 and 0.47 < max(levels) <= 0.5


def test_figures_count_contacts_and_their_beginnings():
    episodes = [
        (True, np.array([0.0, 1.0, 1.0, 0.0, 1.0])),
        (True, np.zeros(3)),
        (False, np.array([1.0, 0.0])),
    ]
    found = figures(episodes)
    assert found == {
        "episodes": 3,
        "steps": 10,
        "success_rate": 2 / 3,
        "contact_rate": 2 / 3,
        "clean_success_rate": 1 / 3,
        "unsafe_steps": 0.4,
        "first_contacts": 0.3,
        "mean_length": 10 / 3,
    }


@pytest.mark.slow
def test_the_command_makes_the_list_that_ships(tmp_path):
    out = tmp_path / "tasks.json"
    assert main(["collect", "operation-tasks", "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == SHIPPED
