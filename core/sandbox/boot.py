"""The start of a zygote: a clean interpreter imports what children need and tests its own wall."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from core.sandbox import kernel
from core.sandbox.control import fingerprint
from core.sandbox.lock import Jail, plan_jail
from core.sandbox.selftest import measure_isolation
from core.sandbox.start import clean_environment
from core.sandbox.zygote import Zygote

_BACKLOG = 128
_SET_BY_THE_INTERPRETER = {"LC_CTYPE"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Start, report readiness as one JSON line on the descriptor `--ready`, and serve."""
    options = _parser().parse_args(arguments)
    ready = os.fdopen(options.ready, "w", encoding="utf-8")
    if kernel.machine() is not None:  # until we watch the starter ourselves; it is waiting for us
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != options.starter:
        sys.exit("the process that started the zygote is gone")
    try:
        zygote = _prepare(options)
    except BaseException:
        ready.write(json.dumps({"error": traceback.format_exc()[-8192:]}))
        ready.close()
        raise
    ready.write(json.dumps({"pid": os.getpid()}))
    ready.close()
    zygote.run(options.starter)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="core.sandbox.zygote")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--starter", type=int, required=True)
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--preload", action="append", default=[])
    parser.add_argument("--import-path", type=Path, action="append", default=[])
    return parser


def _prepare(options: argparse.Namespace) -> Zygote:
    inherited = sorted(set(os.environ) - set(clean_environment()) - _SET_BY_THE_INTERPRETER)
    sys.path += [str(path) for path in options.import_path]
    for name in options.preload:
        _preload(name)
    _expect_one_thread()
    gc.collect()
    gc.freeze()  # children then share these pages instead of copying them at their first collection
    jail = plan_jail(options.import_path)
    isolation = measure_isolation(jail, inherited)
    greeting = {
        "fingerprint": fingerprint(options.root, options.preload, options.import_path),
        "isolation": asdict(isolation),
    }
    listener = _listen(options.socket)
    return Zygote(listener, options.preload, jail, greeting, _checkout(options.root, jail))


def _preload(name: str) -> None:
    module = importlib.import_module(name)
    warm_up = getattr(module, "warm_up", None)
    if warm_up is not None:
        warm_up()


def _expect_one_thread() -> None:
    tasks = Path("/proc/self/task")
    count = len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()
    if count != 1:
        raise RuntimeError(
            f"expected one thread after the preloaded modules, but found {count}: a module or its "
            "warm_up() has started threads, which a fork would lose; set its thread count to 1"
        )


def _checkout(root: Path, jail: Jail) -> Path | None:
    """Return the root if children cannot read it: a repository, not an installed package."""
    readable = any(root.is_relative_to(folder) for folder in jail.readable)
    return None if readable else root


def _listen(path: Path) -> socket.socket:
    """Bind beside the name and move into place, so that whoever finds the name can connect."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    before = os.umask(0o177)
    listener.bind(str(fresh))
    os.umask(before)
    listener.listen(_BACKLOG)
    fresh.replace(path)
    return listener
