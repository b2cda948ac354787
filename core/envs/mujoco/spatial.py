"""Bodies that move freely in space, and whose contact forces count."""

from __future__ import annotations

from core.envs.mujoco.planar import observe_swimmer
from core.envs.mujoco.scene import Array, Outcome, Scene
from core.envs.mujoco.terms import cost, flat, inside, length, never

_TORSO = 1  # index of the ant's body


def _journey(scene: Scene, velocity: Array) -> dict[str, Array]:
    """Return where a free body is and how fast it goes, as `info` tells it."""
    place = scene.after["qpos"][:, :2]
    return {
        "x_position": place[:, 0],
        "y_position": place[:, 1],
        "distance_from_origin": length(place, scene.xp),
        "x_velocity": velocity[:, 0],
        "y_velocity": velocity[:, 1],
    }


def _walk(scene: Scene, velocity: Array, healthy: Array, effort: Array, contact: Array) -> Outcome:
    """Pay for velocity along x and for standing, charge for control and contacts."""
    forward = scene.options["forward_reward_weight"] * velocity[:, 0]
    upright = scene.xp.where(healthy, 1.0, 0.0) * scene.options["healthy_reward"]
    fallen = ~healthy if scene.options["terminate_when_unhealthy"] else never(scene)
    info = _journey(scene, velocity) | {
        "reward_forward": forward,
        "reward_ctrl": -effort,
        "reward_contact": -contact,
        "reward_survive": upright,
    }
    return Outcome(forward + upright - (effort + contact), fallen, info)


def observe_ant(scene: Scene) -> Array:
    """Positions, velocities, and contact forces within bounds."""
    parts = [observe_swimmer(scene)]
    if scene.options["include_cfrc_ext_in_observation"]:
        parts.append(flat(_felt(scene)[:, 1:]))
    return scene.xp.concatenate(parts, -1)


def _felt(scene: Scene) -> Array:
    return scene.xp.clip(scene.after["cfrc_ext"], *scene.options["contact_force_range"])


def judge_ant(scene: Scene) -> Outcome:
    """Pay for walking at a healthy height; a fall ends it."""
    xp, options = scene.xp, scene.options
    moved = scene.after["xpos"][:, _TORSO, :2] - scene.before["xpos"][:, _TORSO, :2]
    qpos, (low, high) = scene.after["qpos"], options["healthy_z_range"]
    finite = xp.isfinite(qpos).all(-1) & xp.isfinite(scene.after["qvel"]).all(-1)
    healthy = finite & (low <= qpos[:, 2]) & (qpos[:, 2] <= high)
    effort = cost(options["ctrl_cost_weight"], scene.action)
    contact = cost(options["contact_cost_weight"], flat(_felt(scene)))
    return _walk(scene, moved / scene.machine.dt, healthy, effort, contact)


def observe_humanoid(scene: Scene) -> Array:
    """Positions, velocities, inertias, and forces, each as the options say."""
    after, options = scene.after, scene.options
    parts = [observe_swimmer(scene)]
    for name, first in (("cinert", 1), ("cvel", 1), ("qfrc_actuator", 6), ("cfrc_ext", 1)):
        if options[f"include_{name}_in_observation"]:
            parts.append(flat(after[name][:, first:]))
    return scene.xp.concatenate(parts, -1)


def _centre(places: Array, mass: Array) -> Array:
    """Return the horizontal place of the centre of mass, [B, 2]."""
    return (mass[..., None] * places[:, :, :2]).sum(-2) / mass.sum(-1)[..., None]


def _bounded_cost(scene: Scene, weight: str, bounds: str) -> Array:
    paid = cost(scene.options[weight], flat(scene.after["cfrc_ext"]))
    return scene.xp.clip(paid, *scene.options[bounds])


def judge_humanoid(scene: Scene) -> Outcome:
    """Pay for walking upright; a fall ends it."""
    mass = scene.machine.body_mass
    moved = _centre(scene.after["xipos"], mass) - _centre(scene.before["xipos"], mass)
    healthy = inside(scene.after["qpos"][:, 2], scene.options["healthy_z_range"])
    effort = cost(scene.options["ctrl_cost_weight"], scene.after["ctrl"])
    contact = _bounded_cost(scene, "contact_cost_weight", "contact_cost_range")
    return _walk(scene, moved / scene.machine.dt, healthy, effort, contact)


def judge_standup(scene: Scene) -> Outcome:
    """Pay for height; no end.  Gymnasium leaves `uph_cost_weight` unused, and so do we."""
    qpos, machine = scene.after["qpos"], scene.machine
    up = qpos[:, 2] / machine.timestep
    effort = cost(scene.options["ctrl_cost_weight"], scene.after["ctrl"])
    impact = _bounded_cost(scene, "impact_cost_weight", "impact_cost_range")
    info = {
        "x_position": qpos[:, 0],
        "y_position": qpos[:, 1],
        "z_distance_from_origin": qpos[:, 2] - float(machine.qpos[2]),
        "reward_linup": up,
        "reward_quadctrl": -effort,
        "reward_impact": -impact,
    }
    return Outcome(up - effort - impact + 1, never(scene), info)
