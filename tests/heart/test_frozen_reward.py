"""What may be designed, and that a change of the features leaves the reward alone."""

import pytest

from core.errors import ProgramRejected
from core.program import read_program, refuse_changed_reward
from tests.prompt_situations import FIELDS, GOOD, PLAIN

FEATURES = """

def features(obs):
    return {"gap": obs.position - 1.0, "drift": obs.wind.sum(axis=-1)}
"""
HELPED = """\
import numpy as np

PARAMS = {"hold": 1.0}
MARK = 1.0


def error(state):
    return np.abs(state.position - MARK)


def features(obs):
    return {"gap": obs.position - 1.0, "drift": obs.wind.sum(axis=-1)}


def reward(obs, action, next_obs, params):
    \"\"\"Hold the mark.\"\"\"
    return {"hold": -params.hold * error(next_obs)}
"""
READS_GAP = """\
import numpy as np


def features(obs):
    return {"gap": obs.position - 1.0, "drift": obs.wind.sum(axis=-1)}


def reward(obs, action, next_obs, params):
    return {"hold": -np.abs(features(next_obs)["gap"])}
"""


def program(source, design="joint"):
    return read_program(source, FIELDS, "replace", design=design)


@pytest.mark.parametrize(
    ("design", "source"),
    [
        ("joint", GOOD + FEATURES),
        ("joint", GOOD),
        ("reward", GOOD),
        ("features", "import numpy as np\n" + FEATURES),
    ],
)
def test_what_is_designed_may_be_written(design, source):
    assert program(source, design)


@pytest.mark.parametrize(
    ("design", "source", "other"),
    [("reward", GOOD + FEATURES, "features"), ("features", GOOD + FEATURES, "reward")],
)
def test_what_is_not_designed_is_refused_with_its_rule(design, source, other):
    with pytest.raises(ProgramRejected, match=f"`{design}` alone, but found `def {other}`") as e:
        program(source, design)
    assert e.value.rule == "design"


def test_other_features_leave_the_reward_alone():
    refuse_changed_reward(program(GOOD + FEATURES), program(GOOD))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(HELPED.replace("Hold the mark.", "Otherwise said."), id="a docstring"),
        pytest.param(HELPED.replace("MARK = 1.0", "MARK = 1.0  # metres"), id="a comment"),
        pytest.param(HELPED.replace('"gap"', '"distance"'), id="a feature that nobody reads"),
        pytest.param(HELPED.replace('"hold": 1.0', '"hold": 1.0002'), id="the same four digits"),
        pytest.param(
            HELPED + "\n\ndef other(state):\n    return state\n", id="a helper of its own"
        ),
    ],
)
def test_what_does_not_touch_the_reward_passes(changed):
    refuse_changed_reward(program(changed), program(HELPED))


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        pytest.param(HELPED.replace("-params", "params"), "another `reward`", id="its body"),
        pytest.param(HELPED.replace("np.abs", "np.square"), "another `reward`", id="a helper"),
        pytest.param(HELPED.replace("MARK = 1.0", "MARK = 2.0"), "another `reward`", id="a number"),
        pytest.param(HELPED.replace('"hold": 1.0', '"hold": 1.5'), "other numbers", id="PARAMS"),
        pytest.param(PLAIN + FEATURES, "another `reward`", id="another reward"),
        pytest.param("import numpy as np\n" + FEATURES, "another `reward`", id="no reward"),
    ],
)
def test_what_touches_the_reward_is_refused(changed, found):
    with pytest.raises(ProgramRejected, match=found) as error:
        refuse_changed_reward(program(changed), program(HELPED))
    assert error.value.rule == "frozen_reward"


@pytest.mark.parametrize(
    ("changed", "allowed"),
    [
        pytest.param(READS_GAP.replace("gap", "distance"), True, id="it is replaced"),
        pytest.param(
            READS_GAP.replace("obs.position - 1.0", "obs.position").replace(
                "-np.abs", "-np.square"
            ),
            True,
            id="it is computed otherwise",
        ),
        pytest.param(READS_GAP.replace("drift", "gust"), True, id="another one goes"),
        pytest.param(
            READS_GAP.replace("drift", "gust").replace("-np.abs", "-np.square"),
            False,
            id="the reward changes although its feature stays",
        ),
    ],
)
def test_a_reward_may_change_with_the_feature_that_it_reads(changed, allowed):
    if allowed:
        refuse_changed_reward(program(changed), program(READS_GAP))
        return
    with pytest.raises(ProgramRejected, match="another `reward`"):
        refuse_changed_reward(program(changed), program(READS_GAP))
