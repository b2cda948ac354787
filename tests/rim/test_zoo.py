"""The zoo: fifty broken programs, each refused by the rule that is meant for it.

They go the way of a designer's reply: first the rules that need no execution, then the sandbox.  What
reaches the sandbox past the rules by trickery is in `test_check.py`.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from core.errors import ProgramRejected
from core.program import read_program
from core.training.checking import LIMITS, check_program
from core.training.probing import probe_task
from tests.rim.laboratory_parts import CART_POLE, MemoryArtifacts, ignore

ARTIFACTS = MemoryArtifacts()


@pytest.fixture(scope="module")
def cart_pole(sandbox):
    return probe_task(sandbox, ARTIFACTS, CART_POLE, 0, ignore)


def reward(body: str, before: str = "") -> str:
    """A module whose `reward` has the given body."""
    return (
        f"import math\nimport numpy as np\n\n{before}\n\n"
        f"def reward(obs, action, next_obs, params):\n{textwrap.indent(body, '    ')}\n"
    )


def features(body: str) -> str:
    return f"import numpy as np\n\n\ndef features(obs):\n{textwrap.indent(body, '    ')}\n"


BIG = " + ".join(["obs.x"] * 1_200)
MANY = ", ".join(f"'c{i}': obs.x" for i in range(17))
TWENTY = dict.fromkeys(map(chr, range(97, 117)), 1.0)

# name: (rule, source)
ZOO = {
    # the text
    "a missing bracket": ("syntax", "def reward(obs, action, next_obs, params:\n    return {}"),
    "prose": ("syntax", "Here is the reward you asked for."),
    "too long": ("size", reward(f"return {{'a': {BIG}}}")),
    "nothing in it": ("empty", "import numpy as np\n"),
    "too large": ("size", "# " + "x" * 70_000),
    # the top level
    "another library": ("import", "import os\n" + reward("return {'a': obs.x}")),
    "a library inside": ("statement", reward("import os\nreturn {'a': obs.x}")),
    "from an import": ("import", "from numpy import cos\n" + reward("return {'a': obs.x}")),
    "another signature": ("signature", "def reward(obs, action):\n    return {'a': obs.x}\n"),
    "a class": ("top_level", reward("return {'a': obs.x}", before="class Memory:\n    last = 0")),
    "work at the top": (
        "top_level",
        reward("return {'a': obs.x}", before="for i in range(3):\n    i"),
    ),
    "a list that is kept": ("state", reward("return {'a': obs.x}", before="SEEN = []")),
    "a decorator": (
        "statement",
        "@staticmethod\n" + "def features(obs):\n    return {'a': obs.x}\n",
    ),
    "two of one name": (
        "top_level",
        features("return {'a': obs.x}") + features("return {'b': obs.x}").split("\n", 3)[3],
    ),
    # PARAMS
    "too many numbers": (
        "params",
        reward(
            "return {'a': obs.x}", before=f"PARAMS = {dict.fromkeys(map(chr, range(97, 117)), 1.0)}"
        ),
    ),
    "a number that is computed": (
        "params",
        reward("return {'a': obs.x}", before="PARAMS = {'a': np.pi}"),
    ),
    "bounds without the value": (
        "bounds",
        reward("return {'a': obs.x}", before="PARAMS = {'a': 9.0}\nBOUNDS = {'a': (0.0, 1.0)}"),
    ),
    "a number not declared": ("param", reward("return {'a': params.gain * obs.x}")),
    # fields
    "an unknown field": ("field", reward("return {'a': obs.height}")),
    "a field of the metric": ("metric_field", reward("return {'a': next_obs.secret}")),
    "a field by index": ("field", reward("return {'a': obs[0]}")),
    "the end of the episode before the step": ("field", reward("return {'a': obs.terminated}")),
    "the end of the episode in a feature": ("field", features("return {'a': obs.terminated}")),
    # shapes
    "a list in place of a dict": ("components", reward("return [obs.x]")),
    "a single number": ("components", reward("return {'a': 1.0}")),
    "too many components": ("components", reward(f"return {{{MANY}}}")),
    "a name with a blank": ("components", reward("return {'my reward': obs.x}")),
    "nothing returned": ("components", reward("a = obs.x")),
    "a column": ("runtime", reward("return {'a': obs.x[:, None]}")),
    "a matrix": ("runtime", reward("return {'a': obs.all_of_it}")),
    "complex numbers": ("runtime", reward("return {'a': np.sqrt(obs.x + 0j)}")),
    "names that hang on the batch": (
        "runtime",
        reward("n = len(obs.x)\nreturn {'a': obs.x} if n < 2 else {'b': obs.x}"),
    ),
    # numbers
    "a logarithm at the edges": ("finite", reward("return {'a': np.log(np.abs(obs.x))}")),
    "a division at the edges": ("finite", reward("return {'a': 1 / obs.v}")),
    "a root of what may be negative": ("finite", features("return {'a': np.sqrt(obs.spin)}")),
    "an overflow": ("finite", reward("return {'a': np.exp(1e3 * np.abs(obs.x) + 200)}")),
    # rows
    "the mean of the batch": ("rows", reward("return {'a': obs.x - obs.x.mean()}")),
    "a maximum over rows": ("rows", reward("return {'a': obs.x / np.max(obs.x, axis=0)}")),
    "a sum over rows so far": ("rows", reward("return {'a': np.cumsum(obs.x, axis=0)}")),
    "the row before": ("rows", reward("return {'a': obs.x - np.roll(obs.x, 1)}")),
    "a sort over rows": ("rows", features("return {'a': np.sort(obs.x)}")),
    # purity
    "randomness": ("randomness", reward("return {'a': obs.x + np.random.randn(len(obs.x))}")),
    "a counter": ("statement", reward("global n\nn += 1\nreturn {'a': obs.x + n}", before="n = 0")),
    "a write into a field": ("inputs", reward("obs.x[:] = 0\nreturn {'a': obs.v}")),
    "an addition into the action": ("inputs", reward("action += 1\nreturn {'a': obs.v * action}")),
    "a memory in a default": (
        "state",
        reward("return {'a': helper(obs.x)}", before="def helper(x, seen=[]):\n    return x"),
    ),
    "a constant": ("constant", reward("return {'a': np.ones_like(obs.x)}")),
    # the language
    "a branch on an array": (
        "branch",
        reward("if obs.x > 0:\n    return {'a': obs.x}\nreturn {'a': obs.v}"),
    ),
    "math on an array": ("scalar", reward("return {'a': obs.x * math.cos(obs.angle)}")),
    "an unknown name": ("name", reward("return {'a': weight * obs.x}")),
    "reading a file": ("name", reward("return {'a': obs.x * len(open('/etc/passwd').read())}")),
    "a file through numpy": ("attribute", reward("return {'a': obs.x + np.load('weights.npy')}")),
    "a way out through a class": ("attribute", reward("return {'a': obs.x.__class__}")),
    "an exception of its own": ("statement", reward("raise ValueError('no')")),
    # time and memory
    "a loop without end": ("statement", reward("while True:\n    pass")),
    "recursion without end": ("runtime", reward("return reward(obs, action, next_obs, params)")),
    "memory without end": (
        "runtime",
        reward("return {'a': obs.x * np.ones((100_000, 100_000)).sum(-1)[0]}"),
    ),
}
SLOW_ZOO = {
    "a loop that takes for ever": (
        "time",
        reward("a = obs.x\nfor i in range(10**9):\n    a = np.sin(a)\nreturn {'a': a}"),
    ),
}


def refused(sandbox, preflight, source, limits=LIMITS) -> ProgramRejected:
    try:
        program = read_program(source, preflight.fields, "replace")
    except ProgramRejected as error:
        return error
    with pytest.raises(ProgramRejected) as caught:
        check_program(sandbox, ARTIFACTS, program, preflight, limits)
    return caught.value


def test_the_zoo_has_more_than_fifty_inhabitants():
    assert len({source for _, source in (ZOO | SLOW_ZOO).values()}) >= 50


@pytest.mark.parametrize("name", ZOO)
def test_a_broken_program_is_refused_by_the_rule_meant_for_it(sandbox, cart_pole, name):
    rule, source = ZOO[name]
    error = refused(sandbox, cart_pole, source)
    assert error.rule == rule, str(error)
    assert error.found  # one sentence says what was found and, with it, what to do
    assert len(str(error)) < 2_000


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_ZOO)
def test_a_program_that_takes_for_ever_is_refused(sandbox, cart_pole, name):
    rule, source = SLOW_ZOO[name]
    limits = replace(LIMITS, wall_seconds=2.0)
    assert refused(sandbox, cart_pole, source, limits).rule == rule
