"""The catalogue against the real environments: every field is what it says it is."""

import importlib
import importlib.util
import re

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from core.envs import describe_env
from core.envs.building import build
from core.errors import EnvironmentUnusable
from core.fitness import episode_fitness
from core.records.task import Task
from core.tasks import catalogue
from tests.rim.catalogue_parts import (
    CLOSE,
    TASKS,
    by_name,
    layout_of,
    observed,
    rollout,
    values_of,
)

pytestmark = pytest.mark.slow  # steps all environments of the catalogue


@pytest.mark.parametrize("name", TASKS)
def test_every_dimension_of_the_observation_has_a_name(name):
    task = catalogue()[name]
    covered = [0] * observed(name).size
    for column in layout_of(task).columns:
        if column.source.kind == "obs":
            for i in range(column.start, column.stop):
                covered[i] += 1
    assert covered == [1] * observed(name).size


@pytest.mark.parametrize("name", TASKS)
def test_the_documented_bounds_hold(name):
    task = catalogue()[name]
    bounds = [field for field in task.fields if field.low is not None or field.high is not None]
    for env, _, _, obs, _, terminated, _, info in rollout(task):
        values = values_of(task, env, obs, info, terminated)
        for field in bounds:
            assert field.low is None or np.min(values[field.name]) >= field.low - 1e-5, field.name
            assert field.high is None or np.max(values[field.name]) <= field.high + 1e-5, field.name


@pytest.mark.parametrize("name", TASKS)
def test_the_bounds_are_within_those_of_the_space_wherever_it_states_any(name):
    space = observed(name)
    for column in layout_of(catalogue()[name]).columns:
        field, here = column.field, slice(column.start, column.stop)
        if column.source.kind == "obs" and np.isfinite(space.low[here]).all():
            assert field.low >= space.low[here].max() - 1e-5, field.name
            assert field.high <= space.high[here].min() + 1e-5, field.name


@pytest.mark.parametrize("name", TASKS)
def test_every_info_value_and_simulator_array_exists(name):
    task = catalogue()[name]
    for env, _, _, obs, _, terminated, _, info in rollout(task, steps=5):
        values = values_of(task, env, obs, info, terminated)
        assert set(values) == {field.name for field in task.fields}
        assert all(np.isfinite(value).all() for value in values.values())


@pytest.mark.parametrize("name", TASKS)
def test_what_only_the_environments_own_measure_tells_is_kept_from_programs(name):
    """Success flags are for the metric alone, and no field is a part of the native reward."""
    for field in catalogue()[name].fields:
        assert "reward" not in field.source
        if "success" in field.source:
            assert field.visible == ("metric",)


@pytest.mark.parametrize("name", TASKS)
def test_the_fitness_can_be_measured(name):
    task = catalogue()[name]
    rows, native = [], []
    for env, _, _, obs, reward, terminated, truncated, info in rollout(task, steps=1000):
        rows.append(values_of(task, env, obs, info, terminated))
        native.append(reward)
        if terminated or truncated:
            break
    values = {n: np.array([row[n] for row in rows]) for n in rows[0]}
    fitness = episode_fitness(task.fitness, values, np.array(native))
    assert np.isfinite(fitness)
    assert fitness < task.fitness.goal  # chance does not solve it


@pytest.mark.parametrize("name", TASKS)
def test_the_actions_are_described_one_by_one(name):
    """The text names the last of the actions, so none is left out."""
    task = catalogue()[name]
    env, _ = build(task)
    space = env.action_space
    last = f"{space.n - 1}" if hasattr(space, "n") else f"[{space.shape[0] - 1}]"
    spread = f"..{space.shape[0] - 1}]" if not hasattr(space, "n") else last
    assert last in task.actions or spread in task.actions
    env.close()


def test_images_are_refused_with_what_to_do():
    task = Task("CarRacing-v3", "CarRacing-v3", "Drive.")
    with pytest.raises(EnvironmentUnusable, match=r"CarRacing-v3.*image.*state vectors"):
        describe_env(task)


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
    "walker2d": [f"{s}_{j}" for s in ("right", "left") for j in ("thigh", "shin", "foot")],
    "walker-legs-apart": [f"{s}_{j}" for s in ("right", "left") for j in ("thigh", "shin", "foot")],
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
    clip = np.inf if name == "halfcheetah" else 10.0
    for env, _, _, obs, _, _, _, info in rollout(task, steps=50):
        field, data = by_name(task, obs), env.unwrapped.data
        np.testing.assert_allclose([field[n] for n in positions], data.qpos[1:], **CLOSE)
        expected = np.clip(data.qvel, -clip, clip)
        np.testing.assert_allclose([field[n] for n in velocities], expected, **CLOSE)
        assert info["x_position"] == pytest.approx(data.qpos[0])


def test_joint_names_are_those_of_the_model():
    model = gym.make("HalfCheetah-v5").unwrapped.model
    names = [model.joint(i).name for i in range(3, 9)]
    assert names == ["bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"]


# --- what the texts say of the dynamics -------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_time_of_a_step_is_the_environments_own(name):
    told = re.search(r"A step is ([\d.]+) s", catalogue()[name].actions)
    env, _ = build(catalogue()[name])
    bare = getattr(env.unwrapped, "point_env", env.unwrapped)
    seconds = getattr(bare, "dt", None) or getattr(bare, "tau", None)
    if seconds is None and name.startswith(("lunarlander", "bipedalwalker")):
        seconds = 1.0 / importlib.import_module(type(bare).__module__).FPS
    env.close()
    assert (told and float(told[1])) == (seconds and pytest.approx(seconds))


def test_the_pendulum_turns_as_it_is_told():
    task = catalogue()["pendulum"]
    assert "15 sideways + 3 torque" in task.actions
    for _, obs, action, following, *_ in rollout(task, 50):
        before, after = by_name(task, obs), by_name(task, following)
        turn = 0.05 * (15.0 * before["sideways"] + 3.0 * action[0])
        expected = np.clip(before["angular_velocity"] + turn, -8.0, 8.0)
        assert after["angular_velocity"] == pytest.approx(expected, abs=1e-4)
        if abs(before["sideways"]) < 0.5 < before["height"]:  # counter-clockwise raises the sine
            assert np.sign(after["sideways"] - before["sideways"]) == np.sign(expected)


@pytest.mark.parametrize(
    ("name", "force"),
    [
        ("mountaincar", lambda action: 0.001 * (action - 1)),
        ("mountaincar-continuous", lambda action: 0.0015 * action[0]),
    ],
)
def test_the_car_moves_as_it_is_told(name, force):
    task = catalogue()[name]
    for _, obs, action, following, *_ in rollout(task, 100):
        before, after = by_name(task, obs), by_name(task, following)
        velocity = before["velocity"] + force(action) - 0.0025 * np.cos(3.0 * before["position"])
        assert after["velocity"] == pytest.approx(velocity, abs=1e-5)
        assert after["position"] == pytest.approx(before["position"] + velocity, abs=1e-5)


def test_cart_and_links_weigh_what_they_are_told_to():
    cart = build(catalogue()["cartpole"])[0].unwrapped
    assert (cart.masscart, cart.masspole, 2 * cart.length, cart.gravity) == (1.0, 0.1, 1.0, 9.8)
    arm = build(catalogue()["acrobot"])[0].unwrapped
    links = (arm.LINK_LENGTH_1, arm.LINK_LENGTH_2, arm.LINK_MASS_1, arm.LINK_MASS_2)
    assert links == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "legs"),
    [
        ("walker2d", ["", "_left"]),
        ("hopper", [""]),
    ],
)
def test_legs_turn_as_they_are_told(name, legs):
    env = build(catalogue()[name])[0].unwrapped
    env.reset(seed=0)
    model, data = env.model, env.data

    def placed(joint, angle, body):
        data.qpos[:] = env.init_qpos
        data.joint(joint).qpos[0] = angle
        mujoco.mj_forward(model, data)
        return data.body(body).xpos.copy()

    for leg in legs:
        foot, shin = f"foot{leg}", f"leg{leg}"
        rest = placed(f"thigh{leg}_joint", 0.0, foot)
        assert placed(f"thigh{leg}_joint", -0.5, shin)[0] < -0.1  # backwards
        assert placed(f"leg{leg}_joint", -0.5, foot)[0] < rest[0] - 0.1  # bent backwards
        assert placed(f"foot{leg}_joint", 0.5, foot)[2] > rest[2] + 0.05  # toes raised
        for joint, stops in (("thigh", (-2.62, 0)), ("leg", (-2.62, 0)), ("foot", (-0.79, 0.79))):
            assert model.joint(f"{joint}{leg}_joint").range == pytest.approx(stops, abs=0.01)
        if name == "walker2d":
            assert rest[0] == pytest.approx(0.2, abs=1e-6)
