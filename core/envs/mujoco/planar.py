"""Machines that run or swim in a plane."""

from __future__ import annotations

from core.envs.mujoco.scene import Array, Outcome, Scene
from core.envs.mujoco.terms import cost, inside, length, never


def observe_joints(scene: Scene) -> Array:
    """Positions without the first ones, and velocities."""
    hidden = scene.options["exclude_current_positions_from_observation"]
    qpos, qvel = scene.after["qpos"], scene.after["qvel"]
    return scene.xp.concatenate((qpos[:, 1:] if hidden else qpos, qvel), -1)


def observe_planar(scene: Scene) -> Array:
    """As `observe_joints`, with velocities between -10 and 10."""
    hidden = scene.options["exclude_current_positions_from_observation"]
    qpos, qvel = scene.after["qpos"], scene.xp.clip(scene.after["qvel"], -10.0, 10.0)
    return scene.xp.concatenate((qpos[:, 1:] if hidden else qpos, qvel), -1)


def _velocity(scene: Scene) -> Array:
    """Return the velocity along x over the whole step, [B]."""
    return (scene.after["qpos"][:, 0] - scene.before["qpos"][:, 0]) / scene.machine.dt


def _run(scene: Scene, terminated: Array, **more: Array) -> Outcome:
    """Pay for velocity along x, charge for control."""
    velocity = _velocity(scene)
    forward = scene.options["forward_reward_weight"] * velocity
    effort = cost(scene.options["ctrl_cost_weight"], scene.action)
    info = {
        "x_position": scene.after["qpos"][:, 0],
        "x_velocity": velocity,
        "reward_forward": forward,
        "reward_ctrl": -effort,
        **more,
    }
    survive = more.get("reward_survive")
    paid = forward if survive is None else forward + survive
    return Outcome(paid - effort, terminated, info)


def judge_cheetah(scene: Scene) -> Outcome:
    """Pay for running; no end."""
    return _run(scene, never(scene))


def _stand(scene: Scene, healthy: Array) -> Outcome:
    """As `_run`, and pay for standing upright."""
    upright = scene.xp.where(healthy, 1.0, 0.0) * scene.options["healthy_reward"]
    height = scene.after["qpos"][:, 1] - float(scene.machine.qpos[1])
    fallen = ~healthy if scene.options["terminate_when_unhealthy"] else never(scene)
    return _run(scene, fallen, z_distance_from_origin=height, reward_survive=upright)


def judge_walker(scene: Scene) -> Outcome:
    """Pay for running upright; a fall ends it."""
    qpos, options = scene.after["qpos"], scene.options
    high = inside(qpos[:, 1], options["healthy_z_range"])
    return _stand(scene, high & inside(qpos[:, 2], options["healthy_angle_range"]))


def judge_hopper(scene: Scene) -> Outcome:
    """Pay for running upright; a fall, or absurd speed, ends it."""
    qpos, qvel, options = scene.after["qpos"], scene.after["qvel"], scene.options
    high = inside(qpos[:, 1], options["healthy_z_range"])
    upright = inside(qpos[:, 2], options["healthy_angle_range"])
    bounds = options["healthy_state_range"]
    sane = inside(qpos[:, 2:], bounds).all(-1) & inside(qvel, bounds).all(-1)
    return _stand(scene, sane & high & upright)


def observe_swimmer(scene: Scene) -> Array:
    """Positions without the first two, and velocities."""
    hidden = scene.options["exclude_current_positions_from_observation"]
    qpos, qvel = scene.after["qpos"], scene.after["qvel"]
    return scene.xp.concatenate((qpos[:, 2:] if hidden else qpos, qvel), -1)


def judge_swimmer(scene: Scene) -> Outcome:
    """Pay for swimming along x; no end."""
    place = scene.after["qpos"][:, :2]
    sideways = (place[:, 1] - scene.before["qpos"][:, 1]) / scene.machine.dt
    distance = length(place, scene.xp)
    extra = {"y_position": place[:, 1], "y_velocity": sideways, "distance_from_origin": distance}
    return _run(scene, never(scene), **extra)
