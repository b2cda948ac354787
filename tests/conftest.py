"""Stores on both databases, and an interpreter that has only what a user's project has.

A test that takes `store` or `database_url` runs once on each kind of database.
"""

from __future__ import annotations

import gc
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

import migrations
from core.storage import Store, open_store
from core.storage.engine import open_engine
from tests.databases import (
    ENGINES,
    emptied,
    fresh_database,
    postgres_server,
    quick_folder,
    sqlite_template,
)


def pytest_collection() -> None:
    """Collect no garbage while eight thousand tests and torch come into memory: there is none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Search for garbage rarely and in what is new, and let torch's loggers hand their messages on.

    A search through all that stays until the end takes half a second, again and again: it was a
    tenth of the fast tests' time.  And pytest gives its handlers to every logger that hands nothing
    on, six times a test, and takes them away again; torch has dozens of those.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)
    gc.enable()
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "torch" and isinstance(logger, logging.Logger):
            logger.propagate = True


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a CUDA device where there is none; torch is asked by such tests alone."""
    if item.get_closest_marker("gpu") is not None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server, one per test process."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres: str) -> Iterator[str]:
    with fresh_database(postgres) as url:
        migrations.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite() -> Iterator[Path]:
    """A migrated SQLite file; tests work on copies of it beside it."""
    with quick_folder() as folder:
        yield sqlite_template(folder)


@pytest.fixture(scope="session")
def shared_sqlite(migrated_sqlite: Path) -> str:
    """The URL of a migrated SQLite file that tests use one after another."""
    path = shutil.copy(migrated_sqlite, migrated_sqlite.with_name("shared.db"))
    return f"sqlite:///{path}"


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database without rows."""
    shared = {"sqlite": "shared_sqlite", "postgresql": "migrated_postgres"}[request.param]
    return emptied(request.getfixturevalue(shared))


@pytest.fixture(scope="session")
def opened_stores() -> Iterator[dict[str, Store]]:
    """Stores by their URL: a new one compiles every statement anew, which was half of a test's time."""
    opened: dict[str, Store] = {}
    yield opened
    for store in opened.values():
        store.close()


@pytest.fixture
def store(database_url: str, opened_stores: dict[str, Store]) -> Store:
    if database_url not in opened_stores:
        opened_stores[database_url] = open_store(database_url)
    return opened_stores[database_url]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connections of their own to the database of `store`, to look behind it."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(params=ENGINES)
def unmigrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that has nothing in it yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'rewardsmith.db'}"
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds gymnasium, numpy and what they need, nothing else."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    constraints = Path(__file__).parents[1] / "constraints.txt"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "-c", str(constraints), "gymnasium", "numpy"],
        check=True,
    )
    return python
