"""The bench of the ladder: what it plans, keeps, computes and writes; and its experts, for real."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from api.schemas import JobRequest
from api.submission import complete
from bench.design import __main__ as main
from bench.design import work
from bench.design.arms import (
    DESIGNED,
    EXPERT,
    FIXED,
    arm_of,
    expert_notes,
    expert_source,
    fitness_is_native,
)
from bench.design.comparisons import (
    FULL_TRAINING,
    NOT_READ,
    RUNOFF,
    ablation_works,
    compare_all,
    reached,
    ruling_of_jobs,
    variants_for,
)
from bench.design.costs import cost_of, cost_of_variant, plan, scored_episodes
from bench.design.house import Ended, open_house
from bench.design.ladder import (
    EVOLUTION,
    FULL,
    LADDER,
    QUICK,
    Entry,
    Scale,
    request_for,
    spec_for,
)
from bench.design.page import bracketed, number, render
from bench.design.scoring import (
    counts,
    designed_values,
    nested_interval,
    normalised,
    results,
    task_result,
)
from bench.design.work import Order, job_key, ladder_works, run_key, work_off
from bench.trainer.cells import Cells
from core import loop, seeding
from core.budgets import planned_cost
from core.designers.evolution import EvolutionDesigner
from core.errors import SandboxFailed
from core.records.history import History
from core.records.kinds import FITNESS, NATIVE
from core.sandbox import Sandbox
from core.steps import carry_out
from core.tasks import catalogue
from core.toolbox import Toolbox
from core.training.checking import check_program
from core.training.laboratory import PRELOAD
from core.training.probing import probe_task
from core.tuning import propose_params
from tests.builders import a_preflight, a_run
from tests.fakes import MemoryLedger, PretendLaboratory
from tests.rim.laboratory_parts import MemoryArtifacts

pytestmark = pytest.mark.slow  # whole jobs with a pretend trainer, cut off and taken up again

TINY = Scale(
    name="tiny",
    entries=(
        Entry("cartpole-park", 4_000, "a reason", 1_000.0, 500, wish=True),
        Entry("mountaincar", 2_000, "a reason", 1_000.0, 200),
    ),
    repetitions=2,
    job={
        **FULL.job,
        "iterations": 1,
        "candidates": 2,
        "screens": [],
        "evaluation": {"episodes": 2, "confirm_seeds": 4, "confirm_episodes": 2},
    },
    ablated=("mountaincar",),
)
ORDER = Order(TINY, [*FIXED, DESIGNED], EVOLUTION, "a machine")
LEVELS = {NATIVE: 0.1, FITNESS: 0.2, EXPERT: 0.6}


def level(arm: str, seed: int) -> float:
    """A fitness that depends on the arm, with a little spread over seeds; designs come to 0.8."""
    return LEVELS.get(arm, 0.8) + 0.001 * (seed % 7)


@dataclass
class PretendHouse:
    """Trains nothing: fixed arms and jobs come to `level`, by the real steps of the real loop."""

    dies_after: int | None = None
    fails: list[str] = field(default_factory=list)
    rests: int = 0
    done: list[str] = field(default_factory=list)

    def preflight(self, spec):
        return a_preflight()

    def train(self, spec, arm, seeds):
        self._begin(f"{spec.task.name} {arm.key}")
        return [a_run(arm.key, level(arm.key, seed), seed=seed) for seed in seeds]

    def carry_out(self, request, key):
        self._begin(f"{request['task']} job {request['seed']}")
        ledger = MemoryLedger(History(complete(JobRequest(**request))))
        tools = Toolbox(
            designer=lambda spec: EvolutionDesigner(),
            laboratory=PretendLaboratory(level),
            tuner=propose_params,
            held_out=lambda job, iteration, rung, n: tuple(range(n)),
        )
        while steps := loop.next_steps(ledger.history()):
            carry_out(steps[0], ledger, tools, lambda progress: None)
        return Ended("job_1", ledger.history(), 1.0, resumed=False)

    def rest(self):
        self.rests += 1

    def _begin(self, what):
        if what in self.fails:
            self.fails.remove(what)
            raise SandboxFailed("no memory")
        if self.dies_after == len(self.done):
            raise KeyboardInterrupt
        self.done.append(what)


def worked_off(tmp_path, house, order=ORDER, works=ladder_works):
    cells = Cells(tmp_path / "cells.jsonl")
    planned = works(order, cells) if works is ladder_works else works(order)
    said = []
    done = work_off(planned, cells, house, order, said.append)
    return cells, done, said


# --- the ladder ----------------------------------------------------------------------------------


def test_every_task_of_the_ladder_is_of_the_catalogue_and_says_why_its_steps_are_what_they_are():
    assert len(LADDER) >= 10
    assert len({entry.task for entry in LADDER}) == len(LADDER)
    for entry in LADDER:
        assert entry.task in catalogue()
        assert len(entry.why) > 20, entry.task


def test_a_wish_is_a_task_whose_fitness_is_not_the_native_return():
    for entry in LADDER:
        assert entry.wish != fitness_is_native(catalogue()[entry.task]), entry.task


def test_the_quick_ladder_is_a_part_of_the_full_one_with_fewer_steps():
    full = {entry.task: entry for entry in FULL.entries}
    assert all(entry.steps < full[entry.task].steps for entry in QUICK.entries)
    assert set(FULL.ablated) <= full.keys()


def test_jobs_share_no_training_seed_with_each_other_or_with_the_search():
    fresh = [seeding.confirm_seeds(History(spec_for(LADDER[0], FULL, r))) for r in range(3)]
    search = [seeding.search_seeds(History(spec_for(LADDER[0], FULL, r))) for r in range(3)]
    seeds = [seed for group in (*fresh, *search) for seed in group]
    assert len(set(seeds)) == len(seeds)


# --- experts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", LADDER, ids=lambda entry: entry.task)
def test_every_task_has_an_expert_who_says_how_it_was_derived_and_how_long_it_was_tuned(entry):
    notes = expert_notes(entry.task)
    assert notes is not None
    assert "Derived: " in notes
    assert re.search(r"Tuned: .*\d+ minutes", " ".join(notes.split())), notes
    assert arm_of(EXPERT, spec_for(entry, FULL)).program is not None  # the static rules


def test_a_task_without_an_expert_says_so():
    spec = spec_for(LADDER[0], FULL)
    with pytest.raises(FileNotFoundError, match="no expert program for nowhere"):
        arm_of(EXPERT, replace(spec, task=replace(spec.task, name="nowhere")))


@pytest.fixture(scope="module")
def sandbox():
    box = Sandbox(PRELOAD)
    yield box
    box.close()


@pytest.mark.slow
@pytest.mark.parametrize("entry", LADDER, ids=lambda entry: entry.task)
def test_every_expert_passes_the_check_on_its_task(entry, sandbox):
    artifacts, spec = MemoryArtifacts(), spec_for(entry, FULL)
    found = probe_task(sandbox, artifacts, spec.task, 0, lambda progress: None)
    program = arm_of(EXPERT, spec).program
    shape = check_program(sandbox, artifacts, program, found)
    assert len(shape.components) >= 2


# --- the plan ------------------------------------------------------------------------------------


def test_the_plan_counts_jobs_by_the_loop_and_fixed_arms_once():
    entry = TINY.entries[0]
    spec = spec_for(entry, TINY)
    halved = 2 * 2 * 1_400 + 2 * 2_600  # both to the first rung, one of them to the end; two seeds
    job = 2 * 4_000 + halved + 2 * 4 * 4_000
    assert planned_cost(spec) == job
    cost = cost_of(entry, TINY, [*FIXED, DESIGNED])
    assert cost.jobs == 2 * job
    assert cost.fixed == 2 * (2 * 4 * 4_000)  # fitness and expert; the jobs train the native reward
    assert cost.scoring == 500 * (2 * scored_episodes(spec) + 2 * 2 * 4 * 2)


def test_the_native_reward_is_not_trained_again_where_the_fitness_is_its_return():
    entry = TINY.entries[1]
    assert cost_of(entry, TINY, [*FIXED, DESIGNED]).fixed == 2 * 4 * 2_000  # the expert alone
    assert cost_of(entry, TINY, [NATIVE]).fixed == 2 * 4 * 2_000  # nobody else trains it


def test_the_whole_ladder_is_planned_for_less_than_five_hours():
    costs = [cost_of(entry, FULL, [*FIXED, DESIGNED]) for entry in LADDER]
    assert sum(cost.seconds for cost in costs) < 5 * 3600
    table = plan(FULL, [*FIXED, DESIGNED])
    assert all(f"| {entry.task} |" in table for entry in LADDER)


def test_the_ablations_are_planned_by_what_each_variant_changes():
    full, *others = variants_for(EVOLUTION)
    entry = TINY.entries[1]
    cost = cost_of_variant(entry, TINY, full)
    assert cost.jobs == 2 * (2 * 2_000 + 2 * 2 * 2_000 + 2 * 4 * 2_000)  # nothing is halved
    assert f"| mountaincar: {full.name} |" in plan(TINY, [DESIGNED], [full])
    halved = [other for other in others if other is not RUNOFF]
    assert all(cost_of_variant(entry, TINY, other).jobs < cost.jobs for other in halved)


def test_more_jobs_are_run_where_three_a_side_left_a_doubt_of_halving():
    order = replace(ORDER, scale=FULL)
    keys = [work.keys[0] for work in ablation_works(order) if work.keys[0]["task"] == "mountaincar"]
    usual = {RUNOFF.name: 3, "reward only": 3, "features only": 3}
    eight = {"": 8, FULL_TRAINING: 8, "halves": 8, "three rungs": 8}
    assert Counter(key["variant"] for key in keys) == {**usual, **eight}
    others = Counter(w.keys[0]["variant"] for w in ablation_works(order) if "park" in w.title)
    assert set(others.values()) == {FULL.repetitions}
    fewer = replace(order, scale=replace(FULL, repetitions=1))
    assert {work.keys[0]["seed"] for work in ablation_works(fewer)} == {0}
    model = replace(order, designer={"name": "openai", "model": "m"})
    assert max(w.keys[0]["seed"] for w in ablation_works(model)) == FULL.repetitions - 1


def test_a_runoff_is_tried_where_jobs_are_short():
    order = replace(ORDER, scale=FULL)
    tried = [w.keys[0]["task"] for w in ablation_works(order) if "runoff" in w.keys[0]["variant"]]
    assert len(tried) == FULL.repetitions * len(set(tried)) == 24
    entry = next(e for e in FULL.entries if e.task == "acrobot")
    assert spec_for(entry, FULL).evaluation.runoff_candidates == 0
    assert spec_for(entry, FULL, changes=RUNOFF.changes).evaluation.runoff_candidates == 4


def test_the_page_tells_the_verdict_of_jobs_beside_that_of_runs(tmp_path):
    cells, _, _ = worked_off(tmp_path, PretendHouse(), works=ablation_works)
    found = document(ORDER, cells)
    assert "equal (worse)" not in render(found)
    told = [{**one, "verdict": "equal", "verdict_of_jobs": "worse"} for one in found["ablations"]]
    assert "| equal (worse) |" in render({**found, "ablations": told})


def test_a_few_jobs_a_side_say_nothing_of_the_next_one():
    low, high = [[0.1, 0.3]] * 4, [[0.8, 0.9]] * 4
    assert ruling_of_jobs(low[:3], high[:3]) is None
    assert ruling_of_jobs(low, high) == "worse"
    assert ruling_of_jobs(low, low) == "equal"


# --- cells: each thing once ----------------------------------------------------------------------


def test_the_ladder_goes_through_all_tasks_before_it_repeats_one(tmp_path):
    house = PretendHouse()
    _, done, _ = worked_off(tmp_path, house)
    assert done
    assert house.done == [
        *("cartpole-park fitness", "cartpole-park expert", "cartpole-park job 0"),
        *("mountaincar expert", "mountaincar job 0"),
        *("cartpole-park fitness", "cartpole-park expert", "cartpole-park job 1"),
        *("mountaincar expert", "mountaincar job 1"),
    ]


@pytest.mark.parametrize("after", [0, 1, 3, 9])
def test_what_was_measured_before_an_interruption_is_kept_and_not_measured_again(tmp_path, after):
    first, second = PretendHouse(dies_after=after), PretendHouse()
    with pytest.raises(KeyboardInterrupt):
        worked_off(tmp_path, first)
    cells, done, _ = worked_off(tmp_path, second)
    assert done
    whole = PretendHouse()
    worked_off(tmp_path / "other", whole)
    assert first.done + second.done == whole.done
    assert len(list(cells)) == 4 + 2 * 4 * 3  # jobs; runs of fitness and expert, expert


def test_where_the_machine_fails_once_it_is_tried_again(tmp_path):
    house = PretendHouse(fails=["cartpole-park expert", "mountaincar job 1"])
    _, done, said = worked_off(tmp_path, house)
    assert done
    assert house.rests == 2
    assert len([words for words in said if "no memory" in words]) == 2


def test_a_machine_that_keeps_failing_ends_the_run(tmp_path):
    with pytest.raises(SandboxFailed):
        worked_off(tmp_path, PretendHouse(fails=["mountaincar expert"] * 3))


def test_nothing_is_begun_after_the_deadline(tmp_path):
    house = PretendHouse()
    _, done, said = worked_off(tmp_path, house, replace(ORDER, deadline=0.0))
    assert not done
    assert house.done == []
    assert "call again" in said[-1]


def test_a_job_that_ends_without_a_design_leaves_the_native_reward_to_be_trained(tmp_path):
    order = replace(ORDER, scale=replace(TINY, entries=TINY.entries[1:], repetitions=1))

    class Fruitless(PretendHouse):
        def carry_out(self, request, key):
            ended = super().carry_out(request, key)
            lost = {"outcome": None, "confirmations": (), "status": "failed", "failure": "none"}
            return replace(ended, history=replace(ended.history, **lost))

    house = Fruitless()
    cells, _, _ = worked_off(tmp_path, house, order)
    assert house.done == ["mountaincar expert", "mountaincar job 0", "mountaincar native"]
    found = results(order, cells)[0]
    assert found["fitness"][NATIVE]["n"] == 4
    assert found["fitness"][DESIGNED]["mean"] == pytest.approx(0.1)  # the random policy
    assert found["verdict"] != "better"
    assert "the random policy: mountaincar (job seed 0: none)" in render(document(order, cells))


def test_a_key_changes_with_the_expert_the_steps_and_the_budget_but_not_with_the_words(monkeypatch):
    entry = TINY.entries[0]
    before = run_key(entry, TINY, EXPERT, 500)
    assert run_key(replace(entry, steps=5_000), TINY, EXPERT, 500) != before
    assert run_key(replace(entry, why="another"), TINY, EXPERT, 500) == before
    job = job_key(entry, TINY, 0, EVOLUTION)
    other = replace(TINY, job={**TINY.job, "iterations": 2})
    assert job_key(entry, other, 0, EVOLUTION) != job
    assert run_key(entry, other, EXPERT, 500) == before  # a longer search changes no fixed arm
    monkeypatch.setattr("bench.design.work.expert_source", lambda task: "another program")
    assert run_key(entry, TINY, EXPERT, 500) != before
    assert run_key(entry, TINY, NATIVE, 500)["is"] != before["is"]


def test_words_of_a_task_make_another_key_for_designers_that_read_them_alone(monkeypatch):
    entry, model = TINY.entries[0], {"name": "openai", "model": "m"}

    def keys():
        jobs = [job_key(entry, TINY, 0, designer)["is"] for designer in (EVOLUTION, model)]
        return [run_key(entry, TINY, EXPERT, 500)["is"], *jobs]

    before = keys()
    mapping = work.task_to_mapping
    told = {"description": "Other words.", "actions": "Other words of the actions."}
    monkeypatch.setattr(work, "task_to_mapping", lambda task: {**mapping(task), **told})
    assert [old == new for old, new in zip(before, keys(), strict=True)] == [True, True, False]


# --- results -------------------------------------------------------------------------------------


def document(order, cells):
    return main.document_of(order, cells, "python -m bench.design", order.scale)


@pytest.fixture
def measured(tmp_path):
    cells, _, _ = worked_off(tmp_path, PretendHouse())
    return cells


def test_a_task_has_its_arms_with_intervals_and_what_the_designs_are_worth(measured):
    park, car = results(ORDER, measured)
    assert {arm: found["n"] for arm, found in park["fitness"].items()} == {
        **dict.fromkeys((NATIVE, FITNESS, EXPERT), 8),
        DESIGNED: 8,
    }
    assert park["fitness"][EXPERT]["low"] <= park["fitness"][EXPERT]["mean"] <= 0.61
    assert park["normalised"] == pytest.approx((0.8 - 0.2) / (0.6 - 0.2), abs=0.01)
    assert (park["verdict"], park["verdict_expert"]) == ("better", "better")
    assert [job["verdict"] for job in park["repetitions"]] == ["better", "better"]
    assert all("def reward" in job["source"] for job in park["repetitions"])
    assert park["env_steps"] == sum(job["env_steps"] for job in park["repetitions"])
    assert car["fitness_is_native"]
    assert car["fitness"][FITNESS] == car["fitness"][NATIVE]
    assert json.loads(json.dumps([park, car])) == [park, car]


def test_nothing_is_said_of_a_task_of_which_nothing_was_measured(tmp_path):
    assert task_result(TINY.entries[0], ORDER, Cells(tmp_path / "none.jsonl")) is None


def test_the_normalised_score_is_eurekas():
    alone, expert = [0.1, 0.12, 0.11, 0.1], [0.5, 0.52, 0.51, 0.5]
    assert normalised(expert, alone, expert) == pytest.approx(1.0)
    assert normalised(alone, alone, expert) == pytest.approx(0.0)
    worse = [
        v - 0.4 for v in alone
    ]  # an expert below the fitness alone: the sign is the design's own
    assert normalised(expert, alone, worse) == pytest.approx(1.0)


def test_there_is_no_normalised_score_where_the_expert_is_not_told_from_the_fitness_alone():
    alone, expert = [0.1, 0.9, 0.2, 0.8], [0.2, 0.9, 0.3, 0.7]
    assert normalised([0.9] * 4, alone, expert) is None
    assert normalised([0.9] * 4, [], expert) is None
    assert normalised([], alone, expert) is None


def test_the_designs_interval_is_as_wide_as_jobs_differ_and_not_as_their_runs_do():
    alike = nested_interval([[0.5, 0.52, 0.48]] * 3)
    apart = nested_interval([[0.1] * 3, [0.5] * 3, [0.9] * 3])
    assert alike.high - alike.low < 0.04
    assert (apart.low, apart.high) == (pytest.approx(0.1), pytest.approx(0.9))
    assert (apart.mean, apart.n) == (pytest.approx(0.5), 9)


def test_a_failed_run_and_a_missing_design_count_as_the_random_policy():
    assert designed_values({"designed": {"500": 0.7, "501": None}, "random": 0.1}, 4) == [0.7, 0.1]
    assert designed_values({"designed": {}, "random": 0.1}, 4) == [0.1] * 4


def test_the_goals_are_counted_over_compared_tasks(measured):
    found = results(ORDER, measured)
    worse = {**found[0], "verdict": "worse", "verdict_expert": "worse"}
    tally = counts([*found, worse, {**worse, "verdict": None, "verdict_expert": None}])
    assert (tally["tasks"], tally["better"], tally["worse"]) == (3, 2, 1)
    assert (tally["wishes"], tally["wishes_worse"]) == (2, 1)
    assert (tally["against_expert"], tally["expert_better"]) == (3, 2)


# --- ablations -----------------------------------------------------------------------------------


def test_ablations_use_the_jobs_of_the_ladder_again(tmp_path):
    house = PretendHouse()
    worked_off(tmp_path, house)
    before = len(house.done)
    cells, _, _ = worked_off(tmp_path, house, works=ablation_works)
    assert len(house.done) - before == 2 * len(variants_for(EVOLUTION))
    found = [c for c in compare_all(ORDER, cells) if c["variant"] == FULL_TRAINING]
    assert [one["first"] for one in found] == ["lean", "halves", "three rungs"]
    for full in found:
        assert full["job_seeds"] == [0, 1]
        assert full["verdict"] == "equal"
        assert full["ours"]["search_env_steps"] > 0
        assert [one["sparing"] for one in full["reached"]] != [None, None]


def test_smoothness_is_compared_only_where_a_designer_reads_it():
    names = {variant.name for variant in variants_for(EVOLUTION)}
    more = {variant.name for variant in variants_for({"name": "openai"})}
    assert more - names == {"smoothness as in LESR", "no smoothness"}
    assert "reads no smoothness" in NOT_READ


@pytest.mark.parametrize("variant", variants_for({"name": "openai"}), ids=lambda v: v.name)
def test_every_variant_is_a_request_that_the_service_takes(variant):
    spec = spec_for(TINY.entries[0], TINY, changes=variant.changes)
    assert spec != spec_for(TINY.entries[0], TINY)


def test_any_designer_can_be_asked_for_and_its_model_is_named():
    request = request_for(TINY.entries[0], TINY, 1, {"name": "openai", "model": "any"})
    assert complete(JobRequest(**request)).designer.model == "any"
    key = job_key(TINY.entries[0], TINY, 1, {"name": "openai", "model": "any"})
    assert key["designer"] == "openai/any"
    assert key["is"] != job_key(TINY.entries[0], TINY, 1, {"name": "openai", "model": "b"})["is"]


def test_what_it_costs_to_reach_the_full_searchs_fitness():
    full = [{"env_steps": 100, "fitness": 0.5}, {"env_steps": 200, "fitness": 0.7}]
    lean = [{"env_steps": 30, "fitness": None}, {"env_steps": 60, "fitness": 0.8}]
    assert reached(lean, full) == {"target": 0.7, "sparing": 60, "full": 200, "share": 0.3}
    assert reached(full, lean)["share"] is None
    assert reached(lean, [])["target"] is None


# --- the page ------------------------------------------------------------------------------------


def test_the_page_shows_every_task_and_says_where_the_designs_fall_short(measured):
    text = render(document(ORDER, measured))
    assert re.search(r"\| cartpole-park\* \| 0\.10\d \[.*\] \| .* \| 1\.50 \| \*\*better\*\*", text)
    assert re.search(r"\| mountaincar \| .* \| = native \|", text)
    assert "Worse than the native reward: none." in text
    assert NOT_READ in text
    assert "Not finished yet" not in text


def test_the_page_says_what_is_not_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        worked_off(tmp_path, PretendHouse(dies_after=2))
    found = document(ORDER, Cells(tmp_path / "cells.jsonl"))
    assert found["not_begun"] == ["mountaincar"]
    assert "**Not finished yet**: cartpole-park, mountaincar." in render(found)


def test_a_page_of_nothing_can_be_written(tmp_path):
    assert "nothing yet" in render(document(ORDER, Cells(tmp_path / "none.jsonl")))


@pytest.mark.parametrize(
    ("value", "shown"), [(0.12345, "0.123"), (-152.34, "-152"), (12345.6, "12,346"), (0.0, "0")]
)
def test_numbers_are_rounded_by_their_size(value, shown):
    assert number(value) == shown


def test_an_arm_that_was_not_measured_leaves_its_place_empty():
    assert bracketed(None) == ""
    assert bracketed({"mean": 0.5, "low": 0.25, "high": 1.0}) == "0.5 [0.25, 1]"


MODEL = {"name": "openai", "model": "m"}


def test_another_designers_page_does_not_replace_that_of_evolution(tmp_path, measured):
    order = replace(ORDER, designer=MODEL)
    (job,) = measured.of(**job_key(TINY.entries[0], TINY, 0, EVOLUTION))
    said = {name: value for name, value in job.items() if name != "key"}
    measured.add(job_key(TINY.entries[0], TINY, 0, MODEL), said)
    main.write(document(ORDER, measured), tmp_path, ORDER)
    main.write(document(order, measured), tmp_path, order)
    names = {path.name for path in tmp_path.iterdir() if path.name.startswith("design")}
    assert names == {"design.json", "design.md", "design-openai.json", "design-openai.md"}
    ours, theirs = (json.loads((tmp_path / f"design{n}.json").read_text()) for n in ("", "-openai"))
    assert [one["task"] for one in ours["tasks"]] == ["cartpole-park", "mountaincar"]
    assert [one["task"] for one in theirs["tasks"]] == ["cartpole-park"]  # where it has a job
    assert theirs["tasks"][0]["fitness"][EXPERT] == ours["tasks"][0]["fitness"][EXPERT]
    assert [len(found["tasks"][0]["repetitions"]) for found in (ours, theirs)] == [2, 1]


def test_a_designer_without_a_job_has_no_task(measured):
    found = document(replace(ORDER, designer=MODEL), measured)
    assert (found["tasks"], found["not_begun"]) == ([], ["cartpole-park", "mountaincar"])


# --- for real ------------------------------------------------------------------------------------


class Interrupted:
    """A store that is read once the preflight stands, as when somebody presses Ctrl-C."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def history(self, job_id):
        found = self._store.history(job_id)
        if found.preflight is not None:
            raise KeyboardInterrupt
        return found


@pytest.mark.slow
def test_a_job_that_was_cut_off_goes_on_in_its_house_and_ends_with_a_design(tmp_path):
    scale = replace(TINY, entries=TINY.entries[1:], repetitions=1)
    order = Order(scale, [EXPERT, DESIGNED], EVOLUTION, "a machine")
    cells = Cells(tmp_path / "cells.jsonl")
    with open_house(tmp_path / "house") as house:
        house.store = Interrupted(house.store)
        with pytest.raises(KeyboardInterrupt):
            work_off(ladder_works(order, cells), cells, house, order, lambda words: None)
    assert len(cells.of(what="run", arm=EXPERT)) == 4
    with open_house(tmp_path / "house") as house:
        begun = house.store.jobs().items
        assert work_off(ladder_works(order, cells), cells, house, order, lambda words: None)
        (cell,) = cells.of(what="job")
        assert [job.id for job in begun] == [cell["job"]]
    assert (cell["status"], cell["resumed"]) == ("succeeded", True)
    assert sorted(cell["native"]) == sorted(cell["designed"]) == ["500", "501", "502", "503"]
    assert task_result(scale.entries[0], order, cells)["fitness"][DESIGNED]["n"] == 4


def test_an_expert_is_read_from_the_file_of_its_task():
    assert "def reward" in expert_source("cartpole-park")
    assert expert_source("no-such-task") is None
