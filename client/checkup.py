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
from core.errors import ConfigurationError, InvalidInput, RewardsmithError
from core.prices import read_prices
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
        device,
        data_folder,
        artifact_folder,
        secret,
        prices,
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


def device(settings: Settings) -> Finding:
    """Look where a worker with these settings trains: on which GPU, or on the processor."""
    try:
        import torch

        from core.training.devices import has_simulator
    except (ImportError, OSError):
        return Finding("device", True, "not known without torch")
    wish, there = settings.device, torch.cuda.device_count()
    number = int(wish.partition(":")[2] or 0)
    if wish.startswith("cuda") and number >= there:
        found = f"REWARDSMITH_DEVICE wants {wish}, and torch finds {there} GPUs"
        fix = "Set REWARDSMITH_DEVICE=cpu, or install a torch built for CUDA and its driver."
        return Finding("device", False, found, fix)
    if wish != "cpu" and there and (wish != "auto" or has_simulator()):
        return Finding("device", True, torch.cuda.get_device_name(number))
    unused = "REWARDSMITH_DEVICE=auto and the extra gpu-sim train MuJoCo tasks on it."
    found = "the processor" + ("" if not there else "; there is a GPU")
    return Finding("device", True, found, unused if there else "")


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


def secret(settings: Settings) -> Finding:
    """Look at the key of the held-out seeds, and who else can read it."""
    if settings.secret is not None:
        return Finding("secret", True, "given by REWARDSMITH_SECRET")
    file = settings.home / "secret"
    try:
        if not file.exists():
            return Finding("secret", True, "not made yet", "The first worker makes it.")
        settings.secret_key()
        mode = file.stat().st_mode
    except ConfigurationError as error:
        return Finding("secret", False, error.sentence(), error.hint or "")
    except OSError as error:
        fix = "Let whoever runs this look into the folder."
        return Finding("secret", False, f"{file}: {error.strerror or error}", fix)
    if mode & 0o077:
        fix = f"Whoever reads it knows the held-out seeds: chmod 600 {file}."
        return Finding("secret", False, f"{file} can be read by others", fix)
    return Finding("secret", True, f"{file} can be read by its owner alone")


def prices(settings: Settings) -> Finding:
    """Read the table of what models cost, and look for the usual model in it."""
    try:
        table = read_prices(settings.prices)
    except InvalidInput as error:
        return Finding("prices", False, error.sentence(), error.hint or "Mend the file.")
    found = f"models with a price: {len(table.table)}"
    if settings.openai_model is not None and table.find(settings.openai_model) is None:
        fix = (
            "Its cost counts as 0, and budgets of money are refused; name it in REWARDSMITH_PRICES."
        )
        return Finding("prices", True, f"{found}, {settings.openai_model} not among them", fix)
    return Finding("prices", True, found)


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
