"""Gymnasium's MuJoCo tasks, version 5, as one table of functions over rows of arrays.

What each task observes, pays, ends at, and starts from was read from gymnasium 1.4 (MIT licence) and
is tested against it step for step.  `core.envs.mujoco.scene` says what the functions take and give.
They run on NumPy arrays and on torch tensors alike; neither mujoco nor gymnasium is imported here.

Fields are those that MuJoCo leaves behind after its last simulator step: positions and velocities
are new, derived ones (`xpos`, `cvel`, …) are one simulator step older, as in gymnasium.  `cfrc_ext` is
what `mj_rnePostConstraint` gives after a step, and 0 after a reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core.envs.mujoco import fixed, planar, spatial, starts
from core.envs.mujoco.scene import MujocoTask

INF = float("inf")

_RUN = ("x_position", "x_velocity", "reward_forward", "reward_ctrl")
_STAND = (*_RUN, "z_distance_from_origin", "reward_survive")
_SWIM = (*_RUN, "y_position", "y_velocity", "distance_from_origin")
_WALK = (*_SWIM, "reward_contact", "reward_survive")
_HIDDEN = {"exclude_current_positions_from_observation": True}
_SENSED = {
    f"include_{name}_in_observation": True
    for name in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
}
_HUMANOID_READS = ("qpos", "qvel", "xipos", "ctrl", "cinert", "cvel", "qfrc_actuator", "cfrc_ext")

TASKS: Mapping[str, MujocoTask] = MappingProxyType(
    {
        "InvertedPendulum-v5": MujocoTask(
            xml="inverted_pendulum.xml",
            options={"frame_skip": 2, "reset_noise_scale": 0.01},
            reads=("qpos", "qvel"),
            before=(),
            told=("reward_survive",),
            start=starts.start_uniform,
            observe=fixed.observe_pendulum,
            judge=fixed.judge_pendulum,
        ),
        "InvertedDoublePendulum-v5": MujocoTask(
            xml="inverted_double_pendulum.xml",
            options={"frame_skip": 5, "healthy_reward": 10.0, "reset_noise_scale": 0.1},
            reads=("qpos", "qvel", "qfrc_constraint", "site_xpos"),
            before=(),
            told=("reward_survive", "distance_penalty", "velocity_penalty"),
            start=starts.start_normal,
            observe=fixed.observe_double_pendulum,
            judge=fixed.judge_double_pendulum,
        ),
        "Reacher-v5": MujocoTask(
            xml="reacher.xml",
            options={"frame_skip": 2, "reward_dist_weight": 1.0, "reward_control_weight": 1.0},
            reads=("qpos", "qvel", "xpos"),
            before=(),
            told=("reward_dist", "reward_ctrl"),
            start=starts.start_reacher,
            observe=fixed.observe_reacher,
            judge=fixed.judge_reacher,
        ),
        "Pusher-v5": MujocoTask(
            xml="pusher_v5.xml",
            options={
                "frame_skip": 5,
                "reward_near_weight": 0.5,
                "reward_dist_weight": 1.0,
                "reward_control_weight": 0.1,
            },
            reads=("qpos", "qvel", "xpos"),
            before=(),
            told=("reward_dist", "reward_ctrl", "reward_near"),
            start=starts.start_pusher,
            observe=fixed.observe_pusher,
            judge=fixed.judge_pusher,
        ),
        "Swimmer-v5": MujocoTask(
            xml="swimmer.xml",
            options={
                "frame_skip": 4,
                "forward_reward_weight": 1.0,
                "ctrl_cost_weight": 1e-4,
                "reset_noise_scale": 0.1,
                **_HIDDEN,
            },
            reads=("qpos", "qvel"),
            before=("qpos",),
            told=_SWIM,
            start=starts.start_uniform,
            observe=planar.observe_swimmer,
            judge=planar.judge_swimmer,
        ),
        "Hopper-v5": MujocoTask(
            xml="hopper.xml",
            options={
                "frame_skip": 4,
                "forward_reward_weight": 1.0,
                "ctrl_cost_weight": 1e-3,
                "healthy_reward": 1.0,
                "terminate_when_unhealthy": True,
                "healthy_state_range": (-100.0, 100.0),
                "healthy_z_range": (0.7, INF),
                "healthy_angle_range": (-0.2, 0.2),
                "reset_noise_scale": 5e-3,
                **_HIDDEN,
            },
            reads=("qpos", "qvel"),
            before=("qpos",),
            told=_STAND,
            start=starts.start_uniform,
            observe=planar.observe_planar,
            judge=planar.judge_hopper,
        ),
        "HalfCheetah-v5": MujocoTask(
            xml="half_cheetah.xml",
            options={
                "frame_skip": 5,
                "forward_reward_weight": 1.0,
                "ctrl_cost_weight": 0.1,
                "reset_noise_scale": 0.1,
                **_HIDDEN,
            },
            reads=("qpos", "qvel"),
            before=("qpos",),
            told=_RUN,
            start=starts.start_normal,
            observe=planar.observe_joints,
            judge=planar.judge_cheetah,
        ),
        "Walker2d-v5": MujocoTask(
            xml="walker2d_v5.xml",
            options={
                "frame_skip": 4,
                "forward_reward_weight": 1.0,
                "ctrl_cost_weight": 1e-3,
                "healthy_reward": 1.0,
                "terminate_when_unhealthy": True,
                "healthy_z_range": (0.8, 2.0),
                "healthy_angle_range": (-1.0, 1.0),
                "reset_noise_scale": 5e-3,
                **_HIDDEN,
            },
            reads=("qpos", "qvel"),
            before=("qpos",),
            told=_STAND,
            start=starts.start_uniform,
            observe=planar.observe_planar,
            judge=planar.judge_walker,
        ),
        "Ant-v5": MujocoTask(
            xml="ant.xml",
            options={
                "frame_skip": 5,
                "forward_reward_weight": 1.0,
                "ctrl_cost_weight": 0.5,
                "contact_cost_weight": 5e-4,
                "healthy_reward": 1.0,
                "terminate_when_unhealthy": True,
                "healthy_z_range": (0.2, 1.0),
                "contact_force_range": (-1.0, 1.0),
                "reset_noise_scale": 0.1,
                "include_cfrc_ext_in_observation": True,
                **_HIDDEN,
            },
            reads=("qpos", "qvel", "xpos", "cfrc_ext"),
            before=("xpos",),
            told=_WALK,
            start=starts.start_normal,
            observe=spatial.observe_ant,
            judge=spatial.judge_ant,
        ),
        "Humanoid-v5": MujocoTask(
            xml="humanoid.xml",
            options={
                "frame_skip": 5,
                "forward_reward_weight": 1.25,
                "ctrl_cost_weight": 0.1,
                "contact_cost_weight": 5e-7,
                "contact_cost_range": (-INF, 10.0),
                "healthy_reward": 5.0,
                "terminate_when_unhealthy": True,
                "healthy_z_range": (1.0, 2.0),
                "reset_noise_scale": 1e-2,
                **_HIDDEN,
                **_SENSED,
            },
            reads=_HUMANOID_READS,
            before=("xipos",),
            told=_WALK,
            start=starts.start_uniform,
            observe=spatial.observe_humanoid,
            judge=spatial.judge_humanoid,
        ),
        "HumanoidStandup-v5": MujocoTask(
            xml="humanoidstandup.xml",
            options={
                "frame_skip": 5,
                "uph_cost_weight": 1.0,
                "ctrl_cost_weight": 0.1,
                "impact_cost_weight": 0.5e-6,
                "impact_cost_range": (-INF, 10.0),
                "reset_noise_scale": 1e-2,
                **_HIDDEN,
                **_SENSED,
            },
            reads=_HUMANOID_READS,
            before=(),
            told=(
                "x_position",
                "y_position",
                "z_distance_from_origin",
                "reward_linup",
                "reward_quadctrl",
                "reward_impact",
            ),
            start=starts.start_uniform,
            observe=spatial.observe_humanoid,
            judge=spatial.judge_standup,
        ),
    }
)
