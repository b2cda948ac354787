"""The web server inside `rewardsmith serve`."""

from __future__ import annotations

import gc
import ipaddress
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.dependencies import FirstStep
from api.main import create_app
from client.connections import Connection
from core.errors import ConfigurationError
from core.failpoints import refuse_failpoints
from core.settings import Settings, read_settings
from core.storage import Store, open_store
from workers.logs import configure_server_logs
from workers.messages import OFFER_SECONDS, dispatch, dispatch_first, make_celery

LINGER_SECONDS = 3
YOUNG_OBJECTS = 20_000  # between two looks for garbage: Python's 700 are a few requests' (lab log)
KEPT_SECONDS = 15  # longer than clients keep a connection: who closes first must not be us


class Server(uvicorn.Server):
    """Says when it listens, and lets open streams end before it does."""

    def __init__(self, app: FastAPI, ready: Callable[[], None], log_level: str = "warning") -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_level=log_level,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=LINGER_SECONDS,
            timeout_keep_alive=KEPT_SECONDS,
        )
        super().__init__(config)
        gc.freeze()  # what is there by now stays, and need not be looked through for garbage
        gc.set_threshold(YOUNG_OBJECTS)
        self._app, self._ready = app, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, and say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take the signal to end."""
        self._app.state.house.stopping = True
        super().handle_exit(sig, frame)


def make_app(settings: Settings, *, keyless: bool = False) -> FastAPI:
    """Return the API, wired to the database and the broker of the settings."""
    store, celery = open_store(settings.database_url), make_celery(settings)

    def notify(seen: Store, job_id: str) -> None:
        dispatch(seen, celery, job_id)

    def announce(seen: Store, job_id: str) -> None:
        dispatch_first(seen, celery, job_id)

    first = FirstStep(OFFER_SECONDS, announce)
    return create_app(settings, notify, store, keyless=keyless, first=first)


def app_from_environment() -> FastAPI:
    """Return the API of the environment's settings, for `uvicorn --factory client.server:…`.

    It asks for keys: where it listens is not known here.  Bounds of headers and of clients that do not
    read come with `--http client.connections:Connection --ws none`.
    """
    refuse_failpoints()
    return make_app(read_settings())


def is_keyless(settings: Settings, bound: socket.socket) -> bool:
    """Tell whether a server on this socket can do without keys: it hears this machine alone."""
    host = str(bound.getsockname()[0])
    return settings.keys == "unless-loopback" and ipaddress.ip_address(host).is_loopback


def check_keys(store: Store, bound: socket.socket) -> None:
    """Make sure that somebody can open a server that asks for keys.

    Raises:
        ConfigurationError: nobody can; says how to make the first key.
        StorageFailed: the database cannot be asked.
    """
    if store.keys.any_valid():
        return
    host, port = bound.getsockname()[:2]
    raise ConfigurationError(
        "none",
        expected="at least one valid key, because others can reach the server or keys are demanded",
        where=f"keys of the server on {host}:{port}",
        hint="Make one with `rewardsmith keys create OWNER`, or listen on 127.0.0.1.",
    )


def run_server(settings: Settings, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: others could reach the server, and nobody has a key.
    """
    configure_server_logs(settings.log_level)
    keyless = is_keyless(settings, bound)
    app = make_app(settings, keyless=keyless)
    try:
        if not keyless:
            check_keys(app.state.house.store, bound)
        Server(app, ready).run(sockets=[bound])
    finally:
        app.state.house.store.close()


def show_database(settings: Settings, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve a database to be looked at, on the loopback, until SIGINT or SIGTERM: no write, no worker.

    Raises:
        StorageFailed: the database cannot be read, or has another version's tables.
    """
    configure_server_logs(settings.log_level)
    store = open_store(settings.database_url)
    try:
        store.check_schema()
        app = create_app(settings, lambda *_: None, store, keyless=True, shows=True)
        Server(app, ready).run(sockets=[bound])
    finally:
        store.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; binding before serving makes the port known, and its lack an early error.

    Raises:
        ConfigurationError: the address is taken, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigurationError(
            f"{host}:{port} ({error.strerror or error})",
            expected="a free address of this machine",
            where="address of the server",
            hint="Choose another port with --port, or 0 for any free one.",
        ) from error
    return bound
