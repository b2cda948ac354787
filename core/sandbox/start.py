"""Starts a zygote as a clean process: nothing of the worker's environment or descriptors."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from core.sandbox.outcomes import ZygoteFailed

_START_SECONDS = 180.0

# `-P -s` and an environment from nothing are what `-I` would give, but `-I` also ignores
# PYTHONHASHSEED, and without it sets would iterate differently from zygote to zygote.
_PYTHON_OPTIONS = ("-P", "-s")
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv[2]); "
    "from core.sandbox.boot import main; main(sys.argv[1:])"
)
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def start_zygote(
    root: Path, socket_path: Path, preload: Sequence[str], import_paths: Sequence[Path]
) -> subprocess.Popen[bytes]:
    """Start a zygote and wait until it listens.

    It lives as long as this process.

    Args:
        root:         folder that holds the package `core`.
        socket_path:  where it will listen.
        preload:      modules that it imports.
        import_paths: folders that it may import from besides.

    Raises:
        ZygoteFailed: with the traceback, if a module cannot be imported.
    """
    ready, childs_ready = os.pipe()
    command = [sys.executable, *_PYTHON_OPTIONS, "-c", _BOOTSTRAP]
    command += ["--root", str(root), "--socket", str(socket_path)]
    command += ["--starter", str(os.getpid()), "--ready", str(childs_ready)]
    command += [part for name in preload for part in ("--preload", name)]
    command += [part for path in import_paths for part in ("--import-path", str(path))]
    with open(ready, "rb") as answer:
        try:
            zygote = subprocess.Popen(
                command,
                env=clean_environment(),
                pass_fds=(childs_ready,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(childs_ready)
        _expect_ready(answer.fileno(), zygote, f"sandbox at {socket_path}")
    return zygote


def _expect_ready(descriptor: int, zygote: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    said = b""
    while piece := _read_before(descriptor, deadline):
        said += piece
    answer = json.loads(said) if said else {"error": "it ended without a word"}
    if "error" in answer:
        zygote.kill()
        zygote.wait()
        raise ZygoteFailed(answer["error"], expected="a zygote that starts", where=name)


def _read_before(descriptor: int, deadline: float) -> bytes:
    patience = max(0.0, deadline - time.monotonic())
    readable, _, _ = select.select([descriptor], [], [], patience)
    return os.read(descriptor, 65536) if readable else b""


def clean_environment() -> dict[str, str]:
    """Return the whole environment of the zygote: no secret, no display, one thread each."""
    threads = dict.fromkeys(_THREAD_VARIABLES, "1")
    return {
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "MUJOCO_GL": "disabled",
        "SDL_VIDEODRIVER": "dummy",
        "SDL_AUDIODRIVER": "dummy",
        "PYGAME_HIDE_SUPPORT_PROMPT": "1",
        **threads,
    }
