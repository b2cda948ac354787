"""The lock: what a forked child does to itself, in this order, before it touches foreign code.

1. own session, which gives way to others; death together with the zygote, first choice of the
   out-of-memory killer
2. resource limits
3. where the worker is root: a user id of its own; everywhere: no capability at all
4. no new privileges; Landlock: read the interpreter and its packages, write nothing
5. seccomp: a list of allowed system calls

Every error is fatal to the child.  What the machine cannot do at all is left out and found by the
self-test, which decides the isolation level; nothing here decides that something "worked".
"""

from __future__ import annotations

import os
import resource
import signal
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigurationError
from core.sandbox import gpu, kernel, landlock, seccomp
from core.sandbox.limits import GIB, MIB, Limits

FIRST_UID = 64_000
LAST_UID = 65_500
_UIDS_PER_ZYGOTE = 61  # a prime: zygotes on one machine rarely share the users of their children

_OPEN_FILES = 64
_STACK_BYTES = 8 * MIB
_ADDRESS_SPACE_SLACK = GIB  # stacks and malloc arenas of threads reserve without using

_SYSTEM_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)
_OWN_SESSION = Path("/proc/self/autogroup")
_OWN_FILES = ("maps", "stat", "statm", "status")


@dataclass(frozen=True, slots=True)
class Jail:
    """What the lock does on this machine; found out once, by the zygote."""

    readable: tuple[Path, ...]
    landlock_abi: int
    seccomp: bool
    own_uid: bool
    keeps_file_user: bool


class LockError(Exception):
    """The lock did not close although no call failed."""


def plan_jail(extra_folders: Sequence[Path] = ()) -> Jail:
    """Find out what the lock can do here.

    Where root's own interpreter lies in a folder that only root may enter, a child with its own
    user id keeps root's id for the file system alone, without capabilities: Landlock names what it
    may open.  Without Landlock it does not, and imports after the lock fail instead.
    """
    readable = _readable(extra_folders)
    version = landlock.abi()
    own_uid = _can_change_user()
    hidden = not all(_open_to_everybody(folder) for folder in readable)
    return Jail(
        readable=readable,
        landlock_abi=version,
        seccomp=seccomp.available(),
        own_uid=own_uid,
        keeps_file_user=own_uid and hidden and version > 0,
    )


def expect_hidden(private: Mapping[str, Path], extra_folders: Sequence[Path] = ()) -> None:
    """Make sure that no jailed child may read what is private, wherever links lead.

    The self-test cannot find out: the file that it must not read lies elsewhere.

    Args:
        private:       setting -> the folder or file that it names.
        extra_folders: the operator's own, which children may read.

    Raises:
        ConfigurationError: one of them lies in a folder that children may read.
    """
    system = (Path(folder).resolve() for folder in _SYSTEM_FOLDERS)
    readable = (*system, *_readable(extra_folders))
    for setting, path in private.items():
        for folder in readable:
            if path.resolve().is_relative_to(folder):
                raise ConfigurationError(
                    f"{path}, which generated code could read in {folder}",
                    expected="a place that the sandbox does not show",
                    where=setting,
                    hint="Move it elsewhere, or have REWARDSMITH_ENVIRONMENT_PATHS name a folder "
                    "that holds your environments alone.",
                )


def interpreter_folders() -> tuple[Path, ...]:
    """Return the folders of the interpreter and its packages, never those of a checkout.

    `sys.path` is not asked: an editable installation puts a whole repository there.  Of a virtual
    environment only the packages count: made by `python -m venv .`, it is somebody's whole folder.
    """
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages()]
    folders += [os.path.join(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix)]
    return _without_nested(Path(folder).resolve() for folder in folders if os.path.isdir(folder))


def first_slot(zygote: int) -> int:
    """Return where a zygote, given by its process id, starts to number its children."""
    return zygote * _UIDS_PER_ZYGOTE % (LAST_UID - FIRST_UID)


def lock(jail: Jail, limits: Limits, slot: int, parent: int) -> None:
    """Close the door behind this process.

    Args:
        jail:   what the machine can do.
        limits: what the child may use.
        slot:   number of the child among the living ones; chooses its user id.
        parent: process id of the zygote; if it is gone, so are we.

    Raises:
        OSError, ValueError, LockError: the caller must end the process.
    """
    os.setsid()
    _give_way(limits.niceness)
    if kernel.machine() is not None:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        _die_with(parent)
    _limit_resources(limits, jail)
    ruleset = _ruleset(jail, limits) if jail.landlock_abi else None
    if kernel.machine() is not None:
        _drop_identity(jail, slot)
        _die_with(parent)  # a change of user has cleared it
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    tempfile.tempdir = "/nonexistent"  # libraries ask where it is; nobody may write there
    if ruleset is not None:
        landlock.restrict(ruleset)
    if jail.seccomp:
        seccomp.install(devices=limits.gpu)


def _readable(extra_folders: Sequence[Path]) -> tuple[Path, ...]:
    return (*interpreter_folders(), *(folder.resolve() for folder in extra_folders))


def _give_way(niceness: int) -> None:
    """Give way to whoever else wants the core, by this process and by its session."""
    os.nice(niceness)
    if niceness:
        # Where the kernel weighs sessions (`sched_autogroup_enabled`), a process is nice to its own
        # session alone, and this one has nobody else in it.  There is no such file elsewhere, and an
        # ordinary user may write one every tenth of a second.
        with suppress(OSError):
            _OWN_SESSION.write_text(str(niceness), encoding="ascii")


def _die_with(parent: int) -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise LockError("the zygote died before the child was locked")


def _limit_resources(limits: Limits, jail: Jail) -> None:
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_FSIZE, 0)  # there is no file to write; where there is no wall, none grows
    _cap(resource.RLIMIT_NOFILE, gpu.OPEN_FILES if limits.gpu else _OPEN_FILES)
    _cap(resource.RLIMIT_STACK, _STACK_BYTES)
    _cap(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 5)
    if kernel.machine() is None:
        return
    _cap(resource.RLIMIT_MEMLOCK, 0)
    _cap(resource.RLIMIT_MSGQUEUE, 0)
    size, data = _memory_now()
    _cap(resource.RLIMIT_DATA, data + limits.memory_bytes)
    if not limits.gpu:
        _cap(resource.RLIMIT_AS, size + limits.memory_bytes + _ADDRESS_SPACE_SLACK)
    if jail.own_uid:  # counted per user, so useless with a shared one
        _cap(resource.RLIMIT_NPROC, limits.threads)


def _cap(which: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; where it is lower already, it stays."""
    ceiling = resource.getrlimit(which)[1]
    wanted = soft if hard is None else hard
    allowed = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
    resource.setrlimit(which, (min(soft, allowed), allowed))


def _memory_now() -> tuple[int, int]:
    """Return address space and private writable memory of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return (
        1024 * int(fields["VmSize"].removesuffix("kB")),
        1024 * int(fields["VmData"].removesuffix("kB")),
    )


def _ruleset(jail: Jail, limits: Limits) -> int:
    own = [Path("/proc/self") / name for name in _OWN_FILES]
    system = [Path(path) for path in (*_SYSTEM_FOLDERS, *_SYSTEM_FILES)]
    readable = [*jail.readable, *(path for path in system if path.exists()), *own]
    devices = [Path("/dev/null")]
    if limits.gpu:
        readable, devices = [*readable, *gpu.readable()], [*devices, *gpu.devices()]
    return landlock.prepare(readable, devices, jail.landlock_abi)


def _drop_identity(jail: Jail, slot: int) -> None:
    if jail.own_uid:
        _become(FIRST_UID + slot % (LAST_UID - FIRST_UID), jail.keeps_file_user)
    kernel.keep_only_capabilities()
    if jail.own_uid:
        _expect_no_way_back()


def _become(uid: int, keeps_file_user: bool) -> None:
    file_user = os.geteuid()
    kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if keeps_file_user:
        kernel.keep_only_capabilities((kernel.CAP_SETUID,))
        kernel.set_file_user(file_user)
    kernel.prctl(kernel.PR_SET_KEEPCAPS, 0)


def _expect_no_way_back() -> None:
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise LockError("the child could become root again")


def _can_change_user() -> bool:
    """Return whether we are root with the rights, and the user ids, that own users take."""
    if kernel.machine() is None or os.geteuid() != 0:
        return False
    needed = sum(1 << number for number in (kernel.CAP_KILL, kernel.CAP_SETGID, kernel.CAP_SETUID))
    return _effective_capabilities() & needed == needed and _is_mapped("uid") and _is_mapped("gid")


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _is_mapped(kind: str) -> bool:
    """Return whether a container's user namespace knows the whole range of ids."""
    lines = Path(f"/proc/self/{kind}_map").read_text(encoding="ascii").splitlines()
    spans = [(int(line.split()[0]), int(line.split()[2])) for line in lines]
    return any(first <= FIRST_UID and first + count > LAST_UID for first, count in spans)


def _open_to_everybody(folder: Path) -> bool:
    below = folder.stat().st_mode & 0o005 == 0o005
    return below and all(parent.stat().st_mode & 0o001 for parent in folder.parents)


def _without_nested(folders: Iterable[Path]) -> tuple[Path, ...]:
    different = sorted(set(folders))
    return tuple(
        folder
        for folder in different
        if not any(folder != other and folder.is_relative_to(other) for other in different)
    )
