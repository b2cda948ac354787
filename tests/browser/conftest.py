"""A headless Chromium, a server whose jobs are in every state, and a whole stack with workers.

Chromium comes from the system (`apt-get install chromium`), so that nothing is fetched from elsewhere.
Without it these tests are skipped and say so; `make test-pages` fails instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.eyes import Eyes
from tests.shells import stories
from tests.shells.conftest import serving
from tests.stack import Stack, stack

HOW = (
    "no Chromium on this machine: install it with `apt-get install chromium`, or name one in "
    "REWARDSMITH_CHROMIUM"
)


def chromium_path() -> str | None:
    named = os.environ.get("REWARDSMITH_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A browser that all tests of a process share; each has a context of its own."""
    path = chromium_path()
    if path is None:
        if os.environ.get("REWARDSMITH_BROWSER") == "required":
            pytest.fail(HOW)
        pytest.skip(HOW)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def look(browser) -> Iterator[object]:
    """Make eyes on a server; whatever page they saw was quiet, and asked nobody else."""
    opened: list[Eyes] = []

    def make(url: str, **context: object) -> Eyes:
        opened.append(Eyes.open(browser, url, **context))
        return opened[-1]

    yield make
    for eyes in opened:
        eyes.close()


@pytest.fixture(scope="session")
def life(browser, tmp_path_factory) -> Iterator[Stack]:
    """A server with two workers, as `rewardsmith serve` starts them."""
    with stack(tmp_path_factory.mktemp("life") / "home") as made:
        made.serve("--workers", "2")
        yield made


@pytest.fixture(scope="module")
def told(browser, tmp_path_factory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a server without workers, and its jobs by the state they are in."""
    import migrations
    from api.main import create_app
    from core.settings import Settings
    from core.storage import open_store

    home: Path = tmp_path_factory.mktemp("told")
    settings = Settings(home=home, database_url=f"sqlite:///{home / 'told.db'}")
    migrations.upgrade(settings.database_url)
    store = open_store(settings.database_url)
    jobs = {name: tell(store) for name, tell in stories.STORIES.items()}
    jobs["blocked"] = stories.a_blocked_job(store)
    jobs["awaiting"] = stories.a_job_that_awaits_feedback(store, video="a" * 64)
    with serving(create_app(settings, lambda *_: None, store, keyless=True)) as url:
        yield url, jobs
    store.close()
