"""LunarLander's step, number for number, without the checks and objects that change no number.

Two fifths of the original's step are NumPy on single numbers, the check of the action and two calls of
the generator's `uniform`; the rest is Box2D, which is called as before.  Every expression below
keeps the order of the original (gymnasium.envs.box2d.lunar_lander), so that results are equal bit for
bit; the tests hold it to that over hundreds of episodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from core.envs.building import Env

_LANDER = "gymnasium.envs.box2d.lunar_lander"
_CHOICES = (0, 1, 2, 3)  # nothing, left engine, main engine, right engine
_CANT = 17  # the height of a side engine, where it moves the point of thrust sideways


def lander_step(env: Env) -> Callable[[Any], Any] | None:
    """Return a step for gymnasium's own LunarLander, None for every other object.

    With wind or a picture to draw it is None too: the original does that.
    """
    kind = type(env)
    if (kind.__module__, kind.__qualname__) != (_LANDER, "LunarLander"):
        return None
    lander: Any = env
    if lander.enable_wind or lander.render_mode is not None:
        return None
    return _continuous(lander) if lander.continuous else _discrete(lander)


def _discrete(env: Any) -> Callable[[Any], Any]:
    advance, original = _advance(env), env.step

    def step(action: Any) -> Any:
        if action not in _CHOICES:
            return original(action)  # which refuses it in its own words
        main = 1.0 if action == 2 else 0.0
        side = 1.0 if action in (1, 3) else 0.0
        return advance(main, side, action - 2)

    return step


def _continuous(env: Any) -> Callable[[Any], Any]:
    advance = _advance(env)

    def step(action: Any) -> Any:
        first, second = np.clip(action, -1, +1).astype(np.float64).tolist()
        main = (first + 1.0) * 0.5 if first > 0.0 else 0.0
        strength = abs(second)
        side = strength if strength > 0.5 else 0.0
        return advance(main, side, 1.0 if second > 0.0 else -1.0)

    return step


def _advance(env: Any) -> Callable[[float, float, float], Any]:
    """Return what advances `env` by a step, given both engines' powers and the side's direction."""
    from gymnasium.envs.box2d import lunar_lander as its  # Box2D need not be installed

    scale, frames = its.SCALE, its.FPS
    half_width, half_height = its.VIEWPORT_W / scale / 2, its.VIEWPORT_H / scale / 2
    leg_down = its.LEG_DOWN / scale
    main_y, main_force = its.MAIN_ENGINE_Y_LOCATION / scale, its.MAIN_ENGINE_POWER
    away, height, side_force = its.SIDE_ENGINE_AWAY, its.SIDE_ENGINE_HEIGHT, its.SIDE_ENGINE_POWER
    sin, cos, sqrt = math.sin, math.cos, math.sqrt

    def advance(main: float, side: float, direction: float) -> Any:
        body, (left, right) = env.lander, env.legs
        drawn, again = env.np_random.random(2).tolist()
        if main or side:
            one, two = (-1.0 + 2.0 * drawn) / scale, (-1.0 + 2.0 * again) / scale
            s, c = sin(body.angle), cos(body.angle)
            where = body.position
            x, y = where.x, where.y
        if main:
            ox = s * (main_y + 2 * one) + -c * two
            oy = -c * (main_y + 2 * one) - s * two
            push = (-ox * main_force * main, -oy * main_force * main)
            body.ApplyLinearImpulse(push, (x + ox, y + oy), True)
        if side:
            ox = s * one + -c * (3 * two + direction * away / scale)
            oy = -c * one - s * (3 * two + direction * away / scale)
            at = (x + ox - s * _CANT / scale, y + oy + c * height / scale)
            push = (-ox * side_force * side, -oy * side_force * side)
            body.ApplyLinearImpulse(push, at, True)

        env.world.Step(1.0 / frames, 6 * 30, 2 * 30)

        where, speed, tilt = body.position, body.linearVelocity, body.angle
        x = (where.x - half_width) / half_width
        y = (where.y - (env.helipad_y + leg_down)) / half_height
        u = speed.x * half_width / frames
        v = speed.y * half_height / frames
        feet = (1.0 if left.ground_contact else 0.0, 1.0 if right.ground_contact else 0.0)
        obs = np.array((x, y, u, v, tilt, 20.0 * body.angularVelocity / frames, *feet), np.float32)

        shaping = -100 * sqrt(x * x + y * y) - 100 * sqrt(u * u + v * v) - 100 * abs(tilt)
        shaping = shaping + 10 * feet[0] + 10 * feet[1]
        reward = 0.0 if env.prev_shaping is None else shaping - env.prev_shaping
        env.prev_shaping = shaping
        reward = reward - main * 0.30 - side * 0.03
        terminated = False
        if env.game_over or abs(x) >= 1.0:
            terminated, reward = True, -100
        if not body.awake:
            terminated, reward = True, +100
        return obs, reward, terminated, False, {}

    return advance
