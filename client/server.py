"""The web server inside `rewardsmith serve`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.main import create_app
from core.errors import ConfigurationError
from core.settings import Settings, read_settings
from core.storage import open_store
from workers.messages import dispatch, make_celery

LINGER_SECONDS = 3


class Server(uvicorn.Server):
    """Says when it listens, and lets open streams end before it does."""

    def __init__(self, app: FastAPI, ready: Callable[[], None], log_level: str = "warning") -> None:
        config = uvicorn.Config(
            app,
            log_level=log_level,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=LINGER_SECONDS,
        )
        super().__init__(config)
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


def make_app(settings: Settings) -> FastAPI:
    """Return the API, wired to the database and the broker of the settings."""
    store, celery = open_store(settings.database_url), make_celery(settings)
    return create_app(settings, lambda job_id: dispatch(store, celery, job_id), store)


def app_from_environment() -> FastAPI:
    """Return the API of the environment's settings, for `uvicorn --factory client.server:…`."""
    return make_app(read_settings())


def run_server(settings: Settings, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM."""
    app = make_app(settings)
    try:
        Server(app, ready).run(sockets=[bound])
    finally:
        app.state.house.store.close()


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
