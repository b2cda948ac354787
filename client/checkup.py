"""What `rewardsmith doctor` looks at.  Each check is one function; what it needs it imports itself."""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import ConfigurationError, RewardsmithError
from core.settings import Settings, read_settings

OLDEST_PYTHON = (3, 11)
BROKER_SECONDS = 3.0
MIB = 1 << 20
LEAST_FREE_BYTES = 100 * MIB
WORKER_EXTRA = "Install the worker's packages: pip install 'rewardsmith[worker]'."


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part, and what to do if it does not work, or could be better."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at every part of this machine."""
    try:
        settings = read_settings()
    except ConfigurationError as error:
        fix = error.hint or "Correct or remove the variable."
        return [python(), Finding("settings", False, error.sentence(), fix)]
    checks: Sequence[Callable[[Settings], Finding]] = (
        data_folder,
        artifact_folder,
        database,
        keys,
        broker,
        sandbox,
        designer,
    )
    return [python(), *packages(), *(check(settings) for check in checks)]


def python() -> Finding:
    """Look at the interpreter."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    sound = sys.version_info >= OLDEST_PYTHON
    return Finding("python", sound, found, "" if sound else "Use Python 3.11 or newer.")


def packages() -> list[Finding]:
    """Look at what training needs; a machine that only serves the API can do without."""
    return [
        package("torch", "torch"),
        package("gymnasium", "gymnasium"),
        package("mujoco", "mujoco"),
        package("box2d", "Box2D"),
        compiled_kernel(),
    ]


def package(name: str, module: str) -> Finding:
    """Look at one package by importing it."""
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        return Finding(name, False, str(error), WORKER_EXTRA)
    return Finding(name, True, str(getattr(loaded, "__version__", "installed")))


def compiled_kernel(folder: Path | None = None) -> Finding:
    """Look for the optional compiled kernel; training works without it, only more slowly."""
    from core.training.kernel.library import FOLDER, describe, find

    found = find(folder or FOLDER)
    if found.library is not None:
        return Finding("kernel", True, f"compiled kernel: yes ({describe(found.needs)})")
    slower = "compiled kernel: no; training runs 1.3 to 3.5 times slower without"
    return Finding("kernel", True, slower, f"{found.reason}.")


def data_folder(settings: Settings) -> Finding:
    """Write into the data folder."""
    return _folder("data folder", settings.home, "REWARDSMITH_HOME")


def artifact_folder(settings: Settings) -> Finding:
    """Write into the folder of weights and recorded transitions, and look at the room there."""
    found = _folder("artifacts", settings.artifacts_path, "REWARDSMITH_ARTIFACTS_PATH")
    if not found.ok:
        return found
    free = shutil.disk_usage(settings.artifacts_path).free
    if free < LEAST_FREE_BYTES:
        room = f"{settings.artifacts_path} has {free // MIB} MiB left"
        fix = f"Make room for {LEAST_FREE_BYTES // MIB} MiB, or set REWARDSMITH_ARTIFACTS_PATH."
        return Finding("artifacts", False, room, fix)
    return found


def _folder(name: str, folder: Path, setting: str) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        fix = f"Make the folder writable, make room, or set {setting}."
        return Finding(name, False, f"{folder}: {error.strerror or error}", fix)
    return Finding(name, True, f"{folder} is writable")


def database(settings: Settings) -> Finding:
    """Ask the database for its revision.  An embedded one that is not there yet is no fault."""
    from core.storage import open_store

    where = urlsplit(settings.database_url)
    if where.scheme.startswith("sqlite") and not Path(where.path[1:]).exists():
        fix = "`rewardsmith serve` makes it."
        return Finding("database", True, "SQLite, not made yet", fix)
    try:
        store = open_store(settings.database_url)
        with contextlib.closing(store):
            store.check_schema()
    except RewardsmithError as error:
        return Finding("database", False, error.found, _database_fix(error))
    return Finding("database", True, f"{where.scheme.partition('+')[0]}, up to date")


def _database_fix(error: RewardsmithError) -> str:
    """Say what to do, which is not to upgrade where the database is ahead of the program."""
    from migrations import knows

    revision = error.found.removeprefix("revision ")
    if error.found.startswith("revision ") and not knows(revision):
        return "It was made by a newer version of the program; use that one."
    return error.hint or "Run `rewardsmith db upgrade`."


def keys(settings: Settings) -> Finding:
    """Look whether somebody could open a server that asks for keys."""
    from core.storage import open_store

    if settings.keys == "unless-loopback" and _is_loopback(settings.api_host):
        return Finding("keys", True, f"none needed: the server listens on {settings.api_host}")
    try:
        with contextlib.closing(open_store(settings.database_url)) as store:
            found = store.keys.any_valid()
    except RewardsmithError as error:
        return Finding("keys", False, error.found, error.hint or "Mend the database first.")
    fix = "" if found else "Make one with `rewardsmith keys create OWNER`."
    return Finding("keys", found, "at least one is valid" if found else "none is valid", fix)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def broker(settings: Settings) -> Finding:
    """Connect to the broker's port, or write into its folder."""
    where = urlsplit(settings.broker_url)
    if where.scheme == "filesystem":
        return Finding("broker", True, "a folder inside the data folder")
    address = (where.hostname or "localhost", where.port or 6379)
    try:
        socket.create_connection(address, timeout=BROKER_SECONDS).close()
    except OSError as error:
        fix = "Start it, or correct REWARDSMITH_BROKER_URL."
        return Finding("broker", False, f"{address[0]}:{address[1]}: {error}", fix)
    return Finding("broker", True, f"{where.scheme} at {address[0]}:{address[1]} answers")


def sandbox(settings: Settings) -> Finding:
    """Attack from inside a jailed child, and see what gets through."""
    from core.sandbox import Sandbox

    allowed = settings.allow_weaker_isolation == "i-understand"
    jail = Sandbox(["core.sandbox.selftest"], import_paths=settings.environment_paths)
    try:
        isolation = jail.isolation
        if not allowed:
            jail.require(settings.required_isolation)
    except (RewardsmithError, OSError) as error:
        found = error.found if isinstance(error, RewardsmithError) else str(error)
        hint = error.hint if isinstance(error, RewardsmithError) else None
        return Finding(
            "sandbox", False, found, hint or "Run the worker on Linux or in a container."
        )
    finally:
        jail.close()
    found = f"isolation level {isolation.level}"
    if allowed and isolation.level < settings.required_isolation:
        fix = "REWARDSMITH_ALLOW_WEAKER_ISOLATION lets generated code run all the same."
        return Finding("sandbox", True, f"{found}; got through: {', '.join(isolation.failed)}", fix)
    return Finding("sandbox", True, found)


def designer(settings: Settings) -> Finding:
    """Look at what the designer `openai` would ask; without it there is `evolution`."""
    if settings.openai_api_key is None and "api.openai.com" in settings.openai_base_url:
        fix = "Set REWARDSMITH_OPENAI_API_KEY, or REWARDSMITH_OPENAI_BASE_URL for another endpoint."
        return Finding("designer", True, "evolution only; no model is configured", fix)
    model = settings.openai_model or "the model that a job names"
    host = urlsplit(settings.openai_base_url).hostname
    return Finding("designer", True, f"openai at {host}, {model}")
