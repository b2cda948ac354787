"""An environment's source as context: what is observed stays, what is paid goes."""

import ast

import pytest

from core.context import (
    MOST_EXCERPT,
    module_constants,
    native_reward,
    observation_excerpt,
)

SLED = '''
FPS = 50
RAIL = 2.4
WIDE = RAIL * 2
UNUSED = 7


class SledEnv(gym.Env):
    """A sled, with a docstring that says reward = position."""

    def __init__(self, weight=2.0):
        self._forward_weight = weight
        self._effort_cost_weight = 0.1

    @property
    def is_upright(self):
        return self.angle < 0.2

    @property
    def felt(self):
        return np.clip(self.forces, -1, 1)

    def effort_cost(self, action):
        return self._effort_cost_weight * np.sum(np.square(action))

    def step(self, action):
        before = self.position
        self.simulate(action)  # pays nothing
        speed = (self.position - before) * FPS
        parts = []
        parts.append(self.position / WIDE)
        for leg in self.legs:
            parts.append(leg.angle)
        drift = self.position - self.goal
        reward = self._forward_weight * speed
        reward -= self.effort_cost(action)
        if abs(drift) < 0.1:
            reward += 5.0 * np.exp(-drift * self.sharpness)
            self.success_count += 1
        state = np.array(parts)
        if self.noisy:
            state = state + self.felt
        info = {"judge_mark": self.mark(), "is_success": abs(drift) < 0.1}
        return self._observe(state), reward, False, False, info

    def _observe(self, state):
        """Hidden words."""
        mark = self.judge_mark  # never shown
        return np.concatenate([state, self.velocity()])

    def velocity(self):
        return self.speeds * 0.5

    def mark(self):
        return self.judge_mark

    def render(self):
        draw(self.position)
'''


def test_the_excerpt_is_what_the_observation_is_built_from():
    assert observation_excerpt(SLED, hidden=["judge_mark"]) == (
        "RAIL = 2.4\n"
        "WIDE = RAIL * 2\n"
        "\n"
        "class SledEnv:\n"
        "\n"
        "    def step(self, action):\n"
        "        parts = []\n"
        "        parts.append(self.position / WIDE)\n"
        "        for leg in self.legs:\n"
        "            parts.append(leg.angle)\n"
        "        state = np.array(parts)\n"
        "        if self.noisy:\n"
        "            state = state + self.felt\n"
        "        return self._observe(state)\n"
        "\n"
        "    @property\n"
        "    def felt(self):\n"
        "        return np.clip(self.forces, -1, 1)\n"
        "\n"
        "    def _observe(self, state):\n"
        "        return np.concatenate([state, self.velocity()])\n"
        "\n"
        "    def velocity(self):\n"
        "        return self.speeds * 0.5"
    )


def test_the_native_reward_is_what_the_reward_alone_depends_on():
    native = native_reward(SLED)
    assert {
        "self._forward_weight * speed",
        "(self.position - before) * FPS",
        "self._effort_cost_weight * np.sum(np.square(action))",
        "5.0 * np.exp(-drift * self.sharpness)",
        "self.position - self.goal",
    } <= set(native.expressions)
    assert "self.position / WIDE" not in native.expressions
    assert {"effort_cost", "effort_cost_weight"} <= native.names


def test_a_reward_under_another_name_is_found_by_its_place():
    source = """
class Env:
    def step(self, action):
        gain = self._payment(action)
        return self.state, 3 * gain, False, False, {}

    def _payment(self, action):
        return self.k * action - self.loss
"""
    assert "3 * gain" in native_reward(source).expressions
    assert "self.k * action - self.loss" in native_reward(source).expressions
    assert "_payment" not in observation_excerpt(source)


def test_what_a_reward_goes_into_is_not_shown_even_if_it_is_observed():
    source = """
class Env:
    def step(self, action):
        reward = 2 * self.x
        self.last_reward = reward
        obs = np.append(self.state, self.last_reward)
        return obs, reward, False, False, {}

    def _get_obs(self):
        return np.append(self.state, self.last_reward)
"""
    assert "reward" not in observation_excerpt(source)


def test_the_next_class_is_shown_where_the_first_one_calls_it():
    source = """
class Child(Parent):
    def step(self, action):
        return self._get_obs(), 0.0, False, False, {}

    def _get_obs(self):
        return np.append(super()._get_obs(), self.extra)


class Parent:
    def _get_obs(self):
        return self.base

    def unused(self):
        return 1
"""
    shown = observation_excerpt(source)
    assert shown.startswith("class Child:")
    assert "return self.base" in shown
    assert "unused" not in shown


def test_without_a_step_the_functions_that_observe_are_shown():
    source = (
        "class E:\n    def _get_obs(self):\n        return self.x\n    def go(self):\n        pass"
    )
    assert (
        observation_excerpt(source) == "class E:\n\n    def _get_obs(self):\n        return self.x"
    )


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("", id="nothing"),
        pytest.param("class (", id="no Python"),
        pytest.param("x = 1", id="no class"),
        pytest.param("class E:\n    pass", id="no method"),
        pytest.param("class E:\n    def step(self, a):\n        return a", id="another step"),
        pytest.param("(" * 5000, id="too deep"),
        pytest.param(
            f"class E:\n    def _get_obs(self):\n        return {'-' * 3000}1", id="deeper"
        ),
        pytest.param("\0", id="a null byte"),
    ],
)
def test_what_cannot_be_read_gives_no_context(source):
    assert observation_excerpt(source) == ""
    assert native_reward(source).expressions == ()


def test_a_long_excerpt_is_cut_at_the_end_of_a_line():
    lines = "\n".join(f"        obs.append(self.part_{i})" for i in range(1000))
    head = "class E:\n    def step(self, a):\n        obs = []\n"
    source = f"{head}{lines}\n        return obs, 0, 0, 0\n"
    shown = observation_excerpt(source)
    assert len(shown) <= MOST_EXCERPT + 10
    assert shown.endswith(")\n    ...")


def test_an_excerpt_is_python_again():
    assert ast.parse(observation_excerpt(SLED))


def test_constants_are_numbers_under_capital_names():
    source = 'import os\nA = 1\nB = A / 3.0\nC = open("x")\nd = 5\nE, F = 1, 2\nG = -A'
    assert module_constants(source) == "A = 1\nB = A / 3.0\nG = -A"


UNWRITABLE = """
class Sled:
    def step(self, action):
        cost = len(f"{'a\u200bb'}") * action
        reward = self.speed * 2.0 - cost
        position = np.array([self.position{hidden}])
        return position, reward, False, False, {}
"""


def test_code_that_cannot_be_written_again_stops_no_job():
    told = UNWRITABLE.replace("{hidden}", "")
    assert "self.position" in observation_excerpt(told)
    assert "self.speed * 2.0 - cost" in native_reward(told).expressions
    assert observation_excerpt(UNWRITABLE.replace("{hidden}", ", len(f\"{'\u200b'}\")")) == ""
