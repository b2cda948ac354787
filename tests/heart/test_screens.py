"""What the screens decide of numbers, and whom they drop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.feedback import why_not, write_feedback
from core.ports import Screening, ScreenNumbers, Trajectory
from core.records.measured import Report
from core.records.people import Given
from core.screens import judge, known_candidates, known_duplicate, screen_order
from core.trajectories import sources
from tests.builders import (
    a_history,
    a_preflight,
    a_program,
    a_spec,
    an_iteration,
    proposed,
    trained,
)
from tests.heart.test_exploits import a_candidate

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(12, 256))
NONE = np.zeros((0, 256))
ALL = ("duplicate", "order", "exploit", "scale")


def says(reward, *, canonical=None, features=NONE, pay=(), rows=((), ())):
    pay = np.asarray(pay, np.float64)
    return ScreenNumbers(
        reward, reward if canonical is None else canonical, features, pay, 10 * pay, rows
    )


def store(**by_source):
    """Trajectories by source: lists of fitness; those of names that begin with `x` are exploits'."""
    return tuple(
        Trajectory(name, fitness, 10, name.startswith("x"))
        for name, values in by_source.items()
        for fitness in values
    )


def verdicts(numbers, candidates, history, trajectories=(), normalised=True):
    screening = Screening(trajectories, numbers, normalised)
    return {s.candidate: s for s in judge(history, candidates, screening)}


def new(count=4):
    return [variant(number, iteration=1) for number in range(count)]


def variant(number, *, iteration):
    candidate = proposed(number, iteration=iteration)
    source = candidate.program.source.replace("- 1.0", f"- {iteration}.{number}1")
    return replace(candidate, program=a_program(source))


def history(*past, screens=ALL, candidates=4, **changes):
    spec = a_spec(screens=screens, candidates=candidates, **changes)
    past = past or (trained(0, 0.9, 0.9), trained(1, 0.3, 0.3))
    return a_history(an_iteration(*past, feedback=True), spec=spec)


def verdict_of(name, screened):
    return next(screen for screen in screened.screens if screen.name == name)


# --- duplicate ------------------------------------------------------------------------------------


def test_a_reward_that_goes_together_with_a_known_one_is_a_duplicate():
    fresh = new()
    numbers = {"0.0": says(ROWS[0]), **{c.key: says(ROWS[i + 2]) for i, c in enumerate(fresh)}}
    numbers["1.2"] = says(3 * ROWS[0] + 1)
    found = verdicts(numbers, fresh, history(screens=("duplicate",)))
    assert {key: s.screens[0].verdict for key, s in found.items()} == {
        "1.0": "pass",
        "1.1": "pass",
        "1.2": "fail",
        "1.3": "pass",
    }
    assert (found["1.2"].screens[0].other, found["1.2"].dropped) == ("0.0", True)
    assert "above 0.995 counts as the same" in found["1.2"].screens[0].message


def test_the_later_of_two_equal_ones_in_an_iteration_is_the_duplicate():
    fresh = new()
    numbers = {c.key: says(ROWS[i % 3]) for i, c in enumerate(fresh)}
    found = verdicts(numbers, fresh, history(screens=("duplicate",)))
    assert [key for key, s in found.items() if s.dropped] == ["1.3"]
    assert found["1.3"].screens[0].other == "1.0"


def test_other_features_make_it_another_design():
    fresh = new(1)
    known = says(ROWS[0], features=ROWS[3:4])
    spec = history(screens=("duplicate",))
    for features, verdict in (
        (ROWS[3:4] * -1000, "fail"),
        (ROWS[4:5], "abstain"),
        (NONE, "abstain"),
    ):
        numbers = {"0.0": known, "1.0": says(ROWS[0], features=features)}
        assert verdicts(numbers, fresh, spec)["1.0"].screens[0].verdict == verdict


def test_a_shaped_copy_of_one_that_learnt_is_a_duplicate():
    numbers = {"0.0": says(ROWS[0]), "1.0": says(ROWS[0] + 3 * ROWS[1], canonical=ROWS[0])}
    found = verdicts(numbers, new(1), history(screens=("duplicate",)))
    assert (found["1.0"].screens[0].verdict, found["1.0"].screens[0].other) == ("fail", "0.0")


def test_a_shaped_copy_of_one_that_did_not_learn_is_worth_a_try():
    numbers = {"0.0": says(ROWS[0]), "1.0": says(ROWS[0] + 3 * ROWS[1], canonical=ROWS[0])}
    past = history(trained(0, 0.0, 0.0), screens=("duplicate",))
    assert verdicts(numbers, new(1), past)["1.0"].screens[0].verdict == "pass"


def test_of_pure_shaping_nothing_is_left_to_compare():
    shaping = says(ROWS[1], canonical=0.01 * ROWS[0])
    numbers = {"0.0": says(ROWS[0]), "1.0": shaping}
    found = verdicts(numbers, new(1), history(screens=("duplicate",)))
    assert found["1.0"].screens[0].verdict == "pass"


def test_in_mode_add_another_scale_is_another_design():
    spec = history(screens=("duplicate",), mode="add")
    for factor, verdict in ((1.1, "fail"), (10.0, "abstain")):
        numbers = {"0.0": says(ROWS[0]), "1.0": says(factor * ROWS[0])}
        assert verdicts(numbers, new(1), spec)["1.0"].screens[0].verdict == verdict


def test_features_alone_with_the_features_of_a_known_one_are_a_duplicate():
    spec = history(screens=("duplicate",))
    for features, verdict in ((ROWS[3:4], "fail"), (ROWS[4:5], "abstain")):
        numbers = {"0.0": says(None, features=ROWS[3:4]), "1.0": says(None, features=features)}
        assert verdicts(numbers, new(1), spec)["1.0"].screens[0].verdict == verdict


def test_comments_and_docstrings_make_no_difference():
    past = trained(0, 0.9, 0.9)
    source = past.program.source.replace("Variant", "Version")
    copy = replace(proposed(0, iteration=1), program=a_program(source + "# the same\n"))
    found = verdicts({}, [copy], history(past, screens=("duplicate",)))
    assert found["1.0"].screens[0].verdict == "abstain"  # it broke: nothing is known of it
    numbers = {"1.0": says(None)}
    found = verdicts(numbers, [copy], history(past, screens=("duplicate",)))
    assert (found["1.0"].screens[0].verdict, found["1.0"].screens[0].other) == ("fail", "0.0")


def test_a_single_candidate_is_compared_with_closed_iterations():
    candidate = new(1)[0]
    past = history(screens=("duplicate",))
    numbers = Screening((), {"0.1": says(ROWS[0]), "1.0": says(ROWS[0])})
    assert known_duplicate(past, candidate, numbers).other == "0.1"


def test_what_pays_whole_trajectories_otherwise_is_no_duplicate():
    pay = RNG.normal(size=(2, 20))
    for other, verdict in ((pay[0], "fail"), (pay[1], "pass")):
        numbers = {"0.0": says(ROWS[0], pay=pay[0]), "1.0": says(ROWS[0], pay=other)}
        found = verdicts(numbers, new(1), history(screens=("duplicate",)))
        assert found["1.0"].screens[0].verdict == verdict


# --- order ----------------------------------------------------------------------------------------

HONEST = store(random=[0.0, 0.02, 0.01, 0.03, 0.0], native=[0.8, 0.9, 0.7, 1.0, 0.9])


def test_a_reward_that_pays_the_better_episodes_more_passes():
    pay = [t.fitness for t in HONEST]
    found = verdicts({"1.0": says(ROWS[0], pay=pay)}, new(1), history(), HONEST)
    assert verdict_of("order", found["1.0"]).verdict == "pass"


def test_a_reward_that_pays_the_worse_episodes_more_fails_with_the_worst_pair_in_rows():
    pay = [1.0 - t.fitness for t in HONEST]
    rows = (({"step": 0, "position": 1.0},), ({"step": 0, "position": -1.0},))
    found = verdicts({"1.0": says(ROWS[0], pay=pay, rows=rows)}, new(1), history(), HONEST)
    screen = verdict_of("order", found["1.0"])
    assert (screen.verdict, screen.score) == ("fail", -1.0)
    assert "the native reward's policy with fitness 1 is paid 0" in screen.message
    assert "better episode: step | position\n0 | 1" in screen.message


def test_order_abstains_while_nobody_differs_beyond_noise():
    same = store(random=[0.0, 1.0] * 5, native=[0.1, 0.9] * 5)
    found = verdicts({"1.0": says(ROWS[0], pay=[0.0] * 20)}, new(1), history(), same)
    assert verdict_of("order", found["1.0"]).verdict == "abstain"


def test_order_abstains_below_twenty_pairs():
    few = store(random=[0.0, 0.01], native=[0.9, 1.0])
    found = verdicts({"1.0": says(ROWS[0], pay=[1, 1, 0, 0])}, new(1), history(), few)
    assert "Only 4 pairs" in verdict_of("order", found["1.0"]).message


# --- exploit --------------------------------------------------------------------------------------


def test_pay_for_an_exploit_beyond_what_better_episodes_are_paid_fails():
    episodes = store(random=[0.0] * 5, native=[0.9, 1.0, 0.8, 0.9], x=[0.0, 0.0])
    pay = [0.0] * 5 + [0.5, 0.6, 0.5, 0.6] + [0.9, 0.9]
    found = verdicts({"1.0": says(ROWS[0], pay=pay)}, new(1), history(), episodes)
    screen = verdict_of("exploit", found["1.0"])
    assert (screen.verdict, screen.other) == ("fail", "x")
    pay[-2:] = [0.4, 0.4]  # more than a policy that stumbles, and less than who did better
    found = verdicts({"1.0": says(ROWS[0], pay=pay)}, new(1), history(), episodes)
    assert verdict_of("exploit", found["1.0"]).verdict == "pass"


def test_while_nobody_did_better_only_the_kin_of_an_exploit_fails():
    episodes = store(random=[0.0] * 5, x=[0.0, 0.0])
    pay = [0.0] * 5 + [0.9, 0.9]
    for theirs, verdict in ((ROWS[0] + 0.3 * ROWS[1], "fail"), (ROWS[1], "abstain")):
        numbers = {"x": says(theirs), "1.0": says(ROWS[0], pay=pay)}
        found = verdicts(numbers, new(1), history(), episodes)
        assert verdict_of("exploit", found["1.0"]).verdict == verdict


def test_without_a_known_exploit_the_screen_abstains():
    found = verdicts({"1.0": says(ROWS[0], pay=[0.0] * 10)}, new(1), history(), HONEST)
    assert verdict_of("exploit", found["1.0"]).verdict == "abstain"


# --- scale ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "normalised", "verdict"),
    [
        (1e2, True, "pass"),
        (1e5, True, "abstain"),
        (1e8, True, "fail"),
        (5e3, False, "abstain"),
        (1e5, False, "fail"),
    ],
)
def test_how_large_is_too_large_depends_on_the_learner(size, normalised, verdict):
    numbers = {"1.0": says(ROWS[0], pay=[size / 10] * 10)}
    found = verdicts(numbers, new(1), history(), HONEST, normalised)
    assert verdict_of("scale", found["1.0"]).verdict == verdict


# --- who is dropped -------------------------------------------------------------------------------


def test_a_third_of_the_candidates_is_trained_whatever_the_screens_say():
    fresh = new(4)
    numbers = {"0.0": says(ROWS[0]), **{c.key: says(ROWS[0]) for c in fresh}}
    found = verdicts(numbers, fresh, history(screens=("duplicate",)))
    assert [s.screens[0].verdict for s in found.values()] == ["fail"] * 4
    assert [s.dropped for s in found.values()] == [True, True, False, False]


def test_the_only_candidate_is_never_dropped():
    numbers = {"0.0": says(ROWS[0]), "1.0": says(ROWS[0])}
    found = verdicts(numbers, new(1), history(screens=("duplicate",), candidates=1))
    assert not found["1.0"].dropped


def test_what_people_handed_in_is_trained():
    fresh = [replace(new(1)[0], given=Given(0, "").number, operator="given"), *new(4)[1:]]
    numbers = {"0.0": says(ROWS[0]), "1.0": says(ROWS[0])}
    found = verdicts(numbers, fresh, history(screens=("duplicate",)))
    assert (found["1.0"].screens[0].verdict, found["1.0"].dropped) == ("fail", False)


def test_saved_are_the_steps_of_the_first_rung_with_all_seeds():
    numbers = {"0.0": says(ROWS[0]), "1.0": says(ROWS[0])}
    training = replace(a_spec().training, rungs=(0.2, 1.0))
    found = verdicts(numbers, new(4), history(screens=("duplicate",), training=training))
    assert found["1.0"].saved_steps == 2 * 200
    assert found["1.1"].saved_steps == 0


def test_a_screened_candidate_s_reason_reaches_the_designer():
    rows = (({"step": 0, "position": 1.0},), ({"step": 0, "position": -1.0},))
    numbers = says(ROWS[0], pay=[1.0 - t.fitness for t in HONEST], rows=rows)
    screened = judge(history(), new(4), Screening(HONEST, {"1.0": numbers}))[0]
    candidate = replace(new(1)[0], status="screened", screens=screened.screens)
    assert "screened as order, not trained: Of stored episodes" in why_not(candidate)
    told = a_history(*history().iterations, an_iteration(candidate, number=1))
    assert "Candidate 1.0 was not trained (order): Of stored" in write_feedback(told, 1, None).text


# --- the store ------------------------------------------------------------------------------------


def with_recording(candidate, sha256):
    return replace(candidate, report=replace(a_candidate([0.5], [1.0]).report, recording=sha256))


def test_the_store_begins_with_the_first_closed_iteration():
    first = [with_recording(trained(n, 0.1 * n), f"sha {n}") for n in range(1, 5)]
    assert sources(a_history(an_iteration(*first))) == ()
    found = sources(a_history(an_iteration(*first, feedback=True)))
    assert [s.key for s in found] == ["0.4", "0.1", "0.3", "0.2"]


def test_the_random_policy_and_the_native_reward_come_first():
    past = a_history(
        an_iteration(with_recording(trained(0, 0.5), "sha 0"), feedback=True),
        preflight=a_preflight(recording="sha random"),
        native_report=Report(recording="sha native"),
    )
    assert [(s.key, s.recording) for s in sources(past)] == [
        ("random", "sha random"),
        ("native", "sha native"),
        ("0.0", "sha 0"),
    ]


def test_exploits_come_before_honest_candidates_and_once():
    hack = a_candidate([0.0] * 3, [1, 3, 5])
    good = with_recording(trained(1, 0.9, 0.9), "sha 1")
    found = sources(a_history(an_iteration(hack, good, feedback=True)))
    assert [(s.key, s.exploit) for s in found] == [("0.0", True), ("0.1", False)]


def test_an_order_names_the_programs_and_those_whose_worst_pair_is_shown():
    past = history()
    assert [c.key for c in known_candidates(past)] == ["0.1", "0.0"]
    assert set(screen_order(past, known_candidates(past)).programs) == {"0.0", "0.1"}
    assert screen_order(past, new(2), shown=True).asked == {"1.0", "1.1"}
    assert not screen_order(past, new(2)).asked


def test_known_candidates_are_those_that_were_trained_the_exploits_first():
    hack = a_candidate([0.0] * 3, [1, 3, 5])
    past = a_history(an_iteration(hack, trained(1, 0.9, 0.9), proposed(2), feedback=True))
    assert [c.key for c in known_candidates(past)] == ["0.0", "0.1"]
