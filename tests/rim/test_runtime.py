"""What a generated program is given, and what its results are held to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.ablation import without
from core.errors import ProgramRejected
from core.fields import lay_out
from core.records.task import Field
from core.training.blame import clean
from core.training.runtime import load_program
from core.training.wire import program_from_json, program_to_json
from tests.rim.laboratory_parts import program, rewarding

FIELDS = (
    Field("x", "obs[0]"),
    Field("v", "obs[1:3]"),
    Field("hidden", "obs[2]", visible=("metric",)),
    Field("height", "sim.qpos[0]", visible=("reward",)),
    Field("success", "info.success", visible=("reward",)),
    Field("terminated", "terminated", visible=("reward",)),
)
LAYOUT = lay_out(FIELDS, observation_size=3)
STATE = np.arange(20, dtype=np.float32).reshape(5, 4)
NEXT = np.arange(30, dtype=np.float32).reshape(5, 6)
ACTION = np.ones((5, 2), np.float32)


def call(source_program):
    return load_program(source_program, LAYOUT).reward(STATE, ACTION, NEXT)


def rejection(source_program) -> ProgramRejected:
    with pytest.raises(ProgramRejected) as caught:
        call(source_program)
    return caught.value


def test_fields_are_read_by_name_as_columns_of_the_block():
    terms = call(rewarding("return {'a': obs.x + obs.v.sum(-1), 'b': next_obs.success}"))
    np.testing.assert_allclose(terms["a"], STATE[:, :3].sum(-1))
    np.testing.assert_allclose(terms["b"], NEXT[:, 4])


def test_components_are_float32_whatever_the_program_computed_in():
    terms = call(rewarding("return {'a': obs.x.astype('float64'), 'b': obs.x > 3}"))
    assert {values.dtype for values in terms.values()} == {np.dtype(np.float32)}


def test_the_parameters_are_those_of_the_record_and_not_of_the_source():
    tuned = program(
        "PARAMS = {'k': 1.0}\n"
        "def reward(obs, action, next_obs, params):\n"
        "    return {'a': params.k * obs.x, 'b': PARAMS['k'] * obs.x}\n",
        k=3.0,
    )
    terms = call(tuned)
    np.testing.assert_allclose(terms["a"], 3 * STATE[:, 0])
    np.testing.assert_allclose(terms["b"], 3 * STATE[:, 0])


def test_a_reward_may_use_its_own_features_of_the_next_state():
    terms = call(
        program(
            "def features(obs):\n    return {'e': obs.x ** 2}\n"
            "def reward(obs, action, next_obs, params):\n"
            "    return {'gain': features(next_obs)['e'] - features(obs)['e']}\n"
        )
    )
    np.testing.assert_allclose(terms["gain"], NEXT[:, 0] ** 2 - STATE[:, 0] ** 2)


def test_features_come_as_columns_in_the_order_of_their_names():
    loaded = load_program(
        program("def features(obs):\n    return {'a': obs.x, 'b': -obs.x}\n"), LAYOUT
    )
    columns = loaded.features(STATE[:, :3])
    assert loaded.feature_names == ("a", "b")
    np.testing.assert_allclose(columns, np.stack([STATE[:, 0], -STATE[:, 0]], axis=1))


def test_without_features_there_are_no_columns_and_without_reward_no_components():
    only_reward = load_program(rewarding("return {'a': obs.x}"), LAYOUT)
    only_features = load_program(program("def features(obs):\n    return {'a': obs.x}\n"), LAYOUT)
    assert only_reward.features(STATE).shape == (5, 0)
    assert only_features.reward(STATE, ACTION, NEXT) == {}


TERMS = program(
    "def features(obs):\n    return {'a': obs.x, 'b': -obs.x}\n"
    "def reward(obs, action, next_obs, params):\n"
    "    f = features(next_obs)\n    return {'gain': f['b'], 'calm': -obs.x}\n"
)


def test_a_term_that_is_left_out_is_missing_and_the_code_notices_nothing():
    less = without(without(TERMS, "component", "calm"), "feature", "b")
    loaded = load_program(less, LAYOUT)
    np.testing.assert_allclose(loaded.features(STATE)[:, 0], STATE[:, 0])
    assert loaded.features(STATE).shape == (5, 1)
    assert loaded.feature_names == ("a",)
    terms = loaded.reward(STATE, ACTION, NEXT)  # it still reads the feature that nobody else sees
    assert list(terms) == ["gain"]
    np.testing.assert_allclose(terms["gain"], -NEXT[:, 0])


def test_all_features_can_be_left_out():
    bare = without(without(TERMS, "feature", "a"), "feature", "b")
    assert load_program(bare, LAYOUT).features(STATE).shape == (5, 0)


def test_what_is_left_out_travels_into_the_jail():
    less = without(TERMS, "component", "calm")
    assert program_from_json(program_to_json(less)) == replace(less, bounds={})


def test_discrete_actions_arrive_as_whole_numbers():
    loaded = load_program(rewarding("return {'a': (action == 2) * 1.0}"), LAYOUT)
    terms = loaded.reward(STATE, np.array([0, 1, 2, 2, 0]), NEXT)
    np.testing.assert_allclose(terms["a"], [0, 0, 1, 1, 0])


def test_the_caller_s_rows_are_out_of_reach_even_for_a_program_that_lifts_the_protection():
    before = STATE.copy()
    call(rewarding("b = obs.x.base\nb.flags.writeable = True\nb[:] = 0\nreturn {'a': obs.v[:, 0]}"))
    np.testing.assert_array_equal(STATE, before)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        pytest.param("return {'a': obs.y}", ["obs.y does not exist", "x, v, height"], id="unknown"),
        pytest.param("return {'a': obs.hidden}", ["not visible", "x, v, height"], id="metric only"),
        pytest.param("return {'a': obs.success}", ["next_obs alone"], id="known too late"),
        pytest.param("obs.x[0] = 1\nreturn {'a': obs.x}", ["line 5", "read-only"], id="write"),
        pytest.param("obs.x = 1\nreturn {'a': obs.x}", ["cannot be assigned"], id="assign"),
        pytest.param("return {'a': params.k}", ["params.k does not exist"], id="parameter"),
        pytest.param("return {'a': 1.0}", ["(5,)", "single value 1.0"], id="scalar"),
        pytest.param("return {'a': obs.v}", ["(5, 2)", "line 5", ".sum(-1)"], id="matrix"),
        pytest.param("return {'a': obs.x[:, None]}", ["(5, 1)"], id="column"),
        pytest.param("return {'a': obs.x * 1j}", ["complex"], id="complex"),
        pytest.param("return {'a': np.array([None] * 5)}", ["object"], id="objects"),
        pytest.param("return [obs.x]", ["type list", "a dict"], id="list"),
        pytest.param("return None", ["None", "a dict"], id="none"),
        pytest.param("return {}", ["0 entries"], id="empty"),
        pytest.param("return {'a b': obs.x}", ["identifier"], id="bad name"),
        pytest.param("return {'a': obs.x / 0}", ["nan in row 0", "finite"], id="division by zero"),
        pytest.param("return {'a': obs.x * 1e300}", ["finite float32"], id="too large for float32"),
        pytest.param("return {'a': open('/etc/passwd')}", ["'open' is not defined"], id="open"),
        pytest.param("import os", ["'os' is not allowed", "numpy, math"], id="import"),
        pytest.param("if obs.x > 1:\n    pass", ["line 5", "np.where"], id="branch"),
    ],
)
def test_a_broken_result_is_rejected_with_a_sentence_for_its_author(body, parts):
    message = str(rejection(rewarding(body)))
    for part in parts:
        assert part in message


def test_features_see_only_what_the_policy_will_see():
    loaded = load_program(program("def features(obs):\n    return {'a': obs.height}\n"), LAYOUT)
    with pytest.raises(ProgramRejected, match="not visible there; available: x, v"):
        loaded.features(STATE)


def test_names_that_change_between_calls_are_rejected():
    flipping = "global n\nn += 1\nreturn {'a': obs.x} if n < 2 else {'b': obs.x}"
    loaded = load_program(rewarding(flipping, before="n = 0"), LAYOUT)
    loaded.reward(STATE, ACTION, NEXT)
    with pytest.raises(ProgramRejected, match="the same names in every call"):
        loaded.reward(STATE, ACTION, NEXT)


def test_a_module_body_that_raises_is_rejected_with_its_line():
    with pytest.raises(ProgramRejected, match=r"line 2: `x = 1 / 0`"):
        load_program(
            program("import numpy as np\nx = 1 / 0\ndef reward(o, a, n, p):\n  ...\n"), LAYOUT
        )


def test_foreign_text_is_cut_and_cleaned_of_paths_and_control_characters():
    text = clean("see /home/me/secret.py\x1b[31m now\n" + "x" * 5000)
    assert "/home" not in text
    assert text.isprintable()
    assert len(text) == 300


def test_an_exception_that_cannot_say_itself_does_no_harm():
    message = str(rejection(rewarding("raise make()('plain words')", before=_CLASS_MAKER)))
    assert "plain words" in message


_CLASS_MAKER = (
    "def shout(self):\n    raise self\n"
    "def make():\n    return ValueError.__class__('E', (ValueError,), {'__str__': shout})\n"
)
