"""Put the server together: settings and store in, an application out."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from api import (
    bundles,
    cancelling,
    candidates,
    charts,
    comparisons,
    datasets,
    events,
    export_page,
    exports,
    files,
    going_on,
    handlers,
    health,
    imports,
    iterations,
    jobs,
    library,
    metrics,
    openapi,
    pages,
    people,
    problems,
    reference,
    tasks,
    webhooks,
    work,
)
from api.dependencies import FirstStep, House, Notify, migrated, visit
from api.gate import Gate, Room
from api.headers import Envelope
from api.requests import API
from core.prices import read_prices
from core.settings import Settings
from core.storage import Store, open_store

DESCRIPTION = """\
Submit a reinforcement-learning task in words; get reward code back, with the evidence for it.

`POST /v1/jobs` starts a design, `GET /v1/jobs/{id}/events` follows it, and
`GET /v1/jobs/{id}/best/reward.py` downloads what came out. Unknown fields are refused, every refusal
is an `application/problem+json` document with a hint, and every list is paged by `after`.
"""


def create_app(
    settings: Settings,
    notify: Notify,
    store: Store | None = None,
    *,
    keyless: bool = False,
    shows: bool = False,
    first: FirstStep | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        settings: of the server; nothing is read from the environment here.
        notify:   tells the workers that a job has moved, by its id.
        store:    the database, opened from the settings if left out.
        keyless:  whether no key is asked for; only for a server that nobody else can reach.
        first:    how they hear of a new job, where that is cheaper.
        shows:    whether it changes nothing, and shows the jobs of all owners.
    """
    app = FastAPI(
        title="Rewardsmith",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        responses=openapi.EVERYWHERE,
    )
    app.state.room = room = Room(settings.requests_at_once, settings.streams_per_owner)
    store = store or open_store(settings.database_url)
    prices = read_prices(settings.prices)
    app.state.house = House(
        settings, store, notify, prices, keyless=keyless, shows=shows, first=first
    )
    app.add_middleware(Gate, room=room)
    app.add_middleware(Envelope)
    handlers.install(app)
    known, ready = [Depends(visit)], [Depends(migrated), Depends(visit)]
    door = openapi.AT_THE_DOOR
    asked = (cancelling, jobs, going_on, people)
    kept = (bundles, iterations, candidates, charts, comparisons, files)
    told = (exports, imports, export_page, events, webhooks, library, datasets, work)
    for part in (*asked, *kept, *told):
        app.include_router(part.router, prefix=API, dependencies=ready, responses=door)
    app.include_router(tasks.router, prefix=API, dependencies=known, responses=door)
    app.include_router(health.router)
    app.include_router(metrics.router, dependencies=[Depends(migrated)])
    app.include_router(reference.router)
    app.include_router(problems.router)
    app.include_router(pages.router)
    openapi.install(app)
    return app
