"""Jobs in several states of their life, told to a store through claims and ledgers as workers do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from core.ports import Progress
from core.records.asking import Exchange, Prompt, Reply, Usage
from core.records.kinds import NATIVE
from core.records.measured import Curve, Report, Rollout, Run, TermStatistics
from core.records.outcome import Outcome
from core.records.rounds import Candidate, Feedback
from core.storage import ClaimedStep, Store
from tests.builders import (
    a_preflight,
    a_program,
    a_run,
    a_spec,
    an_outcome,
    confirmations,
    rejected,
    trained,
)

CURVE = Curve((500, 1000), {"return": (10.0, 20.0)})


def a_new_job(store: Store, name: str | None = None, **changes: object) -> str:
    job, _ = store.create_job(
        a_spec(**changes), idempotency_key=None, body_sha256="0" * 64, name=name, labels={}
    )
    return job.id


@contextmanager
def step(store: Store, job_id: str, key: str) -> Iterator[ClaimedStep]:
    claim = store.claim(job_id, key, "worker", 30.0)
    assert claim is not None
    claim.begin()
    yield claim
    claim.release()


def a_job_in_training(store: Store, **changes: object) -> str:
    """Two candidates are proposed, one of them rejected, and nothing is measured yet."""
    job_id = a_new_job(store, **changes)
    with step(store, job_id, "preflight") as claim:
        claim.add_preflight(a_preflight())
    with step(store, job_id, "baseline") as claim:
        claim.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1)], {})
    with step(store, job_id, "propose/0") as claim:
        claim.add_exchange(an_exchange())
        claim.add_candidate(trained(0))
        claim.add_candidate(rejected(1, "line 3: expected a dict, but found a float"))
        claim.end_proposing(0)
    return job_id


def a_finished_job(
    store: Store, outcome: Outcome | None = None, *, video: str | None = None, **changes: object
) -> str:
    """Candidate 0.0 was trained, reflected upon, confirmed on fresh seeds, and is better.

    `video` is the artifact of its film; None where nobody filmed.
    """
    job_id = a_job_in_training(store, **changes)
    with step(store, job_id, "train/0/0/0") as claim:
        claim.add_runs([_measured("0.0", 0.7, 0), _measured("0.0", 0.9, 1)], {"0.0": a_report()})
    with step(store, job_id, "reflect/0") as claim:
        claim.add_feedback(Feedback(0, "`near` is all of the reward.", "0.0", ("one term",)))
    with step(store, job_id, "confirm/0") as claim:
        claim.add_runs(confirmations({NATIVE: [0.1, 0.2, 0.3], "0.0": [0.8, 0.8, 0.9]}), {})
    if video is not None:
        with step(store, job_id, "film") as claim:
            claim.add_rollouts([Rollout("0.0", 0, 77, fitness=0.8, video=video)])
    with step(store, job_id, "finish") as claim:
        claim.finish(outcome or an_outcome())
    return job_id


def a_failed_job(store: Store) -> str:
    job_id = a_new_job(store)
    with step(store, job_id, "preflight") as claim:
        claim.fail("environment_unusable", "CartPol-v1: no such environment. Check the id.")
    return job_id


def a_blocked_job(store: Store) -> str:
    """The designer cannot be asked until people have mended something."""
    job_id = a_job_in_training(store)
    with step(store, job_id, "reflect/0") as claim:
        claim.pause("The key was refused.")
    store.settle(job_id)
    return job_id


def a_job_that_awaits_feedback(store: Store, video: str | None = None) -> str:
    """Two candidates are measured, and people have not said yet what they think.

    `video` is the artifact of the film that both have got; None where nobody filmed.
    """
    job_id = a_new_job(store, await_feedback=True)
    with step(store, job_id, "propose/0") as claim:
        claim.add_candidate(trained(0))
        claim.add_candidate(trained(1))
        claim.end_proposing(0)
    with step(store, job_id, "train/0/0/0") as claim:
        measured = [_measured(f"0.{n}", 0.3 + n, seed) for n in (0, 1) for seed in (0, 1)]
        claim.add_runs(measured, {"0.0": a_report()})
    with step(store, job_id, "reflect/0") as claim:
        claim.add_feedback(Feedback(0, "Both stand.", "0.1"))
    if video is not None:
        films_to_judge(store, job_id, video)
    with step(store, job_id, "await/0") as claim:
        claim.await_feedback("Say what you think.")
    return job_id


def films_to_judge(store: Store, job_id: str, video: str) -> None:
    """Let a worker film what people judge; the native reward cannot be filmed."""
    with step(store, job_id, "show/0") as claim:
        claim.add_rollouts(
            [Rollout(f"0.{n}", 0, 77, fitness=0.3 + n, video=video, stage="search") for n in (0, 1)]
        )
        claim.add_rollouts([Rollout(NATIVE, 0, 77, failure="no driver", stage="baseline")])


def while_training(store: Store, job_id: str) -> ClaimedStep:
    """A worker holds a Train step and has said how far it is."""
    claim = store.claim(job_id, "train/0/0/0", "worker", 30.0)
    assert claim is not None
    claim.begin()
    claim.beat(Progress("training", 600, 2000, "2 runs"))
    return claim


def many_events(store: Store, job_id: str, number: int) -> None:
    with step(store, job_id, "preflight") as claim:
        for count in range(number):
            claim.event("log", f"message {count} – with ünïcode", {"count": count})


STORIES: dict[str, Callable[[Store], str]] = {
    "queued": a_new_job,
    "training": a_job_in_training,
    "finished": a_finished_job,
    "failed": a_failed_job,
}


def an_exchange() -> Exchange:
    return Exchange(
        iteration=0,
        slot=0,
        attempt=0,
        prompt=Prompt((("system", "You design rewards."), ("user", "Park the point."))),
        reply=Reply(a_program().source, usage=Usage(100, 50), model="grammar"),
        designer="evolution",
    )


def a_report() -> Report:
    near = TermStatistics(mean=0.5, std=0.1, low=0.0, high=1.0, share=1.0)
    seen = TermStatistics(0.1, 0.3, -1.0, 1.0, smooth=1.2, explains=0.8, redundant=0.1, used=1.0)
    return Report(components={"near": near}, inputs={"x[0]": seen}, episode_length=100.0)


def _measured(arm: str, fitness: float, seed: int) -> Run:
    return replace(a_run(arm, fitness, seed=seed), curve=CURVE, checkpoints=((1000, fitness),))


def trained_from_given(iteration: int, number: int, given: int) -> Candidate:
    """The candidate that a program of people's became."""
    return replace(trained(number, iteration=iteration), operator="given", given=given)
