"""Writing what a Propose step finds: questions and their cost, candidates, decisions of the screens.

Everything here happens on the connection of a transaction that has locked the job's row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, select, update

from core.errors import NotFound
from core.ports import Filled, News, Screened
from core.prices import asks_a_model
from core.records.asking import Exchange, Usage
from core.records.kinds import Json
from core.records.rounds import Candidate
from core.storage.clean import spell_nonfinite
from core.storage.codec import dump, dump_record, to_columns
from core.storage.facts import insert_new, insert_once, open_iteration
from core.storage.ids import candidate_id
from core.storage.lifecycle import append_events
from core.storage.tables import candidates, checks, exchanges, iterations, jobs, reservations


def add_exchange(connection: Connection, job_id: str, exchange: Exchange) -> None:
    """Store a question and its answer, and count what it cost in place of what was set aside.

    Its iteration has begun with it: however much it cost, what was paid for becomes a candidate.
    """
    open_iteration(connection, job_id, exchange.iteration)
    told = _take_exchanges(connection, job_id, [exchange])
    append_events(connection, job_id, [one for news in told.values() for one in news])


Asked: TypeAlias = tuple[int, int, int]
"""Iteration, slot and attempt of an exchange."""


def _take_exchanges(
    connection: Connection, job_id: str, asked: Sequence[Exchange]
) -> dict[Asked, list[News]]:
    """Store exchanges that are not stored yet, and count their cost; return the news of these."""
    rows = [{"job_id": job_id, **_exchange_row(exchange)} for exchange in asked]
    new = insert_new(connection, exchanges, rows)
    told: dict[Asked, list[News]] = {}
    for exchange in asked:
        here = _asked(exchange)
        if (job_id, *here) not in new:
            continue
        if asks_a_model(exchange.designer):  # nothing else sets anything aside
            unreserve(connection, job_id, *here)
        _charge(connection, job_id, _tokens(exchange), exchange.money)
        told[here] = _news_of_exchange(exchange)
    return told


def _asked(exchange: Exchange) -> Asked:
    return exchange.iteration, exchange.slot, exchange.attempt


def _tokens(exchange: Exchange) -> int:
    usage = exchange.reply.usage
    return (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)


def _news_of_exchange(exchange: Exchange) -> list[News]:
    reply = exchange.reply
    details = {
        "iteration": exchange.iteration,
        "slot": exchange.slot,
        "attempt": exchange.attempt,
        "outcome": reply.outcome,
        "seconds": reply.latency_seconds,
        **dump_record(reply.usage),
    }
    message = f"Designer {exchange.designer}: {reply.outcome} after {reply.latency_seconds:.1f} s."
    notes = [News("designer.note", note, level="warning") for note in reply.notes]
    return [News("exchange.completed", message, details), *notes]


def insert_exchange(connection: Connection, job_id: str, exchange: Exchange) -> bool:
    """Insert a question and its answer, and nothing else; tell whether it was new."""
    return insert_once(connection, exchanges, {"job_id": job_id, **_exchange_row(exchange)})


def reserve(
    connection: Connection,
    job_id: str,
    iteration: int,
    slot: int,
    attempt: int,
    tokens: int,
    money: float,
) -> None:
    """Count what a question will cost before it is asked.

    It stays counted if whoever asks dies: what was not answered to us may have been paid for.
    """
    row = {"iteration": iteration, "slot": slot, "attempt": attempt, "fence": _fence(connection)}
    fresh = {"job_id": job_id, **row, "tokens": tokens, "money": money}
    if insert_once(connection, reservations, fresh):
        _charge(connection, job_id, tokens, money)


def settle(connection: Connection, job_id: str, exchange: Exchange) -> None:
    """Count what a question has cost whose answer cannot be stored, in place of what was set aside.

    It stays set aside at that: whoever has the step now asks the same again, and pays for it again.
    """
    here = _set_aside(connection, job_id, *_asked(exchange))
    query = select(reservations.c.tokens, reservations.c.money).where(*here)
    if (before := connection.execute(query).first()) is None:
        return
    tokens, money = _tokens(exchange), exchange.money
    connection.execute(update(reservations).where(*here).values(tokens=tokens, money=money))
    _charge(connection, job_id, tokens - before.tokens, money - before.money)


def _set_aside(
    connection: Connection, job_id: str, iteration: int, slot: int, attempt: int
) -> list[ColumnElement[bool]]:
    """Return the conditions on what the claim of a connection has set aside for a question."""
    row = {"iteration": iteration, "slot": slot, "attempt": attempt, "fence": _fence(connection)}
    return [reservations.c[name] == value for name, value in {"job_id": job_id, **row}.items()]


def unreserve(connection: Connection, job_id: str, iteration: int, slot: int, attempt: int) -> None:
    """Count no more what the claim of a connection had set aside for a question."""
    here = _set_aside(connection, job_id, iteration, slot, attempt)
    gone = delete(reservations).where(*here)
    for tokens, money in connection.execute(
        gone.returning(reservations.c.tokens, reservations.c.money)
    ).all():
        _charge(connection, job_id, -tokens, -money)


def _charge(connection: Connection, job_id: str, tokens: int, money: float) -> None:
    if not tokens and not money:
        return
    changed = update(jobs).where(jobs.c.id == job_id)
    paid = {"tokens": jobs.c.tokens + tokens, "money": jobs.c.money + money}
    connection.execute(changed.values(**paid))


def _fence(connection: Connection) -> int:
    fence = connection.get_execution_options().get("fence")
    return -1 if fence is None else int(fence)


def _exchange_row(exchange: Exchange) -> dict[str, object]:
    # Question, answer and usage lie flat in one row; `reads.exchange_from` nests them again.
    reply = exchange.reply
    raw = replace(reply, request=_spelt(reply.request), response=_spelt(reply.response))
    question = dump_record(replace(exchange, reply=replace(reply, request={}, response={})))
    answer = dump_record(replace(raw, usage=Usage()))
    flat = {**question, **answer, **dump_record(reply.usage)}
    return to_columns(exchanges, {k: v for k, v in flat.items() if k not in ("reply", "usage")})


def _spelt(raw: Json) -> Json:
    return {key: spell_nonfinite(value) for key, value in raw.items()}


def add_candidate(connection: Connection, job_id: str, filled: Filled) -> None:
    """Store a candidate with its checks and what led to it; runs and report come later."""
    open_iteration(connection, job_id, filled.candidate.iteration)
    news, _ = _take_filled(connection, job_id, [filled], {})
    append_events(connection, job_id, news)


def _take_filled(
    connection: Connection,
    job_id: str,
    filled: Sequence[Filled],
    screened: Mapping[str, Screened],
) -> tuple[list[News], frozenset[str]]:
    """Store candidates of an open iteration and what led to them, unless they are stored.

    Args:
        connection: that of a transaction that has locked the job's row.
        job_id:     of the job.
        filled:     the candidates, in order of their slots.
        screened:   by key, what the screens have decided of them already.

    Returns:
        the news of it, and the keys of those that were new.
    """
    asked = [one for slot in filled for one in slot.before if isinstance(one, Exchange)]
    told = _take_exchanges(connection, job_id, asked)
    decided = [_decided(slot.candidate, screened.get(slot.candidate.key)) for slot in filled]
    new = insert_candidates(connection, job_id, decided)
    news = list[News]()
    for slot in filled:
        for one in slot.before:
            if isinstance(one, Exchange):
                news += told.get(_asked(one), ())
            elif slot.candidate.key in new:
                news.append(one)
        if slot.candidate.key in new:
            news.append(_news_of_candidate(job_id, slot.candidate))
    return news, new


def _decided(candidate: Candidate, screened: Screened | None) -> Candidate:
    if screened is None:
        return candidate
    status = "screened" if screened.dropped else candidate.status
    return replace(
        candidate, status=status, screens=screened.screens, saved_steps=screened.saved_steps
    )


def insert_candidate(connection: Connection, job_id: str, candidate: Candidate) -> bool:
    """Insert a candidate with its checks, and nothing else; tell whether it was new."""
    return bool(insert_candidates(connection, job_id, [candidate]))


def insert_candidates(
    connection: Connection, job_id: str, made: Sequence[Candidate]
) -> frozenset[str]:
    """Insert candidates with their checks, and nothing else; return the keys of those that were new."""
    new = insert_new(connection, candidates, [_candidate_row(job_id, one) for one in made])
    fresh = [one for one in made if (job_id, one.iteration, one.number) in new]
    insert_once(connection, checks, *(row for one in fresh for row in _check_rows(job_id, one)))
    return frozenset(one.key for one in fresh)


def _candidate_row(job_id: str, candidate: Candidate) -> dict[str, object]:
    data = dump_record(replace(candidate, runs=(), report=None, checks=()))
    own = {k: v for k, v in data.items() if k not in ("runs", "report", "checks")}
    sha256 = candidate.program.sha256 if candidate.program else None
    return {"job_id": job_id, "program_sha256": sha256, **to_columns(candidates, own)}


def _check_rows(job_id: str, candidate: Candidate) -> list[dict[str, object]]:
    key = {"job_id": job_id, "iteration": candidate.iteration, "number": candidate.number}
    return [
        {**key, "position": position, **to_columns(checks, dump_record(check))}
        for position, check in enumerate(candidate.checks)
    ]


def _news_of_candidate(job_id: str, candidate: Candidate) -> News:
    rejected = candidate.status == "rejected"
    details = {
        "candidate": candidate_id(job_id, candidate.iteration, candidate.number),
        "key": candidate.key,
        "iteration": candidate.iteration,
        "number": candidate.number,
        "operator": candidate.operator,
        "reason": candidate.rejection,
        "rule": next((check.rule for check in candidate.checks if not check.passed), None),
    }
    message = f"Candidate {candidate.key} was {candidate.status}."
    if rejected and candidate.rejection:
        message = f"Candidate {candidate.key} was rejected: {candidate.rejection}"
    kind = "candidate.rejected" if rejected else "candidate.proposed"
    return News(kind, message, details)


def _store_decisions(
    connection: Connection, job_id: str, screened: Sequence[Screened], new: Collection[str]
) -> list[News]:
    """Store what the screens decided of candidates, unless it is known; return news of those dropped.

    Those that are `new` were stored with what was decided of them.

    Raises:
        NotFound: the decision is about a candidate that is not stored.
    """
    stored = {_place(one.candidate)[0] for one in screened if one.candidate not in new}
    found = _candidates_by_key(connection, job_id, stored) if stored else {}
    changed, news = list[dict[str, object]](), list[News]()
    for one in screened:
        if one.candidate not in new:
            if one.candidate not in found:
                raise NotFound(f"There is no candidate {one.candidate} in job {job_id}.")
            row = found[one.candidate]
            if row.more.get("screens"):
                continue
            changed.append(_decision_row(job_id, one, row))
        if one.dropped:
            news.append(_news_of_screened(job_id, one))
    if changed:
        connection.execute(_DECIDED, changed)
    return news


def _decision_row(job_id: str, screened: Screened, row: Row[Any]) -> dict[str, object]:
    iteration, number = _place(screened.candidate)
    decided = {"screens": [dump(s) for s in screened.screens], "saved_steps": screened.saved_steps}
    return {
        **{"its_job": job_id, "its_iteration": iteration, "its_number": number},
        "more": {**row.more, **decided},
        "status": "screened" if screened.dropped else row.status,
    }


_DECIDED = update(candidates).where(
    candidates.c.job_id == bindparam("its_job"),
    candidates.c.iteration == bindparam("its_iteration"),
    candidates.c.number == bindparam("its_number"),
)


def _candidates_by_key(
    connection: Connection, job_id: str, numbers: Collection[int]
) -> dict[str, Row[Any]]:
    """Return status and `more` of the candidates of some iterations."""
    columns = (candidates.c[name] for name in ("iteration", "number", "status", "more"))
    query = select(*columns).where(candidates.c.job_id == job_id)
    rows = connection.execute(query.where(candidates.c.iteration.in_(sorted(numbers))))
    return {f"{row.iteration}.{row.number}": row for row in rows}


def _place(key: str) -> tuple[int, int]:
    iteration, _, number = key.partition(".")
    return int(iteration), int(number)


def _news_of_screened(job_id: str, screened: Screened) -> News:
    iteration, number = _place(screened.candidate)
    against = [screen for screen in screened.screens if screen.verdict == "fail"]
    details = {
        "candidate": candidate_id(job_id, iteration, number),
        "key": screened.candidate,
        "iteration": iteration,
        "number": number,
        "screens": [screen.name for screen in against],
        "other": next((screen.other for screen in against if screen.other), None),
        "saved_steps": screened.saved_steps,
    }
    why = "; ".join(f"{s.name}: {s.message.splitlines()[0]}" for s in against)
    message = f"Candidate {screened.candidate} was screened and will not be trained: {why}"
    return News("candidate.screened", message, details)


def end_proposing(
    connection: Connection,
    job_id: str,
    number: int,
    screened: Sequence[Screened],
    filled: Sequence[Filled] = (),
) -> None:
    """Mark every slot of an iteration as filled, and store what the screens decided of them.

    With it those candidates that are not stored yet.
    """
    open_iteration(connection, job_id, number)
    news, new = _take_filled(connection, job_id, filled, {one.candidate: one for one in screened})
    news += _store_decisions(connection, job_id, screened, new)
    here = (iterations.c.job_id == job_id, iterations.c.number == number)
    still_open = update(iterations).where(*here, ~iterations.c.proposed)
    if connection.execute(still_open.values(proposed=True)).rowcount:
        message = f"Iteration {number} has all its candidates."
        news.append(News("iteration.proposed", message, {"iteration": number}))
    append_events(connection, job_id, news)
