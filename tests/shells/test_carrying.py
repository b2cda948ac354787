"""From a hint to a stored fact, and what happens when that goes wrong."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import text

from core.errors import ConfigurationError, InvalidInput, SandboxFailed, StorageFailed
from core.ports import Progress
from core.sandbox import IsolationTooWeak
from core.storage import Store
from core.toolbox import Toolbox
from core.tuning import propose_params
from tests.builders import a_spec
from tests.fakes import PretendLaboratory, ScriptedDesigner
from workers.carrying import MAX_FAILURES, MAX_LAPSES, Carrier, Patient


@dataclass
class PretendBench:
    """A bench whose laboratory does as the test says."""

    laboratory: PretendLaboratory
    refusal: SandboxFailed | None = None
    sandbox: None = None
    required_isolation: int = 3

    @property
    def tools(self) -> Toolbox:
        designer = ScriptedDesigner(lambda ask: "no code")
        return Toolbox(
            lambda spec: designer,
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


@pytest.mark.parametrize(
    "error",
    [TypeError("a bug of ours"), StorageFailed("no space left on the artifacts' disk")],
    ids=["a bug", "a full disk"],
)
def test_whatever_a_step_raises_is_told_and_ends_the_job_in_the_end(store, job_id, error):
    class Raising(PretendLaboratory):
        def preflight(self, task, training, seed, watch, *, source=False):
            raise error

    carrier = a_carrier(store, Raising(lambda arm, seed: 0.5))
    for _ in range(MAX_FAILURES):
        wake(store, job_id)
        assert not carrier.carry_out(job_id, "preflight")
        assert any(str(error)[:10] in event.message for event in store.events(job_id))
    assert store.job(job_id).status == "failed"


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


def test_a_step_that_takes_worker_after_worker_with_it_is_given_up(store, job_id):
    for number in range(MAX_LAPSES + 1):
        assert store.claim(job_id, "preflight", f"worker {number}", 0.001) is not None
        while store.activity(job_id):
            pass  # until the database's clock says that the lease is over
    a_carrier(store).carry_out(job_id, "preflight")
    job = store.job(job_id)
    assert (job.status, job.failure.reason) == ("failed", "crash_loop")


def test_a_database_that_is_away_for_a_moment_does_not_end_a_training():
    class Blinking:
        beats = 0

        def beat(self, progress):
            self.beats += 1
            if self.beats == 2:
                raise StorageFailed("the database restarts")

    claim = Blinking()
    watch = Patient(claim, threading.Event(), lease_seconds=30.0)
    for _ in range(3):
        watch(Progress("training", 0, 1))
    assert claim.beats == 3


def test_a_database_that_stays_away_ends_it():
    class Gone:
        def beat(self, progress):
            raise StorageFailed("the database is gone")

    watch = Patient(Gone(), threading.Event(), lease_seconds=0.0)
    with pytest.raises(StorageFailed):
        watch(Progress("training", 0, 1))


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
