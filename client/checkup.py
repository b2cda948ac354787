"""What `rewardsmith doctor` looks at.  Each check is one function; what it needs it imports itself."""

from __future__ import annotations

import importlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from client.checkup_services import broker, database, designer, keys, workers
from client.finding import Finding
from core.errors import ConfigurationError, RewardsmithError
from core.settings import Settings, read_settings

OLDEST_PYTHON = (3, 11)
MIB = 1 << 20
LEAST_FREE_BYTES = 100 * MIB
WORKER_EXTRA = "Install the worker's packages: pip install 'rewardsmith[worker]'."


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
        workers,
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
    except (ImportError, OSError) as error:  # the latter where a library of the system is missing
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


def sandbox(settings: Settings) -> Finding:
    """Attack from inside a jailed child, and see what gets through."""
    from core.sandbox import Sandbox, expect_hidden

    allowed = settings.allow_weaker_isolation == "i-understand"
    jail = Sandbox(["core.sandbox.selftest"], import_paths=settings.environment_paths)
    try:
        expect_hidden(settings.private_paths(), settings.environment_paths)
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
