"""Fetch and PointMaze: they can be built here, behind walls too, and rows are gymnasium's own episodes.

Needs gymnasium-robotics, which the extra `test` brings.
"""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from core.envs import describe_env, make_batch
from core.envs.building import build
from core.envs.point_maze import point_maze_step
from core.envs.stepping import stepper
from core.records.task import Field, Task
from core.sandbox import GIB, Limits, Sandbox
from core.training.protocol import Done, MemberDone, order_message
from tests.rim.train_child_parts import an_order, only, until_the_last_word

pytest.importorskip(
    "gymnasium_robotics", reason='needs gymnasium-robotics: pip install "rewardsmith[robotics]"'
)

FETCH = ["FetchReach-v4", "FetchPush-v4", "FetchSlide-v4", "FetchPickAndPlace-v4"]
SUCCESS = Field("success", "info.is_success", visible=("metric",))
ARRIVED = Field("arrived", "info.success", visible=("metric",))


def task(environment, *fields, **options):
    return Task("a-task", environment, "", fields=fields, **options)


def flat(obs):
    return np.concatenate([obs[key] for key in sorted(obs)]).astype(np.float32)


def lived_together(the_task, rows, steps, *, info):
    """Step a batch and gymnasium's own objects with equal seeds and actions; count the ends."""
    batch = make_batch(the_task, rows)
    wholes = [build(the_task)[0] for _ in range(rows)]
    state, ends = batch.reset(range(rows)), 0
    for row, whole in enumerate(wholes):
        np.testing.assert_array_equal(state[row, : len(state[0])], flat(whole.reset(seed=row)[0]))
    rng = np.random.default_rng(0)
    for _ in range(steps):
        actions = rng.uniform(-1, 1, (rows, batch.action["size"])).astype(np.float32)
        step, size = batch.step(actions), batch.layout.observation_size
        for row, whole in enumerate(wholes):
            if whole is None:
                continue
            obs, reward, terminated, truncated, told = whole.step(actions[row])
            np.testing.assert_array_equal(step.next_block[row, :size], flat(obs))
            assert step.native[row] == np.float32(reward)
            assert (step.terminated[row], step.truncated[row]) == (terminated, truncated)
            assert step.next_block[row, size] == told[info]
            if terminated or truncated:
                wholes[row], ends = None, ends + 1  # the next episode has a seed of the row's own
    return ends


@pytest.mark.slow
@pytest.mark.parametrize("environment", FETCH)
def test_fetch_rows_are_gymnasium_s_own_episodes_of_fifty_steps(environment):
    assert lived_together(task(environment, SUCCESS), 3, 50, info="is_success") == 3


@pytest.mark.slow
def test_what_fetch_shows_can_be_named_by_key_and_read_from_its_simulator():
    fields = (
        Field("gripper", "obs.observation[0:3]", "m"),
        Field("block", "obs.achieved_goal[0:3]", "m"),
        Field("target", "obs.desired_goal[0:3]", "m"),
        Field("torso", "sim.qpos[0:2]"),
        SUCCESS,
    )
    the_task = task("FetchPush-v4", *fields)
    facts, batch, (whole, _) = describe_env(the_task), make_batch(the_task, 1), build(the_task)
    assert facts.key_offsets == {"achieved_goal": 0, "desired_goal": 3, "observation": 6}
    assert (facts.observation_size, facts.max_episode_steps) == (31, 50)
    batch.reset([4])
    whole.reset(seed=4)
    push = np.array([0.3, -0.2, 0.1, 0.0], np.float32)
    block, obs = batch.step(push[None]).next_block, whole.step(push)[0]
    found = batch.layout.values(block, [field.name for field in fields])
    for name, expected in {
        "gripper": obs["observation"][:3],
        "block": obs["achieved_goal"],
        "target": obs["desired_goal"],
        "torso": whole.unwrapped.data.qpos[:2],
    }.items():
        np.testing.assert_array_equal(found[name][0], expected.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "options", "least"),
    [
        ("PointMaze_UMaze-v3", {}, 4),
        ("PointMaze_UMazeDense-v3", {}, 4),
        ("PointMaze_UMaze-v3", {"continuing_task": False}, 4),
        ("PointMaze_Open-v3", {"reset_target": True}, 4),
    ],
    ids=["sparse", "dense", "ends at the goal", "the goal moves on"],
)
def test_point_maze_rows_are_gymnasium_s_own_episodes(environment, options, least):
    the_task = replace(task(environment, ARRIVED), env_kwargs=options)
    assert lived_together(the_task, 4, 300, info="success") >= least


def steer(obs):
    """Go straight at the goal."""
    away = obs["desired_goal"] - obs["achieved_goal"]
    return np.clip(4 * away - obs["observation"][2:], -1, 1).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"continuing_task": False}, {"reset_target": True}, {"reward_type": "dense"}],
    ids=["ends at the goal", "the goal moves on", "dense"],
)
def test_the_lean_maze_gives_gymnasium_s_numbers_over_a_hundred_episodes(options):
    the_task = replace(task("PointMaze_Open-v3"), max_episode_steps=60, env_kwargs=options)
    (lean, _), (whole, _) = build(the_task), build(the_task)
    step, arrived = stepper(lean), 0
    for seed in range(100):
        obs, ended = whole.reset(seed=seed)[0], False
        np.testing.assert_array_equal(flat(lean.reset(seed=seed)[0]), flat(obs))
        while not ended:
            action = steer(obs)
            one, other = step(action), whole.step(action)
            obs, ended = other[0], other[2] or other[3]
            assert all(np.array_equal(one[0][key], obs[key]) for key in obs)
            # Some processors take the distance of a dense reward in another order: the last bit.
            np.testing.assert_allclose(one[1], other[1], rtol=1e-14)
            assert one[2:] == other[2:]
            arrived += other[4]["success"]
    assert arrived >= 50


def test_mazes_leave_no_files_behind(tmp_path, monkeypatch):
    from gymnasium_robotics.envs.maze import maps

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = (build(task(f"PointMaze_{name}-v3"))[0] for name in ("UMaze", "Large"))
    assert list(tmp_path.iterdir()) == []
    assert walls(first.unwrapped.model) == drawn(maps.U_MAZE)
    assert walls(second.unwrapped.model) == drawn(maps.LARGE_MAZE)


def walls(model):
    return sum(model.geom(i).name.startswith("block_") for i in range(model.ngeom))


def drawn(cells):
    return sum(row.count(1) for row in cells)


def test_an_ant_s_maze_has_walls_and_a_ball_without_a_maze_has_none(tmp_path, monkeypatch):
    from gymnasium_robotics.envs.maze import maps
    from gymnasium_robotics.envs.maze.point import PointEnv

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ant = build(task("AntMaze_UMaze-v5"))[0]
    assert walls(ant.unwrapped.ant_env.model) == drawn(maps.U_MAZE)
    assert walls(PointEnv().model) == 0


def test_pictures_are_left_to_the_original():
    env, _ = build(task("PointMaze_UMaze-v3"))
    assert point_maze_step(env.unwrapped) is not None
    env.unwrapped.render_mode = "rgb_array"
    assert point_maze_step(env.unwrapped) is None
    assert point_maze_step(gymnasium.make("CartPole-v1").unwrapped) is None


@pytest.fixture(scope="module")
def sandbox():
    box = Sandbox(("core.training.train_child",))
    yield box
    box.close()


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["FetchReach-v4", "PointMaze_UMaze-v3"])
def test_they_train_behind_the_wall(sandbox, environment):
    order = an_order({"native": None}, task=task(environment), steps=256)
    limits = Limits(wall_seconds=120, cpu_seconds=120, memory_bytes=2 * GIB)
    with sandbox.spawn("core.training.train_child:train", limits) as child:
        child.send(*order_message(order))
        news = until_the_last_word(child.receive, order)
    assert isinstance(news[-1], Done), news[-1]
    assert only(news, MemberDone)[0].env_steps == 256
