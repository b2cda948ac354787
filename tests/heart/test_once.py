"""What looks at all candidates is not asked anew for each of them."""

from dataclasses import replace

import pytest

from core import fitness_words
from core.methods import METHODS
from core.once import once
from tests.prompt_situations import a_job, closed_iteration, spec_of, trained

MANY = 40


def test_a_history_is_looked_at_once_and_another_one_anew():
    asked = []
    count = once(lambda history: asked.append(history) or len(asked))
    one, other = a_job(), a_job()
    assert [count(one), count(one), count(other), count(one)] == [1, 1, 2, 1]
    assert asked[0] is one
    assert asked[1] is other


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_feedback_and_briefs_take_time_as_there_are_candidates_and_not_as_their_square(
    method, monkeypatch
):
    """In a job of 144 candidates a proposal's briefs took more than four seconds."""
    spec, errors, asked = (
        spec_of(method, candidates=MANY),
        fitness_words.standard_error,
        list[int](),
    )

    def counted(values):
        asked.append(1)
        return errors(values)

    monkeypatch.setattr(fitness_words, "standard_error", counted)
    one = trained(0, 0, 0.5)
    candidates = [replace(one, number=number) for number in range(MANY)]
    method.briefs(a_job(closed_iteration(method, 0, *candidates, spec=spec), spec=spec))
    assert 0 < len(asked) <= 10 * MANY
