"""The catalogue against the real environments: every field is what it says it is."""

import importlib
import importlib.util
import re
import warnings
from functools import cache

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from core.envs import describe_env
from core.envs.building import build
from core.envs.spaces import read_observation_space
from core.errors import EnvironmentUnusable
from core.fields import lay_out, read_source
from core.fitness import episode_fitness
from core.records.task import Task
from core.tasks import catalogue

pytestmark = pytest.mark.slow  # steps all environments of the catalogue

with warnings.catch_warnings():  # Box2D's extension warns while it loads, and cannot bear an error
    warnings.simplefilter("ignore")
    importlib.import_module("Box2D")

STEPS = 400
NEEDED = {"Fetch": "gymnasium_robotics", "PointMaze": "gymnasium_robotics"}  # an extra


def task_parameter(name):
    """Skip what needs a package that is not installed."""
    environment = catalogue()[name].environment
    package = next((p for start, p in NEEDED.items() if environment.startswith(start)), None)
    missing = package is not None and importlib.util.find_spec(package) is None
    return pytest.param(
        name, marks=pytest.mark.skipif(missing, reason=f"needs {package}, an extra")
    )


TASKS = [task_parameter(name) for name in catalogue()]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def rollout(task, steps=STEPS, policy=None):
    """Yield (environment, obs, action, next obs, native, terminated, truncated, info), seeded.

    Observations are as the environment gives them, a dictionary included.
    """
    env, _ = build(task)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    for _ in range(steps):
        action = env.action_space.sample() if policy is None else policy(obs)
        following, native, terminated, truncated, info = env.step(action)
        yield env, obs, action, following, native, terminated, truncated, info
        obs = following if not (terminated or truncated) else env.reset()[0]
    env.close()


@cache
def observed(name):
    env, _ = build(catalogue()[name])
    space = read_observation_space(env.observation_space)
    env.close()
    return space


def layout_of(task):
    space = observed(task.name)
    return lay_out(task.fields, space.size, space.offsets)


def by_name(task, obs):
    flat = observed(task.name).flatten(obs)
    return {
        c.field.name: flat[c.start] if c.scalar else flat[c.start : c.stop]
        for c in layout_of(task).columns
        if c.source.kind == "obs"
    }


def simulated(env, source):
    """Return the numbers of a `sim` source, as the adapters read them."""
    numbers = np.ravel(getattr(env.unwrapped.data, source.key))
    return numbers[source.start : source.stop or source.start + 1]


def values_of(task, env, obs, info, terminated):
    """Return every field of a step by name."""
    values = by_name(task, obs)
    for field in task.fields:
        source = read_source(field)
        if source.kind == "info":
            values[field.name] = float(info[source.key])
        elif source.kind == "sim":
            numbers = simulated(env, source).copy()
            values[field.name] = float(numbers[0]) if source.stop is None else numbers
        elif source.kind == "terminated":
            values[field.name] = float(terminated)
    return values


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


# --- the machines of MuJoCo -------------------------------------------------------------------


def inner(env):
    return env.unwrapped.model, env.unwrapped.data


def resting(task, **positions):
    """Return model and data in the first posture, with some positions changed: q3=0.2."""
    env, _ = build(task)
    model, data = inner(env)
    data.qpos[:] = env.unwrapped.init_qpos
    data.qvel[:] = 0
    for name, value in positions.items():
        data.qpos[int(name[1:])] = value
    mujoco.mj_forward(model, data)
    return model, data


FORWARD = ["halfcheetah", "hopper", "walker2d", "swimmer"]


@pytest.mark.parametrize("name", [*FORWARD, "ant", "humanoid"])
def test_info_fields_are_places_and_mean_velocities_of_the_step(name):
    """`x_velocity` is the way of the step over its time; of the humanoid, its centre of mass's."""
    task, before = catalogue()[name], None
    names = {field.name for field in task.fields}
    for env, _, _, _, _, terminated, _, info in rollout(task, steps=30):
        model, data = inner(env)
        # Bodies are where they were one simulator step before the joints.
        place = data.qpos[:2].copy() if name in FORWARD else data.xpos[1, :2].copy()
        if name == "humanoid":
            mass = model.body_mass
            place = (mass[:, None] * data.xipos[:, :2]).sum(0) / mass.sum()
        assert info["x_position"] == pytest.approx(data.qpos[0])
        if "y_position" in names:
            assert info["y_position"] == pytest.approx(data.qpos[1])
            assert info["distance_from_origin"] == pytest.approx(np.hypot(*data.qpos[:2]))
        if before is not None:
            moved = (place - before) / env.unwrapped.dt
            assert info["x_velocity"] == pytest.approx(moved[0], abs=1e-6)
            if "y_velocity" in names:
                assert info["y_velocity"] == pytest.approx(moved[1], abs=1e-6)
        before = None if terminated else place


@pytest.mark.parametrize("name", ["ant", "humanoid", "humanoid-standup"])
def test_free_bodies_are_described_as_the_simulator_has_them(name):
    task = catalogue()[name]
    for env, _, _, obs, _, terminated, _, info in rollout(task, steps=40):
        field, (_, data) = values_of(task, env, obs, info, terminated), inner(env)
        assert field["torso_height"] == pytest.approx(data.qpos[2], abs=1e-5)
        np.testing.assert_allclose(field["torso_orientation"], data.qpos[3:7], **CLOSE)
        moving = [field[f"torso_{way}_velocity"] for way in ("x", "y", "z", "roll", "pitch", "yaw")]
        np.testing.assert_allclose(moving, data.qvel[:6], **CLOSE)
        assert field["torso_up"] == pytest.approx(data.xmat[1, 8])
        if name == "ant":
            clipped = np.clip(data.cfrc_ext[1:], -1, 1).ravel()
            np.testing.assert_allclose(field["contact_forces"], clipped, **CLOSE)
        else:
            np.testing.assert_allclose(field["joint_angles"], data.qpos[7:], **CLOSE)
            np.testing.assert_allclose(field["joint_velocities"], data.qvel[6:], **CLOSE)
            np.testing.assert_allclose(field["joint_torques"], data.qfrc_actuator[6:], **CLOSE)
            np.testing.assert_allclose(field["body_inertias"], data.cinert[1:].ravel(), **CLOSE)
            np.testing.assert_allclose(field["body_velocities"], data.cvel[1:].ravel(), **CLOSE)
            np.testing.assert_allclose(field["contact_forces"], data.cfrc_ext[1:].ravel(), **CLOSE)


ANT_LEGS = ["front_left", "back_left", "back_right", "front_right"]


def test_the_ants_legs_are_where_their_names_say():
    task = catalogue()["ant"]
    model, data = resting(task)
    for number, leg in enumerate(ANT_LEGS, 1):
        foot = data.xpos[model.jnt_bodyid[model.joint(f"ankle_{number}").id]]
        assert (foot[0] > 0) == leg.startswith("front")
        assert (foot[1] > 0) == leg.endswith("left")
    for env, _, _, obs, *_ in rollout(task, steps=20):
        field, (model, data) = by_name(task, obs), inner(env)
        for number, leg in enumerate(ANT_LEGS, 1):
            for joint in ("hip", "ankle"):
                here = model.joint(f"{joint}_{number}")
                angle, velocity = data.qpos[here.qposadr[0]], data.qvel[here.dofadr[0]]
                assert field[f"{leg}_{joint}_angle"] == pytest.approx(angle, abs=1e-5)
                assert field[f"{leg}_{joint}_angular_velocity"] == pytest.approx(velocity, abs=1e-4)


def test_the_ants_turn_to_the_left_is_counter_clockwise_seen_from_above():
    task = catalogue()["ant"]
    env, _ = build(task)
    env.reset(seed=0)
    _, data = inner(env)
    data.qvel[:], data.qvel[5] = 0, 1.0
    heading = np.arctan2(data.xmat[1, 3], data.xmat[1, 0])
    obs = env.step(np.zeros(8, np.float32))[0]
    assert by_name(task, obs)["torso_yaw_velocity"] > 0
    assert np.arctan2(data.xmat[1, 3], data.xmat[1, 0]) > heading


ORDERS = {  # the joints that a text lists, in its order
    "ant": (True, "hip_4 ankle_4 hip_1 ankle_1 hip_2 ankle_2 hip_3 ankle_3"),
    "humanoid": (
        True,
        "abdomen_y abdomen_z abdomen_x right_hip_x right_hip_z right_hip_y right_knee left_hip_x "
        "left_hip_z left_hip_y left_knee right_shoulder1 right_shoulder2 right_elbow "
        "left_shoulder1 left_shoulder2 left_elbow",
    ),
    "walker2d": (
        True,
        "thigh_joint leg_joint foot_joint thigh_left_joint leg_left_joint foot_left_joint",
    ),
    "reacher": (True, "joint0 joint1"),
    "swimmer": (True, "motor1_rot motor2_rot"),
    "pusher": (
        True,
        "r_shoulder_pan_joint r_shoulder_lift_joint r_upper_arm_roll_joint r_elbow_flex_joint "
        "r_forearm_roll_joint r_wrist_flex_joint r_wrist_roll_joint",
    ),
}


@pytest.mark.parametrize("name", list(ORDERS))
def test_the_motors_drive_the_joints_in_the_order_of_the_text(name):
    model, _ = resting(catalogue()[name])
    joints = [model.joint(int(model.actuator(i).trnid[0])).name for i in range(model.nu)]
    assert joints == ORDERS[name][1].split()


@pytest.mark.parametrize("name", ["humanoid", "humanoid-standup"])
def test_the_humanoids_joints_come_in_the_order_of_the_text(name):
    model, _ = resting(catalogue()[name])
    names = [model.joint(i).name for i in range(1, model.njnt)]
    meaning = next(f.meaning for f in catalogue()[name].fields if f.name == "joint_angles")
    order = meaning.removeprefix("angles of the joints: ").split("; ")
    spelt = []
    for part in order:
        first, *others = part.split(", ")
        body, axis = first.rsplit(" ", 1) if first[-1] in "xyz12" else (first, "")
        spelt += [
            f"{body} {a}".strip().replace(" ", "_").replace("shoulder_", "shoulder")
            for a in [axis, *others]
        ]
    assert spelt == names


def test_the_walkers_feet_and_its_leaning_are_what_they_are_called():
    task = catalogue()["walker2d"]
    for env, _, _, obs, _, terminated, _, info in rollout(task, steps=30):
        field, (model, data) = values_of(task, env, obs, info, terminated), inner(env)
        assert field["right_foot_x"] == pytest.approx(data.xpos[model.body("foot").id, 0])
        assert field["left_foot_x"] == pytest.approx(data.xpos[model.body("foot_left").id, 0])
    model, straight = resting(task)
    _, leaning = resting(task, q2=0.3)
    _, behind = resting(task, q3=-0.3)
    foot = model.body("foot").id
    assert leaning.xpos[foot, 0] < straight.xpos[foot, 0]  # under a torso that leans forward
    assert behind.xpos[foot, 0] < straight.xpos[foot, 0]


@pytest.mark.parametrize("name", ["inverted-pendulum", "inverted-double-pendulum"])
def test_balanced_poles_are_described_as_the_simulator_has_them(name):
    task, double = catalogue()[name], name == "inverted-double-pendulum"
    for env, _, _, obs, _, terminated, _, info in rollout(task, steps=40):
        field, (_, data) = values_of(task, env, obs, info, terminated), inner(env)
        assert field["cart_position"] == pytest.approx(data.qpos[0], abs=1e-6)
        if not double:
            assert field["pole_angle"] == pytest.approx(data.qpos[1], abs=1e-6)
            expected = [field["cart_velocity"], field["pole_angular_velocity"]]
            np.testing.assert_allclose(expected, data.qvel, **CLOSE)
            continue
        names = ("cart_velocity", "first_angular_velocity", "second_angular_velocity")
        np.testing.assert_allclose([field[n] for n in names], np.clip(data.qvel, -10, 10), **CLOSE)
        for number, pole in enumerate(("first", "second"), 1):
            assert field[f"{pole}_angle_sin"] == pytest.approx(np.sin(data.qpos[number]), abs=1e-6)
            assert field[f"{pole}_angle_cos"] == pytest.approx(np.cos(data.qpos[number]), abs=1e-6)
        assert field["rail_force"] == pytest.approx(np.clip(data.qfrc_constraint[0], -10, 10))
        assert bool(terminated) == (field["tip_height"] <= 1)
    model, right = resting(task, q1=0.2)
    assert right.xipos[model.body("pole").id, 0] > 0  # positive is to the right


def test_the_reachers_fields_are_angles_places_and_velocities():
    task = catalogue()["reacher"]
    for env, _, _, obs, _, terminated, _, info in rollout(task, steps=30):
        field, (model, data) = values_of(task, env, obs, info, terminated), inner(env)
        for number, link in enumerate(("first", "second")):
            assert field[f"{link}_angle_cos"] == pytest.approx(np.cos(data.qpos[number]), abs=1e-6)
            assert field[f"{link}_angle_sin"] == pytest.approx(np.sin(data.qpos[number]), abs=1e-6)
            velocity = field[f"{link}_angular_velocity"]
            assert velocity == pytest.approx(data.qvel[number], abs=1e-4)
        np.testing.assert_allclose(field["target_position"], data.qpos[2:4], **CLOSE)
        tip = data.xpos[model.body("fingertip").id, :2]
        np.testing.assert_allclose(field["fingertip_position"], tip, **CLOSE)
        away = tip - data.xpos[model.body("target").id, :2]
        np.testing.assert_allclose(field["fingertip_from_target"], away, **CLOSE)
        assert np.hypot(*field["target_position"]) <= 0.2 + 1e-6


def test_the_pushers_fields_are_joints_and_places():
    task = catalogue()["pusher"]
    for env, _, _, obs, *_ in rollout(task, steps=30):
        field, (model, data) = by_name(task, obs), inner(env)
        np.testing.assert_allclose(field["joint_angles"], data.qpos[:7], **CLOSE)
        np.testing.assert_allclose(field["joint_velocities"], data.qvel[:7], **CLOSE)
        for name, body in (("tip", "tips_arm"), ("object", "object"), ("goal", "goal")):
            place = data.xpos[model.body(body).id]
            np.testing.assert_allclose(field[f"{name}_position"], place, **CLOSE)


def test_the_swimmers_fields_are_angles_and_velocities():
    task = catalogue()["swimmer"]
    angles = ("head_angle", "front_joint_angle", "back_joint_angle")
    for env, _, _, obs, *_ in rollout(task, steps=30):
        field, (_, data) = by_name(task, obs), inner(env)
        np.testing.assert_allclose([field[n] for n in angles], data.qpos[2:], **CLOSE)
        velocities = [field["head_x_velocity"], field["head_y_velocity"]]
        turning = (
            "head_angular_velocity",
            *(f"{j}_joint_angular_velocity" for j in ("front", "back")),
        )
        np.testing.assert_allclose([*velocities, *(field[n] for n in turning)], data.qvel, **CLOSE)


# --- Box2D and robotics -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bipedalwalker", "bipedalwalker-hardcore"])
def test_the_bipeds_fields_are_the_body_in_the_units_they_state(name):
    task = catalogue()[name]
    unit = {f.name: float(f.unit.split()[0]) for f in task.fields if f.unit[0].isdigit()}
    for env, _, _, obs, *_ in rollout(task, steps=100):
        field, body = by_name(task, obs), env.unwrapped
        expected = {
            "hull_angular_velocity": body.hull.angularVelocity,
            "x_velocity": body.hull.linearVelocity.x,
            "y_velocity": body.hull.linearVelocity.y,
        }
        for number, joint in enumerate(("hip", "knee")):
            for leg, first in (("first", 0), ("second", 2)):
                here = body.joints[first + number]
                expected[f"{leg}_{joint}_angular_velocity"] = here.speed
                shift = 1.0 if joint == "knee" else 0.0
                assert field[f"{leg}_{joint}_angle"] == pytest.approx(here.angle + shift, abs=1e-5)
        found = {n: field[n] * unit[n] for n in expected}
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-3)
        assert field["hull_angle"] == pytest.approx(body.hull.angle, abs=1e-5)
        legs = [float(body.legs[i].ground_contact) for i in (1, 3)]
        assert [field["first_leg_contact"], field["second_leg_contact"]] == legs
        np.testing.assert_allclose(field["lidar"], [ray.fraction for ray in body.lidar], **CLOSE)
        down, ahead = body.lidar[0], body.lidar[-1]
        assert abs(down.p2[0] - down.p1[0]) < 1e-6
        assert ahead.p2[0] - ahead.p1[0] > 3 * (ahead.p1[1] - ahead.p2[1])


ROBOTICS = [p for p in TASKS if catalogue()[p.values[0]].environment.startswith(tuple(NEEDED))]


@pytest.mark.parametrize("name", ROBOTICS)
def test_goals_are_the_dictionarys_parts_and_the_achieved_one_is_kept(name):
    task = catalogue()[name]
    place = "object_position" if "object_position" in {f.name for f in task.fields} else None
    place = place or ("position" if name.startswith("pointmaze") else "gripper_position")
    for _, _, _, obs, *_ in rollout(task, steps=20):
        field = by_name(task, obs)
        np.testing.assert_allclose(field["achieved_goal"], obs["achieved_goal"], **CLOSE)
        np.testing.assert_allclose(field["desired_goal"], obs["desired_goal"], **CLOSE)
        np.testing.assert_allclose(field[place], obs["achieved_goal"], **CLOSE)
        if "object_from_gripper" in field:
            away = field["object_position"] - field["gripper_position"]
            np.testing.assert_allclose(field["object_from_gripper"], away, atol=1e-5)


@pytest.mark.parametrize("name", ROBOTICS)
def test_success_is_nearness_to_the_goal(name):
    task = catalogue()[name]
    near = 0.45 if name.startswith("pointmaze") else 0.05
    for env, _, _, obs, _, terminated, _, info in rollout(task, steps=50):
        field = values_of(task, env, obs, info, terminated)
        away = np.linalg.norm(obs["achieved_goal"] - obs["desired_goal"])
        assert bool(field["is_success"]) == (away <= near)


@pytest.mark.parametrize("name", [p for p in ROBOTICS if p.values[0].startswith("fetch")])
def test_velocities_of_the_gripper_are_its_way_of_a_step(name):
    task = catalogue()[name]
    up = np.array([0, 0, 1, 0], np.float32)
    heights, told = [], []
    for _, _, _, obs, *_ in rollout(task, 8, lambda obs: up):
        field = by_name(task, obs)
        heights.append(field["gripper_position"][2])
        told.append(field["gripper_velocity"][2])
    np.testing.assert_allclose(np.diff(heights)[3:], told[4:], atol=0.01)
    assert heights[-1] > heights[0]


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
