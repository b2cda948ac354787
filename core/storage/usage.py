"""What an owner's jobs used, day by day, from what was stored on each day."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Date, Select, cast, func, select

from core.storage.clock import now
from core.storage.tables import exchanges, jobs, runs


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


def usage(connection: Connection, owner: str | None, days: int) -> tuple[Day, ...]:
    """Return the last days on which something was used, the newest first.

    Deleted jobs are not counted: nothing of them is left.
    """
    found: dict[str, Day] = defaultdict(lambda: Day(""))
    for query, moment in (
        (_jobs(connection), jobs.c.created_at),
        (_runs(connection), runs.c.created_at),
        (_exchanges(connection), exchanges.c.created_at),
    ):
        mine = query.where(moment > now(-days * 86_400.0))
        mine = mine if owner is None else mine.where(jobs.c.owner == owner)
        for row in connection.execute(mine).mappings():
            day = str(row["day"])
            told = {name: value or 0 for name, value in row.items() if name != "day"}
            found[day] = replace(found[day], day=day, **told)
    return tuple(found[day] for day in sorted(found, reverse=True))


def _day(connection: Connection, moment: ColumnElement[Any]) -> ColumnElement[Any]:
    if connection.dialect.name == "postgresql":
        return cast(func.timezone("UTC", moment), Date)
    return func.date(moment)


def _jobs(connection: Connection) -> Select[Any]:
    day = _day(connection, jobs.c.created_at).label("day")
    return select(day, func.count().label("jobs")).group_by(day)


def _runs(connection: Connection) -> Select[Any]:
    day = _day(connection, runs.c.created_at).label("day")
    sums = (
        func.count().label("runs"),
        func.sum(runs.c.env_steps).label("env_steps"),
        func.sum(runs.c.seconds).label("seconds"),
    )
    return select(day, *sums).join(jobs, jobs.c.id == runs.c.job_id).group_by(day)


def _exchanges(connection: Connection) -> Select[Any]:
    day = _day(connection, exchanges.c.created_at).label("day")
    told: ColumnElement[Any] = func.coalesce(exchanges.c.prompt_tokens, 0)
    told += func.coalesce(exchanges.c.completion_tokens, 0)
    sums = (
        func.count().label("exchanges"),
        func.sum(told).label("tokens"),
        func.sum(exchanges.c.more["money"].as_float()).label("money"),
    )
    return select(day, *sums).join(jobs, jobs.c.id == exchanges.c.job_id).group_by(day)
