"""How a designer's reply is taken apart."""

import time

import pytest

from core.errors import ProgramRejected
from core.replies import read_reply
from tests.prompt_situations import GOOD, REPLY


def fenced(code, opening="```python", closing="```"):
    return f"{opening}\n{code}{closing}\n"


def test_a_reply_in_the_asked_form_is_read_whole():
    proposal = read_reply(REPLY)
    assert proposal.analysis.startswith("The sled drifts")
    assert proposal.analysis.endswith("leads it there.")
    assert proposal.prediction == "fitness 0.6; component hold rises"
    assert proposal.source == GOOD


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(fenced(GOOD, "```py"), id="py"),
        pytest.param(fenced(GOOD, "```"), id="bare"),
        pytest.param(fenced(GOOD, "```Python title=x"), id="with more words"),
        pytest.param(fenced(GOOD, "~~~python", "~~~"), id="tildes"),
        pytest.param(fenced(GOOD, "````python", "````"), id="four backticks"),
        pytest.param(fenced(GOOD).replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param(
            "1. Here:\n" + "".join(f"   {x}\n" for x in fenced(GOOD).splitlines()), id="indented"
        ),
        pytest.param(
            "Sketch:\n```\npotential(s)\n```\nNow:\n" + fenced(GOOD), id="a sketch before"
        ),
        pytest.param(fenced(GOOD) + "Run it so:\n```bash\nmake\n```\n", id="another block after"),
        pytest.param(
            fenced(GOOD.replace("hold", "old")) + "Better:\n" + fenced(GOOD),
            id="the last one counts",
        ),
        pytest.param(
            "<think>\n" + fenced("def reward(): pass\n") + "</think>\n" + fenced(GOOD),
            id="thoughts",
        ),
        pytest.param(
            "<think>\n```python\ndef reward(\n</think>\n" + fenced(GOOD), id="unclosed in thoughts"
        ),
    ],
)
def test_the_program_is_found(text):
    assert read_reply(text).source == GOOD


def test_a_fence_inside_a_docstring_does_not_cut_the_program():
    code = GOOD.replace(
        "    error", '    """Pays so:\n\n    ```\n    hold - calm\n    ```\n    """\n    error'
    )
    assert read_reply("Words.\n\n" + fenced(code)).source == code


def test_a_block_that_does_not_parse_is_still_the_program():
    assert "def reward(obs" in read_reply(fenced("def reward(obs:\n")).source


@pytest.mark.parametrize(
    ("line", "prediction"),
    [
        pytest.param("Prediction: it holds.", "it holds.", id="plain"),
        pytest.param("**Prediction:** it holds.", "it holds.", id="bold"),
        pytest.param("**Prediction**: it holds.", "it holds.", id="bold word"),
        pytest.param("- PREDICTION: it holds.", "it holds.", id="capital, in a list"),
        pytest.param("### Prediction\n\nit holds.", "it holds.", id="heading"),
        pytest.param("Prediction: it holds,\nand calmly.", "it holds, and calmly.", id="two lines"),
        pytest.param("No word of it.", "", id="missing"),
        pytest.param("My prediction is hard to make: hm.", "", id="only the word"),
    ],
)
def test_the_prediction_is_found(line, prediction):
    proposal = read_reply(f"Thoughts.\n\n{line}\n\n{fenced(GOOD)}")
    assert proposal.prediction == prediction
    assert proposal.analysis.startswith("Thoughts.")


def test_a_prediction_after_the_program_counts_too():
    assert read_reply(fenced(GOOD) + "\nPrediction: late.\n").prediction == "late."


def test_long_words_are_cut():
    proposal = read_reply(f"{'a ' * 10_000}\n\nPrediction: {'b ' * 10_000}\n\n{fenced(GOOD)}")
    assert len(proposal.analysis) <= 4_000
    assert len(proposal.prediction) <= 600


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("", "no_code", id="nothing"),
        pytest.param("I cannot do that.", "no_code", id="words only"),
        pytest.param("```python\nprint(1)\n```", "no_code", id="a block that defines neither"),
        pytest.param("Use `def reward(obs)`.", "no_code", id="code in a sentence"),
        pytest.param("```python\n" + GOOD, "truncated", id="no closing fence"),
        pytest.param("```python\nimport nu", "truncated", id="cut off early"),
        pytest.param(
            fenced(GOOD) + "Better:\n```python\ndef reward(", "truncated", id="cut in the second"
        ),
    ],
)
def test_a_reply_without_a_whole_program_is_rejected(text, rule):
    with pytest.raises(ProgramRejected) as caught:
        read_reply(text)
    assert caught.value.rule == rule


REWARD = "def reward(obs, action, next_obs, params):\n    return {'hold': obs.position}\n"
FEATURES = "def features(obs):\n    return {'gap': obs.position - 1.0}\n"


@pytest.mark.parametrize("parts", [(REWARD, FEATURES), (FEATURES, REWARD)])
def test_a_module_in_several_blocks_goes_back_and_loses_no_part_in_silence(parts):
    with pytest.raises(ProgramRejected, match="into one block") as caught:
        read_reply("The reward:\n" + fenced(parts[0]) + "The features:\n" + fenced(parts[1]))
    assert caught.value.rule == "several_blocks"


def test_a_draft_of_a_part_before_the_whole_module_is_only_a_draft():
    text = fenced(REWARD) + "With features:\n" + fenced(FEATURES + REWARD)
    assert read_reply(text).source == FEATURES + REWARD


@pytest.mark.parametrize(
    ("design", "quoted", "asked"),
    [("features", REWARD, FEATURES), ("reward", FEATURES, REWARD)],
)
def test_where_one_function_is_designed_the_other_one_may_be_quoted(design, quoted, asked):
    text = "It stays:\n" + fenced(quoted) + "This is new:\n" + fenced(asked)
    assert read_reply(text, design).source == asked


def test_a_block_that_is_open_at_the_end_does_not_hide_a_whole_program():
    assert read_reply(fenced(GOOD) + "Run:\n```bash\nmake").source == GOOD


def test_a_reply_of_ten_thousand_fences_is_read_in_no_time():
    began = time.process_time()
    with pytest.raises(ProgramRejected, match="without a program"):
        read_reply("```\n" * 10_000)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("nothing", ["\n", " \n", "\x0c\x0b", "\u2003\n\n"])
def test_a_block_of_nothing_but_space_is_read_in_no_time(nothing):
    began = time.process_time()
    with pytest.raises(ProgramRejected, match="without a program"):
        read_reply(fenced(nothing * 30_000))
    assert time.process_time() - began < 2.0
