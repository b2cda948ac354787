"""Machines that are fixed to the ground: pendulums on a cart, and arms."""

from __future__ import annotations

from core.envs.mujoco.scene import Array, Outcome, Scene
from core.envs.mujoco.terms import cost, length, never

# --- pendulums ------------------------------------------------------------------------------------


def observe_pendulum(scene: Scene) -> Array:
    """Positions and velocities of cart and pole."""
    return scene.xp.concatenate((scene.after["qpos"], scene.after["qvel"]), -1)


def judge_pendulum(scene: Scene) -> Outcome:
    """Pay 1 for every step in which the pole stands."""
    observed = observe_pendulum(scene)
    finite = scene.xp.isfinite(observed).all(-1)
    fallen = ~finite | (scene.xp.abs(observed[:, 1]) > 0.2)
    survive = scene.xp.where(fallen, 0.0, 1.0)
    return Outcome(survive, fallen, {"reward_survive": survive})


def observe_double_pendulum(scene: Scene) -> Array:
    """Place, angles, velocities, and the force that holds the cart on its track."""
    xp, qpos = scene.xp, scene.after["qpos"]
    held = xp.clip(scene.after["qfrc_constraint"][:, :1], -10.0, 10.0)
    turned = xp.clip(scene.after["qvel"], -10.0, 10.0)
    parts = (qpos[:, :1], xp.sin(qpos[:, 1:]), xp.cos(qpos[:, 1:]), turned, held)
    return xp.concatenate(parts, -1)


def judge_double_pendulum(scene: Scene) -> Outcome:
    """Pay for standing, charge for distance of the tip and for speed."""
    tip, qvel = scene.after["site_xpos"][:, 0], scene.after["qvel"]
    x, y = tip[:, 0], tip[:, 2]
    fallen = y <= 1
    survive = scene.options["healthy_reward"] * scene.xp.where(fallen, 0.0, 1.0)
    distance = 0.01 * x**2 + (y - 2) ** 2
    velocity = 1e-3 * qvel[:, 1] ** 2 + 5e-3 * qvel[:, 2] ** 2
    info = {
        "reward_survive": survive,
        "distance_penalty": -distance,
        "velocity_penalty": -velocity,
    }
    return Outcome(survive - distance - velocity, fallen, info)


# --- arms -----------------------------------------------------------------------------------------


def _between(scene: Scene, one: str, other: str) -> Array:
    """Return the vector from body `other` to body `one`, [B, 3]."""
    places, body = scene.after["xpos"], scene.machine.body
    return places[:, body[one]] - places[:, body[other]]


def observe_reacher(scene: Scene) -> Array:
    """Angles, target, velocities, and the way from fingertip to target."""
    xp, qpos, qvel = scene.xp, scene.after["qpos"], scene.after["qvel"]
    gap = _between(scene, "fingertip", "target")[:, :2]
    angles = qpos[:, :2]
    return xp.concatenate((xp.cos(angles), xp.sin(angles), qpos[:, 2:], qvel[:, :2], gap), -1)


def judge_reacher(scene: Scene) -> Outcome:
    """Charge for the distance to the target and for control; no end."""
    gap = length(_between(scene, "fingertip", "target"), scene.xp)
    near = -gap * scene.options["reward_dist_weight"]
    effort = -cost(scene.options["reward_control_weight"], scene.action)
    return Outcome(near + effort, never(scene), {"reward_dist": near, "reward_ctrl": effort})


def observe_pusher(scene: Scene) -> Array:
    """Joints, and the places of fingertip, cylinder and goal."""
    places, body = scene.after["xpos"], scene.machine.body
    bodies = (places[:, body[name]] for name in ("tips_arm", "object", "goal"))
    joints = (scene.after["qpos"][:, :7], scene.after["qvel"][:, :7])
    return scene.xp.concatenate((*joints, *bodies), -1)


def judge_pusher(scene: Scene) -> Outcome:
    """Charge for both distances of the cylinder and for control; no end."""
    options = scene.options
    reach = length(_between(scene, "object", "tips_arm"), scene.xp)
    gap = length(_between(scene, "object", "goal"), scene.xp)
    near = -reach * options["reward_near_weight"]
    brought = -gap * options["reward_dist_weight"]
    effort = -cost(options["reward_control_weight"], scene.action)
    info = {"reward_dist": brought, "reward_ctrl": effort, "reward_near": near}
    return Outcome(brought + effort + near, never(scene), info)
