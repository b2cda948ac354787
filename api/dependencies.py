"""What routes are handed: the rows of whoever asks, and a way to wake the workers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, TypeAlias

from fastapi import BackgroundTasks, Depends, Path, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials

from api import kinds
from api.callers import (
    BEARER,
    WRONG_KEYS_PER_MINUTE,
    Find,
    Lock,
    check_local,
    key_of_reader,
    missing_scope,
    too_many,
    usual_scope,
)
from api.errors import ApiError
from api.gate import Stay
from api.headers import request_id
from api.quick import ask
from api.rates import Rates
from api.requests import Requests
from core.designers import OPENAI_MODEL
from core.prices import Prices
from core.settings import Settings
from core.storage import Caller, Store, StoredKey, Swift
from core.storage.keyring import SCOPES

log = logging.getLogger(__name__)

STREAM_WAIT_SECONDS = 5.0
MOST_IMPORTS = 2  # read at a time in this process, for each may take hundreds of megabytes
IMPORT_WAIT_SECONDS = 5
ANNOUNCEMENTS_PER_MINUTE = 600  # of new jobs
ANNOUNCEMENTS_AT_ONCE = (
    20  # a rush is told of by its first jobs; each costs as much as to accept one
)
UNTOLD_SECONDS = 1.0
READING = ("jobs:read", "metrics:read")
SAMPLE = "01jd7v8a3bqk2m5c6x9z0w4e1r"

Notify: TypeAlias = Callable[[Store, str], object]


def _announcements() -> Rates:
    return Rates(ANNOUNCEMENTS_PER_MINUTE, at_once=ANNOUNCEMENTS_AT_ONCE)


@dataclass(frozen=True, slots=True)
class FirstStep:
    """How workers hear of a new job.  What is its first step needs no look at its history.

    Messages make a quiet system quick.  Where jobs come faster than workers can begin them, these would
    only be read late, so the others are stored with an offer that lapses soon: whoever has a free
    slot looks into the database.

    Attributes:
        offer_seconds: for which nobody else announces it; it is offered as the job is stored.
        announce:      tells the workers, once the job is stored, as `Notify` does.
        rates:         of announcements.
    """

    offer_seconds: float
    announce: Notify
    rates: Rates = field(default_factory=_announcements)

    def is_told(self) -> bool:
        """Decide whether a job that is about to be stored will be announced."""
        return self.rates.take("first steps") == 0.0


@dataclass(frozen=True, slots=True)
class Herald:
    """How workers hear of one new job.

    Attributes:
        offer_seconds: for which its first step is offered as it is stored; None for not at all.
        tell:          announces it afterwards; None where nobody is told.
    """

    offer_seconds: float | None
    tell: Callable[[str], None] | None

    def go(self, background: BackgroundTasks, job_id: str) -> None:
        """Announce the job once the answer is sent."""
        if self.tell is not None:
            background.add_task(self.tell, job_id)

    def now(self, job_id: str) -> None:
        """Announce the job before somebody waits for it."""
        if self.tell is not None:
            self.tell(job_id)


@dataclass(slots=True)
class House:
    """What one running server holds.

    Attributes:
        store:    bound to nobody; routes are handed one that is bound to whoever asks.
        notify:   tells the workers that a job has moved, by a store that sees it and its id.
        prices:   of models, for estimates and budgets of money.
        keyless:  whoever reaches the server is its owner; only behind the loopback.
        shows:    and nothing else: whoever reaches it may look at the jobs of all owners.
        streams:  open event streams by owner.
        imports:  exported jobs that are being read.
        first:    how workers hear of a new job; as of one that has moved where there is none.
        migrated: the schema was found up to date once, and need not be looked at again.
        stopping: the server is about to end; open streams should end before it.
    """

    settings: Settings
    store: Store
    notify: Notify
    prices: Prices
    keyless: bool = False
    first: FirstStep | None = None
    shows: bool = False
    migrated: bool = False
    stopping: bool = False
    streams: Counter[str] = field(default_factory=Counter)
    imports: int = 0
    requests: Requests = field(default_factory=Requests)
    lock: Lock = field(init=False)

    def __post_init__(self) -> None:
        """Hang the lock into the door."""
        uses = Rates(self.settings.requests_per_minute)
        self.lock = Lock(self._find_key, uses, Rates(WRONG_KEYS_PER_MINUTE))

    async def _find_key(self, shown: str) -> StoredKey | None:
        keys = self.store.keys
        return await ask(
            self.store.swift, lambda swift: swift.find_key(shown), lambda: keys.find(shown)
        )


@dataclass(frozen=True, slots=True)
class Visit:
    """The house as one caller may use it.

    Attributes:
        store:  knows the caller's jobs alone.
        scopes: what the caller may ask for.
        stay:   what the request takes up.
    """

    house: House
    caller: Caller
    store: Store
    scopes: frozenset[str]
    stay: Stay

    @property
    def settings(self) -> Settings:
        """Return the server's settings."""
        return self.house.settings

    @property
    def swift(self) -> Swift | None:
        """Return who answers some questions about the caller's jobs without a thread, if anybody."""
        return None if self.house.shows else self.store.swift

    @property
    def prices(self) -> Prices:
        """Return what models cost."""
        return self.house.prices

    @property
    def model(self) -> str:
        """Return the model that is asked where a job names none."""
        return self.settings.openai_model or OPENAI_MODEL

    def need(self, scope: str) -> None:
        """Make sure that the caller may ask for something.

        Raises:
            ApiError: the key was not made for it.
        """
        if scope in self.scopes:
            return
        if self.house.shows:
            raise ApiError(kinds.ONLY_SHOWS, f"expected what needs no more than {READING[0]}")
        raise missing_scope(scope)

    def take_a_stream(self) -> None:
        """Count the answer, from now on until it has ended, as an event stream of the owner's.

        Raises:
            ApiError: there are too many of the same owner.
        """
        most, open_now = self.settings.streams_per_owner, self.house.streams
        owner = self.caller.owner
        if open_now[owner] >= most:
            raise too_many(f"{most} event streams are open already", STREAM_WAIT_SECONDS)
        open_now[owner] += 1
        self.stay.until_end.callback(_close_stream, open_now, owner)

    def leave(self) -> None:
        """Say that the request is no work any more, though its answer is not there."""
        self.stay.leave()

    def herald(self) -> Herald:
        """Decide how workers will hear of a job that is about to be stored."""
        first = self.house.first
        if first is None:
            return Herald(None, self.wake)
        if not first.is_told():
            return Herald(UNTOLD_SECONDS, None)
        return Herald(first.offer_seconds, partial(self._tell, first.announce))

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Count what is done meanwhile as the reading of an exported job.

        Raises:
            ApiError: this process reads as many as it may.
        """
        if self.house.imports >= MOST_IMPORTS:
            raise ApiError(
                kinds.OVERLOADED,
                f"{MOST_IMPORTS} exported jobs are being read already",
                headers={"Retry-After": str(IMPORT_WAIT_SECONDS)},
            )
        self.house.imports += 1
        try:
            yield
        finally:
            self.house.imports -= 1

    def wake(self, job_id: str) -> None:
        """Tell the workers that the job has moved; if that fails, their sweep finds the job."""
        self._tell(self.house.notify, job_id)

    def _tell(self, notify: Notify, job_id: str) -> None:
        try:
            notify(self.store, job_id)
        # The broker's client may raise anything; the request is already committed and must stand.
        except Exception as error:  # noqa: BLE001
            log.warning("could not wake a worker for %s: %s", job_id, error)


def _close_stream(open_now: Counter[str], owner: str) -> None:
    open_now[owner] -= 1
    if not open_now[owner]:
        del open_now[owner]


# Whatever a route depends on is resolved anew for each request, at a price: so these are few, and flat.


async def house(request: Request) -> House:
    """Return what the server holds.  Async, because a thread for this would cost more than it does."""
    held: House = request.app.state.house
    return held


async def enter(
    request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
) -> Visit:
    """Find out who asks, unless that is known already.

    Raises:
        ApiError: nobody who may.
        StorageFailed: the database cannot be asked.
    """
    known: Visit | None = getattr(request.state, "visitor", None)
    if known is not None:
        return known
    text = key_of_reader(request) if shown is None else shown.credentials
    return await admit(request, await house(request), text)


async def admit(request: Request, held: House, text: str | None, find: Find | None = None) -> Visit:
    """Find out who asks, by the key that was shown; `find` may find it together with something else.

    Raises:
        ApiError, StorageFailed: as `enter`.
    """
    name = request_id(request)
    if held.keyless:
        check_local(request)
        caller = Caller(request_id=name)
        scopes = frozenset[str](READING if held.shows else SCOPES)
    else:
        address = request.client.host if request.client else ""
        key = await held.lock.open(text, address, find)
        caller, scopes = Caller(key.owner, key.id, name), frozenset(key.scopes)
    request.state.caller = caller
    store = held.store if held.shows else held.store.of(caller)
    stay: Stay = request.scope["state"]["stay"]
    stay.belong_to(caller.owner)
    visitor = Visit(held, caller, store, scopes, stay)
    request.state.visitor = visitor
    return visitor


async def visit(
    request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
) -> Visit:
    """Let in who may ask for such things as the request's.

    Raises:
        ApiError: nobody who may, or the key was not made for it.
        StorageFailed: as `enter`.
    """
    visitor = await enter(request, shown)
    visitor.need(usual_scope(request.method))
    return visitor


async def migrated(request: Request) -> None:
    """Refuse every request until the database is reachable and up to date.

    Raises:
        StorageFailed: it is not.
    """
    held = await house(request)
    if not held.migrated:
        await run_in_threadpool(held.store.check_schema)
        held.migrated = True


Known = Annotated[Visit, Depends(enter)]
Building = Annotated[House, Depends(house)]
Here = Annotated[Visit, Depends(visit)]
JobId = Annotated[str, Path(max_length=200, examples=[f"job_{SAMPLE}"])]
CandidateId = Annotated[str, Path(max_length=200, examples=[f"cand_{SAMPLE}_0_3"])]
RunId = Annotated[str, Path(max_length=200, examples=[f"run_{SAMPLE}_search_0-3_0_0"])]
