"""What a fitness means, as numbers worked out by hand."""

import numpy as np
import pytest

from core.errors import InvalidFitness
from core.fitness import (
    check_fitness,
    describe,
    episode_fitness,
    fields_of,
    parse_where,
    step_fitness,
)
from core.records.task import Field, Fitness

X = np.array([0.0, 2.0, 3.0, 1.0])
V = np.array([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0], [4.0, -4.0]])
NATIVE = np.array([1.0, 1.0, 1.0, 0.5], dtype=np.float32)
VALUES = {"x": X, "v": V, "y": -X}
FIELDS = (
    Field("x", "obs[0]", unit="m"),
    Field("v", "obs[1:3]", unit="m/s"),
    Field("y", "info.y"),
)
NEAR = Fitness("share", where="x > 1.5", horizon=4)  # 2 of 4 steps
FAR = Fitness("success", where="x < 0.5")
BOTH = Fitness("least", parts=(NEAR, FAR))

MEASURED = [
    pytest.param(Fitness(), 3.5, id="return is the sum of the native reward"),
    pytest.param(Fitness("success", where="x > 2.5"), 1.0, id="success at any step"),
    pytest.param(Fitness("success", where="x > 3"), 0.0, id="no success"),
    pytest.param(
        Fitness("success", where="x > 2.5", over="last"), 0.0, id="success must hold at the end"
    ),
    pytest.param(
        Fitness("success", where="x <= 1", over="last"), 1.0, id="success again at the end"
    ),
    pytest.param(
        Fitness("share", where="1.5 < x < 5", horizon=10),
        0.2,
        id="share counts lost steps as false",
    ),
    pytest.param(
        Fitness("share", where="x >= 1 and v[1] > -3.5", horizon=4), 0.5, id="every part must hold"
    ),
    pytest.param(Fitness("statistic", field="x", over="mean"), 1.5, id="mean"),
    pytest.param(Fitness("statistic", field="x", over="max"), 3.0, id="max"),
    pytest.param(Fitness("statistic", field="x", over="min"), 0.0, id="min"),
    pytest.param(Fitness("statistic", field="y", over="min"), -3.0, id="min below zero"),
    pytest.param(Fitness("statistic", field="x", over="last"), 1.0, id="last"),
    pytest.param(Fitness("statistic", field="v[1]", over="sum"), -10.0, id="sum of a component"),
    pytest.param(Fitness("statistic", field="-x", over="mean"), -1.5, id="mean of the opposite"),
    pytest.param(Fitness("statistic", field="abs(v[1] + 2)", over="max"), 2.0, id="of a term"),
    pytest.param(BOTH, 0.5, id="the smallest of the parts"),
    pytest.param(
        Fitness("least", parts=(FAR, Fitness())), 1.0, id="the smallest, with the native return"
    ),
]


@pytest.mark.parametrize(("fitness", "expected"), MEASURED)
def test_an_episode_is_measured_as_the_kind_says(fitness, expected):
    assert episode_fitness(fitness, VALUES, NATIVE) == pytest.approx(expected)


@pytest.mark.parametrize(("fitness", "expected"), MEASURED)
def test_the_steps_add_up_to_the_episode(fitness, expected):
    steps = step_fitness(fitness, VALUES, NATIVE)
    assert steps.shape == (4,)
    assert steps.sum() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fitness", "expected"),
    [
        pytest.param(Fitness("success", where="x > 1.5"), [0, 1, 0, 0], id="any: paid once"),
        pytest.param(
            Fitness("success", where="x > 1.5", over="last"), [0, 1, 0, -1], id="last: given back"
        ),
        pytest.param(
            Fitness("share", where="x > 1.5", horizon=5), [0, 0.2, 0.2, 0], id="share: each step"
        ),
        pytest.param(
            Fitness("statistic", field="x", over="last"), [0, 2, 1, -2], id="last: changes"
        ),
        pytest.param(
            Fitness("statistic", field="x", over="max"), [0, 2, 1, 0], id="max: new records"
        ),
        pytest.param(BOTH, [0, 0.25, 0.25, 0], id="least: what the weakest part gains"),
    ],
)
def test_the_form_per_step_pays_when_it_happens(fitness, expected):
    np.testing.assert_allclose(step_fitness(fitness, VALUES, NATIVE), expected)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param("x > 1", [False, True, True, False], id="strict"),
        pytest.param("x >= 1", [False, True, True, True], id="or equal"),
        pytest.param("abs(y) > 1", [False, True, True, False], id="absolute value"),
        pytest.param("abs(y + 2) <= 0.5", [False, True, False, False], id="of a sum"),
        pytest.param("-x > y - 1", [True, True, True, True], id="signs and differences"),
        pytest.param("v[0] + v[1] >= 0", [True, True, True, True], id="components"),
        pytest.param("1 < x < 3", [False, True, False, False], id="chained"),
        pytest.param(
            "x > 0 and (y < 0 and v[0] < 3)", [False, True, False, False], id="nested and"
        ),
    ],
)
def test_a_condition_holds_where_every_comparison_does(where, expected):
    fitness = Fitness("share", where=where, horizon=1)
    assert step_fitness(fitness, VALUES, NATIVE).astype(bool).tolist() == expected


def test_a_value_that_is_not_a_number_meets_no_condition():
    values = {"x": np.array([np.nan, 1.0])}
    fitness = Fitness("share", where="x < 5", horizon=2)
    assert episode_fitness(fitness, values, np.zeros(2)) == 0.5


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("x > 1 or y > 1", id="or"),
        pytest.param("not x > 1", id="not"),
        pytest.param("x == 1", id="equality"),
        pytest.param("x", id="no comparison"),
        pytest.param("x > True", id="a truth value"),
        pytest.param("x > 1j", id="a complex number"),
        pytest.param("x > 1e999", id="infinity"),
        pytest.param("x * 2 > 1", id="a product"),
        pytest.param("max(x, y) > 1", id="another function"),
        pytest.param("abs(x, y) > 1", id="abs of two"),
        pytest.param("x.real > 1", id="an attribute"),
        pytest.param("v[x] > 1", id="a computed index"),
        pytest.param("v[-1] > 1", id="a negative index"),
        pytest.param("v[0:1] > 1", id="a slice"),
        pytest.param("(lambda: 1) > 0", id="a function"),
        pytest.param("__import__('os') > 0", id="an import"),
        pytest.param("x > (y := 1)", id="an assignment"),
        pytest.param("x >", id="an unfinished one"),
        pytest.param("", id="nothing"),
        pytest.param("x > \0", id="a null byte"),
        pytest.param("x > " + "-" * 600 + "1", id="an endless one"),
        pytest.param("(" * 240 + "x" + ")" * 240 + " > 1", id="a deeply nested one"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(where):
    with pytest.raises(InvalidFitness, match=r"expected .*(comparisons|characters)"):
        parse_where(where)


def test_a_refusal_says_where():
    with pytest.raises(InvalidFitness, match=r"column 12.*found `x or y`"):
        parse_where("1 < 2 and (x or y)")


def test_an_unknown_field_is_named_with_its_neighbours():
    fitness = Fitness("success", where="cart_positon > 1")
    fields = (Field("cart_position", "obs[0]"), Field("pole_angle", "obs[2]"))
    with pytest.raises(InvalidFitness, match=r"Did you mean cart_position\?") as caught:
        check_fitness(fitness, fields)
    assert "cart_position, pole_angle" in str(caught.value)
    with pytest.raises(InvalidFitness, match="Did you mean cart_position"):
        episode_fitness(fitness, {"cart_position": X}, NATIVE)


@pytest.mark.parametrize(
    ("fitness", "message"),
    [
        pytest.param(Fitness("best"), "return, success, share, statistic", id="unknown kind"),
        pytest.param(Fitness("success"), "no where", id="success without where"),
        pytest.param(Fitness("share", where="x > 1"), "no horizon", id="share without horizon"),
        pytest.param(Fitness("statistic", field="x"), "no over", id="statistic without over"),
        pytest.param(Fitness("return", where="x > 1"), "where as well", id="return with where"),
        pytest.param(
            Fitness("success", where="x > 1", over="mean"), "any, last", id="success over mean"
        ),
        pytest.param(
            Fitness("statistic", field="x", over="any"), "mean, max", id="statistic over any"
        ),
        pytest.param(
            Fitness("share", where="x > 1", horizon=0), "positive number", id="horizon of zero"
        ),
        pytest.param(
            Fitness("statistic", field="x * y", over="last"),
            "numbers, abs",
            id="field is a product",
        ),
        pytest.param(
            Fitness("statistic", field="x > 1", over="last"), "found `x > 1`", id="a comparison"
        ),
        pytest.param(Fitness("statistic", field="3", over="last"), "one field", id="no field"),
        pytest.param(Fitness("statistic", field="x - z", over="last"), "'z'", id="an unknown part"),
        pytest.param(Fitness("least"), "no parts", id="least without parts"),
        pytest.param(Fitness("least", parts=(NEAR,)), "2 to 8 parts", id="least of one"),
        pytest.param(
            Fitness("share", where="x > 1", horizon=1, parts=(NEAR,)),
            "parts as well",
            id="parts of a share",
        ),
        pytest.param(Fitness("least", parts=(NEAR, BOTH)), "other kinds", id="least of least"),
        pytest.param(
            Fitness("least", parts=(NEAR, Fitness("return", goal=3.0))),
            "one goal",
            id="a part's goal",
        ),
        pytest.param(
            Fitness("least", parts=(NEAR, Fitness("success"))), "no where", id="a bad part"
        ),
        pytest.param(
            Fitness("least", parts=(NEAR, Fitness("success", where="z > 1"))),
            "'z'",
            id="a part's field",
        ),
        pytest.param(
            Fitness("success", where="v > 1"), r"v\[0\] to v\[1\]", id="a vector without an index"
        ),
        pytest.param(Fitness("success", where="v[2] > 1"), "from 0 to 1", id="index too large"),
        pytest.param(Fitness("success", where="x[0] > 1"), "one number", id="index into a number"),
    ],
)
def test_a_fitness_that_does_not_fit_together_is_refused(fitness, message):
    with pytest.raises(InvalidFitness, match=message):
        check_fitness(fitness, FIELDS)


def test_the_fields_that_it_reads_are_known():
    assert fields_of(Fitness("success", where="abs(x - v[1]) < 1 and 0 < y")) == {"x", "v", "y"}
    assert fields_of(Fitness("statistic", field="v[0]", over="last")) == {"v"}
    assert fields_of(Fitness("statistic", field="y - abs(x)", over="max")) == {"x", "y"}
    assert fields_of(
        Fitness("least", parts=(BOTH.parts[0], Fitness("success", where="y > 1")))
    ) == {
        "x",
        "y",
    }
    assert fields_of(Fitness()) == set()


def test_an_episode_without_steps_cannot_be_measured():
    with pytest.raises(ValueError, match="at least one step"):
        episode_fitness(Fitness(), {}, np.zeros(0))


@pytest.mark.parametrize(
    ("fitness", "sentence"),
    [
        pytest.param(
            Fitness(goal=475.0),
            "The sum of the environment's own reward over the episode; solved at 475.",
            id="return",
        ),
        pytest.param(
            Fitness("success", where="x > 1 and y < 2", over="last"),
            "1 if x > 1 and y < 2 at the last step of the episode, else 0 (x in m).",
            id="success",
        ),
        pytest.param(
            Fitness("share", where="0.75 < x < 1.25", horizon=500, goal=0.8),
            "The share of 500 steps at which 0.75 < x < 1.25 (x in m); steps that are not lived "
            "count as false; solved at 0.8.",
            id="share",
        ),
        pytest.param(
            Fitness("statistic", field="v[0]", over="max"),
            "The largest v[0] of the episode (v in m/s).",
            id="statistic",
        ),
    ],
)
def test_it_can_be_said_in_one_sentence(fitness, sentence):
    assert describe(fitness, FIELDS) == sentence
