"""The static rules: what a program may contain, and what its author is told otherwise."""

import math
import re

import numpy as np
import pytest

from core.errors import ProgramRejected
from core.methods.contract import EXAMPLE, EXAMPLE_FIELDS
from core.program import current_source, read_program, with_params
from tests.prompt_situations import FIELDS, GOOD


def read(source, mode="replace"):
    return read_program(source, FIELDS, mode)


def module(body, params="", head="import numpy as np\nimport math\n"):
    """A module whose reward has this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{head}{params}\ndef reward(obs, action, next_obs, params):\n{lines}\n"


def one(expression, params=""):
    return module(f'return {{"a": {expression}}}', params)


# --- what is accepted -------------------------------------------------------------------------


def test_a_sound_program_is_read_with_its_numbers():
    program = read(GOOD)
    assert (program.has_reward, program.has_features) == (True, False)
    assert program.params == {"hold": 1.0, "calm": 0.1}
    assert program.bounds["hold"] == (0.25, 4.0)
    assert program.source == GOOD
    assert len(program.sha256) == 64


def test_the_worked_example_of_the_prompt_passes_every_rule():
    program = read_program(EXAMPLE, EXAMPLE_FIELDS, "replace")
    assert program.has_reward
    assert program.has_features


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_features_alone_are_a_program(mode):
    program = read('def features(obs):\n    return {"speed": abs(obs.velocity)}\n', mode)
    assert (program.has_reward, program.has_features) == (False, True)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(one("np.full(len(action), 1.0)"), id="a constant with rows"),
        pytest.param(one("np.square(action).sum(axis=-1)"), id="a sum within the row"),
        pytest.param(one("obs.wind.max(-1)"), id="an axis by position"),
        pytest.param(one("np.linalg.norm(obs.wind, axis=-1)"), id="a norm within the row"),
        pytest.param(
            one("np.stack([obs.position, obs.velocity]).max(axis=0)"), id="a stack of terms"
        ),
        pytest.param(
            one("np.where((obs.position > 0) & (obs.velocity < 1), 1.0, 0.0)"), id="where"
        ),
        pytest.param(
            one("next_obs.slack + next_obs.tension + obs.tension"), id="reward-only fields"
        ),
        pytest.param(one("obs.wind[:, 0] * math.pi"), id="an entry of a vector"),
        pytest.param(
            one("math.exp(params.w) * obs.position", 'PARAMS = {"w": 1}\n'), id="math on a number"
        ),
        pytest.param(
            module("action = np.clip(action, -1, 1)\nreturn {'a': action[:, 0]}"),
            id="action clipped",
        ),
        pytest.param(
            module(
                "terms = {}\nfor n, i in (('x', 0),):\n    terms[n] = obs.wind[:, i]\nreturn terms"
            ),
            id="a loop over names",
        ),
        pytest.param(
            module(
                "out = np.zeros_like(obs.position)\nout[obs.position > 0] = 1.0\nreturn {'a': out}"
            ),
            id="writes into an array of one's own",
        ),
        pytest.param(
            module(
                "if obs.wind.shape[-1] == 3 and len(action) > 0:\n    pass\nreturn {'a': obs.position}"
            ),
            id="a branch on a shape",
        ),
        pytest.param(
            "import numpy as xp\n"
            "SCALES = (1.0, -2.5)\nLIMIT: float = 2 * xp.pi\n"
            + "def helper(x, scale=1.0):\n    return x * scale\n"
            "def features(obs):\n    return {'h': helper(obs.position, SCALES[0])}\n",
            id="constants, a helper and another alias",
        ),
        pytest.param(
            "def features(obs):\n    return {'h': obs.position}\n"
            "def reward(obs, action, next_obs, params):\n"
            "    f = features(next_obs)\n    a = f['h'] if 'h' in f else 0\n    return {'a': a}\n",
            id="a reward that reads its own features",
        ),
        pytest.param(
            "def reward(obs, action, next_obs, params) -> dict:\n    return {'a': obs.position}\n",
            id="annotations",
        ),
    ],
)
def test_this_is_allowed(source):
    read(source)


# --- what is refused --------------------------------------------------------------------------

REFUSED = [
    # the text
    ("size", "#" * 70_000 + "\n" + GOOD, "65536 bytes"),
    ("size", one("+".join(["obs.position"] * 900)), "syntax nodes|nested"),
    ("size", one("-" * 500 + "obs.position"), "nested"),
    ("syntax", "def reward(obs:\n", "line 1"),
    ("syntax", "x = '\ud800'\n" + GOOD, "UTF-8"),
    ("syntax", "def f():\n\treturn 1\n        return 2\n", "parses"),
    ("empty", "import numpy as np\n", "without `reward`"),
    ("empty", "", "without `reward`"),
    # the top level
    ("import", "import os\n" + GOOD, "line 1: expected only `import numpy as np`"),
    ("import", "from numpy import random\n" + GOOD, "from numpy import"),
    ("import", "import numpy.random\n" + GOOD, "numpy.random"),
    ("import", "import torch\n" + GOOD, "torch"),
    ("top_level", GOOD + "\nif True:\n    pass\n", "an `if` at the top level"),
    ("top_level", GOOD + "\nclass A:\n    pass\n", "a class"),
    ("top_level", GOOD + "\nnp.seterr(all='ignore')\n", "an expression"),
    ("top_level", GOOD + GOOD.partition("\n\n")[2], "second"),
    ("state", "CACHE = []\n" + GOOD, "write a tuple"),
    ("state", "CACHE = {}\n" + GOOD, "write a tuple"),
    ("state", "import numpy as np\nRNG = np.random.default_rng(0)\n" + GOOD, "constant"),
    ("state", "def h(x, memory=[]):\n    return x\n" + GOOD, "default"),
    ("signature", "def reward(obs, action, params):\n    return {}\n", "Keep the argument names"),
    ("signature", "def reward(obs, action, next_obs, params, t=0):\n    return {}\n", "next_obs"),
    ("signature", "def reward(*args):\n    return {}\n", r"\*args"),
    ("signature", "def features(obs, action):\n    return {}\n", r"def features\(obs\)"),
    ("statement", "import numpy as np\n@np.vectorize\n" + GOOD.partition("\n\n\n")[2], "decorator"),
    # PARAMS and BOUNDS
    ("params", one("obs.position", "PARAMS = dict(w=1)\n"), "dict literal"),
    ("params", one("obs.position", 'PARAMS = {"w": 1e999}\n'), "finite"),
    ("params", one("obs.position", 'PARAMS = {"w": True}\n'), "finite"),
    ("params", one("obs.position", 'PARAMS = {"w": [1, 2]}\n'), "finite"),
    ("params", one("obs.position", 'PARAMS = {"w": 2 * 3}\n'), "numbers themselves"),
    ("params", one("obs.position", 'PARAMS = {"a b": 1}\n'), "identifier"),
    ("params", one("obs.position", 'PARAMS = {"_w": 1}\n'), "identifier"),
    (
        "params",
        one(
            "obs.position",
            f"PARAMS = {{{', '.join(f'{chr(34)}w{i}{chr(34)}: 1' for i in range(17))}}}\n",
        ),
        "at most 16",
    ),
    ("params", one("PARAMS['w'] * obs.position", 'PARAMS = {"w": 1}\n'), r"params\.<name>"),
    (
        "bounds",
        one("obs.position", 'PARAMS = {"w": 1}\nBOUNDS = {"v": (0, 1)}\n'),
        "a name in PARAMS",
    ),
    (
        "bounds",
        one("obs.position", 'PARAMS = {"w": 1}\nBOUNDS = {"w": (2, 3)}\n'),
        "around its value",
    ),
    ("bounds", one("obs.position", 'PARAMS = {"w": 1}\nBOUNDS = {"w": (3, 0)}\n'), "low < high"),
    (
        "param",
        one("params.wight * obs.position", 'PARAMS = {"weight": 1}\n'),
        r"Did you mean `params\.weight`",
    ),
    ("param", one("params.w * obs.position"), "declares none"),
    ("param", one("params['w'] * obs.position", 'PARAMS = {"w": 1}\n'), r"params\.<name>"),
    # statements and names
    ("statement", module("global x\nreturn {'a': obs.position}"), "`global`"),
    ("statement", module("while True:\n    pass\nreturn {'a': obs.position}"), "`while`"),
    (
        "statement",
        module("try:\n    pass\nexcept Exception:\n    pass\nreturn {'a': obs.position}"),
        "`try`",
    ),
    ("statement", module("import os\nreturn {'a': obs.position}"), "inside a function"),
    ("statement", module("assert len(action)\nreturn {'a': obs.position}"), "`assert`"),
    ("statement", module("yield {'a': obs.position}\nreturn {'a': obs.position}"), "`yield`"),
    ("name", one("eval('1') * obs.position"), "unknown name `eval`"),
    ("name", one("open('/etc/passwd').read()"), "reads no files"),
    ("name", one("getattr(obs, 'position')"), "looks nothing up"),
    ("name", module("print(obs.position)\nreturn {'a': obs.position}"), "prints nothing"),
    ("name", one("__import__('os').system('true')"), "unknown name"),
    ("name", one("unknown * obs.position"), "unknown name `unknown`"),
    ("name", one("torch.abs(obs.position)"), "use np"),
    (
        "name",
        "def reward(obs, action, next_obs, params):\n    return {'a': np.abs(obs.position)}\n",
        "import numpy as np",
    ),
    (
        "name",
        "def h():\n    return obs.position\ndef features(obs):\n    return {'a': h()}\n",
        "as an argument",
    ),
    ("attribute", one("obs.__class__"), "beginning with `_`"),
    ("attribute", one("np.array(().__class__.__bases__)"), "beginning with `_`"),
    ("attribute", one("np.load('x.npy')"), "array arithmetic"),
    (
        "attribute",
        module("obs.position.setflags(write=True)\nreturn {'a': obs.position}"),
        "setflags",
    ),
    ("randomness", one("np.random.rand(len(action))"), "same result"),
    # fields
    ("field", one("obs.positon"), r"Did you mean `obs\.position`"),
    ("field", one("obs.slack"), r"read `next_obs\.slack`"),
    ("field", one("obs.terminated"), r"read `next_obs\.terminated`"),
    ("field", one("obs[0]"), "Fields are attributes"),
    ("field", one("obs[:, 0]"), "Fields are attributes"),
    ("field", one("next_obs['position']"), "Fields are attributes"),
    ("field", "def features(obs):\n    return {'t': obs.tension}\n", "position, velocity, wind"),
    ("field", "def features(obs):\n    return {'t': obs.terminated}\n", "position, velocity, wind"),
    ("metric_field", one("next_obs.judge_mark"), "kept for measuring"),
    ("metric_field", "def h(obs):\n    return obs.judge_mark\n" + GOOD, "kept for measuring"),
    # inputs
    ("inputs", module("obs.position[:] = 0\nreturn {'a': obs.position}"), "stay as they are"),
    ("inputs", module("obs.position = 1\nreturn {'a': obs.position}"), "stay as they are"),
    ("inputs", module("action *= 2\nreturn {'a': obs.position}"), "stay as they are"),
    ("inputs", module("next_obs = obs\nreturn {'a': next_obs.position}"), "stay as they are"),
    ("inputs", module("reward.memory = 1\nreturn {'a': obs.position}"), "stay as they are"),
    # arrays
    (
        "branch",
        module("if obs.position > 0:\n    return {'a': obs.position}\nreturn {'a': -obs.position}"),
        "np.where",
    ),
    (
        "branch",
        module(
            "near = abs(obs.position) < 1\nx = 1.0 if near else 0.0\nreturn {'a': x * obs.position}"
        ),
        "np.where",
    ),
    ("branch", one("np.where(obs.position > 0 and obs.velocity > 0, 1.0, 0.0)"), "np.where"),
    ("branch", one("np.where(not next_obs.slack, 1.0, 0.0)"), "np.where"),
    ("branch", one("np.where(0 < obs.position < 1, 1.0, 0.0)"), "np.where"),
    ("scalar", one("max(obs.position, 0.0)"), "np.maximum"),
    ("scalar", one("float(obs.position)"), "an array as it is"),
    ("scalar", one("math.exp(obs.position)"), "np.exp"),
    ("rows", one("np.sum(np.square(action))"), "axis=-1"),
    ("rows", one("obs.position - obs.position.mean()"), "rows must not mix"),
    ("rows", one("np.linalg.norm(action)"), "axis=-1"),
    ("rows", one("np.quantile(obs.position, 0.5)"), "axis=-1"),
    # what is returned
    ("components", module("x = obs.position"), "no `return`"),
    ("components", module("return obs.position + 1, {}"), "sum is made by the service"),
    ("components", module("return obs.position * 2"), "sum is made by the service"),
    ("components", one("1.0"), "np.full_like"),
    ("components", module("return {'a b': obs.position}"), "identifiers"),
    ("components", module("return {'a': obs.position, 'a': obs.velocity}"), "one name twice"),
    (
        "components",
        module(
            f"return {{{', '.join(f'{chr(34)}c{i}{chr(34)}: obs.position' for i in range(17))}}}"
        ),
        "at most 16",
    ),
]


@pytest.mark.parametrize(
    ("rule", "source", "told"), REFUSED, ids=[f"{n}-{r[0]}" for n, r in enumerate(REFUSED)]
)
def test_a_broken_rule_is_named_and_told(rule, source, told):
    with pytest.raises(ProgramRejected, match=told) as caught:
        read(source)
    assert caught.value.rule == rule


def test_every_problem_is_told_at_once_with_its_line():
    source = module("if obs.position > 0:\n    pass\nreturn {'a': obs.speed, 'b': np.sum(action)}")
    with pytest.raises(ProgramRejected) as caught:
        read(source)
    message = str(caught.value)
    assert "line 5" in message
    assert "np.where" in message
    assert "obs.speed" in message
    assert "axis=-1" in message


def test_a_near_miss_never_suggests_a_field_of_the_metric():
    with pytest.raises(ProgramRejected) as caught:
        read(one("next_obs.judge_marks"))
    assert "`next_obs.judge_mark`" not in str(caught.value).replace("judge_marks", "")


@pytest.mark.parametrize(
    "junk", ["\x00", "((((" * 5000, "lambda: " * 300 + "0", "é" * 10, "0x" + "f" * 9000]
)
def test_no_text_whatever_raises_anything_else(junk):
    with pytest.raises(ProgramRejected):
        read(junk)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(f"NAME = f\"{{'a\u200bb'}}\"\n{GOOD}", id="a constant"),
        pytest.param(module("if f\"{'\u200b'}\" == obs:\n    return {}\nreturn {}"), id="a branch"),
        pytest.param(
            GOOD.replace("params):", "params=f\"{'\u200b'}\"):"), id="a default of an argument"
        ),
    ],
)
def test_what_cannot_be_written_again_is_refused_and_not_quoted(source):
    with pytest.raises(ProgramRejected, match="f-string around unusual characters"):
        read(source)


# --- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", ["1e308", "-1e101", "1e-200", "5e-324", "1" + "0" * 200])
def test_numbers_whose_bounds_would_not_be_finite_are_refused(declared):
    for numbers in (
        f'PARAMS = {{"w": {declared}}}',
        f'PARAMS = {{"w": 1}}\nBOUNDS = {{"w": (0, {declared})}}',
    ):
        with pytest.raises(ProgramRejected, match="dict literal"):
            read(one("params.w * obs.position", f"{numbers}\n"))


def test_a_number_with_several_signs_is_refused_for_it_is_read_in_two_ways():
    with pytest.raises(ProgramRejected, match="dict literal"):
        read(one("params.w * obs.position", 'PARAMS = {"w": --1.0}\n'))
    signed = read(one("params.w * obs.position", 'PARAMS = {"w": +1.0}\n'))
    assert current_source(signed) == signed.source


@pytest.mark.parametrize(
    ("declared", "bounds"),
    [
        pytest.param("2.0", (0.5, 8.0), id="positive"),
        pytest.param("-2.0", (-8.0, -0.5), id="negative is mirrored"),
        pytest.param("0", (-1.0, 1.0), id="zero"),
    ],
)
def test_bounds_that_nobody_gave(declared, bounds):
    program = read(one("params.w * obs.position", f'PARAMS = {{"w": {declared}}}\n'))
    assert program.bounds == {"w": bounds}


def test_bounds_that_the_program_gives():
    source = one("params.w * obs.position", 'PARAMS = {"w": 1}\nBOUNDS = {"w": (-1, 3)}\n')
    assert read(source).bounds == {"w": (-1.0, 3.0)}


def test_other_numbers_leave_the_code_and_its_hash_alone():
    program = read(GOOD)
    tuned = with_params(program, {"calm": 0.3, "hold": 2.0})
    assert tuned.params == {"hold": 2.0, "calm": 0.3}
    assert (tuned.source, tuned.sha256) == (program.source, program.sha256)


@pytest.mark.parametrize(
    "params", [{"hold": 1.0}, {"hold": 1.0, "calm": 1.0, "x": 1.0}, {"hold": math.nan, "calm": 1.0}]
)
def test_numbers_that_do_not_fit_are_refused(params):
    with pytest.raises(ProgramRejected):
        with_params(read(GOOD), params)


def test_the_current_source_holds_the_numbers_in_force():
    program = read("# größer\n" + GOOD)
    assert current_source(program) == program.source
    tuned = current_source(with_params(program, {"hold": 2.5, "calm": -0.3}))
    assert 'PARAMS = {"hold": 2.5, "calm": -0.3}' in tuned
    assert read(tuned).params == {"hold": 2.5, "calm": -0.3}


def test_numbers_that_stood_on_lines_of_their_own_stay_there():
    spread = 'PARAMS = {\n    "hold": 1.0,\n    "calm": 0.5,\n}'
    program = read(GOOD.replace(re.search("PARAMS = .*", GOOD).group(), spread))
    tuned = current_source(with_params(program, {"hold": 1.0, "calm": -0.3}))
    changed = set(tuned.splitlines()) ^ set(program.source.splitlines())
    assert changed == {'    "calm": 0.5,', '    "calm": -0.3,'}
    assert read(tuned).params == {"hold": 1.0, "calm": -0.3}


# --- the example of the prompt, executed ------------------------------------------------------


class Namespace:
    def __init__(self, **values):
        self.__dict__.update(values)


@pytest.mark.parametrize("rows", [1, 7])
def test_the_worked_example_runs_and_keeps_its_shapes(rows):
    program = read_program(EXAMPLE, EXAMPLE_FIELDS, "replace")
    scope = {}
    exec(program.source, scope)
    state = Namespace(
        level=np.linspace(-1e6, 1e6, rows, dtype=np.float32),
        zone_temperature=np.full((rows, 3), 1e9, np.float32),
        overflow=np.zeros(rows, np.float32),
    )
    action = np.zeros((rows, 2), np.float32)
    terms = scope["reward"](state, action, state, Namespace(**program.params))
    for values in [*terms.values(), *scope["features"](state).values()]:
        assert values.shape == (rows,)
        assert np.isfinite(values).all()
