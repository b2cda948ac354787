"""The zoo of broken programs: each is refused for the right reason, in the sandbox, for real."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import ProgramRejected
from core.training.checking import LIMITS, check_program
from core.training.probing import probe_task
from tests.rim.laboratory_parts import (
    CART_POLE,
    ESCAPE,
    PENDULUM,
    MemoryArtifacts,
    ignore,
    program,
    rewarding,
)

ARTIFACTS = MemoryArtifacts()
PATIENT = replace(LIMITS, wall_seconds=120.0, cpu_seconds=120)
"""Where time is not what is tested: a busy machine shall find the same reason as an idle one."""


@pytest.fixture(scope="module")
def cart_pole(sandbox):
    return probe_task(sandbox, ARTIFACTS, CART_POLE, 0, ignore)


def rejection(sandbox, preflight, candidate, limits=PATIENT) -> ProgramRejected:
    with pytest.raises(ProgramRejected) as caught:
        check_program(sandbox, ARTIFACTS, candidate, preflight, limits)
    return caught.value


SOUND = """
import numpy as np
import math

PARAMS = {"upright": 1.0, "effort": 0.1}

def features(obs):
    return {"energy": np.square(obs.spin) + np.cos(obs.angle)}

def reward(obs, action, next_obs, params):
    gain = features(next_obs)["energy"] - features(obs)["energy"]
    return {
        "upright": params.upright * np.cos(next_obs.angle) / math.pi,
        "effort": -params.effort * np.where(action == 1, 1.0, 0.5),
        "alive": np.where(next_obs.terminated > 0, -1.0, 0.0),
        "gain": np.clip(gain, -1, 1),
    }
"""


def test_a_sound_program_passes_with_its_names_and_its_speed(sandbox, cart_pole):
    shape = check_program(sandbox, ARTIFACTS, program(SOUND, upright=1.0, effort=0.1), cart_pole)
    assert shape.components == ("upright", "effort", "alive", "gain")
    assert shape.features == ("energy",)
    assert 0 < shape.microseconds_per_row < 20


def test_a_program_of_features_alone_passes(sandbox, cart_pole):
    shape = check_program(
        sandbox, ARTIFACTS, program("def features(obs):\n    return {'a': obs.x ** 2}\n"), cart_pole
    )
    assert (shape.components, shape.features) == ((), ("a",))


def test_continuous_actions_come_as_rows_of_numbers(sandbox):
    preflight = probe_task(sandbox, ARTIFACTS, PENDULUM, 0, ignore)
    effort = rewarding("return {'effort': -np.square(action).sum(-1), 'up': next_obs.cosine}")
    assert check_program(sandbox, ARTIFACTS, effort, preflight).components == ("effort", "up")


ZOO = {
    # shapes and types
    "a scalar": ("return {'a': 1.0}", "runtime", ["(7,)", "single value"]),
    "a column": ("return {'a': obs.x[:, None]}", "runtime", ["(7, 1)", "line 5"]),
    "a matrix": ("return {'a': obs.all_of_it}", "runtime", ["(7, 4)", ".sum(-1)"]),
    "a list": ("return [obs.x]", "runtime", ["type list", "a dict"]),
    "nothing": ("return None", "runtime", ["None", "a dict"]),
    "a generator": ("return (x for x in obs.x)", "runtime", ["type generator"]),
    "a list inside": ("return {'a': list(obs.x)}", "runtime", ["type list", "line 5"]),
    "complex numbers": ("return {'a': np.sqrt(obs.x + 0j)}", "runtime", ["complex"]),
    "too many components": (
        "return {f'c{i}': obs.x for i in range(100)}",
        "runtime",
        ["100 entries", "1 to 16"],
    ),
    "a bad name": ("return {'not a name': obs.x}", "runtime", ["identifier", "'not a name'"]),
    "names that depend on the rows": (
        "return {'a': obs.x} if len(obs.x) < 2 else {'b': obs.x}",
        "runtime",
        ["the same names in every call"],
    ),
    # fields
    "an unknown field": ("return {'a': obs.height}", "runtime", ["does not exist", "spin"]),
    "a field of the metric": ("return {'a': next_obs.secret}", "runtime", ["not visible"]),
    "a field of the next state": ("return {'a': obs.terminated}", "runtime", ["next_obs"]),
    # numbers
    "NaN": ("return {'a': np.log(obs.x)}", "finite", ["np.maximum", "x = "]),
    "infinity at the edges": ("return {'a': 1 / obs.x}", "finite", ["inf", "finite"]),
    "an overflow": ("return {'a': np.exp(1e4 * np.abs(obs.x) + 1e3)}", "finite", ["inf"]),
    # purity
    "randomness": ("return {'a': np.random.rand(len(obs.x))}", "deterministic", ["randomness"]),
    "a counter": (
        "global n\nn += 1\nreturn {'a': obs.x + n}",
        "deterministic",
        ["two calls", "line 7"],
    ),
    "a memory of the last batch": (
        "global last\nmine = obs.x.mean()\nout = obs.x - last\nlast = mine\nreturn {'a': out}",
        "deterministic|stateless|rows",
        ["line 9"],
    ),
    "a running normalisation": (
        "seen.append(float(obs.x[0]))\nreturn {'a': obs.x / (1 + len(seen) // 30)}",
        "deterministic|stateless",
        ["line 6"],
    ),
    "a write into the inputs": ("obs.x[:] = 0\nreturn {'a': obs.v}", "runtime", ["read-only"]),
    "a write behind the protection": (
        "b = obs.x.base\nb.flags.writeable = True\nb[:, 0] += 1\nreturn {'a': obs.v}",
        "inputs",
        ["changed in place"],
    ),
    # rows
    "the mean of the batch": ("return {'a': obs.x - obs.x.mean()}", "rows", ["alone", "mean"]),
    "a sort over rows": ("return {'a': np.sort(obs.x)}", "rows", ["rows"]),
    "a sum over rows so far": ("return {'a': np.cumsum(obs.x)}", "rows", ["rows"]),
    "the row before": ("return {'a': obs.x - np.roll(obs.x, 1)}", "rows", ["rows"]),
    "the batch size": ("return {'a': obs.x * len(obs.x)}", "rows", ["rows"]),
    # language
    "a branch on an array": ("if obs.x > 0:\n    pass", "runtime", ["line 5", "np.where"]),
    "math on an array": ("return {'a': math.cos(obs.x)}", "runtime", ["NumPy functions"]),
    "a missing name": ("return {'a': obs.x * weight}", "runtime", ["'weight' is not defined"]),
    "another import": ("import os", "runtime", ["'os' is not allowed"]),
    "a constant": ("return {'a': np.ones_like(obs.x)}", "constant", ["all 4352 rows"]),
    "an exception without end": (
        "raise ValueError('long ' * 10**6)",
        "runtime",
        ["line 5", "long long"],
    ),
    "memory without end": (
        "return {'a': np.ones((10**6, 10**4)).sum() * obs.x}",
        "runtime",
        ["MemoryError", "line 5"],
    ),
    "all pairs of rows": (
        "far = [obs.x[:, None] - obs.x[None, :] for _ in range(2)]\nreturn {'a': sum(far)[0]}",
        "rows",
        [],
    ),
    "recursion without end": ("return reward(obs, action, next_obs, params)", "runtime", []),
    "an exit": ("raise sys.exit(0)", "runtime", ["SystemExit", "line 9"]),
    "an end at once": ("os._exit(0)", "exit", ["end of the process"]),
    "an abort": ("os.abort()", "exit", ["end of the process"]),
    "a read of a file": ("os.open('/etc/passwd', 0)", "runtime", ["PermissionError", "line 9"]),
    "a write to a file": ("os.open('/tmp/x', 65)", "runtime", ["PermissionError"]),
    "a process": ("os.fork()", "runtime", ["PermissionError"]),
    "a call of the shell": (
        "os.system('true')\nos.posix_spawn('/bin/true', ['t'], {})",
        "runtime",
        [],
    ),
    "network": (
        "sys.modules['socket'].socket().connect(('127.0.0.1', 80))",
        "runtime",
        ["PermissionError"],
    ),
}

ESCAPES = ("exit", "end at once", "abort", "file", "process", "shell", "network")


def _preamble(name: str) -> str:
    if name == "a counter":
        return "n = 0"
    if name == "a memory of the last batch":
        return "last = 0.0"
    if name == "a running normalisation":
        return "seen = []"
    return ESCAPE.strip() if any(word in name for word in ESCAPES) else ""


@pytest.mark.parametrize("name", ZOO)
def test_a_broken_program_is_refused_for_the_right_reason(sandbox, cart_pole, name):
    body, rules, parts = ZOO[name]
    error = rejection(sandbox, cart_pole, rewarding(body, before=_preamble(name)))
    assert error.rule in rules.split("|"), str(error)
    for part in parts:
        assert part in str(error)
    assert len(str(error)) < 2000
    assert "site-packages" not in str(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "before"),
    [
        pytest.param("while True:\n    pass", "", id="in the reward"),
        pytest.param("return {'a': obs.x}", "while True:\n    pass", id="in the module body"),
        pytest.param(
            "while True:\n    try:\n        while True:\n            pass\n"
            "    except BaseException:\n        pass",
            ESCAPE + "BaseException = Exception.__base__",
            id="around everything that can be caught",
        ),
        pytest.param(
            "while True:\n    np.ones((2000, 2000)) @ np.ones((2000, 2000))", "", id="in C calls"
        ),
    ],
)
def test_a_program_without_end_is_stopped(sandbox, cart_pole, body, before):
    limits = replace(LIMITS, wall_seconds=1.5)
    error = rejection(sandbox, cart_pole, rewarding(body, before=before), limits)
    assert error.rule == "time"
    assert "no end after 1.5 s" in str(error)


@pytest.mark.slow
def test_a_loop_over_rows_is_too_slow(sandbox, cart_pole):
    loop = (
        "out = np.zeros(len(obs.x))\n"
        "for i in range(len(obs.x)):\n"
        "    for _ in range(80):\n"
        "        out[i] += np.cos(obs.x[i]) * np.exp(-np.abs(obs.v[i])) / 10\n"
        "return {'a': out}"
    )
    error = rejection(sandbox, cart_pole, rewarding(loop))
    assert error.rule == "speed"
    assert "µs per row" in str(error)


def test_features_are_held_to_the_same_rules(sandbox, cart_pole):
    mixing = program("def features(obs):\n    return {'rank': obs.x.argsort() * 1.0}\n")
    assert rejection(sandbox, cart_pole, mixing).rule == "rows"


def test_a_forged_verdict_does_not_bring_a_bad_name_out(sandbox, cart_pole):
    forged = rewarding(
        "return {'a': obs.x}", before=ESCAPE + "os.write(3, b'RSF1' + b'\\xff' * 60)"
    )
    assert rejection(sandbox, cart_pole, forged).rule == "exit"
