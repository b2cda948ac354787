"""From a hint to a stored fact, and what happens when that goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import structlog
from sqlalchemy import text

from core.errors import (
    ClaimLost,
    ConfigurationError,
    InvalidInput,
    SandboxFailed,
    StorageFailed,
    TrainingFailed,
)
from core.records.spec import DesignerChoice
from core.sandbox import ChildDied, ChildExit, IsolationTooWeak
from core.storage import Store
from core.storage.claims import TOLERATED_LAPSES
from core.toolbox import Toolbox
from core.tuning import propose_params
from tests.builders import a_preflight, a_spec
from tests.fakes import PretendLaboratory, ScriptedDesigner
from tests.heart.whole_jobs import good
from tests.rim.storing import a_claim, a_job
from workers.carrying import MAX_FAILURES, Carrier


@pytest.fixture(scope="module", autouse=True)
def plain_logs():
    """A traceback in colours takes a second."""
    plain = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(processors=plain)
    yield
    structlog.reset_defaults()


@dataclass
class PretendBench:
    """A bench whose laboratory does as the test says."""

    laboratory: PretendLaboratory
    refusal: SandboxFailed | None = None
    sandbox: None = None
    required_isolation: int = 3
    designer: ScriptedDesigner = field(
        default_factory=lambda: ScriptedDesigner(lambda ask: "no code")
    )

    @property
    def tools(self) -> Toolbox:
        return Toolbox(
            lambda spec: self.designer,
            self.laboratory,
            lambda job, i, r, n: tuple(range(n)),
            propose_params,
        )

    def permit(self, history):
        if self.refusal:
            raise self.refusal


class Broken(PretendLaboratory):
    def preflight(self, task, training, seed, watch, *, source=False):
        raise SandboxFailed("no memory for a child")


@pytest.fixture
def job_id(store: Store) -> str:
    job, _ = store.create_job(
        a_spec(), idempotency_key=None, body_sha256="0" * 64, name=None, labels={}
    )
    return job.id


def a_carrier(store, laboratory=None, **bench) -> Carrier:
    laboratory = laboratory or PretendLaboratory(lambda arm, seed: 0.5)
    return Carrier(store, PretendBench(laboratory, **bench), "me", 30.0)


def wake(store, job_id):
    """Let the rest after a failure be over, as time would."""
    with store._engine.begin() as connection:
        connection.execute(text("UPDATE claims SET resting_until = NULL"))


def test_a_free_step_is_done_and_its_claim_given_back(store, job_id):
    assert a_carrier(store).carry_out(job_id, "preflight")
    assert store.history(job_id).preflight is not None
    assert store.activity(job_id) == ()


def test_a_step_that_is_not_wanted_is_left_alone(store, job_id):
    assert not a_carrier(store).carry_out(job_id, "train/0/0/0")
    assert store.history(job_id).iterations == ()


def test_the_phase_is_that_of_the_step_that_is_done_and_a_late_message_does_not_change_it(
    store, job_id
):
    phases = []

    class Watched(PretendLaboratory):
        def train(self, *given, **more):
            phases.append(store.job(job_id).phase)
            return super().train(*given, **more)

    carrier = a_carrier(store, Watched(lambda arm, seed: 0.5))
    assert carrier.carry_out(job_id, "preflight")
    assert carrier.carry_out(job_id, "baseline")
    assert phases == ["baseline"], "it is told while the step is done"
    before = store.events(job_id)
    assert not carrier.carry_out(job_id, "preflight")
    assert not carrier.carry_out(job_id, "confirm/0")
    assert store.job(job_id).phase == "baseline"
    assert store.events(job_id) == before


def test_a_repair_is_told_once_although_whoever_told_it_vanished_before_the_answer(store):
    spec = a_spec(designer=DesignerChoice("openai"), screens=(), candidates=1)
    job_id = a_job(store, spec).id
    with a_claim(store, job_id, "preflight") as claim:
        claim.add_preflight(a_preflight())

    def script(ask):
        if ask.attempt == 0:
            return "no code at all"
        if len(designer.asked) == 2:
            raise ClaimLost("the worker vanished here")
        return good(ask)

    designer = ScriptedDesigner(script, name="openai")
    carrier = a_carrier(store, designer=designer)
    assert not carrier.carry_out(job_id, "propose/0")
    assert carrier.carry_out(job_id, "propose/0")
    told = [e.data for e in store.events(job_id, limit=100) if e.kind == "candidate.repair"]
    assert told == [{"iteration": 0, "slot": 0, "attempt": 0}]
    assert [one.attempt for one in store.exchanges(job_id)] == [0, 1]


def test_a_step_that_somebody_owns_is_left_alone(store, job_id):
    claim = store.claim(job_id, "preflight", "somebody else", 60)
    assert not a_carrier(store).carry_out(job_id, "preflight")
    claim.release()


def test_a_message_of_a_deleted_job_is_no_error(store):
    assert not a_carrier(store).carry_out("job_" + "0" * 26, "preflight")


def test_a_broken_system_lets_the_step_rest_and_says_so(store, job_id):
    assert not a_carrier(store, Broken(lambda arm, seed: 0.5)).carry_out(job_id, "preflight")
    assert store.job(job_id).status == "running"
    assert store.claim(job_id, "preflight", "me", 5) is None, "it rests"
    messages = [event.message for event in store.events(job_id)]
    assert any("no memory for a child" in message for message in messages)


def test_a_step_that_breaks_again_and_again_ends_the_job_with_its_last_words(store, job_id):
    carrier = a_carrier(store, Broken(lambda arm, seed: 0.5))
    for _ in range(MAX_FAILURES):
        wake(store, job_id)
        assert not carrier.carry_out(job_id, "preflight")
    job = store.job(job_id)
    assert (job.status, job.failure.reason) == ("failed", "crash_loop")
    assert "no memory for a child" in job.failure.message


def raising(error) -> PretendLaboratory:
    """A laboratory whose every preflight raises the error."""

    class Raising(PretendLaboratory):
        def preflight(self, task, training, seed, watch, *, source=False):
            raise error

    return Raising(lambda arm, seed: 0.5)


def test_a_bug_of_ours_is_told_and_ends_the_job_in_the_end(store, job_id):
    carrier = a_carrier(store, raising(TypeError("a bug of ours")))
    for _ in range(MAX_FAILURES):
        wake(store, job_id)
        assert not carrier.carry_out(job_id, "preflight")
        assert any("a bug of ours" in event.message for event in store.events(job_id))
    assert store.job(job_id).status == "failed"


def test_a_full_disk_is_waited_for_however_long_it_takes(store, job_id):
    carrier = a_carrier(store, raising(StorageFailed("no space left on the artifacts' disk")))
    for _ in range(3 * MAX_FAILURES):
        wake(store, job_id)
        assert not carrier.carry_out(job_id, "preflight")
    assert store.job(job_id).status == "running"
    (waiting,) = store.activity(job_id)
    assert "no space left" in waiting.progress.note
    wake(store, job_id)
    assert a_carrier(store).carry_out(job_id, "preflight")


def test_a_child_that_dies_again_and_again_ends_the_job_with_its_last_stderr(store, job_id):
    end = ChildExit(None, 11, 0, 0.1, "Traceback: the simulator has no licence")
    died = ChildDied("it was ended by SIGSEGV before it answered", exit=end)
    wrapped = TrainingFailed("a training child of the native reward")
    wrapped.__cause__ = died
    carrier = a_carrier(store, raising(wrapped))
    for _ in range(MAX_FAILURES):
        wake(store, job_id)
        carrier.carry_out(job_id, "preflight")
    job = store.job(job_id)
    assert (job.status, job.failure.reason) == ("failed", "crash_loop")
    assert job.failure.data["stderr"] == "Traceback: the simulator has no licence"


def test_a_setting_that_is_wrong_lets_the_job_rest_until_it_is_mended(store, job_id):
    class Unset(PretendLaboratory):
        def preflight(self, task, training, seed, watch, *, source=False):
            raise ConfigurationError("no key", hint="Set REWARDSMITH_OPENAI_API_KEY.")

    a_carrier(store, Unset(lambda arm, seed: 0.5)).carry_out(job_id, "preflight")
    assert store.job(job_id).status == "paused"
    assert any("Set REWARDSMITH_OPENAI_API_KEY" in event.message for event in store.events(job_id))
    store.resume(job_id)
    assert a_carrier(store).carry_out(job_id, "preflight")


def test_a_request_that_can_never_be_carried_out_ends_at_once(store, job_id):
    a_carrier(store).carry_out(job_id, "preflight")

    class Refusing(PretendLaboratory):
        def train(self, order, watch, save):
            raise InvalidInput("a number that is not finite")

    a_carrier(store, Refusing(lambda arm, seed: 0.5)).carry_out(job_id, "baseline")
    job = store.job(job_id)
    assert (job.status, job.failure.reason) == ("failed", "invalid_input")


def test_a_step_that_rests_says_why_it_waits(store, job_id):
    a_carrier(store, Broken(lambda arm, seed: 0.5)).carry_out(job_id, "preflight")
    (waiting,) = store.activity(job_id)
    assert waiting.progress.phase == "waiting"
    assert "no memory for a child" in waiting.progress.note


def vanish(store, job_id, times):
    """Let so many workers take the step and die of it, one after the other."""
    for number in range(times):
        assert store.claim(job_id, "preflight", f"worker {number}", 0.001) is not None
        while store.activity(job_id):
            pass  # until the database's clock says that the lease is over


def test_workers_that_die_with_a_step_in_hand_never_end_its_job(store, job_id):
    vanish(store, job_id, TOLERATED_LAPSES + 1)
    for lapses in range(TOLERATED_LAPSES + 1, 30):
        assert store.claim(job_id, "preflight", "the next one", 60) is None, "it rests"
        (waiting,) = store.activity(job_id)
        assert f"{lapses} workers vanished" in waiting.progress.note
        wake(store, job_id)
        vanish(store, job_id, 1)
    store.claim(job_id, "preflight", "the next one", 60)
    wake(store, job_id)
    assert a_carrier(store).carry_out(job_id, "preflight")


def test_a_few_workers_that_die_with_a_step_in_hand_cost_it_no_rest(store, job_id):
    vanish(store, job_id, TOLERATED_LAPSES)
    assert a_carrier(store).carry_out(job_id, "preflight")


def test_a_database_that_goes_away_leaves_the_claim_to_lapse(store, job_id):
    class Away:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def release(self):
            raise StorageFailed("the database is gone")

    class Leaving:
        def claim(self, *given):
            return Away(store.claim(*given))

    carrier = replace(a_carrier(store), store=Leaving())
    assert carrier.carry_out(job_id, "preflight")
    assert len(store.activity(job_id)) == 1


def test_a_machine_whose_walls_are_too_thin_runs_nothing(store, job_id):
    laboratory = PretendLaboratory(lambda arm, seed: 0.5)
    carrier = a_carrier(store, laboratory, refusal=SandboxFailed("isolation level 1"))
    assert not carrier.carry_out(job_id, "preflight")
    assert store.history(job_id).preflight is None


def test_a_job_waits_where_walls_are_too_thin_and_says_what_is_missing(store, job_id):
    laboratory = PretendLaboratory(lambda arm, seed: 0.5)
    refusal = IsolationTooWeak("level 1", hint="Use a kernel with Landlock.")
    for _ in range(5):
        a_carrier(store, laboratory, refusal=refusal).carry_out(job_id, "preflight")
    job = store.job(job_id)
    assert job.status == "paused"
    assert any("Use a kernel with Landlock." in e.message for e in store.events(job_id, 0, 100))


def test_a_worker_that_is_being_stopped_gives_its_step_back(store, job_id):
    carrier = a_carrier(store)
    carrier.carry_out(job_id, "preflight")

    class Stopping(PretendLaboratory):
        def train(self, order, watch, save):
            carrier.stopping.set()
            return super().train(order, watch, save)

    carrier = replace(carrier, bench=PretendBench(Stopping(lambda arm, seed: 0.5)))
    assert not carrier.carry_out(job_id, "baseline")
    assert store.history(job_id).native == ()
    assert store.activity(job_id) == ()


def test_a_cancelled_training_stores_nothing_and_the_job_ends(store, job_id):
    carrier = a_carrier(store)
    carrier.carry_out(job_id, "preflight")

    class Cancelled(PretendLaboratory):
        def train(self, order, watch, save):
            store.request_cancel(job_id)
            return super().train(order, watch, save)

    carrier = a_carrier(store, Cancelled(lambda arm, seed: 0.5))
    assert not carrier.carry_out(job_id, "baseline")
    assert store.job(job_id).status == "cancelled"
    assert store.history(job_id).native == ()


def test_a_designer_without_code_ends_the_job_and_every_word_is_kept(store, job_id):
    carrier = a_carrier(store)
    for key in ("preflight", "baseline", "propose/0"):
        carrier.carry_out(job_id, key)
    exchanges = store.exchanges(job_id)
    assert {exchange.reply.text for exchange in exchanges} == {"no code"}
    assert all(c.rejection for c in store.iterations(job_id)[0].candidates)
