"""What an owner's jobs used, by day and by key, from what was stored on each day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Date, cast, func, select

from core.storage.clock import now
from core.storage.tables import exchanges, jobs, keys, runs


@dataclass(frozen=True, slots=True)
class Day:
    """One day in UTC.

    Attributes:
        day:      as in 2026-01-05.
        jobs:     that were submitted.
        runs:     trainings that ended.
        env_steps, seconds: of these, all seeds together.
        exchanges, tokens, money: of questions that were answered; money in US dollars.
    """

    day: str
    jobs: int = 0
    runs: int = 0
    env_steps: int = 0
    seconds: float = 0.0
    exchanges: int = 0
    tokens: int = 0
    money: float = 0.0


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What the jobs used that were submitted with one key.

    Attributes:
        key_id: of the key; None where none was needed, and of jobs from before this was noted.
        name:   that the key was given, for people.
        used:   as of one day, whose `day` is empty.
    """

    key_id: str | None
    name: str
    used: Day


Group: TypeAlias = Callable[[ColumnElement[Any]], ColumnElement[Any]]


def usage(connection: Connection, owner: str | None, days: int) -> tuple[Day, ...]:
    """Return the last days on which something was used, the newest first.

    Deleted jobs are not counted: nothing of them is left.
    """
    found = _grouped(connection, owner, days, lambda moment: _day(connection, moment))
    return tuple(replace(found[day], day=str(day)) for day in sorted(found, key=str, reverse=True))


def usage_by_key(connection: Connection, owner: str | None, days: int) -> tuple[KeyUse, ...]:
    """Return what was used in the last days by the key that jobs came with, most money first."""
    found = _grouped(connection, owner, days, lambda _: jobs.c.key_id)
    query = select(keys.c.id, keys.c.name).where(keys.c.id.in_([key for key in found if key]))
    names: dict[str | None, str] = {row.id: row.name for row in connection.execute(query)}
    uses = [KeyUse(key, names.get(key, ""), used) for key, used in found.items()]
    return tuple(
        sorted(uses, key=lambda use: (-use.used.money, -use.used.env_steps, use.key_id or ""))
    )


def _grouped(connection: Connection, owner: str | None, days: int, group: Group) -> dict[Any, Day]:
    """Return what was used in the last days, by a group that a moment, or its job, belongs to."""
    found: dict[Any, Day] = defaultdict(lambda: Day(""))
    for sums, table in ((_JOBS, jobs), (_RUNS, runs), (_EXCHANGES, exchanges)):
        moment = table.c.created_at
        key = group(moment).label("key")
        query = select(key, *sums).where(moment > now(-days * 86_400.0)).group_by(key)
        if table is not jobs:
            query = query.join(jobs, jobs.c.id == table.c.job_id)
            query = query.where(jobs.c.origin.is_(None))  # else it was used elsewhere
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        for row in connection.execute(query).mappings():
            told: dict[str, Any] = {
                name: value or 0 for name, value in row.items() if name != "key"
            }
            found[row["key"]] = replace(found[row["key"]], **told)
    return found


def _day(connection: Connection, moment: ColumnElement[Any]) -> ColumnElement[Any]:
    if connection.dialect.name == "postgresql":
        return cast(func.timezone("UTC", moment), Date)
    return func.date(moment)


_JOBS = (func.count().label("jobs"),)
_RUNS = (
    func.count().label("runs"),
    func.sum(runs.c.env_steps).label("env_steps"),
    func.sum(runs.c.seconds).label("seconds"),
)
_TOLD: ColumnElement[Any] = func.coalesce(exchanges.c.prompt_tokens, 0) + func.coalesce(
    exchanges.c.completion_tokens, 0
)
_EXCHANGES = (
    func.count().label("exchanges"),
    func.sum(_TOLD).label("tokens"),
    func.sum(exchanges.c.more["money"].as_float()).label("money"),
)
