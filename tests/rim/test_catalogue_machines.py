"""The catalogue's machines: bodies, joints and contacts are where their fields say."""

import mujoco
import numpy as np
import pytest

from core.envs.building import build
from core.tasks import catalogue
from tests.rim.catalogue_parts import (
    CLOSE,
    NEEDED,
    TASKS,
    by_name,
    rollout,
    values_of,
)

pytestmark = pytest.mark.slow  # steps all environments of the catalogue


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
