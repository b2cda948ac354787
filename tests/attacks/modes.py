"""As whom the attacks are run: each mode is a helper process that becomes that user first."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.sandbox import kernel
from core.sandbox.lock import interpreter_folders
from tests.attacks import container

ROOT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65_534
_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_BIND, _PRIVATE = 4096, 0x40000 | 16384
_NOT_HERE = 77  # exit code of a helper that cannot become what it should


@dataclass(frozen=True, slots=True)
class Mode:
    """A kind of worker: what it is called, whether it is root, whether it sits in a container."""

    name: str
    root: bool
    container: bool = False
    walls: bool = True


MODES = (
    Mode("root, a user for each child", root=True),
    Mode("ordinary user", root=False),
    Mode("root in a container", root=True, container=True),
    Mode("ordinary user in a container", root=False, container=True),
)
NO_WALL = Mode("ordinary user without a wall", root=False, walls=False)
"""The control: here the attacks must get through."""


class NotHere(Exception):
    """This machine cannot become that."""


def run(mode: Mode) -> dict[str, str]:
    """Run every attack on the wall in a helper process; return its outcomes by case number.

    Raises:
        NotHere: with a sentence that says why.
    """
    if mode.root and os.geteuid() != 0:
        raise NotHere("only root can give each child a user of its own; run it as root")
    if kernel.machine() is None:
        raise NotHere("the wall is made of Linux, x86-64 or arm64")
    command = [sys.executable, "-m", "tests.attacks.modes", json.dumps(mode.name)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    if done.returncode == _NOT_HERE:
        raise NotHere(done.stderr.strip().splitlines()[-1])
    if done.returncode != 0:
        raise RuntimeError(f"the helper for {mode.name!r} broke:\n{done.stderr[-4000:]}")
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


def become(mode: Mode, readable: Sequence[Path]) -> None:
    """Turn this process into the mode's user, for good.

    Raises:
        NotHere: with a sentence that says why.
    """
    leaves_root = not mode.root and os.geteuid() == 0
    if leaves_root:
        _open_ways(readable)
    try:
        if mode.container:
            if os.geteuid() == 0:
                container.keep_default_capabilities()
            container.install_filter()
            _expect_filter()
    except OSError as error:
        raise NotHere(f"a container's profile cannot be emulated here: {error}") from error
    if leaves_root:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # as any process that was this user from the start


def _expect_filter() -> None:
    try:
        _libc("unshare", _NEW_USER)
    except PermissionError:
        return
    raise OSError("a namespace could be made although the profile refuses it")


def _open_ways(folders: Sequence[Path]) -> None:
    """Make folders reachable for everybody although one above them is closed, for this process.

    An empty file system of our own covers the closed folder, and holds nothing but those folders.
    """
    closed: dict[Path, list[Path]] = {}
    for folder in folders:
        for above in reversed(folder.parents):
            if not above.stat().st_mode & 0o001:
                closed.setdefault(above, []).append(folder)
                break
    if not closed:
        return
    try:
        _mounts(closed)
    except OSError as error:
        names = ", ".join(map(str, closed))
        raise NotHere(
            f"an ordinary user cannot enter {names}, where the interpreter or the checkout lies, and "
            f"this process may not mount: {error}"
        ) from error


def _mounts(closed: dict[Path, list[Path]]) -> None:
    _libc("unshare", _NEW_MOUNTS)
    _mount(None, Path("/"), None, _PRIVATE)
    with tempfile.TemporaryDirectory(prefix="ways-") as waiting:
        for number, (above, folders) in enumerate(closed.items()):
            places = [Path(waiting, f"{number}-{i}") for i in range(len(folders))]
            for place, folder in zip(places, folders, strict=True):
                place.mkdir()
                _mount(folder, place, None, _BIND)
            _mount(Path("none"), above, "tmpfs", 0, "mode=755")
            for place, folder in zip(places, folders, strict=True):
                folder.mkdir(parents=True)
                _mount(place, folder, None, _BIND)
                _libc("umount2", str(place).encode(), 2)


def _mount(
    source: Path | None, place: Path, kind: str | None, flags: int, options: str | None = None
) -> None:
    texts = [None if t is None else str(t).encode() for t in (source, place, kind, options)]
    _libc("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def _libc(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _needed() -> list[Path]:
    """Return the folders without which a worker cannot start."""
    whole = [Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT]
    within = lambda folder: any(folder.is_relative_to(one) for one in whole)  # noqa: E731
    return whole + [folder for folder in interpreter_folders() if not within(folder)]


def main() -> None:
    """Be the helper process: print the outcomes as one line of JSON."""
    from tests.attacks.running import run_walled, run_without_wall

    name = json.loads(sys.argv[1])
    mode = next(mode for mode in (*MODES, NO_WALL) if mode.name == name)
    try:
        become(mode, _needed())
    except NotHere as reason:
        print(reason, file=sys.stderr)
        sys.exit(_NOT_HERE)
    print(json.dumps(run_walled() if mode.walls else run_without_wall()))


if __name__ == "__main__":
    main()
