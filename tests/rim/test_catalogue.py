"""The catalogue against the real environments: every field is what it says it is."""

import importlib
import warnings

import gymnasium as gym
import numpy as np
import pytest

from core.fields import lay_out, read_source
from core.fitness import episode_fitness
from core.tasks import catalogue

with warnings.catch_warnings():  # Box2D's extension warns while it loads, and cannot bear an error
    warnings.simplefilter("ignore")
    importlib.import_module("Box2D")

STEPS = 400
TASKS = list(catalogue())
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def rollout(task, steps=STEPS, policy=None):
    """Yield (environment, obs, action, next obs, info, terminated, truncated), seeded."""
    env = gym.make(task.environment, **task.env_kwargs)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    for _ in range(steps):
        action = env.action_space.sample() if policy is None else policy(obs)
        following, native, terminated, truncated, info = env.step(action)
        yield env, obs, action, following, native, terminated, truncated, info
        obs = following if not (terminated or truncated) else env.reset()[0]
    env.close()


def by_name(task, obs):
    layout = lay_out(task.fields, len(obs))
    return {
        c.field.name: obs[c.start] if c.scalar else obs[c.start : c.stop]
        for c in layout.columns
        if c.source.kind == "obs"
    }


@pytest.mark.parametrize("name", TASKS)
def test_every_dimension_of_the_observation_has_a_name(name):
    task = catalogue()[name]
    size = gym.make(task.environment).observation_space.shape[0]
    covered = [0] * size
    for column in lay_out(task.fields, size).columns:
        if column.source.kind == "obs":
            for i in range(column.start, column.stop):
                covered[i] += 1
    assert covered == [1] * size


@pytest.mark.parametrize("name", TASKS)
def test_the_documented_bounds_hold(name):
    task = catalogue()[name]
    bounds = [(f, read_source(f)) for f in task.fields if f.low is not None or f.high is not None]
    for _, _, _, obs, _, _, _, info in rollout(task):
        for field, source in bounds:
            if source.kind == "terminated":
                continue
            value = obs[source.start] if source.kind == "obs" else info[source.key]
            assert field.low is None or value >= field.low - 1e-5, field.name
            assert field.high is None or value <= field.high + 1e-5, field.name


@pytest.mark.parametrize("name", TASKS)
def test_the_bounds_are_those_of_the_space_wherever_it_states_any(name):
    task = catalogue()[name]
    space = gym.make(task.environment).observation_space
    for column in lay_out(task.fields, space.shape[0]).columns:
        if column.source.kind == "obs" and np.isfinite(space.low[column.start]):
            assert column.field.low == pytest.approx(float(space.low[column.start]))
            assert column.field.high == pytest.approx(float(space.high[column.start]))


@pytest.mark.parametrize("name", TASKS)
def test_every_info_value_and_simulator_array_exists(name):
    task = catalogue()[name]
    sources = [read_source(field) for field in task.fields]
    for env, _, _, _, _, _, _, info in rollout(task, steps=5):
        for source in sources:
            if source.kind == "info":
                assert np.isfinite(info[source.key])
            if source.kind == "sim":
                assert len(getattr(env.unwrapped.data, source.key)) >= (source.stop or 1)


@pytest.mark.parametrize("name", TASKS)
def test_the_fitness_can_be_measured(name):
    task = catalogue()[name]
    rows, native = [], []
    for _, _, _, obs, reward, terminated, truncated, info in rollout(task, steps=1000):
        rows.append({**by_name(task, obs), **info, "terminated": float(terminated)})
        native.append(reward)
        if terminated or truncated:
            break
    known = {f.name: f for f in task.fields}
    values = {n: np.array([row[n] for row in rows]) for n in known if n in rows[0]}
    fitness = episode_fitness(task.fitness, values, np.array(native))
    assert np.isfinite(fitness)
    assert fitness < task.fitness.goal  # chance does not solve it


@pytest.mark.parametrize("name", ["cartpole", "cartpole-park"])
def test_cartpole_fields_are_the_state(name):
    names = ["cart_position", "cart_velocity", "pole_angle", "pole_angular_velocity"]
    for env, _, _, obs, *_ in rollout(catalogue()[name], steps=50):
        field = by_name(catalogue()[name], obs)
        np.testing.assert_allclose([field[n] for n in names], env.unwrapped.state, **CLOSE)


@pytest.mark.parametrize("name", ["mountaincar", "mountaincar-continuous"])
def test_mountaincar_fields_are_the_state(name):
    for env, _, _, obs, *_ in rollout(catalogue()[name], steps=50):
        field = by_name(catalogue()[name], obs)
        found = [field["position"], field["velocity"]]
        np.testing.assert_allclose(found, env.unwrapped.state, **CLOSE)


def test_pushing_right_moves_the_cart_to_the_right():
    task = catalogue()["cartpole"]
    for _, obs, _, following, *_ in rollout(task, steps=5, policy=lambda obs: 1):
        assert by_name(task, following)["cart_velocity"] > by_name(task, obs)["cart_velocity"]


def test_acrobot_fields_are_cosines_sines_and_velocities_of_the_state():
    task = catalogue()["acrobot"]
    for env, _, _, obs, *_ in rollout(task, steps=50):
        first, second, *velocities = env.unwrapped.state
        expected = {
            "first_angle_cos": np.cos(first),
            "first_angle_sin": np.sin(first),
            "second_angle_cos": np.cos(second),
            "second_angle_sin": np.sin(second),
            "first_angular_velocity": velocities[0],
            "second_angular_velocity": velocities[1],
        }
        assert by_name(task, obs) == pytest.approx(expected, abs=1e-5)


def test_pendulum_fields_are_height_side_and_velocity_of_the_state():
    task = catalogue()["pendulum"]
    for env, _, _, obs, *_ in rollout(task, steps=50):
        angle, velocity = env.unwrapped.state
        expected = {
            "height": np.cos(angle),
            "sideways": np.sin(angle),
            "angular_velocity": velocity,
        }
        assert by_name(task, obs) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["lunarlander", "lunarlander-continuous"])
def test_lunarlander_fields_are_the_body_in_the_units_they_state(name):
    task = catalogue()[name]
    unit = {f.name: f.unit for f in task.fields}
    metres = {n: float(unit[n].split()[0]) for n in ("x", "y", "x_velocity", "y_velocity")}
    for env, _, _, obs, *_ in rollout(task, steps=50):
        field, body = by_name(task, obs), env.unwrapped.lander
        found = {n: field[n] * metres[n] for n in metres}
        expected = {
            "x": body.position.x - 10.0,
            "y": body.position.y - env.unwrapped.helipad_y - 18 / 30,  # on its legs
            "x_velocity": body.linearVelocity.x,
            "y_velocity": body.linearVelocity.y,
        }
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-3)
        assert field["angle"] == pytest.approx(body.angle, abs=1e-5)
        assert field["angular_velocity"] * 2.5 == pytest.approx(body.angularVelocity, abs=1e-4)
        contact = [float(leg.ground_contact) for leg in env.unwrapped.legs]
        assert [field["left_leg_contact"], field["right_leg_contact"]] == contact


JOINTS = {
    "hopper": ["thigh", "leg", "foot"],
    "hopper-stand": ["thigh", "leg", "foot"],
    "halfcheetah": [
        "back_thigh",
        "back_shin",
        "back_foot",
        "front_thigh",
        "front_shin",
        "front_foot",
    ],
}


@pytest.mark.parametrize("name", list(JOINTS))
def test_locomotion_fields_are_the_simulators_positions_and_velocities(name):
    task = catalogue()[name]
    positions = ["torso_height", "torso_angle", *(f"{j}_angle" for j in JOINTS[name])]
    velocities = [f"torso_{k}_velocity" for k in ("x", "z", "angular")]
    velocities += [f"{j}_angular_velocity" for j in JOINTS[name]]
    clip = 10.0 if "hopper" in name else np.inf
    for env, _, _, obs, _, _, _, info in rollout(task, steps=50):
        field, data = by_name(task, obs), env.unwrapped.data
        np.testing.assert_allclose([field[n] for n in positions], data.qpos[1:], **CLOSE)
        expected = np.clip(data.qvel, -clip, clip)
        np.testing.assert_allclose([field[n] for n in velocities], expected, **CLOSE)
        assert info["x_position"] == pytest.approx(data.qpos[0])


@pytest.mark.parametrize("name", list(JOINTS))
def test_forward_velocity_is_the_distance_of_the_step_over_its_time(name):
    task, before = catalogue()[name], None
    for env, _, _, _, _, terminated, _, info in rollout(task, steps=20):
        if before is not None:
            moved = info["x_position"] - before
            assert info["x_velocity"] == pytest.approx(moved / env.unwrapped.dt, abs=1e-6)
        before = None if terminated else info["x_position"]


def test_joint_names_are_those_of_the_model():
    model = gym.make("HalfCheetah-v5").unwrapped.model
    names = [model.joint(i).name for i in range(3, 9)]
    assert names == ["bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"]


def test_the_hopper_can_stand_still():
    """Springs in the joints hold it for the whole episode, and zero torque does not."""
    task = catalogue()["hopper-stand"]
    spring = lambda obs: np.clip(-obs[2:5] - 0.05 * obs[8:11], -1, 1).astype(np.float32)  # noqa: E731
    assert stand_fitness(task, spring) == 1.0
    assert stand_fitness(task, lambda obs: np.zeros(3, np.float32)) < 0.2


def stand_fitness(task, policy):
    rows = []
    for _, _, _, obs, _, terminated, truncated, info in rollout(task, 1000, policy):
        rows.append({**by_name(task, obs), "x_velocity": info["x_velocity"]})
        if terminated or truncated:
            break
    names = ("torso_height", "torso_angle", "x_velocity")
    values = {n: np.array([row[n] for row in rows]) for n in names}
    return episode_fitness(task.fitness, values, np.zeros(len(rows)))
